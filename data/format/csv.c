#include "csv.h"

#include <string.h>

#include "json_pool.h"

bool csv_find_end(CsvScan *s, const char *text, size_t len, char delimiter) {
    for (; s->at < len; s->at++) {
        char c = text[s->at];
        if (s->state == CSV_QUOTED) {
            s->lines += c == '\n';
            if (c == '"') s->state = CSV_CLOSED;
        } else if (c == '\n') {
            return true;
        } else if (c == delimiter) {
            s->state = CSV_BEGIN;
        } else {
            s->state = c == '"' && s->state != CSV_PLAIN ? CSV_QUOTED : CSV_PLAIN;
        }
    }
    return false;
}

// ---- rows ----

static void end_cell(CsvRow *row) {
    if (row->count++ >= CSV_MAX_COLUMNS) return;
    MEM_GROW(row->ends, row->capacity, row->count);
    row->ends[row->count - 1] = row->text.len;
    str_add(&row->text, "", 1);
}

static size_t lines_between(const char *p, const char *end) {
    size_t n = 0;
    for (; p < end; p++) n += *p == '\n';
    return n;
}

// The cell after the opening quote at *p, which moves past the closing one.
static int read_quoted(CsvRow *row, const char **p, const char *end, Err *err) {
    for ((*p)++; *p < end; *p += 2) {
        const char *quote = memchr(*p, '"', (size_t)(end - *p));
        if (!quote) break;
        str_add(&row->text, *p, (size_t)(quote - *p));
        *p = quote + 1;
        if (*p == end || **p != '"') return 0;
        str_puts(&row->text, "\"");
        *p = quote;
    }
    return err_input(err, "found a quote that does not end; expected '\"' to close it");
}

static int read_cell(CsvRow *row, const char **p, const char *end, char delimiter, Err *err) {
    if (*p < end && **p == '"') {
        if (read_quoted(row, p, end, err)) return -1;
        if (*p == end || **p == delimiter) return 0;
        return err_input(err, "found text after a closing quote; expected a %s, the row's end, or '\"\"' for a quote",
                         delimiter == '\t' ? "tab" : "comma");
    }
    const char *stop = memchr(*p, delimiter, (size_t)(end - *p));
    if (!stop) stop = end;
    if (memchr(*p, '\r', (size_t)(stop - *p)))
        return err_input(err, "found a carriage return outside of quotes; expected lines that end with LF or CRLF");
    str_add(&row->text, *p, (size_t)(stop - *p));
    *p = stop;
    return 0;
}

int csv_read_row(CsvRow *row, const char *text, size_t len, char delimiter, const char *name, size_t line, Err *err) {
    const char *p = text, *end = text + len;
    if (len && end[-1] == '\r') end--;
    row->text.len = row->count = 0;
    for (;; p++) {
        const char *begin = p;
        if (read_cell(row, &p, end, delimiter, err))
            return err_context(err, "%s:%zu: column %zu", name, line + lines_between(text, begin), row->count + 1);
        end_cell(row);
        if (p == end) return 0;
    }
}

const char *csv_cell(const CsvRow *row, size_t i, size_t *len) {
    size_t begin = i ? row->ends[i - 1] + 1 : 0;
    *len = row->ends[i] - begin;
    return row->text.data + begin;
}

void csv_row_clear(CsvRow *row) {
    str_clear(&row->text);
    mem_free(row->ends);
    *row = (CsvRow){0};
}

// ---- records ----

// Another delimiter than that of the file's name.
static int check_delimiter(const CsvRow *names, char delimiter, Err *err) {
    size_t len;
    const char *only = csv_cell(names, 0, &len);
    char other = delimiter == ',' ? '\t' : ',';
    if (names->count > 1) return 0;
    if (memchr(only, other, len))
        return err_input(err, "found a header with %s and no %s; expected the name .%s",
                         other == ',' ? "commas" : "tabs", other == ',' ? "tabs" : "commas",
                         other == ',' ? "csv" : "tsv");
    if (memchr(only, ';', len))
        return err_input(err, "found a header with semicolons; expected %s between cells",
                         delimiter == ',' ? "commas" : "tabs");
    return 0;
}

static int check_names(const CsvRow *names, char delimiter, Err *err) {
    AUTO_STR StrBuf record = {0};
    if (names->count > CSV_MAX_COLUMNS)
        return err_input(err, "found %zu column%s; expected at most %d", names->count, plural(names->count),
                         CSV_MAX_COLUMNS);
    if (check_delimiter(names, delimiter, err)) return -1;
    for (size_t i = 0; i < names->count; i++) {
        size_t len;
        const char *name = csv_cell(names, i, &len);
        str_puts(&record, i ? "," : "{");
        json_quote(&record, name, len);
        str_puts(&record, ":0");
    }
    str_puts(&record, "}");
    AUTO_JSON JsonDoc *doc = NULL; // a name twice is a key twice
    return json_parse(&doc, record.data, record.len, "column names", 0, err);
}

int csv_take_names(CsvRow *names, char delimiter, const char *name, size_t line, Err *err) {
    CsvRow full = {0};
    for (size_t i = 0; i < names->count && i < CSV_MAX_COLUMNS; i++) {
        size_t len;
        const char *cell = csv_cell(names, i, &len);
        if (len)
            str_add(&full.text, cell, len);
        else
            str_printf(&full.text, "Unnamed: %zu", i);
        end_cell(&full);
    }
    full.count = names->count;
    csv_row_clear(names);
    *names = full;
    return check_names(names, delimiter, err) ? err_context(err, "%s:%zu", name, line) : 0;
}

void csv_print_record(StrBuf *out, const CsvRow *names, const CsvRow *row) {
    str_puts(out, "{");
    for (size_t i = 0; i < row->count; i++) {
        size_t len, name_len;
        const char *cell = csv_cell(row, i, &len), *name = csv_cell(names, i, &name_len);
        str_puts(out, i ? ", " : "");
        json_quote(out, name, name_len);
        str_puts(out, ": ");
        if (!len)
            str_puts(out, "null");
        else
            json_quote(out, cell, len);
    }
    str_puts(out, "}");
}

// records: a cursor over a window of text. Elements of an array are found by counting brackets outside strings.
#include "records.h"

#include <stdio.h>
#include <string.h>

#include "byte_stream.h"
#include "csv.h"
#include "data_files.h"
#include "fileio.h"
#include "json_pool.h"
#include "message.h"
#include "parquet_module.h"
#include "record_faults.h"
#include "records_internal.h"
#include "unicode.h"

struct RecordReader {
    char *path;
    int (*next)(RecordReader *r, RecordSpan *span, Err *err); // by the layout of the file
    TextWindow w;
    TarReader *tar; // of a .tar, instead of the window
    KeyCounts ignored;
    char delimiter;    // of a table's cells
    CsvRow names, row; // of its columns; the newest one
    size_t row_bytes;  // of the newest one in the file, without its line end
    const ParquetCalls *parquet;
    ParquetReader *rows;
    JsonPool held; // records of tables since the last release
    size_t line;   // of w.p; of Parquet: rows so far
    bool first, finished;
};

// ---- more text ----

static size_t count_lines(const char *p, const char *end) {
    size_t n = 0;
    for (; (p = memchr(p, '\n', (size_t)(end - p))); p++) n++;
    return n;
}

// As text_check of text that begins on `line`.
static int check_text(const char *name, size_t line, const char *text, size_t len, Err *err) {
    size_t valid = utf8_valid_prefix(text, len);
    const char *zero = memchr(text, 0, valid), *bad = zero ? zero : text + valid;
    if (bad == text + len) return 0;
    char at[2] = {*bad, bad + 1 < text + len ? bad[1] : 0};
    return fault_in_text(name, line + count_lines(text, bad), at, err);
}

// Refuses a NUL byte when it is read, not at the end of its record: a small compressed file of zeros must not fill
// memory.
static int refuse_zero(const RecordReader *r, size_t from, Err *err) {
    const TextWindow *w = &r->w;
    const char *zero = memchr(w->p + from, 0, (size_t)(w->end - w->p) - from);
    if (!zero) return 0;
    return err_input(err, "%s:%zu: found byte 0x00; expected UTF-8 text", r->path, r->line + count_lines(w->p, zero));
}

// As window_more.
static int more(RecordReader *r, Err *err) {
    TextWindow *w = &r->w;
    size_t before = (size_t)(w->end - w->p);
    if (w->stream && before > RECORD_MAX_BYTES)
        return err_input(err, "%s:%zu: found a record of more than %d bytes; expected at most that", r->path, r->line,
                         RECORD_MAX_BYTES);
    int rc = window_more(w, err);
    return rc == 1 && refuse_zero(r, before, err) ? -1 : rc;
}

// Ends at a character (1), at the end of the file (0), or fails.
static int skip_space(RecordReader *r, Err *err) {
    for (;;) {
        for (; r->w.p < r->w.end && json_is_space(*r->w.p); r->w.p++) r->line += *r->w.p == '\n';
        if (r->w.p < r->w.end) return 1;
        int rc = more(r, err);
        if (rc != 1) return rc;
    }
}

// The length of the line at p, without its end.
static int find_line_end(RecordReader *r, size_t *len, Err *err) {
    for (*len = 0;;) {
        size_t known = (size_t)(r->w.end - r->w.p);
        const char *stop = memchr(r->w.p + *len, '\n', known - *len);
        *len = stop ? (size_t)(stop - r->w.p) : known;
        if (stop) return 0;
        int rc = more(r, err);
        if (rc != 1) return rc;
    }
}

typedef struct ValueScan { // of a value's first `at` bytes
    size_t at, depth, lines;
    bool in_string, escaped;
} ValueScan;

// True at the end of the JSON value, where the enclosing array has a ',' or ']'; list: after the bracket that closes
// the first one.
static bool scan_value(ValueScan *s, const char *text, size_t len, bool list) {
    for (; s->at < len; s->at++) {
        char c = text[s->at];
        s->lines += c == '\n';
        if (s->escaped) {
            s->escaped = false;
        } else if (s->in_string) {
            s->escaped = c == '\\';
            s->in_string = c != '"';
        } else if (c == '"') {
            s->in_string = true;
        } else if (c == '{' || c == '[') {
            s->depth++;
        } else if (s->depth == 0 && (c == '}' || c == ']' || c == ',')) {
            return true;
        } else if (c == '}' || c == ']') {
            s->depth--;
            if (list && s->depth == 0) {
                s->at++;
                return true;
            }
        }
    }
    return false;
}

// Reads on until the value at p ends, or the file does.
static int read_value(RecordReader *r, ValueScan *s, bool list, Err *err) {
    int rc = 1;
    while (rc == 1 && !scan_value(s, r->w.p, (size_t)(r->w.end - r->w.p), list)) rc = more(r, err);
    return rc < 0 ? -1 : 0;
}

// ---- opening ----

// "{" alone on the first line begins one object over several lines, {"data": [...]}: a better message than that line 1
// ends too early.
static int check_one_line_objects(RecordReader *r, Err *err) {
    size_t len;
    if (find_line_end(r, &len, err) || fault_in_first_line(r->path, r->line, r->w.p, len, err)) return -1;
    bool last = r->w.p + len == r->w.end;
    while (len > 1 && json_is_space(r->w.p[len - 1])) len--;
    if (last || r->w.p[len - 1] == '}' || *r->w.p != '{') return 0;
    AUTO_JSON JsonDoc *doc = NULL; // with a comma after it: reading the record reports it
    if (r->w.p[len - 1] == ',' && json_parse_data(&doc, r->w.p, len - 1, r->path, 0, NULL) == 0) return 0;
    return err_input(err,
                     "%s:%zu: found an object over several lines; expected one record a line, or an "
                     "array of records",
                     r->path, r->line);
}

// By its first bytes: another kind of file, a NUL byte, a byte order mark.
static int check_beginning(RecordReader *r, Err *err) {
    int rc = 1;
    bool stream = r->w.stream;
    while (rc == 1 && r->w.end - r->w.p < 32) rc = window_more(&r->w, err);
    size_t n = (size_t)(r->w.end - r->w.p);
    if (rc < 0 || (n && fault_in_file(r->path, r->w.p, n < 32 ? n : 32, true, err)) ||
        (stream && n && refuse_zero(r, 0, err)))
        return -1;
    if (r->w.end - r->w.p >= 3 && memcmp(r->w.p, "\xEF\xBB\xBF", 3) == 0) r->w.p += 3;
    return 0;
}

// Is the first element of the array at p a chat message?
static int begins_with_message(RecordReader *r, bool *yes, Err *err) {
    AUTO_JSON JsonDoc *doc = NULL;
    ValueScan scan = {.at = 1};
    if (read_value(r, &scan, false, err)) return -1;
    // reading the record reports an error in it
    *yes = json_parse_data(&doc, r->w.p + 1, scan.at - 1, r->path, 0, NULL) == 0 && json_is_message(json_root(doc));
    return 0;
}

static int next_line(RecordReader *r, RecordSpan *span, Err *err);
static int next_element(RecordReader *r, RecordSpan *span, Err *err);
static int next_list(RecordReader *r, RecordSpan *span, Err *err);
static int next_text(RecordReader *r, RecordSpan *span, Err *err);
static int next_row(RecordReader *r, RecordSpan *span, Err *err);
static int next_parquet_row(RecordReader *r, RecordSpan *span, Err *err);
static int read_row(RecordReader *r, CsvRow *row, size_t *line, Err *err);

static int next_of_tar(RecordReader *r, RecordSpan *span, Err *err) { return tar_records_next(r->tar, span, err); }

static int start_json(RecordReader *r, Err *err) {
    int rc = skip_space(r, err);
    if (rc < 0) return -1;
    if (rc == 0) return err_input(err, "%s: found an empty file; expected at least one record", r->path);
    r->next = next_line;
    if (*r->w.p != '[') return check_one_line_objects(r, err);
    bool lists;
    if (begins_with_message(r, &lists, err)) return -1;
    r->next = lists ? next_list : next_element;
    r->w.p += !lists;
    return 0;
}

static int start_text(RecordReader *r, Err *err) {
    int rc = r->w.p < r->w.end ? 1 : more(r, err);
    r->next = next_text;
    if (rc == 0) return err_input(err, "%s: found an empty file; expected text", r->path);
    return rc < 0 ? -1 : 0;
}

static int start_table(RecordReader *r, char delimiter, Err *err) {
    size_t line;
    r->next = next_row;
    r->delimiter = delimiter;
    int rc = read_row(r, &r->names, &line, err);
    if (rc < 0) return -1;
    if (rc == 0) return err_input(err, "%s: found an empty file; expected a line with the names of columns", r->path);
    return csv_take_names(&r->names, delimiter, r->path, line, err);
}

static int start_parquet(RecordReader *r, Err *err) {
    r->next = next_parquet_row;
    if (module_symbol(&r->parquet, "lorac-parquet.so", "lorac_parquet", "Arrow's C++ library (make parquet)", err)) {
        if (err) err->kind = ERR_INPUT;
        return err_context(err, "%s", r->path);
    }
    return r->parquet->open(&r->rows, r->path, err);
}

static int start(RecordReader *r, DataKind kind, Err *err) {
    if (kind == DATA_TAR) {
        r->next = next_of_tar;
        return tar_records_open(&r->tar, r->path, &r->ignored, err);
    }
    if (kind == DATA_PARQUET) return start_parquet(r, err);
    r->line = 1;
    r->first = true;
    if (window_open(&r->w, r->path, err) || check_beginning(r, err)) return -1;
    if (kind == DATA_CSV || kind == DATA_TSV) return start_table(r, kind == DATA_TSV ? '\t' : ',', err);
    return kind == DATA_TEXT ? start_text(r, err) : start_json(r, err);
}

int records_open(RecordReader **r, const char *path, Err *err) {
    DataKind kind = data_kind(path);
    *r = NULL;
    if (kind == DATA_UNKNOWN) return data_kind_refuse(path, err);
    AUTO(records_close) RecordReader *reader = mem_calloc(1, sizeof *reader);
    reader->path = mem_strdup(path);
    if (start(reader, kind, err)) return -1;
    *r = mem_take(&reader);
    return 0;
}

void records_close(RecordReader *r) {
    if (!r) return;
    tar_records_close(r->tar);
    window_close(&r->w);
    if (r->rows) r->parquet->close(r->rows);
    csv_row_clear(&r->names);
    csv_row_clear(&r->row);
    json_pool_clear(&r->held);
    key_counts_clear(&r->ignored);
    mem_free(r->path);
    mem_free(r);
}

bool records_are_text(const RecordReader *r) { return r->next == next_text; }

const KeyCounts *records_ignored_kinds(const RecordReader *r) { return &r->ignored; }

int64_t records_ignored(const RecordReader *r) {
    int64_t n = r->ignored.others;
    for (size_t i = 0; i < r->ignored.count; i++) n += r->ignored.records[i];
    return n;
}

int records_fail_empty(const RecordReader *r, Err *err) {
    const KeyCounts *others = &r->ignored;
    if (!others->count) return err_input(err, "%s: found no records; expected at least one", r->path);
    AUTO_STR StrBuf names = {0};
    for (size_t i = 0; i < others->count && i < 8; i++) str_printf(&names, "%s%s", i ? ", " : "", others->names[i]);
    return err_input(err, "%s: found %s and no records; expected members .json, .txt or .cls", r->path, names.data);
}

int records_next(RecordReader *r, RecordSpan *span, Err *err) { return r->next(r, span, err); }

void records_release(RecordReader *r) {
    if (r->tar)
        tar_records_release(r->tar);
    else
        window_release(&r->w);
    json_pool_clear(&r->held);
}

// ---- the layouts of text ----

static int fail_length(const RecordReader *r, size_t len, Err *err) {
    return err_input(err, "%s:%zu: found a record of %zu byte%s; expected at most %d", r->path, r->line, len,
                     plural(len), RECORD_MAX_BYTES);
}

static int give(RecordReader *r, RecordSpan *span, size_t len, Err *err) {
    if (len > RECORD_MAX_BYTES && !records_are_text(r)) return fail_length(r, len, err);
    *span = (RecordSpan){.text = r->w.p, .len = len, .line = r->line, .name = r->path};
    r->w.p += len;
    r->w.held = true;
    return 1;
}

static int next_line(RecordReader *r, RecordSpan *span, Err *err) {
    size_t len;
    int rc = skip_space(r, err);
    if (rc != 1) return rc;
    return find_line_end(r, &len, err) ? -1 : give(r, span, len, err);
}

static int fail_array(const RecordReader *r, const char *expected, Err *err) {
    char found[16] = "the end";
    unsigned char c = r->w.p < r->w.end ? (unsigned char)*r->w.p : 0;
    if (r->w.p < r->w.end) snprintf(found, sizeof found, c > 32 && c < 127 ? "'%c'" : "byte %d", c);
    return err_input(err, "%s:%zu: found %s in the array of records; expected %s", r->path, r->line, found, expected);
}

static int end_of_array(RecordReader *r, Err *err) {
    r->w.p++;
    r->finished = true;
    int rc = skip_space(r, err);
    if (rc != 1) return rc;
    return err_input(err, "%s:%zu: found more text after the array of records; expected the end", r->path, r->line);
}

// Skips the comma before an element. 1: an element follows; 0: the array has ended.
static int skip_comma(RecordReader *r, Err *err) {
    int rc = skip_space(r, err);
    if (rc < 0) return -1;
    if (rc == 0) return fail_array(r, r->first ? "a record or ']'" : "',' or ']'", err);
    if (*r->w.p == ']') return end_of_array(r, err);
    if (r->first) return 1;
    if (*r->w.p != ',') return fail_array(r, "',' or ']'", err);
    r->w.p++;
    return skip_space(r, err) < 0 ? -1 : 1;
}

static int give_value(RecordReader *r, RecordSpan *span, bool list, Err *err) {
    ValueScan scan = {0};
    if (read_value(r, &scan, list, err)) return -1;
    if (scan.at == 0) return fail_array(r, "a record", err);
    int rc = give(r, span, scan.at, err);
    r->line += scan.lines;
    return rc;
}

static int next_element(RecordReader *r, RecordSpan *span, Err *err) {
    if (r->finished) return 0;
    int rc = skip_comma(r, err);
    if (rc != 1) return rc;
    r->first = false;
    return give_value(r, span, false, err);
}

// Each list of messages is a record.
static int next_list(RecordReader *r, RecordSpan *span, Err *err) {
    int rc = skip_space(r, err);
    if (rc != 1) return rc;
    if (*r->w.p != '[')
        return err_input(err, "%s:%zu: found %s; expected a list of messages, as the first record is", r->path, r->line,
                         *r->w.p == ',' ? "a comma after the record" : "something else");
    return give_value(r, span, true, err);
}

static int next_text(RecordReader *r, RecordSpan *span, Err *err) {
    int rc;
    while ((rc = more(r, err)) == 1) continue;
    if (rc < 0) return -1;
    size_t len = (size_t)(r->w.end - r->w.p);
    if (len == 0) return 0;
    return text_check(r->path, r->w.p, len, err) ? -1 : give(r, span, len, err);
}

// ---- tables ----

// The next row that is not empty, and the line on which it begins: 1, 0 at the end, -1.
static int read_row(RecordReader *r, CsvRow *row, size_t *line, Err *err) {
    for (bool empty = true; empty;) {
        CsvScan scan = {0};
        int rc = 1;
        bool ended = false;
        while (rc == 1 && !(ended = csv_find_end(&scan, r->w.p, (size_t)(r->w.end - r->w.p), r->delimiter)))
            rc = more(r, err);
        if (rc < 0) return -1;
        if (!ended && !scan.at) return 0;
        empty = scan.at == 0 || (scan.at == 1 && *r->w.p == '\r');
        if (scan.at > RECORD_MAX_BYTES) return fail_length(r, scan.at, err);
        if (!empty && (check_text(r->path, r->line, r->w.p, scan.at, err) ||
                       csv_read_row(row, r->w.p, scan.at, r->delimiter, r->path, r->line, err)))
            return -1;
        *line = r->line;
        r->row_bytes = scan.at;
        r->line += scan.lines + ended;
        r->w.p += scan.at + ended;
    }
    return 1;
}

static int next_row(RecordReader *r, RecordSpan *span, Err *err) {
    StrBuf text = {0};
    size_t line = 0;
    int rc = read_row(r, &r->row, &line, err);
    if (rc != 1) return rc;
    if (r->row.count != r->names.count)
        return err_input(err, "%s:%zu: found a row of %zu cell%s; expected %zu, one for each column", r->path, line,
                         r->row.count, plural(r->row.count), r->names.count);
    csv_print_record(&text, &r->names, &r->row);
    JsonStr record = json_pool_text(&r->held, &text);
    *span = (RecordSpan){.text = record.data, .len = record.len, .line = line, .name = r->path, .untyped = true};
    span->file_bytes = r->row_bytes;
    return record.len > RECORD_MAX_BYTES ? fail_length(r, record.len, err) : 1;
}

// Its number is its line.
static int next_parquet_row(RecordReader *r, RecordSpan *span, Err *err) {
    StrBuf text = {0};
    int rc = r->parquet->next(r->rows, &text, RECORD_MAX_BYTES, err);
    JsonStr record = json_pool_text(&r->held, &text);
    *span = (RecordSpan){.text = record.data, .len = record.len, .line = ++r->line, .name = r->path, .columns = true};
    return rc;
}

// ---- text ----

const char *text_skip_mark(const char *text, size_t *len) {
    if (*len < 3 || memcmp(text, "\xEF\xBB\xBF", 3) != 0) return text;
    *len -= 3;
    return text + 3;
}

int text_check(const char *name, const char *text, size_t len, Err *err) { return check_text(name, 1, text, len, err); }

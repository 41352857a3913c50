#include "record_faults.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include <utf8proc.h>

int fault_in_text(const char *name, size_t line, const char *at, Err *err) {
    unsigned char c = (unsigned char)*at;
    if (!c)
        return err_input(err,
                         "%s:%zu: found byte 0x00; expected valid UTF-8 text without NUL bytes (tr -d '\\000' "
                         "removes them)",
                         name, line);
    bool mark = c >= 0xFE && (unsigned char)at[1] >= 0xFE && at[1] != *at;
    return err_input(err, "%s:%zu: found byte 0x%02X%s; expected valid UTF-8 text%s", name, line, c,
                     mark ? ", the beginning of UTF-16 text" : "",
                     !mark ? " (is it Latin-1 or Windows-1252? iconv -f WINDOWS-1252 -t UTF-8)" : "");
}

// ---- the first line ----

static const char *invalid_utf8(const char *p, const char *end) {
    while (p < end) {
        utf8proc_int32_t c;
        utf8proc_ssize_t n = (*p & 0x80) ? utf8proc_iterate((const utf8proc_uint8_t *)p, end - p, &c) : 1;
        if (n <= 0) return p;
        p += n;
    }
    return NULL;
}

static bool is_json(const char *text, size_t len) {
    AUTO_JSON JsonDoc *doc = NULL;
    return json_parse_data(&doc, text, len, "", 0, NULL) == 0;
}

int fault_in_first_line(const char *path, size_t line, const char *text, size_t len, Err *err) {
    while (len && json_is_space(text[len - 1])) len--;
    if (!len || *text == '{' || *text == '[' || is_json(text, len) || invalid_utf8(text, text + len)) return 0;
    bool columns = (isalnum((unsigned char)*text) || *text == '"') &&
                   (memchr(text, ',', len) || memchr(text, ';', len) || memchr(text, '\t', len));
    return err_input(err, "%s:%zu: found \"%.*s\"%s; expected one JSON record a line%s", path, line,
                     (int)(len < 40 ? len : 40), text, columns ? ", which looks like CSV or another table" : "",
                     columns ? ", or a name that ends in .csv or .tsv" : "");
}

// ---- records ----

typedef struct Outline {   // of a record that the parser refuses, seen by its brackets and quotes
    const char *value_end; // after the first complete value; NULL: it does not end
    bool single_quotes, python_words;
    const char *python; // the first of these
} Outline;

static bool is_word(const char *p, const char *end, const char *word) {
    size_t n = strlen(word);
    return (size_t)(end - p) >= n && memcmp(p, word, n) == 0;
}

static Outline outline_of(const char *p, const char *end) {
    Outline o = {0};
    size_t depth = 0;
    char before = 0, quote = 0; // before: the last character that is not white space
    for (; p < end && !o.value_end; before = json_is_space(*p) ? before : *p, p++) {
        bool begins = before && strchr("{[,:(", before); // a value or key may begin here
        if (quote) {
            if (*p == '\\' && p + 1 < end)
                p++;
            else if (*p == quote)
                quote = 0;
        } else if (*p == '"' || (*p == '\'' && begins)) {
            quote = *p;
            o.single_quotes |= quote == '\'';
            if (quote == '\'' && !o.python) o.python = p;
        } else if (is_word(p, end, "//")) { // a comment of a config
            while (p + 1 < end && p[1] != '\n') p++;
        } else if (*p == '{' || *p == '[') {
            depth++;
        } else if ((*p == '}' || *p == ']') && depth && --depth == 0) {
            o.value_end = p + 1;
        } else if (begins) {
            bool word = is_word(p, end, "None") || is_word(p, end, "True") || is_word(p, end, "False");
            o.python_words |= word;
            if (word && !o.python) o.python = p;
        }
    }
    return o;
}

static size_t lines_between(const char *p, const char *end) {
    size_t n = 0;
    for (; p < end; p++) n += *p == '\n';
    return n;
}

// Text after a complete, valid value.
static int fault_after_value(RecordSpan s, const char *begin, const char *value_end, const char *end, Err *err) {
    const char *p = value_end;
    while (p < end && json_is_space(*p)) p++;
    if (p == end || !is_json(begin, (size_t)(value_end - begin))) return -1;
    size_t line = s.line + lines_between(s.text, p);
    const char *from = p;
    while (from > s.text && from[-1] != '\n') from--;
    size_t column = (size_t)(p - from) + 1;
    if (*p == ',')
        return err_input(err,
                         "%s:%zu: found a comma after the record, at column %zu; expected one record a line, without "
                         "commas between them",
                         s.name, line, column);
    if (*p == '{' || *p == '[')
        return err_input(err, "%s:%zu: found '%c' of a second record at column %zu; expected %s", s.name, line, *p,
                         column, "one record a line, or ',' between the records of an array");
    return -1;
}

int fault_in_value(const char *name, size_t line, const char *text, size_t len, Err *err) {
    Outline o = outline_of(text, text + len);
    if (!o.python) return -1;
    char place[64] = "", column[64] = "";
    const char *begin = o.python; // of the line
    while (begin > text && begin[-1] != '\n') begin--;
    if (line) {
        snprintf(place, sizeof place, ":%zu", line + lines_between(text, o.python));
        snprintf(column, sizeof column, " at column %zu", (size_t)(o.python - begin) + 1);
    }
    return err_input(err, "%s%s: found text in Python's form (%s)%s; expected JSON, as json.dumps writes it", name,
                     place, o.single_quotes ? "single quotes" : "None, True or False", column);
}

static int fault_in_record(RecordSpan s, Err *err) {
    const char *p = s.text, *end = s.text + s.len;
    while (p < end && json_is_space(*p)) p++;
    while (end > p && json_is_space(end[-1])) end--;
    const char *bad = invalid_utf8(p, end);
    if (bad) { // fault_in_text reads one byte more
        char two[2] = {*bad, bad + 1 < end ? bad[1] : 0};
        return fault_in_text(s.name, s.line + lines_between(s.text, bad), two, err);
    }
    if (is_word(p, end, "\xEF\xBB\xBF"))
        return err_input(err, "%s:%zu: found a byte order mark inside the file; expected it only at its beginning",
                         s.name, s.line);
    if (p == end || (*p != '{' && *p != '[')) return -1;
    Outline o = outline_of(p, end);
    if (o.single_quotes || o.python_words)
        return err_input(err,
                         "%s:%zu: found a Python dict (%s); expected JSON, with double quotes, true, false and null "
                         "(json.dumps writes it)",
                         s.name, s.line, o.single_quotes ? "single quotes" : "None, True or False");
    if (o.value_end) return fault_after_value(s, p, o.value_end, end, err);
    if (end[-1] && strchr("{[,:", end[-1]) && !lines_between(s.text, end))
        return err_input(
            err,
            "%s:%zu: found a record that does not end on its line; expected one record a line, or an array "
            "of records",
            s.name, s.line);
    return -1;
}

int record_parse(JsonDoc **doc, RecordSpan s, Err *err) {
    int rc = s.columns ? json_parse_columns(doc, s.text, s.len, s.name, s.line, err)
                       : json_parse_data(doc, s.text, s.len, s.name, s.line, err);
    return rc ? fault_in_record(s, err) : 0;
}

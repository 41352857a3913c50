// records: a cursor over a window of text. Elements of an array are found by counting brackets outside strings.
#include "records.h"

#include <stdio.h>
#include <string.h>

#include <utf8proc.h>

#include "byte_stream.h"
#include "file_faults.h"
#include "message.h"
#include "record_faults.h"
#include "tar_records.h"
#include "text_window.h"

typedef enum { LINES, ARRAY, LISTS, TEXT, TAR } Layout;

struct RecordReader {
    char *path;
    Layout layout;
    TextWindow w;
    TarReader *tar; // TAR, instead of the window
    size_t line;    // of w.p
    bool first, finished;
};

// ---- names ----

// len: of the name without the suffix of a compression.
static Layout layout_of(const char *path, size_t len) {
    bool tar = ends_with_nocase(path, len, ".tar") || ends_with_nocase(path, strlen(path), ".tgz") ||
               ends_with_nocase(path, strlen(path), ".tzst");
    return tar ? TAR : ends_with_nocase(path, len, ".txt") ? TEXT : LINES;
}

const char *records_kind(const char *path) {
    static const char *const names[] = {"json", "json", "json", "text", "tar"};
    size_t len;
    byte_stream_is_compressed(path, &len);
    return names[layout_of(path, len)];
}

static int refuse_name(const char *path, size_t len, Err *err) {
    static const char *const later[] = {".xz", ".bz2", ".lz4", ".zip", ".csv", ".tsv"};
    if (ends_with_nocase(path, len, ".parquet"))
        return err_input(err,
                         "%s: .parquet files are not read; convert: python -c \"import pandas; "
                         "pandas.read_parquet('x.parquet').to_json('x.jsonl', orient='records', lines=True)\"",
                         path);
    if (ends_with_nocase(path, len, ".arrow"))
        return err_input(err,
                         "%s: .arrow files are not read; convert: python -c \"import datasets; "
                         "datasets.Dataset.from_file('x.arrow').to_json('x.jsonl')\"",
                         path);
    for (size_t i = 0; i < sizeof later / sizeof *later; i++)
        if (ends_with_nocase(path, len, later[i]))
            return err_input(err,
                             "%s: %s files are not in this version; expected .jsonl, .json, .txt or .tar, or one "
                             "of these with .gz or .zst",
                             path, later[i]);
    return err_input(err,
                     "%s: found a data file of unknown kind; expected .jsonl, .json, .txt or .tar, or one of these "
                     "with .gz or .zst",
                     path);
}

static int check_name(Layout *layout, const char *path, Err *err) {
    size_t len;
    byte_stream_is_compressed(path, &len);
    *layout = layout_of(path, len);
    if (*layout != LINES || ends_with_nocase(path, len, ".jsonl") || ends_with_nocase(path, len, ".json")) return 0;
    return refuse_name(path, len, err);
}

// ---- more text ----

static size_t count_lines(const char *p, const char *end) {
    size_t n = 0;
    for (; (p = memchr(p, '\n', (size_t)(end - p))); p++) n++;
    return n;
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
    JsonDoc *doc; // with a comma after it: reading the record reports it
    if (r->w.p[len - 1] == ',' && json_parse_data(&doc, r->w.p, len - 1, r->path, 0, NULL) == 0) {
        json_free(doc);
        return 0;
    }
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

static int start_text(RecordReader *r, Err *err) {
    int rc = r->w.p < r->w.end ? 1 : more(r, err);
    return rc ? rc > 0 ? 0 : -1 : err_input(err, "%s: found an empty file; expected text", r->path);
}

// Is the first element of the array at p a chat message?
static int begins_with_message(RecordReader *r, bool *yes, Err *err) {
    ValueScan scan = {.at = 1};
    *yes = false;
    if (read_value(r, &scan, false, err)) return -1;
    JsonDoc *doc;
    if (json_parse_data(&doc, r->w.p + 1, scan.at - 1, r->path, 0, NULL))
        return 0; // reading the record reports the error
    *yes = json_is_message(json_root(doc));
    json_free(doc);
    return 0;
}

static int start(RecordReader *r, Err *err) {
    r->line = 1;
    r->first = true;
    if (check_beginning(r, err)) return -1;
    if (r->layout == TEXT) return start_text(r, err);
    int rc = skip_space(r, err);
    if (rc < 0) return -1;
    if (rc == 0) return err_input(err, "%s: found an empty file; expected at least one record", r->path);
    if (*r->w.p != '[') return check_one_line_objects(r, err);
    bool lists;
    if (begins_with_message(r, &lists, err)) return -1;
    r->layout = lists ? LISTS : ARRAY;
    r->w.p += !lists;
    return 0;
}

int records_open(RecordReader **r, const char *path, Err *err) {
    Layout layout;
    *r = NULL;
    if (check_name(&layout, path, err)) return -1;
    RecordReader *reader = mem_calloc(1, sizeof *reader);
    reader->path = mem_strdup(path);
    reader->layout = layout;
    int rc = layout == TAR ? tar_records_open(&reader->tar, path, err) : window_open(&reader->w, path, err);
    if (!rc && layout != TAR) rc = start(reader, err);
    if (rc) {
        records_close(reader);
        return -1;
    }
    *r = reader;
    return 0;
}

void records_close(RecordReader *r) {
    if (!r) return;
    tar_records_close(r->tar);
    window_close(&r->w);
    mem_free(r->path);
    mem_free(r);
}

bool records_are_text(const RecordReader *r) {
    return r->layout == TEXT;
}

const KeyCounts *records_ignored_kinds(const RecordReader *r) {
    return r->tar ? tar_records_ignored_kinds(r->tar) : NULL;
}

int64_t records_ignored(const RecordReader *r) {
    return r->tar ? tar_records_ignored(r->tar) : 0;
}

// ---- the three layouts of text ----

static int give(RecordReader *r, RecordSpan *span, size_t len, Err *err) {
    if (len > RECORD_MAX_BYTES && r->layout != TEXT)
        return err_input(err, "%s:%zu: found a record of %zu bytes; expected at most %d", r->path, r->line, len,
                         RECORD_MAX_BYTES);
    *span = (RecordSpan){r->w.p, len, r->line, r->path};
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

static int next_element(RecordReader *r, RecordSpan *span, Err *err) {
    ValueScan scan = {0};
    if (r->finished) return 0;
    int rc = skip_comma(r, err);
    if (rc != 1) return rc;
    r->first = false;
    if (read_value(r, &scan, false, err)) return -1;
    if (scan.at == 0) return fail_array(r, "a record", err);
    rc = give(r, span, scan.at, err);
    r->line += scan.lines;
    return rc;
}

// Each list of messages is a record.
static int next_list(RecordReader *r, RecordSpan *span, Err *err) {
    ValueScan scan = {0};
    int rc = skip_space(r, err);
    if (rc != 1) return rc;
    if (*r->w.p != '[')
        return err_input(err, "%s:%zu: found %s; expected a list of messages, as the first record is", r->path, r->line,
                         *r->w.p == ',' ? "a comma after the record" : "something else");
    if (read_value(r, &scan, true, err)) return -1;
    rc = give(r, span, scan.at, err);
    r->line += scan.lines;
    return rc;
}

const char *text_skip_mark(const char *text, size_t *len) {
    if (*len < 3 || memcmp(text, "\xEF\xBB\xBF", 3) != 0) return text;
    *len -= 3;
    return text + 3;
}

int text_check(const char *name, const char *text, size_t len, Err *err) {
    const char *end = text + len;
    size_t line = 1;
    for (const char *p = text; p < end;) {
        if (*p && !(*p & 0x80)) {
            line += *p++ == '\n';
            continue;
        }
        utf8proc_int32_t c = 0;
        utf8proc_ssize_t n = *p ? utf8proc_iterate((const utf8proc_uint8_t *)p, end - p, &c) : 0;
        if (n <= 0) return fault_in_text(name, line, (char[2]){*p, p + 1 < end ? p[1] : 0}, err);
        p += n;
    }
    return 0;
}

static int next_text(RecordReader *r, RecordSpan *span, Err *err) {
    int rc;
    while ((rc = more(r, err)) == 1) {
    }
    if (rc < 0) return -1;
    if (r->w.p == r->w.end) return 0;
    if (text_check(r->path, r->w.p, (size_t)(r->w.end - r->w.p), err)) return -1;
    return give(r, span, (size_t)(r->w.end - r->w.p), err);
}

int records_next(RecordReader *r, RecordSpan *span, Err *err) {
    switch (r->layout) {
    case LINES:
        return next_line(r, span, err);
    case LISTS:
        return next_list(r, span, err);
    case ARRAY:
        return next_element(r, span, err);
    case TEXT:
        return next_text(r, span, err);
    case TAR:
        return tar_records_next(r->tar, span, err);
    }
    CHECK(false, "layout %d", r->layout);
    return -1;
}

void records_release(RecordReader *r) {
    if (r->layout == TAR)
        tar_records_release(r->tar);
    else
        window_release(&r->w);
}

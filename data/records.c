// records: one cursor over a mapped file. An array's elements are found by counting brackets outside strings.
#include "records.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <utf8proc.h>

#include "fileio.h"

typedef enum { LINES, ARRAY, TEXT } Layout;

struct RecordReader {
    FileMap map;
    Layout layout;
    const char *p, *end;
    const char *released; // pages below it were given back
    size_t line;          // of p
    bool first, finished;
};

// ---- names ----

static bool ends_with(const char *path, const char *suffix) {
    size_t n = strlen(path), m = strlen(suffix);
    return n > m && strcasecmp(path + n - m, suffix) == 0;
}

static int check_name(const char *path, Err *err) {
    static const char *const later[] = {".gz", ".zst", ".tar", ".tgz", ".xz", ".bz2", ".parquet", ".arrow", ".csv"};
    for (size_t i = 0; i < sizeof later / sizeof *later; i++)
        if (ends_with(path, later[i]))
            return err_input(err, "%s: %s files are not in this version; expected .jsonl, .json or .txt", path,
                             later[i]);
    if (ends_with(path, ".jsonl") || ends_with(path, ".json") || ends_with(path, ".txt")) return 0;
    return err_input(err, "%s: found a data file of unknown kind; expected .jsonl, .json or .txt", path);
}

// ---- opening ----

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void skip_space(RecordReader *r) {
    for (; r->p < r->end && is_space(*r->p); r->p++) r->line += *r->p == '\n';
}

// "{" alone on the first line is one object spread over lines, e.g. {"data": [...]}: say so, rather than that line 1
// ends too early.
static int check_one_line_objects(const RecordReader *r, Err *err) {
    const char *stop = memchr(r->p, '\n', (size_t)(r->end - r->p));
    if (!stop) return 0;
    while (stop > r->p && is_space(stop[-1])) stop--;
    if (stop[-1] == '}' || *r->p != '{') return 0;
    return err_input(err,
                     "%s:%zu: found an object that goes on over several lines; expected one record a line, or an "
                     "array of records",
                     r->map.path, r->line);
}

static int start(RecordReader *r, Err *err) {
    r->p = (const char *)r->map.data;
    r->end = r->p + r->map.size;
    r->released = r->p;
    r->line = 1;
    r->first = true;
    if (r->map.size >= 3 && memcmp(r->p, "\xEF\xBB\xBF", 3) == 0) r->p += 3;
    if (ends_with(r->map.path, ".txt")) {
        r->layout = TEXT;
        return r->p < r->end ? 0 : err_input(err, "%s: found an empty file; expected text", r->map.path);
    }
    skip_space(r);
    if (r->p == r->end) return err_input(err, "%s: found an empty file; expected at least one record", r->map.path);
    r->layout = *r->p == '[' ? ARRAY : LINES;
    if (r->layout == LINES) return check_one_line_objects(r, err);
    r->p++;
    return 0;
}

int records_open(RecordReader **r, const char *path, Err *err) {
    *r = NULL;
    if (check_name(path, err)) return -1;
    RecordReader *reader = mem_calloc(1, sizeof *reader);
    if (file_map(&reader->map, path, err)) {
        mem_free(reader);
        return -1;
    }
    if (start(reader, err)) {
        records_close(reader);
        return -1;
    }
    *r = reader;
    return 0;
}

void records_close(RecordReader *r) {
    if (!r) return;
    file_unmap(&r->map);
    mem_free(r);
}

const char *records_path(const RecordReader *r) {
    return r->map.path;
}

bool records_are_text(const RecordReader *r) {
    return r->layout == TEXT;
}

// ---- the three layouts ----

static int next_line(RecordReader *r, RecordSpan *span) {
    skip_space(r);
    if (r->p == r->end) return 0;
    const char *stop = memchr(r->p, '\n', (size_t)(r->end - r->p));
    if (!stop) stop = r->end;
    *span = (RecordSpan){r->p, (size_t)(stop - r->p), r->line};
    r->p = stop;
    return 1;
}

// End of the JSON value at p: the place where a ',' or ']' of the enclosing array must stand.
static const char *value_end(const char *p, const char *end, size_t *line) {
    size_t depth = 0;
    bool in_string = false;
    for (; p < end; p++) {
        *line += *p == '\n';
        if (in_string) {
            if (*p == '\\' && p + 1 < end)
                p++;
            else
                in_string = *p != '"';
        } else if (*p == '"') {
            in_string = true;
        } else if (*p == '{' || *p == '[') {
            depth++;
        } else if (*p == '}' || *p == ']') {
            if (depth == 0) return p;
            depth--;
        } else if (*p == ',' && depth == 0) {
            return p;
        }
    }
    return p;
}

static int fail_array(const RecordReader *r, const char *expected, Err *err) {
    char found[16] = "the end";
    if (r->p < r->end) snprintf(found, sizeof found, *r->p > 32 && *r->p < 127 ? "'%c'" : "byte %d", *r->p);
    return err_input(err, "%s:%zu: found %s in the array of records; expected %s", r->map.path, r->line, found,
                     expected);
}

static int end_of_array(RecordReader *r, Err *err) {
    r->p++;
    r->finished = true;
    skip_space(r);
    if (r->p == r->end) return 0;
    return err_input(err, "%s:%zu: found more behind the array of records; expected the end", r->map.path, r->line);
}

static int next_element(RecordReader *r, RecordSpan *span, Err *err) {
    if (r->finished) return 0;
    skip_space(r);
    if (r->p == r->end) return fail_array(r, r->first ? "a record or ']'" : "',' or ']'", err);
    if (*r->p == ']') return end_of_array(r, err);
    if (!r->first) {
        if (*r->p != ',') return fail_array(r, "',' or ']'", err);
        r->p++;
        skip_space(r);
    }
    r->first = false;
    size_t line = r->line;
    const char *stop = value_end(r->p, r->end, &line);
    if (stop == r->p) return fail_array(r, "a record", err);
    *span = (RecordSpan){r->p, (size_t)(stop - r->p), r->line};
    r->p = stop;
    r->line = line;
    return 1;
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
        if (n <= 0)
            return err_input(err, "%s:%zu: found byte 0x%02X; expected valid UTF-8 text", name, line,
                             (unsigned)(unsigned char)*p);
        p += n;
    }
    return 0;
}

static int next_text(RecordReader *r, RecordSpan *span, Err *err) {
    if (r->p == r->end) return 0;
    if (text_check(r->map.path, r->p, (size_t)(r->end - r->p), err)) return -1;
    *span = (RecordSpan){r->p, (size_t)(r->end - r->p), 1};
    r->p = r->end;
    return 1;
}

int records_next(RecordReader *r, RecordSpan *span, Err *err) {
    if (r->layout == ARRAY) return next_element(r, span, err);
    return r->layout == LINES ? next_line(r, span) : next_text(r, span, err);
}

void records_release(RecordReader *r) {
    enum { PIECE = 1 << 20 }; // less is not worth a system call
    if (r->p - r->released < PIECE) return;
    file_map_drop(&r->map, (size_t)(r->released - (const char *)r->map.data), (size_t)(r->p - r->released));
    r->released = r->p;
}

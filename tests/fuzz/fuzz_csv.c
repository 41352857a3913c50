// Bytes as tables with commas and with tabs, also compressed: every record is JSON with keys of the header, and,
// written as a row again, the same record.
#include "fuzz.h"
#include "json.h"
#include "records.h"

static const char *file_name(const uint8_t *data, size_t size, bool tabs) {
    bool gzip = size >= 2 && memcmp(data, "\x1F\x8B", 2) == 0;
    return tabs ? gzip ? "x.tsv.gz" : "x.tsv" : gzip ? "x.csv.gz" : "x.csv";
}

static void add_cell(StrBuf *row, const char *text, size_t len) {
    str_puts(row, row->len ? ",\"" : "\"");
    for (size_t i = 0; i < len; i++) {
        str_add(row, text + i, 1);
        if (text[i] == '"') str_puts(row, "\"");
    }
    str_puts(row, "\"");
}

// The record as a table of one row, read again.
static void check_again(RecordSpan span) {
    JsonDoc *doc;
    Err err;
    StrBuf names = {0}, cells = {0};
    RecordReader *r;
    RecordSpan again;
    CHECK(json_parse(&doc, span.text, span.len, "record", 1, &err) == 0, "%s", err.msg);
    const Json *record = json_root(doc);
    CHECK(record->type == JSON_OBJECT);
    for (size_t i = 0; i < record->count; i++) {
        const Json *v = &record->items[i];
        CHECK(v->type == JSON_NULL || (v->type == JSON_STRING && v->str.len));
        add_cell(&names, record->keys[i].data, record->keys[i].len);
        add_cell(&cells, v->str.data, v->str.len);
    }
    bool several = record->count > 1; // one column alone may look like another table
    json_free(doc);
    if (several) {
        str_printf(&names, "\r\n%s", cells.data);
        char *path = fuzz_put("again.csv", names.data, names.len);
        CHECK(records_open(&r, path, &err) == 0, "%s", err.msg);
        CHECK(records_next(r, &again, &err) == 1, "%s", err.msg);
        CHECK(again.len == span.len && memcmp(again.text, span.text, span.len) == 0, "%s", again.text);
        CHECK(records_next(r, &again, &err) == 0);
        records_close(r);
        mem_free(path);
    }
    str_clear(&names);
    str_clear(&cells);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    for (int tabs = 0; tabs < 2; tabs++) {
        char *path = fuzz_put(file_name(data, size, tabs), data, size);
        RecordReader *r;
        RecordSpan span;
        Err err;
        if (records_open(&r, path, &err) == 0) {
            while (records_next(r, &span, &err) == 1) {
                check_again(span);
                records_release(r);
            }
            records_close(r);
        }
        mem_free(path);
    }
    return 0;
}

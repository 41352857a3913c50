#include "text_source.h"

#include <string.h>

#include "path.h"
#include "text_lines.h"

int text_source_lines(const TextSink *s, FILE *in, const char *name, bool sniff, Err *err) {
    AUTO_STR StrBuf line = {0};
    bool records = false;
    int more;
    for (size_t number = 1; (more = text_line_next(&line, in, name, number, err)) == 1; number++) {
        size_t len = line.len;
        const char *text = number == 1 ? text_skip_mark(line.data, &len) : line.data;
        if (number == 1) records = sniff && *text == '{';
        if (records && !len) continue;
        if (records) {
            if (s->record(s->to, (RecordSpan){.text = text, .len = len, .line = number, .name = name}, err)) return -1;
        } else if (s->text(s->to, (JsonStr){text, len}, err)) {
            return err_context(err, "%s:%zu", name, number);
        }
    }
    return more;
}

int text_source_file(const TextSink *s, const char *path, Err *err) {
    AUTO(records_close) RecordReader *records = NULL;
    RecordSpan span;
    int more = 0;
    if (!path_exists(path)) return err_input(err, "%s: no such file", path);
    if (ends_with_nocase(path, strlen(path), ".txt")) {
        AUTO_FILE FILE *in = fopen(path, "r");
        return in ? text_source_lines(s, in, path, false, err) : err_input(err, "%s: cannot be opened", path);
    }
    if (records_open(&records, path, err)) return -1;
    if (records_are_text(records)) return err_input(err, "%s: found compressed text; expected .txt or records", path);
    while ((more = records_next(records, &span, err)) == 1) {
        if (s->record(s->to, span, err)) return -1;
        records_release(records);
    }
    return more;
}

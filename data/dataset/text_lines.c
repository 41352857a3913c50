#include "text_lines.h"

#include <string.h>

#include "record_faults.h"
#include "records.h"
#include "unicode.h"

int text_line_next(StrBuf *line, FILE *in, const char *name, size_t number, Err *err) {
    char piece[4096];
    size_t n = 0;
    int c;
    line->len = 0;
    str_puts(line, "");
    while ((c = getc(in)) != EOF && c != '\n') {
        piece[n++] = (char)c;
        if (n == sizeof piece) str_add(line, piece, n), n = 0;
        if (line->len > RECORD_MAX_BYTES)
            return err_input(err, "%s:%zu: found a line of more than %d bytes; expected at most that", name, number,
                             RECORD_MAX_BYTES);
    }
    str_add(line, piece, n);
    if (ferror(in)) return err_runtime(err, "%s: cannot be read", name);
    if (c == EOF && !line->len) return 0;
    if (line->len && line->data[line->len - 1] == '\r') line->data[--line->len] = 0;
    size_t valid = utf8_valid_prefix(line->data, line->len);
    const char *zero = memchr(line->data, 0, valid), *bad = zero ? zero : line->data + valid;
    return bad < line->data + line->len ? fault_in_text(name, number, bad, err) : 1;
}

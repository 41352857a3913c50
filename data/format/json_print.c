// json_print: values as JSON text (see json.h).
#include <string.h>

#include "json.h"
#include "say.h"

// Of a character of two or three bytes.
static unsigned code_point(const char *s, size_t n) {
    unsigned c = (uint8_t)s[0] & (n == 2 ? 0x1Fu : 0x0Fu);
    for (size_t i = 1; i < n; i++) c = c << 6 | ((uint8_t)s[i] & 0x3Fu);
    return c;
}

void json_quote(StrBuf *out, const char *s, size_t len) {
    static const char escaped[] = "\"\\\b\f\n\r\t", letter[] = "\"\\bfnrt";
    str_puts(out, "\"");
    size_t plain = 0, n; // start of the run that needs no escape
    for (size_t i = 0; i < len; i += n) {
        unsigned char c = (unsigned char)s[i];
        bool safe;
        n = say_character(s + i, len - i, &safe);
        bool invalid = n == 1 && c > 127; // unchanged
        if (invalid || (safe && !strchr("\"\\\n\t", c))) continue;
        str_add(out, s + plain, i - plain);
        plain = i + n;
        const char *hit = c ? strchr(escaped, c) : NULL;
        if (hit)
            str_printf(out, "\\%c", letter[hit - escaped]);
        else
            str_printf(out, "\\u%04x", n == 1 ? c : code_point(s + i, n));
    }
    str_add(out, s + plain, len - plain);
    str_puts(out, "\"");
}

static void print_members(StrBuf *out, const Json *v) {
    for (size_t i = 0; i < v->count; i++) {
        if (i) str_puts(out, ", ");
        if (v->type == JSON_OBJECT) {
            json_quote(out, v->keys[i].data, v->keys[i].len);
            str_puts(out, ": ");
        }
        json_print(out, &v->items[i]);
    }
}

void json_print(StrBuf *out, const Json *v) {
    static const char *const words[] = {[JSON_NULL] = "null", [JSON_FALSE] = "false", [JSON_TRUE] = "true"};
    if (v->type == JSON_ARRAY || v->type == JSON_OBJECT) {
        str_puts(out, v->type == JSON_ARRAY ? "[" : "{");
        print_members(out, v);
        str_puts(out, v->type == JSON_ARRAY ? "]" : "}");
    } else if (v->type == JSON_STRING) {
        json_quote(out, v->str.data, v->str.len);
    } else {
        str_puts(out, v->type == JSON_INT || v->type == JSON_FLOAT ? v->str.data : words[v->type]);
    }
}

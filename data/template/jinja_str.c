// jinja_str: strings with provenance: making, joining, cutting, searching. Positions are bytes unless said otherwise;
// what templates see are code points.
#include "jinja_internal.h"

#include <stdio.h>
#include <string.h>

// ---- UTF-8 ----

// Text was validated where it entered (JSON reader, jinja_compile), so a lead byte tells the length.
size_t utf8_next(const char *s, size_t len, size_t at, int32_t *cp) {
    const unsigned char *u = (const unsigned char *)s + at;
    size_t n = u[0] < 0x80 ? 1 : u[0] < 0xE0 ? 2 : u[0] < 0xF0 ? 3 : 4;
    if (n > len - at) n = 1;
    *cp = n == 1 ? u[0] : u[0] & (0xFF >> (n + 1));
    for (size_t i = 1; i < n; i++) *cp = *cp << 6 | (u[i] & 0x3F);
    return n;
}

size_t utf8_put(char out[4], int32_t cp) {
    if (cp < 0x80) return out[0] = (char)cp, 1;
    size_t n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, cp >>= 6) out[i] = (char)(0x80 | (cp & 0x3F));
    out[0] = (char)((0xF00 >> n) | cp);
    return n;
}

// str.isspace of Python, which is also what its \s matches.
bool char_is_space(int32_t cp) {
    return (cp >= 9 && cp <= 13) || (cp >= 0x1C && cp <= 0x20) || cp == 0x85 || cp == 0xA0 || cp == 0x1680 ||
           (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 || cp == 0x2029 || cp == 0x202F || cp == 0x205F ||
           cp == 0x3000;
}

static size_t count_chars(const char *s, size_t len) {
    size_t n = 0;
    for (size_t i = 0; i < len; i++) n += (s[i] & 0xC0) != 0x80;
    return n;
}

// ---- making strings ----

Str *str_in_arena(Arena *a, const char *data, size_t len, uint32_t origin) {
    Str *s = arena_alloc(a, sizeof *s);
    *s = (Str){.data = data, .len = len, .chars = count_chars(data, len), .origin = origin};
    return s;
}

Str *str_make(Eval *e, const char *data, size_t len, uint32_t origin) {
    char *copy = eval_alloc(e, len + 1, 1);
    memcpy(copy, data, len);
    copy[len] = 0;
    return str_in_arena(&e->arena, copy, len, origin);
}

Value v_text(Eval *e, const char *cstr) {
    return v_str(str_make(e, cstr, strlen(cstr), 0));
}

bool str_is(const Str *s, const char *text) {
    return strlen(text) == s->len && memcmp(s->data, text, s->len) == 0;
}

int str_shown(const Str *s, int limit) {
    if (s->len <= (size_t)limit) return (int)s->len;
    while (limit > 0 && (s->data[limit] & 0xC0) == 0x80) limit--;
    return limit;
}

bool str_equal(const Str *a, const Str *b) {
    return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

size_t str_offset(const Str *s, size_t chars) {
    if (s->chars == s->len) return chars;
    size_t at = 0;
    for (; chars > 0; chars--) {
        at++;
        while (at < s->len && (s->data[at] & 0xC0) == 0x80) at++;
    }
    return at;
}

// Shares the bytes with s.
Value str_slice(Eval *e, const Str *s, size_t from, size_t to) {
    eval_charge(e, 1 + (to - from) / 64);
    Str *r = str_in_arena(&e->arena, s->data + from, to - from, s->origin);
    if (s->origins) r->origins = s->origins + from;
    return v_str(r);
}

uint32_t str_edge_origin(const Str *s) {
    return s->origins && s->len ? s->origins[0] : s->origin;
}

// ---- buffers ----

static bool buf_room(Eval *e, Buffer *b, size_t len) {
    if (e->failed) return false;
    if (len > JINJA_MAX_STRING || b->len + len > JINJA_MAX_STRING) {
        eval_fail(e, "a text is longer than %d bytes", JINJA_MAX_STRING);
        return false;
    }
    if (b->len + len > b->capacity) {
        size_t capacity = b->capacity ? b->capacity * 2 : 64;
        while (capacity < b->len + len) capacity *= 2;
        char *data = eval_alloc(e, capacity, 1);
        uint32_t *origins = eval_alloc(e, capacity, sizeof *origins);
        if (b->len) {
            memcpy(data, b->data, b->len);
            memcpy(origins, b->origins, b->len * sizeof *origins);
        }
        b->data = data;
        b->origins = origins;
        b->capacity = capacity;
    }
    return !e->failed;
}

void buf_add(Eval *e, Buffer *b, const char *data, size_t len, uint32_t origin) {
    if (len == 0 || !buf_room(e, b, len)) return;
    memcpy(b->data + b->len, data, len);
    for (size_t i = 0; i < len; i++) b->origins[b->len + i] = origin;
    b->len += len;
}

void buf_slice(Eval *e, Buffer *b, const Str *s, size_t from, size_t to) {
    if (!s->origins) {
        buf_add(e, b, s->data + from, to - from, s->origin);
    } else if (to > from && buf_room(e, b, to - from)) {
        memcpy(b->data + b->len, s->data + from, to - from);
        memcpy(b->origins + b->len, s->origins + from, (to - from) * sizeof *s->origins);
        b->len += to - from;
    }
}

void buf_str(Eval *e, Buffer *b, const Str *s) {
    buf_slice(e, b, s, 0, s->len);
}

void buf_printf(Eval *e, Buffer *b, uint32_t origin, const char *fmt, ...) {
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    CHECK(n >= 0 && (size_t)n < sizeof text);
    buf_add(e, b, text, (size_t)n, origin);
}

// The buffer's text as a string; the buffer must not be used again.
Value buf_value(Eval *e, Buffer *b) {
    if (!b->data) return v_text(e, "");
    Str *s = str_in_arena(&e->arena, b->data, b->len, 0);
    s->origins = b->origins;
    return v_str(s);
}

// ---- operations ----

// Byte offset of needle in s[from, to), SIZE_MAX when absent.
size_t str_find(const Str *s, const Str *needle, size_t from, size_t to) {
    if (from > to || needle->len > to - from) return SIZE_MAX;
    if (needle->len == 0) return from;
    const char *hit = memmem(s->data + from, to - from, needle->data, needle->len);
    return hit ? (size_t)(hit - s->data) : SIZE_MAX;
}

static bool in_set(const Str *set, int32_t cp) {
    if (!set) return char_is_space(cp);
    for (size_t at = 0; at < set->len;) {
        int32_t c;
        at += utf8_next(set->data, set->len, at, &c);
        if (c == cp) return true;
    }
    return false;
}

// chars NULL: white space.
Value str_strip(Eval *e, const Str *s, const Str *chars, bool left, bool right) {
    size_t from = 0, to = s->len;
    int32_t cp;
    while (left && from < to) {
        size_t n = utf8_next(s->data, s->len, from, &cp);
        if (!in_set(chars, cp)) break;
        from += n;
    }
    while (right && to > from) {
        size_t start = to - 1;
        while (start > from && (s->data[start] & 0xC0) == 0x80) start--;
        utf8_next(s->data, s->len, start, &cp);
        if (!in_set(chars, cp)) break;
        to = start;
    }
    eval_charge(e, (s->len - (to - from)) / 16);
    return str_slice(e, s, from, to);
}

// max < 0: all.
Value str_replace(Eval *e, const Str *s, const Str *old, const Str *with, int64_t max) {
    Buffer b = {0};
    size_t at = 0;
    for (int64_t n = 0; (max < 0 || n < max) && !e->failed; n++) {
        size_t hit;
        if (old->len) {
            hit = str_find(s, old, at, s->len);
            if (hit == SIZE_MAX) break;
            buf_slice(e, &b, s, at, hit);
            buf_str(e, &b, with);
            at = hit + old->len;
        } else { // an empty string is found before every character and at the end
            buf_str(e, &b, with);
            if (at == s->len) return buf_value(e, &b);
            int32_t cp;
            size_t len = utf8_next(s->data, s->len, at, &cp);
            buf_slice(e, &b, s, at, at + len);
            at += len;
        }
    }
    if (at == 0) return v_str(s);
    buf_slice(e, &b, s, at, s->len);
    return buf_value(e, &b);
}

// items: anything that can be iterated. convert: str() of each, else each must be a string.
Value str_join(Eval *e, const Str *glue, Value items, bool convert) {
    Buffer b = {0};
    Iter *it = iter_new(e, items);
    Value v;
    for (size_t i = 0; iter_next(e, it, &v); i++) {
        if (!convert && v.type != V_STR) {
            return eval_fail(e, "join: item %zu is of type '%s'; expected a string", i, type_name(v));
        }
        if (i) buf_str(e, &b, glue);
        buf_str(e, &b, to_str(e, v));
    }
    return buf_value(e, &b);
}

Value str_pad(Eval *e, const Str *s, int64_t width, const Str *fill, char align) {
    if (width <= (int64_t)s->chars) return v_str(s);
    if (width > JINJA_MAX_STRING) return eval_fail(e, "a width of %lld is too large", (long long)width);
    int64_t pad = width - (int64_t)s->chars;
    // str.center puts the odd one on the left when the width is odd
    int64_t left = align == '<' ? 0 : align == '>' ? pad : pad / 2 + (pad & width & 1);
    Buffer b = {0};
    for (int64_t i = 0; i < left && !e->failed; i++) buf_str(e, &b, fill);
    buf_str(e, &b, s);
    for (int64_t i = left; i < pad && !e->failed; i++) buf_str(e, &b, fill);
    return buf_value(e, &b);
}

// jinja_str: strings with the origin of every byte: making, reading, searching, and buffers that they are written to.
#include "jinja_eval.h"
#include "unicode.h"

#include <stdio.h>
#include <string.h>

static bool begins_char(char c) { return (c & 0xC0) != 0x80; }

Str *str_in_arena(Arena *a, const char *data, size_t len, uint32_t origin) {
    Str *s = arena_alloc(a, sizeof *s);
    *s = (Str){.data = data, .len = len, .origin = origin};
    for (size_t i = 0; i < len; i++) s->chars += begins_char(data[i]);
    return s;
}

Str *str_make(Eval *e, const char *data, size_t len) {
    char *copy = eval_alloc(e, len + 1, 1);
    memcpy(copy, data, len);
    copy[len] = 0;
    return str_in_arena(&e->arena, copy, len, 0);
}

Value str_slice(Eval *e, const Str *s, size_t from, size_t to) {
    eval_charge(e, 1 + (to - from) / 64);
    Str *r = str_in_arena(&e->arena, s->data + from, to - from, s->origin);
    if (s->origins) r->origins = s->origins + from;
    return v_str(r);
}

Value str_as_markup(Eval *e, const Str *s) {
    Str *marked = eval_copy(e, s, sizeof *s);
    marked->markup = true;
    return v_str(marked);
}

// ---- reading ----

bool str_is(const Str *s, const char *text) { return strlen(text) == s->len && memcmp(s->data, text, s->len) == 0; }

bool str_equal(const Str *a, const Str *b) { return a->len == b->len && memcmp(a->data, b->data, a->len) == 0; }

bool str_has(const Str *s, size_t at, const Str *part) {
    return at <= s->len && part->len <= s->len - at && memcmp(s->data + at, part->data, part->len) == 0;
}

size_t str_find(const Str *s, const Str *needle, size_t from) {
    if (from > s->len) return SIZE_MAX;
    const char *hit = memmem(s->data + from, s->len - from, needle->data, needle->len);
    return hit ? (size_t)(hit - s->data) : SIZE_MAX;
}

size_t str_offset(const Str *s, size_t chars) {
    if (s->chars == s->len) return chars;
    size_t at = 0;
    for (; chars > 0; chars--) {
        at++;
        while (at < s->len && !begins_char(s->data[at])) at++;
    }
    return at;
}

uint32_t str_origin(const Str *s, size_t at) { return s->origins && at < s->len ? s->origins[at] : s->origin; }

int str_shown(const Str *s, int limit) {
    if (s->len <= (size_t)limit) return (int)s->len;
    while (limit > 0 && !begins_char(s->data[limit])) limit--;
    return limit;
}

int32_t str_next(const Str *s, size_t *at) {
    size_t n;
    if ((unsigned char)s->data[*at] < 0x80) return s->data[(*at)++];
    int32_t cp = utf8_decode(s->data + *at, s->len - *at, &n);
    *at += n;
    return cp;
}

int32_t str_prev(const Str *s, size_t *at) {
    size_t n;
    do --*at;
    while (!begins_char(s->data[*at]));
    return utf8_decode(s->data + *at, s->len - *at, &n);
}

bool char_is_space(int32_t cp) { return unicode_is_space(cp) || (cp >= 0x1C && cp <= 0x1F); }

static bool in_set(const Str *set, int32_t cp) {
    if (!set) return char_is_space(cp);
    for (size_t at = 0; at < set->len;)
        if (str_next(set, &at) == cp) return true;
    return false;
}

size_t str_run(const Str *s, size_t at, const Str *set, bool in) {
    for (size_t next = at; next < s->len; at = next)
        if (in_set(set, str_next(s, &next)) != in) break;
    return at;
}

size_t str_run_back(const Str *s, size_t from, size_t at, const Str *set, bool in) {
    for (size_t next = at; next > from; at = next)
        if (in_set(set, str_prev(s, &next)) != in) break;
    return at;
}

// ---- buffers ----

Value text_too_long(Eval *e) { return eval_fail(e, "a text is longer than %d bytes", JINJA_MAX_STRING); }

static bool buf_room(Eval *e, Buffer *b, size_t len) {
    if (len > JINJA_MAX_STRING || b->len + len > JINJA_MAX_STRING) text_too_long(e);
    if (e->failed) return false;
    if (b->len + len > b->capacity) {
        size_t capacity = b->capacity ? b->capacity * 2 : 64;
        while (capacity < b->len + len) capacity *= 2;
        char *data = eval_alloc(e, capacity, 1);
        uint32_t *origins = eval_alloc(e, capacity, sizeof *origins);
        if (b->len) {
            memcpy(data, b->data, b->len);
            memcpy(origins, b->origins, b->len * sizeof *origins);
        }
        *b = (Buffer){.data = data, .origins = origins, .len = b->len, .capacity = capacity};
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

void buf_str(Eval *e, Buffer *b, const Str *s) { buf_slice(e, b, s, 0, s->len); }

void buf_printf(Eval *e, Buffer *b, uint32_t origin, const char *fmt, ...) {
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    CHECK(n >= 0 && (size_t)n < sizeof text);
    buf_add(e, b, text, (size_t)n, origin);
}

Value buf_value(Eval *e, Buffer *b) {
    if (!b->data) return v_text(e, "");
    Str *s = str_in_arena(&e->arena, b->data, b->len, 0);
    s->origins = b->origins;
    return v_str(s);
}

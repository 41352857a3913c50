// jinja_split: str.split, rsplit and splitlines of Python.
#include "jinja_internal.h"

#include <string.h>

typedef struct Pieces {
    Value *items;
    size_t count, capacity;
} Pieces;

static void add_piece(Eval *e, Pieces *p, const Str *s, size_t from, size_t to) {
    if (p->count == p->capacity) {
        p->capacity = p->capacity ? p->capacity * 2 : 8;
        Value *grown = eval_alloc(e, p->capacity, sizeof *grown);
        if (p->count) memcpy(grown, p->items, p->count * sizeof *grown);
        p->items = grown;
    }
    p->items[p->count++] = str_slice(e, s, from, to);
}

static size_t space_end(const Str *s, size_t at, bool space) { // behind the run of (no) white space at `at`
    while (at < s->len) {
        int32_t cp;
        size_t n = utf8_next(s->data, s->len, at, &cp);
        if (char_is_space(cp) != space) break;
        at += n;
    }
    return at;
}

static size_t space_begin(const Str *s, size_t at, bool space) { // start of the run that ends at `at`
    while (at > 0) {
        size_t start = at - 1;
        int32_t cp;
        while (start > 0 && (s->data[start] & 0xC0) == 0x80) start--;
        utf8_next(s->data, s->len, start, &cp);
        if (char_is_space(cp) != space) break;
        at = start;
    }
    return at;
}

// What is left after max splits keeps its white space at the far end, as in Python.
static void split_space(Eval *e, Pieces *p, const Str *s, int64_t max) {
    for (size_t at = space_end(s, 0, true); at < s->len && !e->failed;) {
        size_t end = max >= 0 && (int64_t)p->count >= max ? s->len : space_end(s, at, false);
        add_piece(e, p, s, at, end);
        at = space_end(s, end, true);
    }
}

static void rsplit_space(Eval *e, Pieces *p, const Str *s, int64_t max) {
    for (size_t at = space_begin(s, s->len, true); at > 0 && !e->failed;) {
        size_t start = max >= 0 && (int64_t)p->count >= max ? 0 : space_begin(s, at, false);
        add_piece(e, p, s, start, at);
        at = space_begin(s, start, true);
    }
}

static void split_at(Eval *e, Pieces *p, const Str *s, const Str *sep, int64_t max) {
    size_t at = 0;
    while ((max < 0 || (int64_t)p->count < max) && !e->failed) {
        size_t hit = str_find(s, sep, at, s->len);
        if (hit == SIZE_MAX) break;
        add_piece(e, p, s, at, hit);
        at = hit + sep->len;
    }
    add_piece(e, p, s, at, s->len);
}

static void rsplit_at(Eval *e, Pieces *p, const Str *s, const Str *sep, int64_t max) {
    size_t end = s->len;
    for (size_t at = s->len; at-- > 0 && (max < 0 || (int64_t)p->count < max) && !e->failed;) {
        if (at + sep->len > end || memcmp(s->data + at, sep->data, sep->len) != 0) continue;
        add_piece(e, p, s, at + sep->len, end);
        end = at;
    }
    add_piece(e, p, s, 0, end);
}

Value str_split(Eval *e, const Str *s, const Str *sep, int64_t max, bool from_right) {
    Pieces p = {0};
    if (sep && sep->len == 0) return eval_fail(e, "empty separator");
    if (sep) {
        (from_right ? rsplit_at : split_at)(e, &p, s, sep, max);
    } else {
        (from_right ? rsplit_space : split_space)(e, &p, s, max);
    }
    for (size_t i = 0; from_right && i < p.count / 2; i++) {
        Value v = p.items[i];
        p.items[i] = p.items[p.count - 1 - i];
        p.items[p.count - 1 - i] = v;
    }
    return v_seq(e, V_LIST, p.items, p.count);
}

static bool is_line_end(int32_t cp) {
    return (cp >= 0x0A && cp <= 0x0D) || (cp >= 0x1C && cp <= 0x1E) || cp == 0x85 || cp == 0x2028 || cp == 0x2029;
}

Value str_splitlines(Eval *e, const Str *s, bool keep_ends) {
    Pieces p = {0};
    size_t from = 0;
    while (from < s->len && !e->failed) {
        size_t to = from, end;
        int32_t cp = 0;
        for (size_t n; to < s->len; to += n) {
            n = utf8_next(s->data, s->len, to, &cp);
            if (is_line_end(cp)) break;
        }
        end = to;
        if (end < s->len) end += utf8_next(s->data, s->len, to, &cp);
        if (cp == '\r' && end < s->len && s->data[end] == '\n') end++;
        add_piece(e, &p, s, from, keep_ends ? end : to);
        from = end;
    }
    return v_seq(e, V_LIST, p.items, p.count);
}

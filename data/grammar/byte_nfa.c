#include "byte_nfa.h"

#include <stdlib.h>

void nfa_clear(ByteNfa *n) {
    mem_free(n->nodes);
    *n = (ByteNfa){0};
}

static uint32_t add(ByteNfa *n, NfaNode node) {
    if (n->count == NFA_MAX_NODES) {
        n->full = true;
        return 0;
    }
    MEM_GROW(n->nodes, n->capacity, n->count + 1);
    n->nodes[n->count] = node;
    return (uint32_t)n->count++;
}

static uint32_t add_split(ByteNfa *n, uint32_t a, uint32_t b) { return add(n, (NfaNode){.a = a, .b = b}); }

NfaPart nfa_empty(ByteNfa *n) {
    uint32_t node = add_split(n, NFA_NOWHERE, NFA_NOWHERE);
    return (NfaPart){node, node};
}

NfaPart nfa_nothing(ByteNfa *n) {
    uint32_t start = add_split(n, NFA_NOWHERE, NFA_NOWHERE);
    return (NfaPart){start, add_split(n, NFA_NOWHERE, NFA_NOWHERE)};
}

NfaPart nfa_bytes(ByteNfa *n, uint8_t lo, uint8_t hi) {
    uint32_t end = add_split(n, NFA_NOWHERE, NFA_NOWHERE);
    return (NfaPart){add(n, (NfaNode){.bytes = true, .lo = lo, .hi = hi, .a = end, .b = NFA_NOWHERE}), end};
}

NfaPart nfa_sequence(ByteNfa *n, NfaPart x, NfaPart y) {
    if (!n->full) n->nodes[x.end].a = y.start;
    return (NfaPart){x.start, y.end};
}

NfaPart nfa_either(ByteNfa *n, NfaPart x, NfaPart y) {
    uint32_t end = add_split(n, NFA_NOWHERE, NFA_NOWHERE), start = add_split(n, x.start, y.start);
    if (!n->full) n->nodes[x.end].a = n->nodes[y.end].a = end;
    return (NfaPart){start, end};
}

NfaPart nfa_text(ByteNfa *n, const char *text, size_t len) {
    NfaPart whole = nfa_empty(n);
    for (size_t i = 0; i < len && !n->full; i++)
        whole = nfa_sequence(n, whole, nfa_bytes(n, (uint8_t)text[i], (uint8_t)text[i]));
    return whole;
}

// ---- characters ----

static int utf8_put(uint8_t out[4], uint32_t c) {
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    int len = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const uint8_t lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (int i = len - 1; i > 0; i--, c >>= 6) out[i] = (uint8_t)(0x80 | (c & 0x3F));
    out[0] = (uint8_t)(lead[len] | c);
    return len;
}

typedef struct ClassBuilder {
    ByteNfa *n;
    NfaPart all;
    bool begun;
} ClassBuilder;

// lo and hi have the same length, and each byte's range is independent of the others'.
static void add_block(ClassBuilder *b, uint32_t lo, uint32_t hi) {
    uint8_t from[4], to[4];
    int len = utf8_put(from, lo);
    utf8_put(to, hi);
    NfaPart one = nfa_bytes(b->n, from[0], to[0]);
    for (int i = 1; i < len; i++) one = nfa_sequence(b->n, one, nfa_bytes(b->n, from[i], to[i]));
    b->all = b->begun ? nfa_either(b->n, b->all, one) : one;
    b->begun = true;
}

// Splits where the length changes, and where a trailing byte does not run through all its values.
static void add_range(ClassBuilder *b, uint32_t lo, uint32_t hi) {
    static const uint32_t last[] = {0x7F, 0x7FF, 0xFFFF};
    for (int i = 0; i < 3; i++) {
        if (lo > last[i] || hi <= last[i]) continue;
        add_range(b, lo, last[i]);
        lo = last[i] + 1;
    }
    for (int bits = 6; bits <= 18 && hi > 0x7F; bits += 6) {
        uint32_t mask = (1u << bits) - 1;
        if ((lo & ~mask) == (hi & ~mask)) break;
        if (lo & mask) {
            add_range(b, lo, lo | mask);
            add_range(b, (lo | mask) + 1, hi);
            return;
        }
        if ((hi & mask) != mask) {
            add_range(b, lo, (hi & ~mask) - 1);
            add_range(b, hi & ~mask, hi);
            return;
        }
    }
    add_block(b, lo, hi);
}

NfaPart nfa_class(ByteNfa *n, const CodeRange *ranges, size_t count) {
    enum { SURROGATES = 0xD800, AFTER = 0xE000 };
    ClassBuilder b = {.n = n};
    for (size_t i = 0; i < count; i++) {
        uint32_t lo = ranges[i].lo, hi = ranges[i].hi;
        if (lo < SURROGATES) add_range(&b, lo, hi < SURROGATES ? hi : SURROGATES - 1);
        if (hi >= AFTER) add_range(&b, lo < AFTER ? AFTER : lo, hi);
    }
    return b.begun ? b.all : nfa_nothing(n);
}

static int by_lo(const void *a, const void *b) {
    const CodeRange *x = a, *y = b;
    return (x->lo > y->lo) - (x->lo < y->lo);
}

size_t code_ranges_join(CodeRange *ranges, size_t count) {
    size_t n = 0;
    if (count) qsort(ranges, count, sizeof *ranges, by_lo);
    for (size_t i = 0; i < count; i++) {
        if (n && ranges[i].lo <= ranges[n - 1].hi + 1) {
            if (ranges[i].hi > ranges[n - 1].hi) ranges[n - 1].hi = ranges[i].hi;
        } else {
            ranges[n++] = ranges[i];
        }
    }
    return n;
}

size_t code_ranges_others(CodeRange *out, const CodeRange *ranges, size_t count) {
    size_t n = 0;
    uint32_t next = 0;
    for (size_t i = 0; i < count; i++) {
        if (ranges[i].lo > next) out[n++] = (CodeRange){next, ranges[i].lo - 1};
        next = ranges[i].hi + 1;
    }
    if (next <= CODE_POINT_MAX) out[n++] = (CodeRange){next, CODE_POINT_MAX};
    return n;
}

// ---- repetition ----

// The nodes [first, last) again; no way leads out of them.
static NfaPart copy(ByteNfa *n, NfaPart x, size_t first, size_t last) {
    size_t shift = n->count - first;
    for (size_t i = first; i < last && !n->full; i++) {
        NfaNode node = n->nodes[i];
        if (node.a != NFA_NOWHERE) node.a += (uint32_t)shift;
        if (node.b != NFA_NOWHERE) node.b += (uint32_t)shift;
        add(n, node);
    }
    return (NfaPart){x.start + (uint32_t)shift, x.end + (uint32_t)shift};
}

static NfaPart optional(ByteNfa *n, NfaPart x) { return nfa_either(n, x, nfa_empty(n)); }

static NfaPart star(ByteNfa *n, NfaPart x) {
    uint32_t end = add_split(n, NFA_NOWHERE, NFA_NOWHERE), start = add_split(n, x.start, end);
    if (!n->full) n->nodes[x.end].a = start;
    return (NfaPart){start, end};
}

// xxx(x(x(x)?)?)? : the optional ones nested, so that each is reached by one way.
NfaPart nfa_repeat(ByteNfa *n, NfaPart x, size_t first, int64_t min, int64_t max) {
    if (max == 0) return nfa_empty(n);
    size_t last = n->count;
    int64_t copies = max < 0 ? min + 1 : max;
    NfaPart rest = {0};
    for (int64_t i = copies; i >= 1 && !n->full; i--) {
        NfaPart one = i == 1 ? x : copy(n, x, first, last);
        if (max < 0 && i == copies)
            rest = star(n, one);
        else
            rest = i == copies ? one : nfa_sequence(n, one, rest);
        if (max >= 0 && i > min) rest = optional(n, rest);
    }
    return rest;
}

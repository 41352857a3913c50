#include "charsmap.h"

#include <string.h>

struct Charsmap {
    uint8_t *table; // size of the trie, trie, replacements
    size_t size;
    size_t units;      // of the trie
    const char *texts; // the replacements, each ends with a NUL byte
    size_t texts_len;
};

enum { HEADER = 4, UNIT = 4 };

// ---- reading ----

static int base64_digit(char c) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

// out: 3 bytes for each 4 of text.
static int decode_base64(uint8_t *out, size_t *size, JsonStr text, Err *err) {
    size_t padding = 0, n = 0;
    while (padding < 2 && padding < text.len && text.data[text.len - 1 - padding] == '=') padding++;
    if (text.len % 4) return err_input(err, "%zu characters of base64; expected a multiple of 4", text.len);
    for (size_t i = 0; i < text.len; i += 4) {
        uint32_t bits = 0;
        for (size_t k = i; k < i + 4; k++) {
            int digit = k >= text.len - padding ? 0 : base64_digit(text.data[k]);
            if (digit < 0) return err_input(err, "character %zu is not base64", k);
            bits = bits << 6 | (uint32_t)digit;
        }
        for (int shift = 16; shift >= 0; shift -= 8) out[n++] = (uint8_t)(bits >> shift);
    }
    *size = n - padding;
    return 0;
}

static uint32_t read_u32(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static int find_parts(Charsmap *m, Err *err) {
    uint32_t bytes = m->size >= HEADER ? read_u32(m->table) : 0;
    if (bytes < UNIT || bytes % UNIT || bytes > m->size - HEADER)
        return err_input(err, "a trie of %u bytes in a table of %zu; expected a multiple of 4 within it", bytes,
                         m->size);
    m->units = bytes / UNIT;
    m->texts = (const char *)m->table + HEADER + bytes;
    m->texts_len = m->size - HEADER - bytes;
    if (utf8_valid_prefix(m->texts, m->texts_len) == m->texts_len) return 0;
    return err_input(err, "the replacements are not valid UTF-8");
}

int charsmap_new(Charsmap **out, JsonStr base64, Err *err) {
    Charsmap *m = mem_calloc(1, sizeof *m);
    m->table = mem_alloc(base64.len / 4 * 3 + 1, 1);
    if (decode_base64(m->table, &m->size, base64, err) || find_parts(m, err)) {
        charsmap_free(m);
        return -1;
    }
    *out = m;
    return 0;
}

void charsmap_free(Charsmap *m) {
    if (!m) return;
    mem_free(m->table);
    mem_free(m);
}

JsonStr charsmap_table(const Charsmap *m) { return (JsonStr){(const char *)m->table, m->size}; }

// ---- the trie: a unit has a label, an offset to its children and a flag that the first of them is a value ----

static bool unit_at(const Charsmap *m, size_t i, uint32_t *unit) {
    if (i >= m->units) return false;
    *unit = read_u32(m->table + HEADER + i * UNIT);
    return true;
}

static size_t offset_of(uint32_t unit) { return (size_t)(unit >> 10) << ((unit & 1u << 9) >> 6); }

static bool take_text(const Charsmap *m, size_t at, JsonStr *out) {
    if (at >= m->texts_len) return false;
    const char *text = m->texts + at, *end = memchr(text, 0, m->texts_len - at);
    if (((uint8_t)*text & 0xC0) == 0x80) return false; // inside a character
    *out = (JsonStr){text, end ? (size_t)(end - text) : m->texts_len - at};
    return true;
}

bool charsmap_find(const Charsmap *m, const char *text, size_t len, JsonStr *out, bool *broken) {
    uint32_t unit = 0;
    size_t at = 0;
    bool whole = unit_at(m, at, &unit);
    at = offset_of(unit);
    for (size_t i = 0; i < len && text[i] && whole; i++) {
        uint8_t byte = (uint8_t)text[i];
        at ^= byte;
        whole = unit_at(m, at, &unit);
        if (!whole || (unit & (1u << 31 | 0xFF)) != byte) break;
        at ^= offset_of(unit);
        if (!(unit & 1u << 8)) continue;
        whole = unit_at(m, at, &unit) && take_text(m, unit & ~(1u << 31), out);
        *broken = *broken || !whole;
        return whole;
    }
    *broken = *broken || !whole;
    return false;
}

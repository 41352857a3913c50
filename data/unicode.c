// unicode: see unicode.h. The normalisation itself is utf8proc's; here are the cut points that make it local.
#include "unicode.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

int utf8_char_len(uint8_t lead) {
    if (lead < 0x80) return 1;
    if (lead < 0xC2) return 0;
    if (lead < 0xE0) return 2;
    if (lead < 0xF0) return 3;
    return lead < 0xF5 ? 4 : 0;
}

// Length of the well-formed character at s, 0 when there is none (Unicode table 3-7).
static size_t char_at(const uint8_t *s, size_t len) {
    size_t n = (size_t)utf8_char_len(s[0]);
    if (n == 0 || n > len) return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xC0) != 0x80) return 0;
    if (s[0] == 0xE0 && s[1] < 0xA0) return 0; // overlong
    if (s[0] == 0xED && s[1] > 0x9F) return 0; // surrogate
    if (s[0] == 0xF0 && s[1] < 0x90) return 0; // overlong
    if (s[0] == 0xF4 && s[1] > 0x8F) return 0; // above U+10FFFF
    return n;
}

size_t utf8_valid_prefix(const char *text, size_t len) {
    const uint8_t *s = (const uint8_t *)text;
    size_t i = 0;
    while (i < len) {
        uint64_t eight;
        if (i + 8 <= len && (memcpy(&eight, s + i, 8), (eight & 0x8080808080808080u) == 0)) {
            i += 8;
            continue;
        }
        size_t n = char_at(s + i, len - i);
        if (n == 0) return i;
        i += n;
    }
    return i;
}

static int32_t decode(const char *text, size_t len, size_t *n) {
    utf8proc_int32_t c;
    utf8proc_ssize_t got = utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)len, &c);
    CHECK(got > 0, "text given to NFC must be valid UTF-8");
    *n = (size_t)got;
    return c;
}

// May what stands before c change because of c? Everything that composes backwards or reorders is a mark or a
// conjoining Hangul vowel or final; all other characters begin a piece that normalises on its own.
static bool begins_piece(int32_t c) {
    if (c < 0x300) return true;
    if (c >= 0x1160 && c <= 0x11FF) return false;
    const utf8proc_property_t *p = utf8proc_get_property(c);
    return p->combining_class == 0 && p->category != UTF8PROC_CATEGORY_MN && p->category != UTF8PROC_CATEGORY_MC &&
           p->category != UTF8PROC_CATEGORY_ME;
}

// End of the piece that begins at `from` and has at least `least` bytes if the text has.
static size_t piece_end(const char *text, size_t len, size_t from, size_t least) {
    size_t n, at = from;
    while (at < len) {
        int32_t c = decode(text + at, len - at, &n);
        if (at > from && at - from >= least && begins_piece(c)) break;
        at += n;
    }
    return at;
}

// NFC of a piece into *out (free()), its length returned. utf8proc can fail only on invalid UTF-8 or without memory.
static size_t compose(const char *text, size_t len, utf8proc_uint8_t **out) {
    utf8proc_ssize_t n =
        utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)len, out, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    CHECK(n >= 0, "utf8proc: %s", utf8proc_errmsg(n));
    return (size_t)n;
}

static void append(NfcText *out, const void *bytes, size_t n, size_t source, size_t source_len) {
    MEM_GROW(out->origin, out->capacity, out->text.len + n);
    for (size_t k = 0; k < n; k++)
        out->origin[out->text.len + k] = (uint32_t)(source + (k < source_len ? k : source_len - 1));
    str_add(&out->text, bytes, n);
}

// One piece of about 4 KiB: kept whole when NFC leaves it alone, else taken apart to have an exact map.
static void append_pieces(const char *text, size_t from, size_t end, NfcText *out) {
    for (size_t at = from; at < end;) {
        size_t stop = piece_end(text, end, at, 1);
        utf8proc_uint8_t *composed;
        size_t n = compose(text + at, stop - at, &composed);
        append(out, composed, n, at, stop - at);
        free(composed);
        at = stop;
    }
}

bool nfc_normalize(const char *text, size_t len, NfcText *out) {
    const size_t block = 4096; // bounds utf8proc's scratch (4 bytes a character) and keeps it in cache
    size_t first = 0;          // below U+0300 nothing composes or decomposes under NFC
    while (first < len && (uint8_t)text[first] < 0xCC) first++;
    if (first == len) return false;
    bool changed = false;
    for (size_t at = 0; at < len;) {
        size_t end = piece_end(text, len, at, block);
        utf8proc_uint8_t *composed;
        size_t n = compose(text + at, end - at, &composed);
        bool same = n == end - at && memcmp(composed, text + at, n) == 0;
        free(composed);
        if (!same && !changed) {
            changed = true;
            out->text.len = 0;
            append(out, text, at, 0, at);
        }
        if (changed && same) append(out, text + at, end - at, at, end - at);
        if (changed && !same) append_pieces(text, at, end, out);
        at = end;
    }
    return changed;
}

void nfc_clear(NfcText *n) {
    str_clear(&n->text);
    mem_free(n->origin);
    *n = (NfcText){0};
}

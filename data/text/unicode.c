// unicode: see unicode.h. The normalisation itself is utf8proc's; here are the cut points that make it local.
#include "unicode.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

char *utf8_replaced(const char *text) {
    StrBuf out = {0};
    str_puts(&out, "");
    for (size_t len = strlen(text); len > 0;) {
        size_t good = utf8_valid_prefix(text, len);
        str_add(&out, text, good);
        if (good < len) str_puts(&out, "\xEF\xBF\xBD"), good++;
        text += good;
        len -= good;
    }
    return out.data;
}

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

int32_t utf8_decode(const char *text, size_t len, size_t *n) {
    utf8proc_int32_t c;
    utf8proc_ssize_t got = utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)len, &c);
    CHECK(got > 0, "text must be valid UTF-8 here");
    *n = (size_t)got;
    return c;
}

bool unicode_is_space(int32_t c) {
    return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
           c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

// ---- texts with a map ----

void mapped_text_clear(MappedText *m) {
    str_clear(&m->text);
    mem_free(m->origin);
    *m = (MappedText){0};
}

TextView mapped_text_view(const MappedText *m) {
    return (TextView){m->text.data ? m->text.data : "", m->text.len, m->origin};
}

void mapped_text_add(MappedText *m, const char *bytes, size_t n, const TextView *from, size_t at, size_t source_len) {
    MEM_GROW(m->origin, m->capacity, m->text.len + n);
    for (size_t k = 0; k < n; k++) {
        size_t source = at + (k < source_len ? k : source_len ? source_len - 1 : 0);
        if (source >= from->len) source = from->len ? from->len - 1 : 0;
        m->origin[m->text.len + k] = from->origin && from->len ? from->origin[source] : (uint32_t)source;
    }
    str_add(&m->text, bytes, n);
}

// ---- normal forms ----

// May the text before c change because of c? Everything that composes backwards or reorders is a mark or a
// conjoining Hangul vowel or final; all other characters begin a piece that normalises on its own.
static bool begins_piece(int32_t c) {
    if (c < 0x300) return true;
    if (c >= 0x1160 && c <= 0x11FF) return false;
    // compatible to such vowels and finals, or to a mark of voice
    if ((c >= 0x314F && c <= 0x3163) || (c >= 0x3131 && c <= 0x318E) || (c >= 0xFF9E && c <= 0xFFDC)) return false;
    const utf8proc_property_t *p = utf8proc_get_property(c);
    return p->combining_class == 0 && p->category != UTF8PROC_CATEGORY_MN && p->category != UTF8PROC_CATEGORY_MC &&
           p->category != UTF8PROC_CATEGORY_ME;
}

// End of the piece that begins at `from` and has at least `least` bytes if the text has.
static size_t piece_end(const char *text, size_t len, size_t from, size_t least) {
    size_t n, at = from;
    while (at < len) {
        int32_t c = utf8_decode(text + at, len - at, &n);
        if (at > from && at - from >= least && begins_piece(c)) break;
        at += n;
    }
    return at;
}

// Mapped to other characters since Unicode 12.1 to 15, which is newer than the tables of Hugging Face tokenizers: left
// as they are.
static bool is_newly_mapped(int32_t c, NormalForm form) {
    static const int32_t ranges[][2] = {{0x32FF, 0x32FF},   {0xA7F2, 0xA7F4},   {0xAB69, 0xAB69},  {0x10780, 0x107BF},
                                        {0x1E030, 0x1E06D}, {0x1F16C, 0x1F16C}, {0x1FBF0, 0x1FBF9}};
    if (c == 0x11938) return form == NORMAL_NFD || form == NORMAL_NFKD;
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges && form >= NORMAL_NFKC; i++)
        if (c >= ranges[i][0] && c <= ranges[i][1]) return true;
    return false;
}

static bool has_newly_mapped(const char *text, size_t len, NormalForm form) {
    for (size_t at = 0, n; at < len && form != NORMAL_NFC; at += n)
        if (is_newly_mapped(utf8_decode(text + at, len - at, &n), form)) return true;
    return false;
}

// The normal form of a piece into *out (free()), its length returned. utf8proc can fail only on invalid UTF-8 or
// without memory.
static size_t normal_form(const char *text, size_t len, NormalForm form, utf8proc_uint8_t **out) {
    bool composes = form == NORMAL_NFC || form == NORMAL_NFKC, compatible = form >= NORMAL_NFKC;
    utf8proc_option_t options =
        UTF8PROC_STABLE | (composes ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE) | (compatible ? UTF8PROC_COMPAT : 0);
    utf8proc_ssize_t n = utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)len, out, options);
    if (n == UTF8PROC_ERROR_NOMEM) mem_exhausted(0);
    CHECK(n >= 0, "utf8proc: %s", utf8proc_errmsg(n));
    return (size_t)n;
}

// One piece of about 4 KiB that changes, taken apart to have an exact map.
static void add_pieces(const TextView *in, size_t from, size_t end, NormalForm form, MappedText *out) {
    for (size_t at = from; at < end;) {
        size_t stop = piece_end(in->text, end, at, 1), one;
        utf8proc_uint8_t *changed;
        if (is_newly_mapped(utf8_decode(in->text + at, end - at, &one), form)) {
            mapped_text_add(out, in->text + at, one, in, at, one);
            at += one;
            continue;
        }
        size_t n = normal_form(in->text + at, stop - at, form, &changed);
        mapped_text_add(out, (const char *)changed, n, in, at, stop - at);
        free(changed);
        at = stop;
    }
}

// Text of bytes below this is in its normal form already: U+0300 for NFC, ASCII for others.
static bool is_plain(const TextView *in, NormalForm form) {
    uint8_t limit = form == NORMAL_NFC ? 0xCC : 0x80;
    size_t i = 0;
    while (i < in->len && (uint8_t)in->text[i] < limit) i++;
    return i == in->len;
}

bool unicode_normalize(const TextView *in, NormalForm form, MappedText *out) {
    const size_t block = 4096; // bounds utf8proc's scratch (4 bytes a character) and keeps it in cache
    if (is_plain(in, form)) return false;
    bool changed = false;
    for (size_t at = 0; at < in->len;) {
        size_t end = piece_end(in->text, in->len, at, block);
        utf8proc_uint8_t *composed;
        size_t n = normal_form(in->text + at, end - at, form, &composed);
        bool same = n == end - at && memcmp(composed, in->text + at, n) == 0;
        if (has_newly_mapped(in->text + at, end - at, form)) same = false; // piece by piece
        free(composed);
        if (!same && !changed) {
            changed = true;
            out->text.len = 0;
            mapped_text_add(out, in->text, at, in, 0, at);
        }
        if (changed && same) mapped_text_add(out, in->text + at, end - at, in, at, end - at);
        if (changed && !same) add_pieces(in, at, end, form, out);
        at = end;
    }
    return changed;
}

// scripts: the table next to PCRE2's, and the shares of a text.
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <stdio.h>
#include <string.h>

#include "scripts.h"
#include "test.h"

enum { POINTS = 0x110000 };

static void put_point(StrBuf *text, uint32_t c) {
    char b[4];
    int n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (int i = n - 1; i > 0; i--, c >>= 6) b[i] = (char)(0x80 | (c & 0x3F));
    b[0] = (char)(lead[n] | c);
    str_add(text, b, (size_t)n);
}

// Calls `each` for every code point of the script; text: all code points, offsets[c]: where c begins.
static bool scan(const StrBuf *text, const char *script, uint8_t *points, const uint8_t *lengths, uint8_t value) {
    char pattern[64];
    int error;
    PCRE2_SIZE at;
    snprintf(pattern, sizeof pattern, "\\p{sc:%s}+", script);
    pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF, &error, &at, NULL);
    if (!code) return false; // PCRE2 before 10.40
    pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
    pcre2_match_data *m = pcre2_match_data_create(2, NULL);
    size_t from = 0, byte = 0;
    uint32_t c = 0;
    while (pcre2_match(code, (PCRE2_SPTR)text->data, text->len, from, PCRE2_NO_UTF_CHECK, m, NULL) > 0) {
        const PCRE2_SIZE *span = pcre2_get_ovector_pointer(m);
        for (; byte < span[1]; byte += lengths[c++])
            if (byte >= span[0]) points[c] = value;
        from = span[1];
    }
    pcre2_match_data_free(m);
    pcre2_code_free(code);
    return true;
}

static void test_scripts_are_those_of_pcre2(void **state) {
    (void)state;
    enum { UNKNOWN = 254, SHARED = 255, OTHER = 253 };
    StrBuf text = {0};
    uint8_t *points = mem_alloc(POINTS, 1), *lengths = mem_calloc(POINTS, 1);
    memset(points, OTHER, POINTS);
    for (uint32_t c = 0; c < POINTS; c++) {
        size_t before = text.len;
        if (c < 0xD800 || c > 0xDFFF) put_point(&text, c);
        lengths[c] = (uint8_t)(text.len - before);
    }
    bool known = true;
    for (int s = 0; known && s < SCRIPT_OTHER; s++)
        known = scan(&text, script_name((Script)s), points, lengths, (uint8_t)s);
    if (known) scan(&text, "Unknown", points, lengths, UNKNOWN);
    if (known) scan(&text, "Common", points, lengths, SHARED);
    if (known) scan(&text, "Inherited", points, lengths, SHARED);
    for (uint32_t c = 0; known && c < POINTS; c++) {
        if (!lengths[c] || points[c] == UNKNOWN) continue;
        Script got = script_of((int32_t)c), want = points[c] == SHARED  ? SCRIPT_NONE
                                                   : points[c] == OTHER ? SCRIPT_OTHER
                                                                        : (Script)points[c];
        bool newer = want != SCRIPT_NONE && got == SCRIPT_NONE && c > 0x1000; // in a newer PCRE2
        if (got != want && !newer) fail_msg("U+%04X: script %d; PCRE2: %d", c, got, want);
    }
    mem_free(points);
    mem_free(lengths);
    str_clear(&text);
    if (!known) skip();
}

static void test_scripts_shares(void **state) {
    (void)state;
    ScriptCounts c = {0};
    AUTO_STR StrBuf out = {0};
    script_counts_show(&out, &c);
    assert_int_equal(out.len, 0);
    static const char text[] =
        "ab cd 12!? \xD0\xB6 \xE6\x88\x91\xE4\xBB\xAC \xF0\x9F\x98\x80"; // a smiley has no script
    script_counts_add(&c, text, strlen(text));
    assert_int_equal(c.n[SCRIPT_LATIN], 4);
    script_counts_show(&out, &c);
    assert_string_equal(out.data, "Latin 57.1%, Han 28.6%, Cyrillic 14.3%");
    c = (ScriptCounts){.n = {[SCRIPT_LATIN] = 9999, [SCRIPT_THAI] = 1}};
    str_clear(&out);
    script_counts_show(&out, &c);
    assert_string_equal(out.data, "Latin 100.0%, Thai < 0.1%");
}

TEST_MAIN(TEST(test_scripts_are_those_of_pcre2), TEST(test_scripts_shares))

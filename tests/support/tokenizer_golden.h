// tokenizer_golden: one tokenizer against its columns of the golden files (make_tokenizer_golden.py).
#pragma once

#include "tokenizer_fixture.h"

static inline TokenIds encode(const Tokenizer *t, const char *text, size_t len) {
    TokenIds ids = {0};
    tokenizer_encode(t, text, len, NULL, true, &ids);
    return ids;
}

static inline void print_ids(const char *what, const int32_t *ids, size_t n) {
    print_message("%s:", what);
    for (size_t i = 0; i < n; i++) print_message(" %d", ids[i]);
    print_message("\n");
}

// ids.txt has lines "LINE NAME: id id ...": compares those of one tokenizer in full.
static inline void check_full_ids(const Tokenizer *t, const char *name) {
    Lines golden = lines_open(GOLDEN "ids.txt"), corpus = lines_open(GOLDEN "corpus.txt");
    int next = 0;
    char *text = NULL;
    for (char *line; (line = lines_next(&golden));) {
        char *after, *space = strchr(line, ' ');
        int number = atoi(line);
        if (strncmp(space + 1, name, strlen(name)) != 0 || space[1 + strlen(name)] != ':') continue;
        for (; next <= number; next++) text = lines_need(&corpus);
        TokenIds got = encode(t, text, unescape(text));
        int32_t want[4096];
        size_t n = 0;
        for (char *at = strchr(line, ':') + 1; *at; at = after) want[n++] = (int32_t)strtol(at, &after, 10);
        if (got.count != n || memcmp(got.ids, want, n * sizeof *want) != 0) {
            print_ids("got", got.ids, got.count);
            print_ids("want", want, n);
            fail_msg("%s: corpus line %d", name, number + 1);
        }
        token_ids_clear(&got);
    }
    assert_true(next > 50);
    lines_close(&golden);
    lines_close(&corpus);
}

static inline void check_corpus(const Tokenizer *t, const char *name, int column) {
    Lines golden = lines_open(GOLDEN "hashes.txt"), corpus = lines_open(GOLDEN "corpus.txt");
    int number = 0, differ = 0;
    for (char *line; (line = lines_next(&corpus)); number++) {
        TokenIds got = encode(t, line, unescape(line));
        if (fnv(got.ids, got.count) != hex_column(lines_need(&golden), column)) {
            if (differ++ < 5) print_message("%s: corpus line %d: %s\n", name, number + 1, line);
        }
        token_ids_clear(&got);
    }
    if (differ) fail_msg("%s: %d of %d lines differ", name, differ, number);
    assert_true(number >= 10000);
    lines_close(&golden);
    lines_close(&corpus);
}

static inline void check_characters(const Tokenizer *t, const char *name, int column) {
    Lines golden = lines_open(GOLDEN "characters.txt");
    StrBuf text = {0};
    for (uint32_t block = 0; block < CODE_POINTS / BLOCK; block++) {
        character_text(block, &text);
        TokenIds got = encode(t, text.data, text.len);
        if (fnv(got.ids, got.count) != hex_column(lines_need(&golden), column))
            fail_msg("%s: ids around U+%04X to U+%04X differ", name, block * BLOCK, block * BLOCK + BLOCK - 1);
        token_ids_clear(&got);
    }
    str_clear(&text);
    lines_close(&golden);
}

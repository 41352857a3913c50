// tokenizer_fixture: shared by the tests of the tokenizer: the golden files of tests/golden/tokenizer, vocabularies
// made of them or of a few words, and the hash that make_tokenizer_golden.py uses.
#pragma once

#include <stdlib.h>

#include "fileio.h"
#include "test.h"
#include "tokenizer.h"
#include "tokenizer_files.h"

#define GOLDEN TEST_DIR "/golden/tokenizer/"
enum { CODE_POINTS = 0x110000, BLOCK = 1024 };

// ---- files of lines ----

typedef struct Lines {
    char *text, *at, *end;
} Lines;

static inline Lines lines_open(const char *path) {
    Lines l = {0};
    size_t size;
    Err err;
    ASSERT_OK(file_read(&l.text, &size, path, 16 << 20, &err), &err);
    l.at = l.text;
    l.end = l.text + size;
    return l;
}

// The next line, ended by a NUL in place; NULL at the end.
static inline char *lines_next(Lines *l) {
    if (l->at >= l->end) return NULL;
    char *line = l->at, *stop = memchr(line, '\n', (size_t)(l->end - line));
    assert_non_null(stop);
    *stop = 0;
    l->at = stop + 1;
    return line;
}

// The next line where there must be one.
static inline char *lines_need(Lines *l) {
    char *line = lines_next(l);
    if (!line) fail_msg("a golden file ends too early");
    return line ? line : l->text;
}

static inline void lines_close(Lines *l) { mem_free(l->text); }

// Undoes the generator's escape in place; the length is returned.
static inline size_t unescape(char *line) {
    char *out = line;
    for (char *in = line; *in; in++) {
        char c = *in;
        if (c == '\\') {
            in++;
            c = *in == 'n' ? '\n' : *in == 'r' ? '\r' : *in == '0' ? '\0' : *in;
        }
        *out++ = c;
    }
    return (size_t)(out - line);
}

// ---- hashes and texts as in make_tokenizer_golden.py ----

static inline uint32_t fnv(const void *numbers, size_t count) {
    const uint32_t *n = numbers;
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < count; i++)
        for (int shift = 0; shift < 32; shift += 8) h = (h ^ (n[i] >> shift & 0xFF)) * 16777619u;
    return (h ^ h >> 24) & 0xFFFFFF;
}

static inline uint32_t hex_column(const char *line, int column) {
    return (uint32_t)strtoul(line + 7 * column, NULL, 16);
}

static inline void put_character(StrBuf *s, uint32_t c) {
    char b[4] = {(char)(0xF0 | c >> 18), (char)(0x80 | (c >> 12 & 63)), (char)(0x80 | (c >> 6 & 63)),
                 (char)(0x80 | (c & 63))};
    if (c < 0x80) {
        b[3] = (char)c;
        str_add(s, b + 3, 1);
    } else if (c < 0x800) {
        b[2] = (char)(0xC0 | c >> 6);
        str_add(s, b + 2, 2);
    } else if (c < 0x10000) {
        b[1] = (char)(0xE0 | c >> 12);
        str_add(s, b + 1, 3);
    } else {
        str_add(s, b, 4);
    }
}

// The character of valid UTF-8 at *i, which moves past it.
static inline uint32_t take_character(const StrBuf *s, size_t *i) {
    uint8_t lead = (uint8_t)s->data[(*i)++];
    int more = lead < 0x80 ? 0 : lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
    uint32_t c = more ? lead & (0x3Fu >> more) : lead;
    while (more-- > 0) c = c << 6 | ((uint8_t)s->data[(*i)++] & 0x3F);
    return c;
}

static inline void character_text(uint32_t block, StrBuf *out) {
    out->len = 0;
    str_add(out, "", 0);
    for (uint32_t c = block * BLOCK; c < (block + 1) * BLOCK; c++) {
        if (c >= 0xD800 && c < 0xE000) continue;
        const char *around[] = {"a", "a1", " ", "", "\n"};
        for (int i = 0; i < 5; i++) {
            str_puts(out, around[i]);
            if (i < 4) put_character(out, c);
        }
    }
}

// ---- tokenizers ----

// A token list, types and merges that a test fills and then breaks.
typedef struct VocabLists {
    GgufStr tokens[4096], merges[4096];
    int32_t types[4096];
    TokenizerSource source;
} VocabLists;

static inline GgufStr str_of(const char *s) { return (GgufStr){s, strlen(s)}; }

static inline void vocab_add(VocabLists *v, int32_t type, const char *token) {
    v->types[v->source.n_tokens] = type;
    v->tokens[v->source.n_tokens++] = str_of(token);
}

static inline void vocab_merge(VocabLists *v, const char *merge) { v->merges[v->source.n_merges++] = str_of(merge); }

static inline void vocab_init(VocabLists *v, const char *pre) {
    v->source = (TokenizerSource){.pre = str_of(pre), .tokens = v->tokens, .types = v->types, .merges = v->merges};
    v->source.bos = v->source.eos = v->source.pad = v->source.eot = v->source.eom = v->source.unknown =
        v->source.add_bos = v->source.add_eos = -1;
}

// tests/golden/tokenizer/NAME.vocab with the pre-tokenizer `pre`; NULL: its own.
static inline Tokenizer *golden_tokenizer_as(const char *name, const char *pre) {
    char path[512];
    snprintf(path, sizeof path, GOLDEN "%s.vocab", name);
    Lines lines = lines_open(path);
    VocabLists *v = mem_calloc(1, sizeof *v);
    const char *own = lines_need(&lines) + strlen("pre ");
    vocab_init(v, pre ? pre : own);
    int n = atoi(lines_need(&lines) + strlen("tokens "));
    for (int i = 0; i < n; i++) {
        const char *line = lines_need(&lines);
        vocab_add(v, line[0] - '0', line + 2);
    }
    n = atoi(lines_need(&lines) + strlen("merges "));
    for (int i = 0; i < n; i++) vocab_merge(v, lines_need(&lines));
    Tokenizer *t = NULL;
    Err err;
    ASSERT_OK(tokenizer_new(&t, &v->source, &err), &err);
    mem_free(v);
    lines_close(&lines);
    return t;
}

static inline Tokenizer *golden_tokenizer(const char *name) { return golden_tokenizer_as(name, NULL); }

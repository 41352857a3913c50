// tokenizer_kinds: the tokenizers of make_tokenizer_kinds_golden.py, built from its vocabularies.
#pragma once

#include "json.h"
#include "scratch.h"
#include "tokenizer_files.h"
#include "tokenizer_fixture.h"
#include "vocab.h"

#define KINDS TEST_DIR "/golden/tokenizer_kinds/"

// Reads "type score token" lines into v and *scores (mem_free).
static inline void kinds_read(const char *name, Lines *lines, VocabLists *v, float *scores) {
    char path[512];
    snprintf(path, sizeof path, KINDS "%s.vocab", name);
    *lines = lines_open(path);
    vocab_init(v, "");
    for (char *line; (line = lines_next(lines));) {
        char *score = strchr(line, ' ') + 1, *token;
        scores[v->source.n_tokens] = strtof(score, &token);
        token[1 + unescape(token + 1)] = 0;
        vocab_add(v, line[0] - '0', token + 1);
    }
}

static inline Tokenizer *kinds_scored(const char *name) {
    VocabLists *v = mem_calloc(1, sizeof *v);
    float scores[4096];
    Lines lines;
    kinds_read(name, &lines, v, scores);
    v->source.scores = scores;
    v->source.n_scores = v->source.n_tokens;
    v->source.unknown = strcmp(name, "gemma") == 0 ? 3 : 0;
    v->source.space_prefix = strcmp(name, "gemma") != 0;
    Tokenizer *t = NULL;
    Err err;
    ASSERT_OK(tokenizer_new(&t, &v->source, &err), &err);
    lines_close(&lines);
    mem_free(v);
    return t;
}

// bert.vocab as a folder in the working directory: tokenizer.json, or for `cased` BERT's older files.
static inline void kinds_write_bert(const VocabLists *v, bool cased) {
    StrBuf json = {0}, lines = {0}, added = {0};
    for (size_t i = 0; i < v->source.n_tokens; i++) {
        GgufStr token = v->tokens[i];
        str_add(&lines, token.data, token.len);
        str_puts(&lines, "\n");
        str_puts(&json, i ? "," : "");
        json_quote(&json, token.data, token.len);
        str_printf(&json, ":%zu", i);
        if (v->types[i] == TOKEN_NORMAL) continue;
        str_printf(&added, "%s{\"id\":%zu,\"content\":\"%s\",\"special\":true}", added.len ? "," : "", i, token.data);
    }
    const char *config = "{\"do_lower_case\": false, \"tokenizer_class\": \"BertTokenizer\"}";
    char *file = mem_printf("{\"added_tokens\":[%s],\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":true,"
                            "\"handle_chinese_chars\":true,\"strip_accents\":null,\"lowercase\":true},"
                            "\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},"
                            "\"decoder\":{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true},"
                            "\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\","
                            "\"continuing_subword_prefix\":\"##\",\"max_input_chars_per_word\":100,\"vocab\":{%s}}}",
                            added.data, json.data);
    unlink("tokenizer.json");
    if (cased) {
        scratch_put("vocab.txt", lines.data, lines.len);
        scratch_put("tokenizer_config.json", config, strlen(config));
    } else {
        scratch_put("tokenizer.json", file, strlen(file));
    }
    mem_free(file);
    str_clear(&json);
    str_clear(&lines);
    str_clear(&added);
}

static inline Tokenizer *kinds_bert(bool cased) {
    VocabLists *v = mem_calloc(1, sizeof *v);
    float scores[4096];
    Lines lines;
    kinds_read("bert", &lines, v, scores);
    kinds_write_bert(v, cased);
    Tokenizer *t = NULL;
    Err err;
    ASSERT_OK(tokenizer_from_hf(&t, ".", &err), &err);
    lines_close(&lines);
    mem_free(v);
    return t;
}

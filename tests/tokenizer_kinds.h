// tokenizer_kinds: the tokenizers of make_tokenizer_kinds_golden.py, put together of its vocabularies.
#pragma once

#include "bpe.h"
#include "tokenizer_fixture.h"
#include "tokenizer_parts.h"
#include "wordpiece.h"

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

static inline Tokenizer *kinds_bert(bool cased) {
    VocabLists *v = mem_calloc(1, sizeof *v);
    float scores[4096];
    Lines lines;
    kinds_read("bert", &lines, v, scores);
    TokenizerParts p;
    tokenizer_parts_init(&p);
    Err err;
    VocabSource source = {v->tokens, v->types, v->source.n_tokens, TOKEN_CONTROL};
    ASSERT_OK(vocab_new(&p.vocab, &source, &err), &err);
    WordPieceSource w = {p.vocab, "##", 100, 1};
    ASSERT_OK(wordpiece_new(&p.model, &w, &err), &err);
    ASSERT_OK(added_tokens_add_vocab(p.added, p.vocab, &err), &err);
    normalizer_add_bert(p.normalizer, &(BertNormalizer){true, true, !cased, !cased});
    ASSERT_OK(pretokenizer_add_bert(p.pre, &err), &err);
    decoder_add(p.decoder, &(DecodeStep){.kind = DECODE_WORDPIECE, .from = "##", .from_len = 2, .cleanup = true});
    p.kind = mem_strdup("WordPiece");
    Tokenizer *t = NULL;
    ASSERT_OK(tokenizer_assemble(&t, &p, &err), &err);
    lines_close(&lines);
    mem_free(v);
    return t;
}

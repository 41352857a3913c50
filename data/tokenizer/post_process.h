// post_process: the tokens that a model wants around one text or two (tokenizer.json's post_processor): a list of the
// texts and of token ids, each with a type (0 for the first text, 1 for the second).
#pragma once

#include "base.h"
#include "hash.h"

typedef enum { POST_TEXT_A, POST_TEXT_B, POST_TOKEN } PostKind;
typedef struct PostItem {
    PostKind kind;
    int32_t id; // POST_TOKEN
    int32_t type;
} PostItem;

enum { POST_ITEMS_MAX = 16 };
typedef struct PostProcessor { // plain data
    PostItem single[POST_ITEMS_MAX], pair[POST_ITEMS_MAX];
    int n_single, n_pair;
} PostProcessor;

// [bos] A [eos], and for pairs [bos] A [eos] [bos] B [eos]; ids of -1 are left out.
void post_processor_default(PostProcessor *p, int32_t bos, int32_t eos);
void post_processor_hash(const PostProcessor *p, Fingerprint *f);
// The token right before (first true) or after the single text, -1: none.
int32_t post_processor_edge(const PostProcessor *p, bool first);

// bpe: the vocabulary of a byte-level BPE model, and the merging of one pre-token.
//
// Byte-level: in the file every token is written in an alphabet of 256 printable characters, one for each byte (GPT-2's
// bytes_to_unicode). Merging works on token ids alone: a pair of ids has a rank and a result.
#pragma once

#include "base.h"
#include "gguf.h"

// tokenizer.ggml.token_type. Unknown tokens are treated as control tokens, unused ones are never recognised in text.
enum { TOKEN_NORMAL = 1, TOKEN_UNKNOWN = 2, TOKEN_CONTROL = 3, TOKEN_USER_DEFINED = 4, TOKEN_UNUSED = 5 };

typedef struct BpeSource { // borrowed during bpe_new
    const GgufStr *tokens;
    const int32_t *types; // n_tokens of the above
    size_t n_tokens;
    const GgufStr *merges; // "left right", lowest rank first
    size_t n_merges;
} BpeSource;

typedef struct Bpe Bpe; // read-only after it was made

// Refused, naming the token or merge: empty or doubled tokens, text that is not UTF-8, types outside 1 to 5, merges
// whose parts or result are no tokens, doubled merges, and merges or bytes that would make a control token out of
// ordinary text.
int bpe_new(Bpe **b, const BpeSource *source, Err *err);
void bpe_free(Bpe *b);

int32_t bpe_size(const Bpe *b);
int bpe_type(const Bpe *b, int32_t id);
int32_t bpe_find(const Bpe *b, const char *text, size_t len); // the token as the file writes it; -1 when absent
const char *bpe_text(const Bpe *b, int32_t id, size_t *len);  // as the file writes it
const char *bpe_piece(const Bpe *b, int32_t id, size_t *len); // the bytes it stands for
int32_t bpe_merge_count(const Bpe *b);
void bpe_merge_at(const Bpe *b, int32_t rank, int32_t *left, int32_t *right);

// The merging of one pre-token. The work space is reused from call to call, one per thread; init with {0}.
typedef struct BpeWork {
    int32_t *ids;    // result: n_tokens ids
    uint32_t *begin; // result: n_tokens offsets into the pre-token
    size_t n_tokens;
    size_t left_out;                  // bytes that have no token
    uint32_t *rank, *next, *previous; // of the pair that begins here; the neighbours still alive
    size_t capacity;
    uint64_t *heap; // (rank, position) of pairs, smallest first
    size_t n_heap, heap_capacity;
    StrBuf spelled; // the pre-token in the file's alphabet
} BpeWork;
void bpe_work_clear(BpeWork *w);

// Merges bytes[0, len): the pair of lowest rank first, the leftmost of equal ones. Time O(len log len). A byte that the
// vocabulary has no token for is left out, as Hugging Face tokenizers does without an unknown token. With whole_words
// bytes that spell a normal token become it without merging (Llama 3).
void bpe_encode(const Bpe *b, BpeWork *w, const char *bytes, size_t len, bool whole_words);

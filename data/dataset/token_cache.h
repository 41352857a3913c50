// token_cache: tokenised samples in one block of bytes (an image), on disk and mapped, or in memory.
//
// An image, in order:
//   TokenHeader: magic, key
//   for each sample: TokenHead, ids int32[n], supervised uint8[n]; of multi-label data its labels, of regression its
//     numbers: padding to 4, int32 or float[value]; padding to 8
//   TokenEntry[samples]: 16 bytes, all that planning rows needs, so that ten million samples cost 160 MB
//   tables: the number of samples up to the end of each file, int64[n_files]; records per unread key,
//     int64[n_unread]; records with further unread keys, int64; where samples have lists of labels by number, the place
//     of each number among the labels, uint32[n_labels]; labels and unread keys, each with a NUL; padding to 8
//   TokenFooter: statistics, offsets, hash of all bytes before the hash
// The key identifies what was tokenised and how; the file's name is made from it. A file is used only if its key and
// hash match and every number in it is valid: a damaged file is rebuilt. Native byte order: one machine's cache.
// token_sink.c writes, token_image.c checks and opens.
#pragma once

#include "dataset.h"
#include "fileio.h"

#define TOKEN_MAGIC "lorac tokens 9\n"
enum { TOKEN_KEY_LEN = 32 };

typedef struct TokenHeader {
    char magic[sizeof TOKEN_MAGIC];
    char key[TOKEN_KEY_LEN];
} TokenHeader;

typedef struct TokenHead { // before a sample's ids
    int64_t record;
    uint32_t second;
    uint32_t value; // PREFERENCE_LABELS: 0 or 1; of embeddings the bits of the score; else 0
} TokenHead;

typedef struct TokenEntry {
    uint64_t offset; // of the head, from the image's start
    uint32_t count;
    uint32_t value; // supervised tokens; of classification data: the label; the number of its labels or numbers
} TokenEntry;

// Samples have labels by number.
static inline bool token_has_place(Problem p) { return p == PROBLEM_MULTI_LABEL || p == PROBLEM_TOKENS; }
// What follows a sample's mask.
static inline const void *token_labels(const uint8_t *supervised, size_t count) {
    return (const void *)(((uintptr_t)(supervised + count) + 3) & ~(uintptr_t)3);
}

typedef struct TokenFooter {
    DatasetStats stats;
    uint64_t n_entries, entries_offset, n_files, n_labels, n_unread, tables_offset;
    uint64_t preference, embedding; // PreferenceData, EmbeddingData
    uint64_t masked;                // Dataset.masked
    uint64_t problem;               // Problem
    uint64_t hash[2];               // XXH3-128 of all bytes before it
} TokenFooter;
_Static_assert(sizeof(TokenHeader) % 8 == 0 && sizeof(TokenFooter) % 8 == 0, "parts are aligned to 8 bytes");

typedef struct TokenImage {
    FileMap map;  // of the file, or
    char *memory; // the image itself
    const uint8_t *data;
    size_t size;
    const TokenEntry *entries; // [Dataset.count]
} TokenImage;

// Maps and checks a file; dataset_close. -1: missing, damaged or of another key; err says why.
int token_image_open(Dataset **d, const char *file, const char key[TOKEN_KEY_LEN + 1], int32_t vocab_size, Err *err);
// Takes the bytes of `memory`.
void token_image_from_memory(Dataset **d, StrBuf *memory, const char *key, int32_t vocab_size);

// Writes an image. file NULL: into memory. After a failed write of the file the sink ignores what follows and
// token_sink_failed is true; the caller starts again in memory.
typedef struct TokenSink TokenSink;
TokenSink *token_sink_new(const char *file, const char key[TOKEN_KEY_LEN + 1]);
// supervised_count is counted here; label: any id, or -1; labels, values: as in Sample, NULL: none.
void token_sink_add(TokenSink *s, const Sample *sample);
void token_sink_end_file(TokenSink *s); // the samples so far belong to one more data file
bool token_sink_failed(const TokenSink *s, Err *why);
void token_sink_free(TokenSink *s); // without finish: nothing stays on disk

typedef struct TokenTables {
    const DatasetStats *stats;
    PreferenceData preference;
    EmbeddingData embedding;
    bool masked; // Dataset.masked
    Problem problem;
    const KeyCounts *unread;
    const LabelList *labels; // empty unless of classification data
    const uint32_t *place;   // for each id given to token_sink_add its place among the labels; NULL without labels
} TokenTables;
// Ends the sink's image (s is not freed) and opens it. -1 when the file failed: token_sink_failed.
int token_sink_finish(Dataset **d, TokenSink *s, const TokenTables *tables, int32_t vocab_size, Err *err);

// token_cache: tokenised samples in one block of bytes (an image), on disk and mapped, or in memory.
//
// Image: header (magic, key) | for each sample: ids int32[n], supervised uint8[n], padding to 4 | one Entry a sample |
// footer (statistics, places, hash of all that stands before it). The key says what was tokenised and how; the file's
// name is made of it. A file is used only if key and hash are right and every number in it is possible, so a damaged
// one is rebuilt, never believed. Native byte order: the cache belongs to one machine.
#pragma once

#include "dataset.h"

enum { TOKEN_KEY_LEN = 32 };

typedef struct TokenEntry {
    uint64_t offset; // of the ids, from the image's start
    int64_t record;
    uint32_t count, supervised;
} TokenEntry;

// Writes an image. file NULL: into memory. A file that cannot be written turns sink_failed true; what follows is
// ignored and the caller starts again in memory.
typedef struct TokenSink TokenSink;
TokenSink *token_sink_new(const char *file, const char key[TOKEN_KEY_LEN + 1]);
void token_sink_add(TokenSink *s, const int32_t *ids, const uint8_t *supervised, size_t count, int64_t record);
bool token_sink_failed(const TokenSink *s, Err *why);
void token_sink_free(TokenSink *s); // without finish: nothing stays on disk

typedef struct TokenImage TokenImage;
// Ends the sink's image (s is not freed) and opens it. -1 when the file failed: token_sink_failed.
int token_sink_finish(TokenImage **image, TokenSink *s, const DatasetStats *stats, int32_t vocab_size, Err *err);
// Maps and checks a file. -1: missing, damaged or of another key; err says why.
int token_image_open(TokenImage **image, const char *file, const char key[TOKEN_KEY_LEN + 1], int32_t vocab_size,
                     Err *err);
void token_image_free(TokenImage *image);
const DatasetStats *token_image_stats(const TokenImage *image);
int64_t token_image_count(const TokenImage *image);
Sample token_image_sample(const TokenImage *image, int64_t i);

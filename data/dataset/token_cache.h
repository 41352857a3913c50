// token_cache: tokenised samples in one block of bytes (an image), on disk and mapped, or in memory.
//
// Image: header (magic, key) | for each sample: TokenHead, ids int32[n], supervised uint8[n], padding to 8 | one
// TokenEntry a sample | tables: the number of samples up to the end of each file, uint64[n_files]; records of each key
// that nothing has read, int64[n_unread], and of all others, int64; each label's and each such key's bytes with a NUL |
// padding to 8 | footer (statistics, places, hash of all that stands before it). The key says what
// was tokenised and how; the file's name is made of it. A file is used only if key and hash are right and every number
// in it is possible, so a damaged one is rebuilt, never believed. Native byte order: the cache belongs to one machine.
// An entry has 16 bytes, all that planning rows needs, so that ten million samples cost 160 MB.
// Files: token_sink.c writes, token_image.c checks and reads, token_format.h is what both know.
#pragma once

#include "dataset.h"

enum { TOKEN_KEY_LEN = 32 };

// Writes an image. file NULL: into memory. A file that cannot be written turns sink_failed true; what follows is
// ignored and the caller starts again in memory.
typedef struct TokenSink TokenSink;
TokenSink *token_sink_new(const char *file, const char key[TOKEN_KEY_LEN + 1]);
void token_sink_add(TokenSink *s, const Sample *sample); // supervised_count is counted here; label: any id, or -1
void token_sink_set_unread(TokenSink *s, const KeyCounts *unread); // copied at the end; none: nothing is unread
void token_sink_end_file(TokenSink *s);                            // the samples so far belong to one more data file
bool token_sink_failed(const TokenSink *s, Err *why);
void token_sink_free(TokenSink *s); // without finish: nothing stays on disk

typedef struct TokenImage TokenImage;
// Ends the sink's image (s is not freed) and opens it. Of classification data: the labels, and for each id given to
// token_sink_add its place among them; else NULL. -1 when the file failed: token_sink_failed.
int token_sink_finish(TokenImage **image, TokenSink *s, const DatasetStats *stats, const LabelList *labels,
                      const uint32_t *place, int32_t vocab_size, Err *err);
// Maps and checks a file. -1: missing, damaged or of another key; err says why.
int token_image_open(TokenImage **image, const char *file, const char key[TOKEN_KEY_LEN + 1], int32_t vocab_size,
                     Err *err);
void token_image_free(TokenImage *image);
const DatasetStats *token_image_stats(const TokenImage *image);
const KeyCounts *token_image_unread(const TokenImage *image);
const LabelList *token_image_labels(const TokenImage *image);     // empty: not classification data
const int64_t *token_image_label_counts(const TokenImage *image); // samples of each label
size_t token_image_files(const TokenImage *image);
int64_t token_image_file_end(const TokenImage *image, size_t file);
int64_t token_image_count(const TokenImage *image);
SampleSize token_image_size(const TokenImage *image, int64_t i); // without touching the sample itself
Sample token_image_sample(const TokenImage *image, int64_t i);
void token_image_release(const TokenImage *image); // its pages leave resident memory

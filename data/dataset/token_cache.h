// token_cache: tokenised samples in one block of bytes (an image), on disk and mapped, or in memory.
//
// An image, in order:
//   header: magic, key
//   for each sample: TokenHead, ids int32[n], supervised uint8[n], padding to 8
//   TokenEntry[samples]: 16 bytes, all that planning rows needs, so that ten million samples cost 160 MB
//   tables: the number of samples up to the end of each file, uint64[n_files]; records per unread key,
//     int64[n_unread]; records with further unread keys, int64; labels and unread keys, each with a NUL; padding to 8
//   footer: statistics, offsets, hash of all bytes before the hash
// The key identifies what was tokenised and how; the file's name is made from it. A file is used only if its key and
// hash match and every number in it is valid: a damaged file is rebuilt. Native byte order: one machine's cache.
// token_sink.c writes, token_image.c checks and reads.
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

// Ends the sink's image (s is not freed) and opens it. Of classification data: the labels, and for each id given to
// token_sink_add its place among them; else NULL. -1 when the file failed: token_sink_failed.
int token_sink_finish(Dataset **d, TokenSink *s, const DatasetStats *stats, const LabelList *labels,
                      const uint32_t *place, int32_t vocab_size, Err *err);
// Maps and checks a file; dataset_close. -1: missing, damaged or of another key; err says why.
int token_image_open(Dataset **d, const char *file, const char key[TOKEN_KEY_LEN + 1], int32_t vocab_size, Err *err);

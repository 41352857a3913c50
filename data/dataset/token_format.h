// token_format: the fixed parts of an image, and a data set as the image that is open. Private to token_sink.c,
// token_image.c and dataset.c.
#pragma once

#include "fileio.h"
#include "token_cache.h"

#define TOKEN_MAGIC "lorac tokens 4\n"

typedef struct TokenHeader {
    char magic[sizeof TOKEN_MAGIC];
    char key[TOKEN_KEY_LEN];
} TokenHeader;

typedef struct TokenHead { // before a sample's ids
    int64_t record;
    uint32_t second;
    uint32_t zero;
} TokenHead;

typedef struct TokenEntry {
    uint64_t offset; // of the head, from the image's start
    uint32_t count;
    uint32_t value; // supervised tokens; of classification data: the label
} TokenEntry;

enum { TOKEN_STATS = 17 };

typedef struct TokenFooter {
    int64_t stats[TOKEN_STATS]; // token_stats_pack
    uint64_t n_entries, entries_offset, n_files, n_labels, n_unread, tables_offset;
    uint64_t hash[2]; // XXH3-128 of all bytes before it
} TokenFooter;

_Static_assert(sizeof(TokenHeader) % 8 == 0 && sizeof(TokenFooter) % 8 == 0, "parts are aligned to 8 bytes");

struct Dataset {
    FileMap map;  // of the file, or
    char *memory; // the image itself
    const uint8_t *data;
    size_t size;
    char key[TOKEN_KEY_LEN + 1];
    DatasetStats stats;
    const TokenEntry *entries;
    size_t n_entries;
    const uint64_t *file_ends;
    size_t n_files;
    LabelList labels;
    int64_t *label_counts;
    KeyCounts unread;
    bool score_first;
};

// Takes the bytes of `memory`.
void token_image_from_memory(Dataset **d, StrBuf *memory, const char *key, int32_t vocab_size);
void token_stats_pack(int64_t out[TOKEN_STATS], const DatasetStats *s);

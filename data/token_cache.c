// token_cache: writer and checked reader of images.
#include "token_cache.h"

#include <string.h>

#include <xxhash.h>

#include "fileio.h"

static const char magic[16] = "lorac tokens 2\n";

typedef struct Header {
    char magic[16];
    char key[TOKEN_KEY_LEN];
} Header;

enum { STAT_COUNT = 12 };

typedef struct Footer {
    int64_t stats[STAT_COUNT]; // DatasetStats in its order, without from_cache
    uint64_t n_entries, entries_offset;
    uint64_t hash[2]; // XXH3-128 of all bytes before it
} Footer;

static void pack_stats(int64_t out[STAT_COUNT], const DatasetStats *s) {
    const int64_t values[STAT_COUNT] = {s->format,       s->records,    s->samples,          s->skipped_unsupervised,
                                        s->dropped_long, s->truncated,  s->truncated_tokens, s->dropped_tokens,
                                        s->tokens,       s->supervised, s->left_out_bytes,   s->longest};
    memcpy(out, values, sizeof values);
}

// False when a count is negative or the format unknown.
static bool unpack_stats(DatasetStats *s, const int64_t v[STAT_COUNT]) {
    for (int i = 0; i < STAT_COUNT; i++)
        if (v[i] < 0) return false;
    *s = (DatasetStats){.format = v[0] < FORMAT_COUNT ? (DatasetFormat)v[0] : FORMAT_AUTO,
                        .records = v[1],
                        .samples = v[2],
                        .skipped_unsupervised = v[3],
                        .dropped_long = v[4],
                        .truncated = v[5],
                        .truncated_tokens = v[6],
                        .dropped_tokens = v[7],
                        .tokens = v[8],
                        .supervised = v[9],
                        .left_out_bytes = v[10],
                        .longest = v[11]};
    return v[0] < FORMAT_COUNT;
}

// ---- writing ----

struct TokenSink {
    FileWriter *file; // NULL: memory
    StrBuf memory;
    char *path;
    char key[TOKEN_KEY_LEN + 1];
    uint64_t size;
    XXH3_state_t *hash;
    TokenEntry *entries;
    size_t n_entries, entries_capacity;
    bool failed;
    Err why;
};

static void put(TokenSink *s, const void *bytes, size_t n) {
    if (!n || s->failed) return;
    XXH3_128bits_update(s->hash, bytes, n);
    s->size += n;
    if (!s->path)
        str_add(&s->memory, bytes, n);
    else
        s->failed = file_write(s->file, bytes, n, &s->why) != 0;
}

static void pad(TokenSink *s, size_t align) {
    static const char zeros[8];
    put(s, zeros, (size_t)(-s->size & (align - 1)));
}

TokenSink *token_sink_new(const char *file, const char key[TOKEN_KEY_LEN + 1]) {
    TokenSink *s = mem_calloc(1, sizeof *s);
    s->hash = XXH3_createState();
    CHECK(s->hash, "out of memory");
    XXH3_128bits_reset(s->hash);
    memcpy(s->key, key, sizeof s->key);
    if (file) {
        s->path = mem_strdup(file);
        s->failed = file_create(&s->file, file, &s->why) != 0;
    }
    Header header = {0};
    memcpy(header.magic, magic, sizeof magic);
    memcpy(header.key, key, TOKEN_KEY_LEN);
    put(s, &header, sizeof header);
    return s;
}

void token_sink_add(TokenSink *s, const int32_t *ids, const uint8_t *supervised, size_t count, int64_t record) {
    CHECK(count > 0 && count <= UINT32_MAX, "a sample of %zu tokens", count);
    TokenEntry e = {.offset = s->size, .record = record, .count = (uint32_t)count};
    for (size_t i = 0; i < count; i++) e.supervised += supervised[i];
    put(s, ids, count * sizeof *ids);
    put(s, supervised, count);
    pad(s, 4);
    MEM_GROW(s->entries, s->entries_capacity, s->n_entries + 1);
    s->entries[s->n_entries++] = e;
}

bool token_sink_failed(const TokenSink *s, Err *why) {
    if (s->failed) *why = s->why;
    return s->failed;
}

void token_sink_free(TokenSink *s) {
    if (!s) return;
    file_abandon(s->file);
    str_clear(&s->memory);
    mem_free(s->path);
    mem_free(s->entries);
    XXH3_freeState(s->hash);
    mem_free(s);
}

// ---- reading ----

struct TokenImage {
    FileMap map;  // of the file, or
    char *memory; // the bytes themselves
    const uint8_t *data;
    size_t size;
    DatasetStats stats;
    const TokenEntry *entries;
    size_t n_entries;
};

static int damaged(Err *err, const char *what) {
    return err_input(err, "token cache: %s", what);
}

// Mapped pages that were only looked through are given back, so that checking a large cache costs no memory.
static void drop(const TokenImage *image, size_t offset, size_t size) {
    if (image->map.data) file_map_drop(&image->map, offset, size);
}

static int check_hash(const TokenImage *image, const Footer *footer, Err *err) {
    enum { PIECE = 4 << 20 };
    size_t n = image->size - sizeof footer->hash;
    XXH3_state_t *state = XXH3_createState();
    CHECK(state, "out of memory");
    XXH3_128bits_reset(state);
    for (size_t at = 0; at < n; at += PIECE) {
        size_t piece = n - at < PIECE ? n - at : PIECE;
        XXH3_128bits_update(state, image->data + at, piece);
        drop(image, at, piece);
    }
    XXH128_hash_t h = XXH3_128bits_digest(state);
    XXH3_freeState(state);
    if (h.low64 != footer->hash[0] || h.high64 != footer->hash[1]) return damaged(err, "its hash is wrong");
    return 0;
}

static int check_sample(const TokenImage *image, const TokenEntry *e, uint64_t limit, int32_t vocab_size, Err *err) {
    if (e->offset % 4 || e->offset < sizeof(Header) || e->offset > limit || !e->count || e->record < 0 ||
        (limit - e->offset) / 5 < e->count)
        return damaged(err, "a sample lies outside");
    const int32_t *ids = (const int32_t *)(image->data + e->offset);
    const uint8_t *supervised = (const uint8_t *)(ids + e->count);
    uint32_t sum = 0;
    bool bad = supervised[0] != 0;
    for (uint32_t i = 0; i < e->count; i++) {
        bad |= ids[i] < 0 || ids[i] >= vocab_size || supervised[i] > 1;
        sum += supervised[i];
    }
    if (bad || sum != e->supervised) return damaged(err, "a sample is impossible");
    return 0;
}

static int check_samples(TokenImage *image, const Footer *footer, int32_t vocab_size, Err *err) {
    int64_t tokens = 0, supervised = 0;
    size_t dropped = 0;
    for (size_t i = 0; i < image->n_entries; i++) {
        const TokenEntry *e = &image->entries[i];
        if (check_sample(image, e, footer->entries_offset, vocab_size, err)) return -1;
        tokens += e->count;
        supervised += e->supervised;
        if (e->offset < dropped + (4 << 20)) continue;
        drop(image, dropped, e->offset - dropped);
        dropped = e->offset;
    }
    const DatasetStats *s = &image->stats;
    if (s->samples != (int64_t)image->n_entries || s->tokens != tokens || s->supervised != supervised)
        return damaged(err, "its statistics are impossible");
    return 0;
}

static int check_image(TokenImage *image, const char *key, int32_t vocab_size, Err *err) {
    Footer footer;
    if (image->size < sizeof(Header) + sizeof footer || image->size % 8) return damaged(err, "its size is impossible");
    const Header *header = (const Header *)image->data;
    if (memcmp(header->magic, magic, sizeof magic) || memcmp(header->key, key, TOKEN_KEY_LEN))
        return damaged(err, "it is of another kind");
    size_t footer_at = image->size - sizeof footer;
    memcpy(&footer, image->data + footer_at, sizeof footer);
    if (check_hash(image, &footer, err)) return -1;
    if (footer.entries_offset % 8 || footer.entries_offset > footer_at ||
        (footer_at - footer.entries_offset) % sizeof(TokenEntry) ||
        (footer_at - footer.entries_offset) / sizeof(TokenEntry) != footer.n_entries)
        return damaged(err, "its index is impossible");
    image->entries = (const TokenEntry *)(image->data + footer.entries_offset);
    image->n_entries = footer.n_entries;
    if (!unpack_stats(&image->stats, footer.stats)) return damaged(err, "its statistics are impossible");
    return check_samples(image, &footer, vocab_size, err);
}

int token_image_open(TokenImage **image, const char *file, const char key[TOKEN_KEY_LEN + 1], int32_t vocab_size,
                     Err *err) {
    TokenImage *i = mem_calloc(1, sizeof *i);
    *image = NULL;
    if (file_map(&i->map, file, err) == 0) {
        i->data = i->map.data;
        i->size = i->map.size;
        if (check_image(i, key, vocab_size, err) == 0) {
            *image = i;
            return 0;
        }
    }
    token_image_free(i);
    return -1;
}

// The memory image is checked too: it costs little and tests the writer.
static int open_memory(TokenImage **image, TokenSink *s, int32_t vocab_size, Err *err) {
    TokenImage *i = mem_calloc(1, sizeof *i);
    i->memory = s->memory.data;
    i->data = (const uint8_t *)i->memory;
    i->size = s->memory.len;
    s->memory = (StrBuf){0};
    CHECK(check_image(i, s->key, vocab_size, err) == 0, "%s", err->msg);
    *image = i;
    return 0;
}

int token_sink_finish(TokenImage **image, TokenSink *s, const DatasetStats *stats, int32_t vocab_size, Err *err) {
    pad(s, 8);
    Footer footer = {.n_entries = s->n_entries, .entries_offset = s->size};
    pack_stats(footer.stats, stats);
    put(s, s->entries, s->n_entries * sizeof *s->entries);
    put(s, &footer, offsetof(Footer, hash));
    XXH128_hash_t h = XXH3_128bits_digest(s->hash);
    uint64_t hash[2] = {h.low64, h.high64};
    put(s, hash, sizeof hash);
    if (!s->path) return open_memory(image, s, vocab_size, err);
    if (!s->failed) {
        s->failed = file_commit(s->file, &s->why) != 0;
        s->file = NULL;
    }
    if (!s->failed) s->failed = token_image_open(image, s->path, s->key, vocab_size, &s->why) != 0;
    if (s->failed) *err = s->why;
    return s->failed ? -1 : 0;
}

void token_image_free(TokenImage *image) {
    if (!image) return;
    file_unmap(&image->map);
    mem_free(image->memory);
    mem_free(image);
}

const DatasetStats *token_image_stats(const TokenImage *image) {
    return &image->stats;
}

int64_t token_image_count(const TokenImage *image) {
    return (int64_t)image->n_entries;
}

Sample token_image_sample(const TokenImage *image, int64_t i) {
    CHECK(i >= 0 && (size_t)i < image->n_entries, "sample %lld of %zu", (long long)i, image->n_entries);
    const TokenEntry *e = &image->entries[i];
    const int32_t *ids = (const int32_t *)(image->data + e->offset);
    return (Sample){ids, (const uint8_t *)(ids + e->count), e->count, e->supervised, e->record};
}

// token_image: opens images, checks every number in them, and reads data sets.
#include <string.h>

#include <xxhash.h>

#include "token_format.h"

// The footer's statistics after the format.
static const size_t counts[] = {offsetof(DatasetStats, records),
                                offsetof(DatasetStats, samples),
                                offsetof(DatasetStats, skipped_unsupervised),
                                offsetof(DatasetStats, dropped_long),
                                offsetof(DatasetStats, truncated),
                                offsetof(DatasetStats, truncated_tokens),
                                offsetof(DatasetStats, dropped_tokens),
                                offsetof(DatasetStats, tokens),
                                offsetof(DatasetStats, supervised),
                                offsetof(DatasetStats, left_out_bytes),
                                offsetof(DatasetStats, longest),
                                offsetof(DatasetStats, ignored_members),
                                offsetof(DatasetStats, parsed_special),
                                offsetof(DatasetStats, plain_special),
                                offsetof(DatasetStats, own_bos),
                                offsetof(DatasetStats, cannot_stop)};
_Static_assert(sizeof counts / sizeof *counts == TOKEN_STATS - 1, "one for each place in the footer");

void token_stats_pack(int64_t out[TOKEN_STATS], const DatasetStats *s) {
    out[0] = s->format;
    for (int i = 1; i < TOKEN_STATS; i++) memcpy(&out[i], (const char *)s + counts[i - 1], sizeof *out);
}

// False when a count is negative or the format unknown.
static bool unpack_stats(DatasetStats *s, const int64_t v[TOKEN_STATS]) {
    bool possible = v[0] >= 0 && v[0] < FORMAT_COUNT;
    *s = (DatasetStats){.format = possible ? (DatasetFormat)v[0] : FORMAT_AUTO};
    for (int i = 1; i < TOKEN_STATS; i++) {
        possible &= v[i] >= 0;
        memcpy((char *)s + counts[i - 1], &v[i], sizeof *v);
    }
    return possible;
}

static int damaged(Err *err, const char *what) {
    return err_input(err, "token cache: %s", what);
}

// Releases mapped pages that were checked, so that checking a large cache needs no memory.
static void drop(const Dataset *image, size_t offset, size_t size) {
    if (image->map.data) file_map_drop(&image->map, offset, size);
}

void dataset_release(const Dataset *image) {
    drop(image, 0, image->size);
}

// ---- checks ----

static int check_hash(const Dataset *image, const TokenFooter *footer, Err *err) {
    enum { PIECE = 4 << 20 };
    size_t n = image->size - sizeof footer->hash;
    XXH3_state_t *state = mem_checked(XXH3_createState());
    XXH3_128bits_reset(state);
    for (size_t at = 0; at < n; at += PIECE) {
        size_t piece = n - at < PIECE ? n - at : PIECE;
        XXH3_128bits_update(state, image->data + at, piece);
        drop(image, at, piece);
    }
    XXH128_hash_t h = XXH3_128bits_digest(state);
    XXH3_freeState(state);
    if (h.low64 != footer->hash[0] || h.high64 != footer->hash[1]) return damaged(err, "hash mismatch");
    return 0;
}

// n items of `size` bytes fit in [begin, end).
static bool fits(uint64_t begin, uint64_t end, uint64_t n, size_t size) {
    return begin % 8 == 0 && begin <= end && n <= (end - begin) / size;
}

// The name at *p, which moves past it; NULL: it does not end.
static const char *next_name(const char **p, const char *end) {
    const char *name = *p, *stop = memchr(name, 0, (size_t)(end - name));
    if (stop) *p = stop + 1;
    return stop ? name : NULL;
}

// Counts of unread keys, then labels, then the keys' names.
static int check_names(Dataset *image, const int64_t *records, const char *end, const TokenFooter *f, Err *err) {
    const char *p = (const char *)(records + f->n_unread + 1), *name;
    for (uint64_t i = 0; i < f->n_labels; i++) {
        if (!(name = next_name(&p, end))) return damaged(err, "invalid labels");
        label_list_add(&image->labels, name);
    }
    image->label_counts = mem_calloc(image->labels.count + 1, sizeof *image->label_counts);
    for (uint64_t i = 0; i <= f->n_unread; i++)
        if (records[i] < 0) return damaged(err, "invalid table of unread keys");
    for (uint64_t i = 0; i < f->n_unread; i++) {
        if (!(name = next_name(&p, end))) return damaged(err, "invalid table of unread keys");
        key_counts_put(&image->unread, name, records[i]);
    }
    image->unread.others = records[f->n_unread];
    return 0;
}

static int check_tables(Dataset *image, const TokenFooter *f, size_t footer_at, Err *err) {
    if (!fits(sizeof(TokenHeader), f->entries_offset, 0, 1) ||
        !fits(f->entries_offset, f->tables_offset, f->n_entries, sizeof(TokenEntry)) ||
        !fits(f->tables_offset, footer_at, f->n_files, sizeof(uint64_t)) || f->n_labels > LABELS_MAX ||
        f->n_unread > KEYS_NAMED ||
        !fits(f->tables_offset + f->n_files * sizeof(uint64_t), footer_at, f->n_unread + 1, sizeof(int64_t)))
        return damaged(err, "invalid offsets in the footer");
    image->entries = (const TokenEntry *)(image->data + f->entries_offset);
    image->n_entries = f->n_entries;
    image->file_ends = (const uint64_t *)(image->data + f->tables_offset);
    image->n_files = f->n_files;
    for (size_t i = 0; i < f->n_files; i++)
        if (image->file_ends[i] < (i ? image->file_ends[i - 1] : 0) || image->file_ends[i] > f->n_entries)
            return damaged(err, "invalid table of files");
    if (f->n_entries && (!f->n_files || image->file_ends[f->n_files - 1] != f->n_entries))
        return damaged(err, "invalid table of files");
    return check_names(image, (const int64_t *)(image->file_ends + f->n_files), (const char *)image->data + footer_at,
                       f, err);
}

// limit: the end of the samples.
static int check_sample(const Dataset *image, const TokenEntry *e, uint64_t limit, int32_t vocab_size,
                        int64_t *supervised, Err *err) {
    if (e->offset < sizeof(TokenHeader) || !e->count || e->count > INT32_MAX ||
        !fits(e->offset, limit, sizeof(TokenHead) + (uint64_t)e->count * 5, 1))
        return damaged(err, "sample out of range");
    const TokenHead *head = (const TokenHead *)(image->data + e->offset);
    const int32_t *ids = (const int32_t *)(head + 1);
    const uint8_t *mask = (const uint8_t *)(ids + e->count);
    uint32_t sum = 0;
    bool bad = mask[0] != 0 || head->record < 0 || head->second > e->count || head->zero;
    for (uint32_t i = 0; i < e->count; i++) {
        bad |= ids[i] < 0 || ids[i] >= vocab_size || mask[i] > 1;
        sum += mask[i];
    }
    bool classes = image->labels.count;
    if (bad || (classes ? sum != 0 || e->value >= image->labels.count : sum != e->value))
        return damaged(err, "invalid sample");
    if (classes) image->label_counts[e->value]++;
    *supervised += classes ? 1 : sum;
    return 0;
}

static int check_samples(Dataset *image, const TokenFooter *footer, int32_t vocab_size, Err *err) {
    enum { PIECE = 4 << 20 };
    int64_t tokens = 0, supervised = 0;
    size_t dropped = 0;
    for (size_t i = 0; i < image->n_entries; i++) {
        const TokenEntry *e = &image->entries[i];
        if (check_sample(image, e, footer->entries_offset, vocab_size, &supervised, err)) return -1;
        tokens += e->count;
        if (e->offset < dropped + PIECE) continue;
        drop(image, dropped, e->offset - dropped);
        dropped = e->offset;
    }
    const DatasetStats *s = &image->stats;
    if (s->samples != (int64_t)image->n_entries || s->tokens != tokens || s->supervised != supervised)
        return damaged(err, "invalid statistics");
    return 0;
}

static int check_image(Dataset *image, const char *key, int32_t vocab_size, Err *err) {
    TokenFooter footer;
    if (image->size < sizeof(TokenHeader) + sizeof footer || image->size % 8) return damaged(err, "invalid size");
    const TokenHeader *header = (const TokenHeader *)image->data;
    if (memcmp(header->magic, TOKEN_MAGIC, sizeof header->magic) != 0 || memcmp(header->key, key, TOKEN_KEY_LEN) != 0)
        return damaged(err, "other format or key");
    size_t footer_at = image->size - sizeof footer;
    memcpy(&footer, image->data + footer_at, sizeof footer);
    if (check_hash(image, &footer, err)) return -1;
    if (!unpack_stats(&image->stats, footer.stats)) return damaged(err, "invalid statistics");
    if (check_tables(image, &footer, footer_at, err)) return -1;
    return check_samples(image, &footer, vocab_size, err);
}

// ---- opening ----

static int check_new(Dataset **d, Dataset *image, const char *key, int32_t vocab_size, Err *err) {
    int rc = check_image(image, key, vocab_size, err);
    memcpy(image->key, key, TOKEN_KEY_LEN);
    *d = rc ? NULL : image;
    if (rc) dataset_close(image);
    return rc;
}

int token_image_open(Dataset **d, const char *file, const char key[TOKEN_KEY_LEN + 1], int32_t vocab_size, Err *err) {
    FileMap map;
    *d = NULL;
    if (file_map(&map, file, err)) return -1;
    Dataset *image = mem_calloc(1, sizeof *image);
    *image = (Dataset){.map = map, .data = map.data, .size = map.size};
    return check_new(d, image, key, vocab_size, err);
}

// Checked, too: it costs little and tests the writer.
void token_image_from_memory(Dataset **d, StrBuf *memory, const char *key, int32_t vocab_size) {
    Err err;
    Dataset *image = mem_calloc(1, sizeof *image);
    *image = (Dataset){.memory = memory->data, .data = (const uint8_t *)memory->data, .size = memory->len};
    *memory = (StrBuf){0};
    CHECK(check_new(d, image, key, vocab_size, &err) == 0, "%s", err.msg);
}

void dataset_close(Dataset *d) {
    if (!d) return;
    file_unmap(&d->map);
    label_list_clear(&d->labels);
    key_counts_clear(&d->unread);
    mem_free(d->label_counts);
    mem_free(d->memory);
    mem_free(d);
}

// ---- reading ----

const char *dataset_fingerprint(const Dataset *d) {
    return d->key;
}

const DatasetStats *dataset_stats(const Dataset *d) {
    return &d->stats;
}

const KeyCounts *dataset_unread(const Dataset *d) {
    return &d->unread;
}

const LabelList *dataset_labels(const Dataset *d) {
    return d->labels.count ? &d->labels : NULL;
}

const int64_t *dataset_label_counts(const Dataset *d) {
    return d->label_counts;
}

bool dataset_scores_first(const Dataset *d) {
    return d->score_first;
}

size_t dataset_files(const Dataset *d) {
    return d->n_files;
}

int64_t dataset_file_end(const Dataset *d, size_t file) {
    CHECK(file < d->n_files, "file %zu of %zu", file, d->n_files);
    return (int64_t)d->file_ends[file];
}

int64_t dataset_count(const Dataset *d) {
    return (int64_t)d->n_entries;
}

static const TokenEntry *entry_at(const Dataset *d, int64_t i) {
    CHECK(i >= 0 && (size_t)i < d->n_entries, "sample %lld of %zu", (long long)i, d->n_entries);
    return &d->entries[i];
}

SampleSize dataset_size(const Dataset *d, int64_t i) {
    const TokenEntry *e = entry_at(d, i);
    return (SampleSize){e->count, d->labels.count ? 1 : e->value};
}

Sample dataset_sample(const Dataset *d, int64_t i) {
    const TokenEntry *e = entry_at(d, i);
    const TokenHead *head = (const TokenHead *)(d->data + e->offset);
    const int32_t *ids = (const int32_t *)(head + 1);
    bool classes = d->labels.count;
    return (Sample){.ids = ids,
                    .supervised = (const uint8_t *)(ids + e->count),
                    .count = e->count,
                    .supervised_count = classes ? 1 : e->value,
                    .record = head->record,
                    .label = classes ? (int32_t)e->value : -1,
                    .second = head->second};
}

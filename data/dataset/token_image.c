// token_cache: the checked reader of images.
#include <string.h>

#include <xxhash.h>

#include "fileio.h"
#include "token_format.h"

struct TokenImage {
    FileMap map;  // of the file, or
    char *memory; // the bytes themselves
    const uint8_t *data;
    size_t size;
    DatasetStats stats;
    const TokenEntry *entries;
    size_t n_entries;
    const uint64_t *file_ends;
    size_t n_files;
    LabelList labels;
    int64_t *label_counts;
    KeyCounts unread;
};

void token_stats_pack(int64_t out[TOKEN_STATS], const DatasetStats *s) {
    const int64_t values[TOKEN_STATS] = {
        s->format,          s->records,        s->samples,          s->skipped_unsupervised,
        s->dropped_long,    s->truncated,      s->truncated_tokens, s->dropped_tokens,
        s->tokens,          s->supervised,     s->left_out_bytes,   s->longest,
        s->ignored_members, s->parsed_special, s->plain_special,    s->own_bos,
        s->cannot_stop};
    memcpy(out, values, sizeof values);
}

// False when a count is negative or the format unknown.
static bool unpack_stats(DatasetStats *s, const int64_t v[TOKEN_STATS]) {
    for (int i = 0; i < TOKEN_STATS; i++)
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
                        .longest = v[11],
                        .ignored_members = v[12],
                        .parsed_special = v[13],
                        .plain_special = v[14],
                        .own_bos = v[15],
                        .cannot_stop = v[16]};
    return v[0] < FORMAT_COUNT;
}

static int damaged(Err *err, const char *what) {
    return err_input(err, "token cache: %s", what);
}

// Mapped pages that were only looked through are given back, so that checking a large cache costs no memory.
static void drop(const TokenImage *image, size_t offset, size_t size) {
    if (image->map.data) file_map_drop(&image->map, offset, size);
}

void token_image_release(const TokenImage *image) {
    drop(image, 0, image->size);
}

// ---- checks ----

static int check_hash(const TokenImage *image, const TokenFooter *footer, Err *err) {
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
    if (h.low64 != footer->hash[0] || h.high64 != footer->hash[1]) return damaged(err, "its hash is wrong");
    return 0;
}

// n items of `size` bytes fit in [begin, end).
static bool fits(uint64_t begin, uint64_t end, uint64_t n, size_t size) {
    return begin % 8 == 0 && begin <= end && n <= (end - begin) / size;
}

// The name at *p, which moves behind it; NULL: it does not end.
static const char *next_name(const char **p, const char *end) {
    const char *name = *p, *stop = memchr(name, 0, (size_t)(end - name));
    if (stop) *p = stop + 1;
    return stop ? name : NULL;
}

// Counts of unread keys, then labels, then the keys' names.
static int check_names(TokenImage *image, const int64_t *records, const char *end, const TokenFooter *f, Err *err) {
    const char *p = (const char *)(records + f->n_unread + 1), *name;
    for (uint64_t i = 0; i < f->n_labels; i++) {
        if (!(name = next_name(&p, end))) return damaged(err, "its labels are impossible");
        label_list_add(&image->labels, name);
    }
    image->label_counts = mem_calloc(image->labels.count + 1, sizeof *image->label_counts);
    for (uint64_t i = 0; i <= f->n_unread; i++)
        if (records[i] < 0) return damaged(err, "its keys are impossible");
    for (uint64_t i = 0; i < f->n_unread; i++) {
        if (!(name = next_name(&p, end))) return damaged(err, "its keys are impossible");
        key_counts_put(&image->unread, name, records[i]);
    }
    image->unread.others = records[f->n_unread];
    return 0;
}

static int check_tables(TokenImage *image, const TokenFooter *f, size_t footer_at, Err *err) {
    if (!fits(sizeof(TokenHeader), f->entries_offset, 0, 1) ||
        !fits(f->entries_offset, f->tables_offset, f->n_entries, sizeof(TokenEntry)) ||
        !fits(f->tables_offset, footer_at, f->n_files, sizeof(uint64_t)) || f->n_labels > LABELS_MAX ||
        f->n_unread > KEYS_NAMED ||
        !fits(f->tables_offset + f->n_files * sizeof(uint64_t), footer_at, f->n_unread + 1, sizeof(int64_t)))
        return damaged(err, "its index is impossible");
    image->entries = (const TokenEntry *)(image->data + f->entries_offset);
    image->n_entries = f->n_entries;
    image->file_ends = (const uint64_t *)(image->data + f->tables_offset);
    image->n_files = f->n_files;
    for (size_t i = 0; i < f->n_files; i++)
        if (image->file_ends[i] < (i ? image->file_ends[i - 1] : 0) || image->file_ends[i] > f->n_entries)
            return damaged(err, "its files are impossible");
    if (f->n_entries && (!f->n_files || image->file_ends[f->n_files - 1] != f->n_entries))
        return damaged(err, "its files are impossible");
    return check_names(image, (const int64_t *)(image->file_ends + f->n_files), (const char *)image->data + footer_at,
                       f, err);
}

// limit: where the samples end. Adds to the sums what the sample supervises.
static int check_sample(const TokenImage *image, const TokenEntry *e, uint64_t limit, int32_t vocab_size,
                        int64_t *supervised, Err *err) {
    if (e->offset < sizeof(TokenHeader) || !e->count || e->count > INT32_MAX ||
        !fits(e->offset, limit, sizeof(TokenHead) + (uint64_t)e->count * 5, 1))
        return damaged(err, "a sample lies outside");
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
        return damaged(err, "a sample is impossible");
    if (classes) image->label_counts[e->value]++;
    *supervised += classes ? 1 : sum;
    return 0;
}

static int check_samples(TokenImage *image, const TokenFooter *footer, int32_t vocab_size, Err *err) {
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
        return damaged(err, "its statistics are impossible");
    return 0;
}

static int check_image(TokenImage *image, const char *key, int32_t vocab_size, Err *err) {
    TokenFooter footer;
    if (image->size < sizeof(TokenHeader) + sizeof footer || image->size % 8)
        return damaged(err, "its size is impossible");
    const TokenHeader *header = (const TokenHeader *)image->data;
    if (memcmp(header->magic, TOKEN_MAGIC, sizeof header->magic) != 0 || memcmp(header->key, key, TOKEN_KEY_LEN) != 0)
        return damaged(err, "it is of another kind");
    size_t footer_at = image->size - sizeof footer;
    memcpy(&footer, image->data + footer_at, sizeof footer);
    if (check_hash(image, &footer, err)) return -1;
    if (!unpack_stats(&image->stats, footer.stats)) return damaged(err, "its statistics are impossible");
    if (check_tables(image, &footer, footer_at, err)) return -1;
    return check_samples(image, &footer, vocab_size, err);
}

// ---- opening ----

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

// It is checked too: it costs little and tests the writer.
int token_image_from_memory(TokenImage **image, StrBuf *memory, const char *key, int32_t vocab_size, Err *err) {
    TokenImage *i = mem_calloc(1, sizeof *i);
    i->memory = memory->data;
    i->data = (const uint8_t *)i->memory;
    i->size = memory->len;
    *memory = (StrBuf){0};
    CHECK(check_image(i, key, vocab_size, err) == 0, "%s", err->msg);
    *image = i;
    return 0;
}

void token_image_free(TokenImage *image) {
    if (!image) return;
    file_unmap(&image->map);
    label_list_clear(&image->labels);
    key_counts_clear(&image->unread);
    mem_free(image->label_counts);
    mem_free(image->memory);
    mem_free(image);
}

// ---- what is in it ----

const DatasetStats *token_image_stats(const TokenImage *image) {
    return &image->stats;
}

const KeyCounts *token_image_unread(const TokenImage *image) {
    return &image->unread;
}

const LabelList *token_image_labels(const TokenImage *image) {
    return &image->labels;
}

const int64_t *token_image_label_counts(const TokenImage *image) {
    return image->label_counts;
}

size_t token_image_files(const TokenImage *image) {
    return image->n_files;
}

int64_t token_image_file_end(const TokenImage *image, size_t file) {
    CHECK(file < image->n_files, "file %zu of %zu", file, image->n_files);
    return (int64_t)image->file_ends[file];
}

int64_t token_image_count(const TokenImage *image) {
    return (int64_t)image->n_entries;
}

static const TokenEntry *entry_at(const TokenImage *image, int64_t i) {
    CHECK(i >= 0 && (size_t)i < image->n_entries, "sample %lld of %zu", (long long)i, image->n_entries);
    return &image->entries[i];
}

SampleSize token_image_size(const TokenImage *image, int64_t i) {
    const TokenEntry *e = entry_at(image, i);
    return (SampleSize){e->count, image->labels.count ? 1 : e->value};
}

Sample token_image_sample(const TokenImage *image, int64_t i) {
    const TokenEntry *e = entry_at(image, i);
    const TokenHead *head = (const TokenHead *)(image->data + e->offset);
    const int32_t *ids = (const int32_t *)(head + 1);
    bool classes = image->labels.count;
    return (Sample){.ids = ids,
                    .supervised = (const uint8_t *)(ids + e->count),
                    .count = e->count,
                    .supervised_count = classes ? 1 : e->value,
                    .record = head->record,
                    .label = classes ? (int32_t)e->value : -1,
                    .second = head->second};
}

// token_image: opens the images of token_cache.h and checks every number in them.
#include <math.h>
#include <string.h>

#include <xxhash.h>

#include "token_cache.h"

enum { PIECE = 4 << 20 }; // mapped pages are released in pieces once checked: checking a large cache needs no memory

static int damaged(Err *err, const char *what) { return err_input(err, "token cache: %s", what); }

static void drop(const TokenImage *m, size_t offset, size_t size) {
    if (m->map.data) file_map_drop(&m->map, offset, size);
}

// ---- checks ----

static bool hash_matches(const TokenImage *m, const TokenFooter *footer) {
    size_t n = m->size - sizeof footer->hash;
    XXH3_state_t *state = mem_checked(XXH3_createState());
    XXH3_128bits_reset(state);
    for (size_t at = 0; at < n; at += PIECE) {
        size_t piece = n - at < PIECE ? n - at : PIECE;
        XXH3_128bits_update(state, m->data + at, piece);
        drop(m, at, piece);
    }
    XXH128_hash_t h = XXH3_128bits_digest(state);
    XXH3_freeState(state);
    return h.low64 == footer->hash[0] && h.high64 == footer->hash[1];
}

static bool stats_are_possible(const DatasetStats *s) {
    const int64_t *counts = (const int64_t *)s;
    for (size_t i = 0; i < sizeof *s / sizeof *counts; i++)
        if (counts[i] < 0) return false;
    return s->format < FORMAT_COUNT;
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
static int read_names(Dataset *d, const int64_t *records, const char *end, const TokenFooter *f, Err *err) {
    const uint32_t *place = (const uint32_t *)(records + f->n_unread + 1);
    bool placed = token_has_place((Problem)f->problem);
    const char *p = (const char *)(place + (placed ? f->n_labels : 0)), *name;
    for (uint64_t i = 0; placed && i < f->n_labels; i++)
        if (place[i] >= f->n_labels) return damaged(err, "invalid places of labels");
    if (placed) d->place = place;
    if (f->n_labels) d->labels = mem_calloc(1, sizeof *d->labels);
    for (uint64_t i = 0; i < f->n_labels; i++) {
        if (!(name = next_name(&p, end))) return damaged(err, "invalid labels");
        label_list_add(d->labels, name);
    }
    d->label_counts = mem_calloc(f->n_labels + 1, sizeof *d->label_counts);
    for (uint64_t i = 0; i < f->n_unread; i++) {
        if (records[i] < 0 || !(name = next_name(&p, end))) return damaged(err, "invalid table of unread keys");
        key_counts_put(&d->unread, name, records[i]);
    }
    d->unread.others = records[f->n_unread];
    return d->unread.others < 0 ? damaged(err, "invalid table of unread keys") : 0;
}

static int read_tables(Dataset *d, const TokenFooter *f, size_t footer_at, Err *err) {
    const uint8_t *data = d->image->data;
    if (!fits(sizeof(TokenHeader), f->entries_offset, 0, 1) ||
        !fits(f->entries_offset, f->tables_offset, f->n_entries, sizeof(TokenEntry)) ||
        !fits(f->tables_offset, footer_at, f->n_files, sizeof *d->file_ends) || f->n_labels > LABELS_MAX ||
        f->n_unread > KEYS_NAMED ||
        !fits(f->tables_offset + f->n_files * sizeof *d->file_ends, footer_at,
              f->n_unread + 1 + (token_has_place((Problem)f->problem) ? f->n_labels / 2 + 1 : 0), sizeof(int64_t)))
        return damaged(err, "invalid offsets in the footer");
    d->image->entries = (const TokenEntry *)(data + f->entries_offset);
    d->count = (int64_t)f->n_entries;
    d->file_ends = (const int64_t *)(data + f->tables_offset);
    d->n_files = f->n_files;
    int64_t end = 0;
    for (size_t i = 0; i < d->n_files; end = d->file_ends[i++])
        if (d->file_ends[i] < end) return damaged(err, "invalid table of files");
    if (end != d->count) return damaged(err, "invalid table of files");
    return read_names(d, d->file_ends + d->n_files, (const char *)data + footer_at, f, err);
}

// The labels or numbers of a sample, which fit before `limit`.
static bool labels_are_valid(const Dataset *d, const TokenEntry *e, const uint8_t *mask, uint64_t limit) {
    const void *labels = token_labels(mask, e->count);
    uint64_t offset = (uint64_t)((const uint8_t *)labels - d->image->data);
    if (offset > limit || e->value > (limit - offset) / 4) return false;
    if (d->problem == PROBLEM_REGRESSION && e->value != d->labels->count) return false;
    for (uint32_t i = 0; i < e->value; i++) {
        if (d->problem == PROBLEM_REGRESSION ? !isfinite(((const float *)labels)[i])
                                             : ((const uint32_t *)labels)[i] >= d->labels->count)
            return false;
        if (d->place) d->label_counts[d->place[((const uint32_t *)labels)[i]]]++;
    }
    return true;
}

// limit: the end of the samples.
static int check_sample(const Dataset *d, const TokenEntry *e, uint64_t limit, int32_t vocab_size, int64_t *supervised,
                        Err *err) {
    if (e->offset < sizeof(TokenHeader) || !e->count || e->count > INT32_MAX ||
        !fits(e->offset, limit, sizeof(TokenHead) + (uint64_t)e->count * 5, 1))
        return damaged(err, "sample out of range");
    const TokenHead *head = (const TokenHead *)(d->image->data + e->offset);
    const int32_t *ids = (const int32_t *)(head + 1);
    const uint8_t *mask = (const uint8_t *)(ids + e->count);
    uint32_t sum = 0, most = d->preference ? LEARNT_PROMPT : d->masked ? MLM_CONTINUES : 1;
    bool tokens = d->problem == PROBLEM_TOKENS;
    bool bad = (mask[0] != 0 && !d->masked && !tokens) || head->record < 0 || head->second > e->count ||
               (!d->embedding && head->value > (d->preference == PREFERENCE_LABELS));
    if (d->preference) bad |= head->second == 0 || head->second >= e->count || mask[head->second] != 0;
    if (d->embedding)
        bad |= head->second == 0 || head->second >= e->count || !mask[head->second] ||
               (d->embedding != EMBEDDING_RANKED && e->value != 1) || !isfinite(bits_to_f32(head->value));
    for (uint32_t i = 0; i < e->count && !bad; i++) {
        bad |= ids[i] < 0 || ids[i] >= vocab_size || mask[i] > most;
        sum += mask[i] != 0;
    }
    bool each = tokens || problem_is_each(d->problem);
    if (bad || (d->labels && !tokens ? sum != 0 || (!each && e->value >= d->labels->count) : sum != e->value))
        return damaged(err, "invalid sample");
    if (each && !labels_are_valid(d, e, mask, limit)) return damaged(err, "invalid labels of a sample");
    if (d->labels && !each) d->label_counts[e->value]++;
    *supervised += d->labels && !tokens ? 1 : sum;
    return 0;
}

static int check_samples(const Dataset *d, const TokenFooter *footer, int32_t vocab_size, Err *err) {
    int64_t tokens = 0, supervised = 0;
    size_t dropped = 0;
    CHECK(d->image->entries);
    for (int64_t i = 0; i < d->count; i++) {
        const TokenEntry *e = &d->image->entries[i];
        if (check_sample(d, e, footer->entries_offset, vocab_size, &supervised, err)) return -1;
        tokens += e->count;
        if (e->offset < dropped + PIECE) continue;
        drop(d->image, dropped, e->offset - dropped);
        dropped = e->offset;
    }
    const DatasetStats *s = &d->stats;
    return s->samples == d->count && s->tokens == tokens && s->supervised == supervised
               ? 0
               : damaged(err, "invalid statistics");
}

static int read_image(Dataset *d, const char *key, int32_t vocab_size, Err *err) {
    const TokenImage *m = d->image;
    const TokenHeader *header = (const TokenHeader *)m->data;
    if (m->size < sizeof *header + sizeof(TokenFooter) || m->size % 8) return damaged(err, "invalid size");
    if (memcmp(header->magic, TOKEN_MAGIC, sizeof header->magic) != 0 || memcmp(header->key, key, TOKEN_KEY_LEN) != 0)
        return damaged(err, "other format or key");
    size_t footer_at = m->size - sizeof(TokenFooter);
    const TokenFooter *footer = (const TokenFooter *)(m->data + footer_at);
    if (!hash_matches(m, footer)) return damaged(err, "hash mismatch");
    if (!stats_are_possible(&footer->stats) || footer->preference > PREFERENCE_LABELS ||
        (footer->preference && footer->n_labels) || footer->masked > 1 ||
        (footer->masked && (footer->preference || footer->n_labels)) || footer->problem > PROBLEM_TOKENS ||
        !footer->problem != !footer->n_labels || footer->embedding > EMBEDDING_COSINES ||
        (footer->embedding && (footer->preference || footer->n_labels || footer->masked)))
        return damaged(err, "invalid statistics");
    memcpy(d->fingerprint, key, TOKEN_KEY_LEN);
    d->stats = footer->stats;
    d->preference = (PreferenceData)footer->preference;
    d->masked = footer->masked;
    d->problem = (Problem)footer->problem;
    d->embedding = (EmbeddingData)footer->embedding;
    return read_tables(d, footer, footer_at, err) ? -1 : check_samples(d, footer, vocab_size, err);
}

// ---- opening ----

static int open_image(Dataset **out, TokenImage image, const char *key, int32_t vocab_size, Err *err) {
    Dataset *d = mem_calloc(1, sizeof *d);
    d->image = mem_alloc(1, sizeof image);
    *d->image = image;
    int rc = read_image(d, key, vocab_size, err);
    if (rc) dataset_close(d);
    *out = rc ? NULL : d;
    return rc;
}

int token_image_open(Dataset **d, const char *file, const char key[TOKEN_KEY_LEN + 1], int32_t vocab_size, Err *err) {
    FileMap map;
    *d = NULL;
    if (file_map(&map, file, err)) return -1;
    return open_image(d, (TokenImage){.map = map, .data = map.data, .size = map.size}, key, vocab_size, err);
}

// Checked, too: it costs little and tests the writer.
void token_image_from_memory(Dataset **d, StrBuf *memory, const char *key, int32_t vocab_size) {
    Err err;
    TokenImage image = {.memory = memory->data, .data = (const uint8_t *)memory->data, .size = memory->len};
    *memory = (StrBuf){0};
    CHECK(open_image(d, image, key, vocab_size, &err) == 0, "%s", err.msg);
}

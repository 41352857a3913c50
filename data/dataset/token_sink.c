// token_sink: writes the images of token_cache.h.
#include <string.h>

#include <xxhash.h>

#include "cache_dir.h"
#include "token_cache.h"

struct TokenSink {
    FileWriter *file; // NULL: memory
    StrBuf memory;
    char *path;
    char key[TOKEN_KEY_LEN + 1];
    uint64_t size;
    XXH3_state_t *hash;
    TokenEntry *entries;
    size_t n_entries, entries_capacity;
    int64_t *file_ends;
    size_t n_files, files_capacity;
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

static void pad_to(TokenSink *s, uint64_t unit) {
    static const char zeros[8];
    put(s, zeros, (size_t)(-s->size & (unit - 1)));
}

static void pad(TokenSink *s) { pad_to(s, 8); }

TokenSink *token_sink_new(const char *file, const char key[TOKEN_KEY_LEN + 1]) {
    TokenSink *s = mem_calloc(1, sizeof *s);
    s->hash = mem_checked(XXH3_createState());
    XXH3_128bits_reset(s->hash);
    memcpy(s->key, key, sizeof s->key);
    if (file) {
        s->path = mem_strdup(file);
        s->failed = file_create_private(&s->file, file, cache_own, &s->why) != 0;
    }
    TokenHeader header = {.magic = TOKEN_MAGIC};
    memcpy(header.key, key, TOKEN_KEY_LEN);
    put(s, &header, sizeof header);
    return s;
}

void token_sink_add(TokenSink *s, const Sample *sample) {
    size_t count = (size_t)sample->count;
    CHECK(sample->count > 0 && sample->count <= INT32_MAX && sample->second <= sample->count, "a sample of %zu tokens",
          count);
    TokenEntry e = {.offset = s->size, .count = (uint32_t)count, .value = (uint32_t)sample->label};
    const void *labels = sample->labels ? (const void *)sample->labels : (const void *)sample->values;
    if (labels) e.value = (uint32_t)sample->n_labels;
    if (sample->label < 0 && !labels) {
        e.value = 0;
        for (size_t i = 0; i < count; i++) e.value += sample->supervised[i] != 0;
    }
    TokenHead head = {.record = sample->record, .second = (uint32_t)sample->second, .value = sample->desirable};
    if (sample->embedding) head.value = f32_to_bits(sample->score);
    put(s, &head, sizeof head);
    put(s, sample->ids, count * sizeof *sample->ids);
    put(s, sample->supervised, count);
    if (labels) {
        pad_to(s, 4);
        put(s, labels, (size_t)sample->n_labels * 4);
    }
    pad(s);
    MEM_GROW(s->entries, s->entries_capacity, s->n_entries + 1);
    s->entries[s->n_entries++] = e;
}

void token_sink_end_file(TokenSink *s) {
    MEM_GROW(s->file_ends, s->files_capacity, s->n_files + 1);
    s->file_ends[s->n_files++] = (int64_t)s->n_entries;
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
    mem_free(s->file_ends);
    XXH3_freeState(s->hash);
    mem_free(s);
}

static void put_names(TokenSink *s, char **names, size_t count) {
    for (size_t i = 0; i < count; i++) put(s, names[i], strlen(names[i]) + 1);
}

static void put_tables(TokenSink *s, const TokenTables *t) {
    put(s, s->file_ends, s->n_files * sizeof *s->file_ends);
    put(s, t->unread->records, t->unread->count * sizeof *t->unread->records);
    put(s, &t->unread->others, sizeof t->unread->others);
    if (token_has_place(t->problem)) put(s, t->place, t->labels->count * sizeof *t->place);
    put_names(s, t->labels->names, t->labels->count);
    put_names(s, t->unread->names, t->unread->count);
    pad(s);
}

int token_sink_finish(Dataset **d, TokenSink *s, const TokenTables *t, int32_t vocab_size, Err *err) {
    TokenFooter footer = {.stats = *t->stats, .n_entries = s->n_entries, .entries_offset = s->size};
    footer.preference = t->preference;
    footer.masked = t->masked;
    footer.problem = t->problem;
    footer.embedding = t->embedding;
    footer.n_files = s->n_files;
    footer.n_unread = t->unread->count;
    footer.n_labels = t->labels->count;
    for (size_t i = 0; t->place && t->problem == PROBLEM_SINGLE_LABEL && i < s->n_entries; i++)
        s->entries[i].value = t->place[s->entries[i].value];
    put(s, s->entries, s->n_entries * sizeof *s->entries);
    mem_free(mem_take(&s->entries)); // the image holds them now
    footer.tables_offset = s->size;
    put_tables(s, t);
    put(s, &footer, offsetof(TokenFooter, hash));
    XXH128_hash_t h = XXH3_128bits_digest(s->hash);
    put(s, (uint64_t[]){h.low64, h.high64}, sizeof footer.hash);
    if (!s->path) {
        token_image_from_memory(d, &s->memory, s->key, vocab_size);
        return 0;
    }
    if (!s->failed) {
        s->failed = file_commit(s->file, &s->why) != 0;
        s->file = NULL;
    }
    if (!s->failed) s->failed = token_image_open(d, s->path, s->key, vocab_size, &s->why) != 0;
    if (s->failed) *err = s->why;
    return s->failed ? -1 : 0;
}

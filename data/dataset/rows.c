// rows: packing, order, and one row as arrays.
#include "rows.h"

#include <stdlib.h>
#include <string.h>

#include "rng.h"

// ---- packing ----

// Rows by the room left in them: rows with the same room form a list, newest first.
typedef struct Rooms {
    size_t n_words;      // of occupied
    uint64_t *occupied;  // a bit for each room: has it a row?
    uint64_t *not_empty; // a bit for each word of occupied
    int32_t *first;      // [max_tokens] row, valid for occupied rooms
    int32_t *next;       // [rows] next row of the same room, or -1
} Rooms;

static void rooms_put(Rooms *r, int64_t room, int32_t row) {
    uint64_t *word = &r->occupied[room / 64], bit = (uint64_t)1 << room % 64;
    r->next[row] = *word & bit ? r->first[room] : -1;
    r->first[room] = row;
    *word |= bit;
    r->not_empty[room / 4096] |= (uint64_t)1 << room / 64 % 64;
}

// Removes the row with the least room for n tokens; -1: none. *room: the room it had.
static int32_t rooms_take(Rooms *r, int64_t n, int64_t *room) {
    size_t w = (size_t)n / 64;
    uint64_t word = r->occupied[w] & UINT64_MAX << n % 64;
    while (!word && ++w < r->n_words) {
        uint64_t words = r->not_empty[w / 64] >> w % 64;
        if (words)
            word = r->occupied[w += (size_t)__builtin_ctzll(words)];
        else
            w |= 63;
    }
    if (!word) return -1;
    *room = (int64_t)w * 64 + __builtin_ctzll(word);
    int32_t row = r->first[*room];
    r->first[*room] = r->next[row];
    if (r->next[row] < 0) r->occupied[w] &= ~((uint64_t)1 << *room % 64);
    if (!r->occupied[w]) r->not_empty[w / 64] &= ~((uint64_t)1 << w % 64);
    return row;
}

// The list of samples to pack.
typedef struct Pieces {
    const Dataset *dataset;
    const int64_t *samples; // NULL: i itself
    int64_t count, max_tokens;
} Pieces;

static int64_t piece_sample(const Pieces *p, int64_t i) { return p->samples ? p->samples[i] : i; }

static int64_t piece_tokens(const Pieces *p, int64_t i) { return dataset_size(p->dataset, piece_sample(p, i)).count; }

// Places of the list, longest sample first, equal ones in the list's order (counting sort).
static uint32_t *longest_first(const Pieces *p) {
    uint32_t *order = mem_alloc((size_t)p->count, sizeof *order);
    AUTO_FREE uint32_t *at =
        mem_calloc((size_t)p->max_tokens + 2, sizeof *at); // [k]: first place of samples of max - k tokens
    for (int64_t i = 0; i < p->count; i++) at[p->max_tokens - piece_tokens(p, i) + 1]++;
    for (int64_t k = 0; k <= p->max_tokens; k++) at[k + 1] += at[k];
    for (int64_t i = 0; i < p->count; i++) order[at[p->max_tokens - piece_tokens(p, i)]++] = (uint32_t)i;
    return order;
}

// row_of[i]: the row of the i-th in `order`, longest first. Returns the number of rows.
static int64_t pack(const Pieces *p, const uint32_t *order, uint32_t *row_of) {
    size_t n_words = (size_t)p->max_tokens / 64 + 1;
    AUTO_FREE uint64_t *bits = mem_calloc(n_words + n_words / 64 + 1, sizeof *bits);
    AUTO_FREE int32_t *first = mem_alloc((size_t)p->max_tokens, sizeof *first);
    AUTO_FREE int32_t *next = mem_alloc((size_t)p->count, sizeof *next);
    Rooms rooms = {n_words, bits, bits + n_words, first, next};
    int32_t n_rows = 0;
    for (int64_t i = 0; i < p->count; i++) {
        int64_t tokens = piece_tokens(p, order[i]), room = p->max_tokens;
        int32_t row = rooms_take(&rooms, tokens, &room);
        if (row < 0) row = n_rows++;
        row_of[i] = (uint32_t)row;
        if (room > tokens) rooms_put(&rooms, room - tokens, row);
    }
    return n_rows;
}

// ---- the plan ----

static void raise_to(uint32_t *most, uint32_t n) {
    if (n > *most) *most = n;
}

static void raise_all(RowSize *most, RowSize s) {
    raise_to(&most->tokens, s.tokens);
    raise_to(&most->supervised, s.supervised);
    raise_to(&most->samples, s.samples);
    raise_to(&most->longest_sample, s.longest_sample);
}

static void add_size(RowSize *size, int64_t tokens, int64_t supervised) {
    size->tokens += (uint32_t)tokens;
    size->supervised += (uint32_t)supervised;
    size->samples++;
    raise_to(&size->longest_sample, (uint32_t)tokens);
}

static int64_t count_scored(const Sample *s, int64_t from, int64_t to) {
    int64_t n = 0;
    for (int64_t i = from; i < to; i++) n += s->supervised[i] != 0;
    return n;
}

// Its sequences: the chosen and the rejected one, whose scored positions are needed together only, or its own and the
// mismatched one.
static void count_sequences(RowSize size[2], const Dataset *d, int64_t sample) {
    Sample s = dataset_sample(d, sample);
    int64_t first = d->preference == PREFERENCE_LABELS ? count_scored(&s, 0, s.second) : s.supervised_count;
    add_size(&size[0], s.second, first);
    add_size(&size[1], s.count - s.second, s.supervised_count - first);
}

static void load_sample(MlmLoad *load, const Dataset *d, int64_t sample, int64_t maskable) {
    Sample s;
    if (d->mlm.words) s = dataset_sample(d, sample);
    mlm_load_add(load, &d->mlm, d->mlm.words ? &s : NULL, maskable);
}

// The end of the text of embeddings that begins at `from`.
static int64_t text_end(const Sample *s, int64_t from) {
    while (++from < s->count && !s->supervised[from]) {
    }
    return from;
}

static void count_texts(RowSize *size, const Dataset *d, int64_t sample) {
    Sample s = dataset_sample(d, sample);
    for (int64_t from = 0, to; from < s.count; from = to) {
        to = text_end(&s, from);
        add_size(size, to - from, d->pooling == POOLING_MEAN ? to - from : 1);
    }
}

static void count_row(RowPlan *p, const Dataset *d, int64_t row) {
    RowSize size[2] = {0};
    MlmLoad load = {0};
    for (int64_t i = p->start[row]; i < p->start[row + 1]; i++) {
        SampleSize s = dataset_size(d, p->samples[i]);
        if (d->masked) load_sample(&load, d, p->samples[i], s.supervised);
        if (d->preference)
            count_sequences(size, d, p->samples[i]);
        else if (d->embedding)
            count_texts(size, d, p->samples[i]);
        else
            add_size(&size[0], s.count, s.supervised);
    }
    if (d->preference == PREFERENCE_PAIRS) {
        raise_to(&size[0].longest_sample, size[1].longest_sample);
        size[0].tokens += size[1].tokens;
        size[0].supervised += size[1].supervised;
        size[0].samples += size[1].samples;
    }
    if (d->masked) size[0].supervised = (uint32_t)mlm_load_most(&load);
    p->sizes[row] = size[0];
    raise_all(&p->most, size[0]);
    if (d->preference == PREFERENCE_LABELS) raise_all(&p->most, size[1]);
}

// Sorts the samples into their rows, keeping their order within a row. order, row_of NULL: a row each.
static void fill_plan(RowPlan *p, const Pieces *pieces, const uint32_t *order, const uint32_t *row_of) {
    p->samples = mem_alloc((size_t)pieces->count, sizeof *p->samples);
    p->start = mem_calloc((size_t)p->count + 1, sizeof *p->start);
    p->sizes = mem_alloc((size_t)p->count, sizeof *p->sizes);
    for (int64_t i = 0; i < pieces->count; i++) p->start[(row_of ? row_of[i] : i) + 1]++;
    for (int64_t r = 0; r < p->count; r++) p->start[r + 1] += p->start[r];
    AUTO_FREE uint32_t *at = mem_alloc((size_t)p->count, sizeof *at);
    memcpy(at, p->start, (size_t)p->count * sizeof *at);
    for (int64_t i = 0; i < pieces->count; i++)
        p->samples[at[row_of ? row_of[i] : i]++] = (uint32_t)piece_sample(pieces, order ? order[i] : i);
    for (int64_t r = 0; r < p->count; r++) count_row(p, pieces->dataset, r);
}

int64_t row_max_tokens(const Dataset *d, int64_t max_seq_length) {
    int64_t most = d->preference ? 2 * max_seq_length : max_seq_length;
    for (int64_t i = 0; d->embedding && i < d->count; i++) most = max64(most, dataset_size(d, i).count);
    return most;
}

RowPlan *row_plan_new(const Dataset *d, const int64_t *samples, int64_t n, int64_t max_tokens, bool packing) {
    RowPlan *p = mem_calloc(1, sizeof *p);
    Pieces pieces = {.dataset = d, .samples = samples, .count = n, .max_tokens = max_tokens};
    CHECK(max_tokens > 0 && max_tokens <= INT32_MAX, "rows of %ld tokens", max_tokens);
    CHECK(n <= INT32_MAX && d->count <= UINT32_MAX, "%ld samples", n);
    for (int64_t i = 0; i < n; i++)
        CHECK(piece_tokens(&pieces, i) <= max_tokens, "sample %ld has %ld tokens, a row %ld", piece_sample(&pieces, i),
              piece_tokens(&pieces, i), max_tokens);
    AUTO_FREE uint32_t *order = NULL, *row_of = NULL;
    p->count = n;
    if (packing && n) {
        order = longest_first(&pieces);
        row_of = mem_alloc((size_t)n, sizeof *row_of);
        p->count = pack(&pieces, order, row_of);
    }
    fill_plan(p, &pieces, order, row_of);
    if (d->preference || d->mlm.words || d->embedding) dataset_release(d);
    return p;
}

RowPlan *row_plan_assumed(int64_t rows, int64_t sequences, int64_t tokens) {
    RowPlan *p = mem_calloc(1, sizeof *p);
    p->count = rows;
    p->most = (RowSize){(uint32_t)(sequences * tokens), (uint32_t)(sequences * (tokens - 1)), (uint32_t)sequences,
                        (uint32_t)tokens};
    p->sizes = mem_alloc((size_t)rows, sizeof *p->sizes);
    p->start = mem_alloc((size_t)rows + 1, sizeof *p->start);
    p->samples = mem_calloc((size_t)rows, sizeof *p->samples);
    for (int64_t i = 0; i <= rows; i++) p->start[i] = (uint32_t)i;
    for (int64_t i = 0; i < rows; i++) p->sizes[i] = p->most;
    return p;
}

void row_plan_free(RowPlan *p) {
    if (!p) return;
    mem_free(p->start);
    mem_free(p->samples);
    mem_free(p->sizes);
    mem_free(p);
}

RowSize row_plan_row(const RowPlan *p, int64_t row) {
    CHECK(row >= 0 && row < p->count, "row %ld of %ld", row, p->count);
    return p->sizes[row];
}

int64_t row_plan_scored(const Dataset *d, const RowPlan *p, int64_t row, int64_t epoch) {
    int64_t sum = 0;
    if (!d || !d->masked) return row_plan_row(p, row).supervised;
    for (uint32_t i = p->start[row]; i < p->start[row + 1]; i++) {
        Sample s = dataset_sample(d, p->samples[i]);
        sum += mlm_mask(&d->mlm, &s, p->samples[i], epoch, NULL);
    }
    return sum;
}

static int64_t sum_samples(const Dataset *d, const RowPlan *p, int64_t row, int64_t (*of)(const Sample *s)) {
    int64_t sum = 0;
    CHECK(d->preference && row >= 0 && row < p->count, "row %ld of %ld", row, p->count);
    for (uint32_t i = p->start[row]; i < p->start[row + 1]; i++) {
        Sample s = dataset_sample(d, p->samples[i]);
        sum += of(&s);
    }
    return sum;
}

static int64_t chosen_of(const Sample *s) { return count_scored(s, 0, s->second); }

static int64_t desirable_of(const Sample *s) { return s->desirable; }

int64_t row_plan_chosen(const Dataset *d, const RowPlan *p, int64_t row) { return sum_samples(d, p, row, chosen_of); }

int64_t row_plan_desirable(const Dataset *d, const RowPlan *p, int64_t row) {
    return sum_samples(d, p, row, desirable_of);
}

void row_plan_order(const RowPlan *p, uint64_t seed, int64_t epoch, bool shuffle, int64_t *order) {
    RngKey key = {.seed = seed, .stream = (uint32_t)epoch, .module = rng_module("row order")};
    if (shuffle)
        rng_permutation(key, p->count, order);
    else
        for (int64_t i = 0; i < p->count; i++) order[i] = i;
}

// ---- one row ----

static void grow_row(Row *row, const Dataset *d, RowSize most, size_t rows) {
    PreferenceData preference = d->preference;
    size_t width = problem_is_each(d->problem) ? d->labels->count : 0;
    size_t tokens = rows * most.tokens, samples = rows * most.samples;
    size_t scored = d->masked ? tokens : rows * most.supervised;
    size_t answers = preference ? scored : 0, labels = preference == PREFERENCE_LABELS ? samples : 0;
    size_t size = rows + 1 + samples + 1 + 3 * tokens + (2 + width) * scored + answers + labels;
    if (size > row->capacity) row->row_start = mem_realloc(row->row_start, row->capacity = size, sizeof(int32_t));
    row->start = row->row_start + rows + 1;
    row->ids = row->start + samples + 1;
    row->pos = row->ids + tokens;
    row->type = row->pos + tokens;
    row->position = row->type + tokens;
    row->target = row->position + scored;
    row->values = width ? (float *)(row->target + scored) : NULL;
    row->width = (int64_t)width;
    row->answer = preference ? row->target + scored : NULL;
    row->label = preference == PREFERENCE_LABELS ? row->answer + answers : NULL;
}

static void add_scored(Row *row, int64_t position, int32_t target) {
    row->position[row->scored] = (int32_t)position;
    row->target[row->scored++] = target;
}

static void end_sequence(Row *row, int64_t count) {
    row->tokens += count;
    row->start[++row->samples] = (int32_t)row->tokens;
}

static void add_tokens(Row *row, const Sample *s) {
    memcpy(row->ids + row->tokens, s->ids, (size_t)s->count * sizeof *row->ids);
    for (int64_t i = 0; i < s->count; i++) {
        row->pos[row->tokens + i] = (int32_t)i;
        row->type[row->tokens + i] = i >= s->second;
    }
}

static void add_masked(Row *row, const Dataset *d, int64_t sample, int64_t epoch) {
    Sample s = dataset_sample(d, sample);
    add_tokens(row, &s);
    MlmMasks out = {row->ids + row->tokens, row->position + row->scored, row->target + row->scored};
    int64_t n = mlm_mask(&d->mlm, &s, sample, epoch, &out);
    for (int64_t i = 0; i < n; i++) out.position[i] += (int32_t)row->tokens;
    row->scored += n;
    end_sequence(row, s.count);
}

static void add_values(Row *row, const Dataset *d, const Sample *s, int64_t position) {
    float *y = row->values + row->scored * row->width;
    for (int64_t i = 0; i < row->width; i++) y[i] = s->values ? s->values[i] : 0;
    for (int64_t i = 0; s->labels && i < s->n_labels; i++) y[dataset_label(d, s, i)] = 1;
    add_scored(row, position, 0);
}

static void add_sample(Row *row, const Dataset *d, const Sample *s) {
    int64_t base = row->tokens, scored = d->score_first ? base : base + s->count - 1;
    add_tokens(row, s);
    int64_t labelled = 0;
    bool tokens = d->problem == PROBLEM_TOKENS;
    for (int64_t i = 0; i < s->count; i++) {
        if (!s->supervised[i]) continue;
        if (tokens)
            add_scored(row, base + i, dataset_label(d, s, labelled++));
        else
            add_scored(row, base + i - 1, s->ids[i]); // supervised[0] is 0
    }
    if (s->label >= 0) add_scored(row, scored, s->label);
    if (row->width) add_values(row, d, s, scored);
    end_sequence(row, s->count);
}

static void add_texts(Row *row, const Sample *s, Pooling pooling) {
    for (int64_t from = 0, to; from < s->count; from = to) {
        int64_t base = row->tokens, n = (to = text_end(s, from)) - from;
        memcpy(row->ids + base, s->ids + from, (size_t)n * sizeof *row->ids);
        memset(row->type + base, 0, (size_t)n * sizeof *row->type);
        for (int64_t i = 0; i < n; i++) {
            row->pos[base + i] = (int32_t)i;
            if (pooling == POOLING_MEAN || i == (pooling == POOLING_CLS ? 0 : n - 1)) add_scored(row, base + i, 0);
        }
        end_sequence(row, n);
    }
}

// Tokens [from, to) of a sample of preference data.
static void add_sequence(Row *row, const Sample *s, int64_t from, int64_t to) {
    int64_t base = row->tokens - from;
    memcpy(row->ids + row->tokens, s->ids + from, (size_t)(to - from) * sizeof *row->ids);
    memset(row->type + row->tokens, 0, (size_t)(to - from) * sizeof *row->type);
    for (int64_t i = from; i < to; i++) {
        row->pos[base + i] = (int32_t)(i - from);
        if (!s->supervised[i]) continue;
        row->answer[row->scored] = s->supervised[i] != LEARNT_PROMPT;
        add_scored(row, base + i - 1, s->ids[i]);
    }
    if (row->label) row->label[row->samples] = s->desirable;
    end_sequence(row, to - from);
}

typedef enum { FILL_SAMPLES, FILL_MASKED, FILL_TEXTS, FILL_PAIRS, FILL_OWN, FILL_MISMATCHED } Filling;

static void add_filled(Row *row, const Dataset *d, const Sample *s, Filling filling) {
    if (filling == FILL_SAMPLES) add_sample(row, d, s);
    if (filling == FILL_TEXTS) add_texts(row, s, d->pooling);
    if (filling == FILL_PAIRS || filling == FILL_OWN) add_sequence(row, s, 0, s->second);
    if (filling == FILL_PAIRS || filling == FILL_MISMATCHED) add_sequence(row, s, s->second, s->count);
}

// A pass over a large data set must not make all of it resident: its pages are released regularly.
static void count_touched(Row *row, const Dataset *d) {
    enum { RELEASE_TOKENS = 16 << 20 };
    row->touched += row->tokens;
    if (row->touched < RELEASE_TOKENS) return;
    dataset_release(d);
    row->touched = 0;
}

typedef struct PassedRows {
    const int64_t *items;
    int64_t count, epoch;
} PassedRows;

static void add_row(Row *row, const Dataset *d, const RowPlan *p, int64_t r, Filling filling, int64_t epoch) {
    CHECK(r >= 0 && r < p->count, "row %ld of %ld", r, p->count);
    for (uint32_t i = p->start[r]; i < p->start[r + 1]; i++) {
        if (filling == FILL_MASKED) {
            add_masked(row, d, p->samples[i], epoch);
            continue;
        }
        Sample s = dataset_sample(d, p->samples[i]);
        add_filled(row, d, &s, filling);
    }
    row->row_start[++row->rows] = (int32_t)row->tokens;
}

static void fill(Row *row, const Dataset *d, const RowPlan *p, PassedRows rows, Filling filling) {
    CHECK(rows.count > 0 && rows.count <= INT32_MAX / p->most.tokens, "%ld rows of up to %u tokens", rows.count,
          p->most.tokens);
    // Once, for any n rows: they are filled in the step loop.
    grow_row(row, d, p->most, (size_t)rows.count);
    row->rows = row->tokens = row->samples = row->scored = 0;
    row->start[0] = row->row_start[0] = 0;
    for (int64_t i = 0; i < rows.count; i++) add_row(row, d, p, rows.items[i], filling, rows.epoch);
    count_touched(row, d);
}

void row_fill_several(Row *row, const Dataset *d, const RowPlan *p, const int64_t *rows, int64_t n, int64_t epoch) {
    Filling filling = d->masked                            ? FILL_MASKED
                      : d->embedding                       ? FILL_TEXTS
                      : d->preference == PREFERENCE_PAIRS  ? FILL_PAIRS
                      : d->preference == PREFERENCE_LABELS ? FILL_OWN
                                                           : FILL_SAMPLES;
    fill(row, d, p, (PassedRows){rows, n, epoch}, filling);
}

void row_fill_mismatched(Row *row, const Dataset *d, const RowPlan *p, const int64_t *rows, int64_t n) {
    CHECK(d->preference == PREFERENCE_LABELS, "no mismatched sequences");
    fill(row, d, p, (PassedRows){rows, n, 0}, FILL_MISMATCHED);
}

void row_clear(Row *row) {
    mem_free(row->row_start);
    *row = (Row){0};
}

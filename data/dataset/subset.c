#include "subset.h"

#include <math.h>
#include <stdlib.h>

#include "rng.h"

typedef struct Draws {
    RngKey key;
    SampleList list;
    int64_t begin, count; // these places of the list
} Draws;

static int64_t sample_at(SampleList list, int64_t i) { return list.items ? list.items[i] : i; }

static uint64_t hash_of(const Draws *d, int64_t i) {
    int64_t sample = sample_at(d->list, d->begin + i);
    RngKey key = d->key;
    uint32_t words[4];
    key.stream = (uint32_t)(sample >> 24);
    rng_philox(key, (uint32_t)(sample & 0xFFFFFF), 0, words);
    return (uint64_t)words[0] << 32 | words[1];
}

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

// The `wanted` draws with the smallest hashes: those below *limit, and of those at it the first *ties.
static void find_limit(const Draws *d, int64_t wanted, uint64_t *limit, int64_t *ties) {
    *limit = 0;
    *ties = 0;
    if (!wanted) return;
    AUTO_FREE uint64_t *hashes = mem_alloc((size_t)d->count, sizeof *hashes);
    for (int64_t i = 0; i < d->count; i++) hashes[i] = hash_of(d, i);
    qsort(hashes, (size_t)d->count, sizeof *hashes, by_value);
    *limit = hashes[wanted - 1];
    for (int64_t i = wanted; i > 0 && hashes[i - 1] == *limit; i--) ++*ties;
}

static bool is_chosen(const Draws *d, int64_t i, uint64_t limit, int64_t *ties) {
    uint64_t hash = hash_of(d, i);
    if (hash == limit) return (*ties)-- > 0;
    return hash < limit;
}

// ---- splitting ----

static void list_add(SampleList *list, int64_t sample) { list->items[list->count++] = sample; }

int subset_split(const Dataset *d, double val_size, uint64_t seed, SampleList *train, SampleList *val, Err *err) {
    int64_t n = d->count;
    double want = val_size < 1 ? val_size * (double)n : val_size;
    int64_t n_val = want >= (double)n ? n : (int64_t)(want + 0.5);
    if (n_val < 1 && val_size > 0) n_val = 1;
    if (!(val_size > 0) || n_val >= n)
        return err_input(err, "found %g for %ld samples; expected to leave at least one sample on each side", val_size,
                         n);
    Draws draws = {.key = {.seed = seed, .module = rng_module("validation split")}, .count = n};
    uint64_t limit;
    int64_t ties;
    find_limit(&draws, n_val, &limit, &ties);
    *val = (SampleList){.items = mem_alloc((size_t)n_val, sizeof *val->items)};
    *train = (SampleList){.items = mem_alloc((size_t)(n - n_val), sizeof *train->items)};
    for (int64_t i = 0; i < n; i++) list_add(is_chosen(&draws, i, limit, &ties) ? val : train, i);
    return 0;
}

// ---- weights ----

typedef struct Share {
    Draws draws; // of one file
    int64_t copies, extra;
} Share;

// Places [from, ...) of the list that belong to a file that ends at `end`.
static Share share_of(Draws all, const Dataset *d, size_t file, double weight) {
    int64_t end = d->file_ends[file];
    Share s = {.draws = all, .copies = (int64_t)weight};
    s.draws.count = 0;
    while (all.begin + s.draws.count < all.list.count && sample_at(all.list, all.begin + s.draws.count) < end)
        s.draws.count++;
    s.extra = (int64_t)((weight - (double)s.copies) * (double)s.draws.count + 0.5);
    return s;
}

static void add_share(SampleList *out, const Share *s) {
    uint64_t limit;
    int64_t ties;
    find_limit(&s->draws, s->extra, &limit, &ties);
    for (int64_t i = 0; i < s->draws.count; i++) {
        int64_t copies = s->copies + (s->extra && is_chosen(&s->draws, i, limit, &ties));
        for (; copies; copies--) list_add(out, sample_at(s->draws.list, s->draws.begin + i));
    }
}

int subset_weigh(const Dataset *d, const double *weights, uint64_t seed, SampleList from, SampleList *out, Err *err) {
    size_t n_files = d->n_files;
    AUTO_FREE Share *shares = mem_calloc(n_files + 1, sizeof *shares);
    Draws next = {.key = {.seed = seed, .module = rng_module("weights of files")}, .list = from};
    int64_t n = 0;
    for (size_t f = 0; f < n_files; f++) {
        shares[f] = share_of(next, d, f, weights[f]);
        next.begin += shares[f].draws.count;
        n += shares[f].copies * shares[f].draws.count + shares[f].extra;
    }
    if (n < 1 || n > SUBSET_MAX)
        return err_input(err, "found weights that make %ld sample%s of %ld; expected 1 to %ld", n, plural(n),
                         from.count, SUBSET_MAX);
    *out = (SampleList){.items = mem_alloc((size_t)n, sizeof *out->items)};
    for (size_t f = 0; f < n_files; f++) add_share(out, &shares[f]);
    CHECK(out->count == n, "%ld samples of %ld", out->count, n);
    return 0;
}

// ---- interleaving ----

typedef struct Source { // places [begin, end) of the list
    int64_t begin, end, at;
    bool exhausted;
} Source;

static int find_sources(Source *sources, const Dataset *d, const Interleaving *x, SampleList from, Err *err) {
    int64_t at = 0;
    for (size_t f = 0; f < d->n_files; f++) {
        Source *s = &sources[x->source[f]];
        if (!f || x->source[f] != x->source[f - 1]) s->begin = s->at = at;
        while (at < from.count && sample_at(from, at) < d->file_ends[f]) at++;
        s->end = at;
    }
    for (size_t i = 0; i < x->sources; i++)
        if (sources[i].begin == sources[i].end)
            return err_input(err, "found no samples in entry %zu; expected at least one of each", i + 1);
    return 0;
}

// Which source draw n is from.
static size_t draw_source(const Interleaving *x, int64_t n) {
    RngKey key = {.seed = x->seed, .module = rng_module("interleave files"), .stream = (uint32_t)(n >> 24)};
    uint32_t words[4];
    if (!x->probabilities) return (size_t)n % x->sources;
    rng_philox(key, (uint32_t)(n & 0xFFFFFF), 0, words);
    double u = (double)((uint64_t)words[0] << 21 | words[1] >> 11) * 0x1p-53, sum = 0;
    for (size_t i = 0; i + 1 < x->sources; i++)
        if (u < (sum += x->probabilities[i])) return i;
    return x->sources - 1;
}

static int check_probabilities(const Interleaving *x, Err *err) {
    double sum = 0;
    for (size_t i = 0; x->probabilities && i < x->sources; i++) {
        sum += x->probabilities[i];
        if (!(x->probabilities[i] > 0))
            return err_input(err, "found no probability of entry %zu; expected one of each entry, or of none", i + 1);
    }
    if (x->probabilities && !(fabs(sum - 1) < 1e-6))
        return err_input(err, "found probabilities with the sum %.9g; expected 1", sum);
    return 0;
}

// Is the list complete? In turns it ends after a whole turn.
static bool is_complete(const Source *sources, const Interleaving *x, int64_t n) {
    size_t ended = 0;
    for (size_t i = 0; i < x->sources; i++) ended += sources[i].exhausted;
    bool whole = x->probabilities || n % (int64_t)x->sources == 0;
    return whole && (x->until_all ? ended == x->sources : ended > 0);
}

int subset_interleave(const Dataset *d, const Interleaving *x, SampleList from, SampleList *out, Err *err) {
    AUTO_FREE Source *sources = mem_calloc(x->sources + 1, sizeof *sources);
    size_t capacity = 0;
    *out = (SampleList){0};
    if (check_probabilities(x, err) || find_sources(sources, d, x, from, err)) return -1;
    while (!is_complete(sources, x, out->count)) {
        Source *s = &sources[draw_source(x, out->count)];
        if (out->count >= SUBSET_MAX) {
            mem_free(mem_take(&out->items));
            return err_input(err, "found probabilities that make more than %ld samples", SUBSET_MAX);
        }
        MEM_GROW(out->items, capacity, (size_t)out->count + 1);
        list_add(out, sample_at(from, s->at++));
        if (s->at < s->end) continue;
        s->exhausted = true;
        s->at = s->begin;
    }
    return 0;
}

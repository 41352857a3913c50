#include "sampling.h"

#include "rng.h"

typedef struct Draws {
    RngKey key;
    const int64_t *samples; // NULL: all of the data set
    int64_t begin, count;   // these places of the list
} Draws;

static int64_t sample_at(const int64_t *samples, int64_t i) {
    return samples ? samples[i] : i;
}

static uint64_t hash_of(const Draws *d, int64_t i) {
    int64_t sample = sample_at(d->samples, d->begin + i);
    RngKey key = d->key;
    uint32_t words[4];
    key.stream = (uint32_t)(sample >> 24);
    rng_philox(key, (uint32_t)(sample & 0xFFFFFF), 0, words);
    return (uint64_t)words[0] << 32 | words[1];
}

static void swap(uint64_t *a, uint64_t *b) {
    uint64_t t = *a;
    *a = *b;
    *b = t;
}

// The k-th smallest (from 0) of v[n], which is reordered (quickselect; the values are hashes, so its middle is random).
static uint64_t select_smallest(uint64_t *v, int64_t n, int64_t k) {
    int64_t low = 0, high = n - 1;
    while (low < high) {
        uint64_t pivot = v[low + (high - low) / 2];
        int64_t i = low, j = high;
        while (i <= j) {
            while (v[i] < pivot) i++;
            while (v[j] > pivot) j--;
            if (i <= j) swap(&v[i++], &v[j--]);
        }
        if (k <= j)
            high = j;
        else if (k >= i)
            low = i;
        else
            break;
    }
    return v[k];
}

// The `wanted` draws with the smallest hashes: those below *limit, and of those at it the first *ties.
static void find_limit(const Draws *d, int64_t wanted, uint64_t *limit, int64_t *ties) {
    *limit = 0;
    *ties = 0;
    if (!wanted) return;
    uint64_t *hashes = mem_alloc((size_t)d->count, sizeof *hashes);
    for (int64_t i = 0; i < d->count; i++) hashes[i] = hash_of(d, i);
    *limit = select_smallest(hashes, d->count, wanted - 1);
    *ties = wanted;
    for (int64_t i = 0; i < d->count; i++) *ties -= hashes[i] < *limit;
    mem_free(hashes);
}

static bool is_chosen(const Draws *d, int64_t i, uint64_t limit, int64_t *ties) {
    uint64_t hash = hash_of(d, i);
    if (hash == limit) return (*ties)-- > 0;
    return hash < limit;
}

// ---- splitting ----

int dataset_split(const Dataset *d, double val_size, uint64_t seed, int64_t **train, int64_t *n_train, int64_t **val,
                  int64_t *n_val, Err *err) {
    int64_t n = dataset_count(d);
    double want = val_size < 1 ? val_size * (double)n : val_size;
    *n_val = want >= (double)n ? n : (int64_t)(want + 0.5);
    if (*n_val < 1 && val_size > 0) *n_val = 1;
    if (!(val_size > 0) || *n_val >= n)
        return err_input(err, "found %g for %lld samples; expected to leave at least one sample on each side", val_size,
                         (long long)n);
    Draws draws = {.key = {.seed = seed, .module = rng_module("validation split")}, .count = n};
    uint64_t limit;
    int64_t ties;
    find_limit(&draws, *n_val, &limit, &ties);
    *n_train = n - *n_val;
    int64_t *v = *val = mem_alloc((size_t)*n_val, sizeof **val);
    int64_t *t = *train = mem_alloc((size_t)*n_train, sizeof **train);
    for (int64_t i = 0; i < n; i++) {
        if (is_chosen(&draws, i, limit, &ties))
            *v++ = i;
        else
            *t++ = i;
    }
    return 0;
}

// ---- weights ----

typedef struct Share {
    Draws draws; // of one file
    int64_t copies, extra;
} Share;

// Places [from, ...) of the list that belong to a file that ends at `end`.
static Share share_of(Draws all, const Dataset *d, size_t file, double weight, int64_t n) {
    int64_t end = dataset_file_end(d, file);
    Share s = {.draws = all, .copies = (int64_t)weight};
    s.draws.count = 0;
    while (all.begin + s.draws.count < n && sample_at(all.samples, all.begin + s.draws.count) < end) s.draws.count++;
    s.extra = (int64_t)((weight - (double)s.copies) * (double)s.draws.count + 0.5);
    return s;
}

static void add_share(int64_t **out, const Share *s) {
    uint64_t limit;
    int64_t ties;
    find_limit(&s->draws, s->extra, &limit, &ties);
    for (int64_t i = 0; i < s->draws.count; i++) {
        int64_t copies = s->copies + (s->extra && is_chosen(&s->draws, i, limit, &ties));
        for (; copies; copies--) *(*out)++ = sample_at(s->draws.samples, s->draws.begin + i);
    }
}

int dataset_weigh(const Dataset *d, const double *weights, uint64_t seed, const int64_t *samples, int64_t n,
                  int64_t **out, int64_t *n_out, Err *err) {
    size_t n_files = dataset_files(d);
    Share *shares = mem_calloc(n_files + 1, sizeof *shares);
    Draws next = {.key = {.seed = seed, .module = rng_module("weights of files")}, .samples = samples};
    *n_out = 0;
    for (size_t f = 0; f < n_files; f++) {
        shares[f] = share_of(next, d, f, weights[f], n);
        next.begin += shares[f].draws.count;
        *n_out += shares[f].copies * shares[f].draws.count + shares[f].extra;
    }
    if (*n_out < 1 || *n_out > SAMPLES_MAX) {
        mem_free(shares);
        return err_input(err, "found weights that make %lld samples of %lld; expected 1 to %lld", (long long)*n_out,
                         (long long)n, (long long)SAMPLES_MAX);
    }
    int64_t *at = *out = mem_alloc((size_t)*n_out, sizeof *at);
    for (size_t f = 0; f < n_files; f++) add_share(&at, &shares[f]);
    CHECK(at - *out == *n_out, "%lld samples of %lld", (long long)(at - *out), (long long)*n_out);
    mem_free(shares);
    return 0;
}

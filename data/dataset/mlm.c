#include "mlm.h"

#include <math.h>

#include "dataset.h"
#include "rng.h"

static RngKey key_of(const MlmRule *r, int64_t sample, int64_t epoch) {
    bool training = epoch != MLM_EVALUATION;
    return (RngKey){.seed = r->seed,
                    .stream = training ? (uint32_t)epoch : 0,
                    .module = rng_module(training ? "masks" : "masks of evaluation"),
                    .row = (uint32_t)(sample & 0xFFFFFF)};
}

// words[0]: is it chosen?, [1]: what the model sees, [2]: which random token
static void draw(uint32_t words[4], RngKey key, int64_t sample, int64_t token) {
    rng_philox(key, (uint32_t)token, (uint32_t)(sample >> 24), words);
}

static int32_t seen(const MlmRule *r, const uint32_t words[4], int32_t id) {
    float u = rng_unit(words[1]);
    if (r->words || u < r->replaced) return r->mask_token;
    if (u >= r->replaced + r->random) return id;
    return (int32_t)((uint64_t)words[2] * (uint64_t)r->vocab >> 32);
}

static void hide(const MlmMasks *out, const Sample *s, int64_t token, int64_t n, int32_t id) {
    if (!out) return;
    out->position[n] = (int32_t)token;
    out->target[n] = s->ids[token];
    out->ids[token] = id;
}

// The word that begins at `token`.
static int64_t hide_word(const MlmRule *r, const Sample *s, RngKey key, int64_t sample, int64_t token,
                         const MlmMasks *out) {
    int64_t n = 0;
    do {
        uint32_t words[4];
        draw(words, key, sample, token);
        hide(out, s, token, n++, seen(r, words, s->ids[token]));
    } while (++token < s->count && s->supervised[token] == MLM_CONTINUES);
    return n;
}

int64_t mlm_mask(const MlmRule *r, const Sample *s, int64_t sample, int64_t epoch, const MlmMasks *out) {
    RngKey key = key_of(r, sample, epoch);
    int64_t n = 0, nearest = -1;
    uint32_t least = 0;
    bool chosen = false;
    for (int64_t i = 0; i < s->count; i++) {
        uint32_t words[4];
        if (!s->supervised[i]) continue;
        draw(words, key, sample, i);
        if (s->supervised[i] != MLM_CONTINUES) {
            chosen = rng_unit(words[0]) < r->probability;
            if (nearest < 0 || words[0] < least) nearest = i, least = words[0];
        }
        if (chosen) hide(out, s, i, n++, seen(r, words, s->ids[i]));
    }
    return n || nearest < 0 ? n : hide_word(r, s, key, sample, nearest, out);
}

// ---- how many ----

static void add_words(MlmLoad *l, double p, int64_t words, int64_t tokens) {
    double length = (double)tokens;
    l->mean += (double)words * length * p;
    l->variance += (double)words * length * length * p * (1 - p);
}

void mlm_load_add(MlmLoad *l, const MlmRule *r, const Sample *s, int64_t maskable) {
    l->samples++;
    l->maskable += maskable;
    if (!s) {
        add_words(l, (double)r->probability, maskable, 1);
        return;
    }
    for (int64_t i = 0, end; i < s->count; i = end) {
        for (end = i + 1; end < s->count && s->supervised[end] == MLM_CONTINUES;) end++;
        if (s->supervised[i]) add_words(l, (double)r->probability, 1, end - i);
    }
}

int64_t mlm_load_most(const MlmLoad *l) {
    double most = ceil(l->mean + 6 * sqrt(l->variance)) + (double)l->samples;
    return most < (double)l->maskable ? (int64_t)most : l->maskable;
}

#include "verify.h"

#include <math.h>
#include <string.h>

#include "logits.h"
#include "path.h"
#include "say.h"
#include "text_vectors.h"

// Both files hold the same float32 numbers except for one rounding where rank-stabilised scaling is folded into alpha,
// or differing alphas into B. With activations of fewer bits this can change how some of them round, hence
// SAME_ROUNDED.
static const double SAME_LOGITS = 1e-3, SAME_ROUNDED = 0x1p-6; // absolute; relative to the largest logit

typedef struct Verification {
    const Model *m;
    FILE *out;
    char *peft, *gguf; // the files to check; NULL: absent
    int32_t *ids;      // the fixed sequence
    int64_t n_ids;
    float *base; // logits of m alone
    size_t n_logits;
} Verification;

static void verification_clear(Verification *v) {
    mem_free(v->peft);
    mem_free(v->gguf);
    mem_free(v->ids);
    mem_free(v->base);
}

// The file `name` next to path, if it exists.
static char *sibling(const char *path, const char *name) {
    AUTO_FREE char *whole = path_absolute(path);
    AUTO_FREE char *parent = path_parent(whole);
    return dir_has(parent, name) ? path_join(parent, name) : NULL;
}

static int lacks_files(const char *path, Err *err) {
    return err_input(err, "%s: found neither adapter_config.json nor both adapter/ and adapter.gguf", path);
}

static int find_files(Verification *v, const char *path, Err *err) {
    if (!path_exists(path)) return err_input(err, "%s: not found; expected an adapter", path);
    if (!path_is_dir(path)) {
        v->gguf = mem_strdup(path);
        v->peft = sibling(path, "adapter");
        return 0;
    }
    if (dir_has(path, "adapter_config.json")) {
        v->peft = mem_strdup(path);
        v->gguf = sibling(path, "adapter.gguf");
        return 0;
    }
    if (dir_has(path, "adapter")) v->peft = path_join(path, "adapter");
    if (dir_has(path, "adapter.gguf")) v->gguf = path_join(path, "adapter.gguf");
    return v->peft ? 0 : lacks_files(path, err);
}

static double largest_difference(const float *a, const float *b, size_t n) {
    double largest = 0;
    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - (double)b[i]);
        if (!(d <= largest)) largest = d; // NaN wins
    }
    return largest;
}

static void print_facts(const Adapter *a, FILE *out) {
    AUTO_STR StrBuf rank = {0}, scale = {0};
    adapter_print_range(&rank, a, ADAPTER_RANK);
    adapter_print_range(&scale, a, ADAPTER_SCALE);
    say_to(out, "%ld %s, %ld parameter%s, rank %s, scale %s, finite\n", a->n_segments,
           a->n_segments == 1 ? "matrix" : "matrices", a->count, plural(a->count), rank.data, scale.data);
}

static int check_effect(double effect, const char *path, Err *err) {
    if (effect > 0 && isfinite(effect)) return 0;
    return err_runtime(err, "%s: moves the logits by %g; expected a finite number above 0", path, effect);
}

// Loads one file and computes its logits; the caller frees them.
static int examine(const Verification *v, const char *kind, const char *path, float **logits, Err *err) {
    AUTO(adapter_free) Adapter *a = NULL;
    if (adapter_load(&a, v->m, path, false, err)) return -1;
    say_to(v->out, "%s %s: ", kind, path);
    print_facts(a, v->out);
    *logits = mem_alloc(v->n_logits, sizeof **logits);
    if (adapter_check(a, err) || model_logits(v->m, a, v->ids, v->n_ids, *logits, err))
        return err_context(err, "%s", path);
    double effect = largest_difference(*logits, v->base, v->n_logits);
    say_to(v->out, "%s moves the base model's logits by up to %.6g\n", kind, effect);
    return check_effect(effect, path, err);
}

static double tolerance(const Verification *v) {
    const Backend *b = v->m->backend;
    if (b->activation == DTYPE_F32 && b->precision == PRECISION_HIGHEST) return SAME_LOGITS;
    double largest = 0;
    for (size_t i = 0; i < v->n_logits; i++) largest = fmax(largest, fabs((double)v->base[i]));
    return fmax(SAME_LOGITS, SAME_ROUNDED * largest);
}

static int compare(const Verification *v, const float *peft, const float *gguf, Err *err) {
    if (!peft || !gguf) {
        say_to(v->out, "no %s next to it to compare with\n", peft ? "adapter.gguf" : "adapter/");
        return 0;
    }
    double largest = largest_difference(peft, gguf, v->n_logits);
    say_to(v->out, "largest logit difference PEFT - GGUF over %ld token%s: %.6g\n", v->n_ids, plural(v->n_ids),
           largest);
    if (largest <= tolerance(v)) return 0;
    return err_runtime(err, "%s and %s: logits differ by %g; expected at most %g", v->peft, v->gguf, largest,
                       tolerance(v));
}

// Checks each form, then compares both.
static int examine_all(Verification *v, Err *err) {
    AUTO_FREE float *peft = NULL, *gguf = NULL;
    v->n_logits = (size_t)v->n_ids * (size_t)v->m->config.vocab;
    v->base = mem_alloc(v->n_logits, sizeof *v->base);
    if (model_logits(v->m, NULL, v->ids, v->n_ids, v->base, err) ||
        (v->peft && examine(v, "PEFT", v->peft, &peft, err)) || (v->gguf && examine(v, "GGUF", v->gguf, &gguf, err)))
        return -1;
    return compare(v, peft, gguf, err);
}

// Leaves the base and the head.
static void zero_lora_b(Adapter *a) {
    for (int64_t i = 0; i < a->n_segments; i++) {
        const AdapterSegment *s = &a->segments[i];
        size_t bytes = (size_t)(s->rows * s->cols) * sizeof(float);
        if (s->kind == SEGMENT_B) a->backend->k->zero(a->backend, a->params + s->offset, bytes);
    }
    adapter_start_magnitudes(a);
}

// A classifier: the effect of its LoRA matrices on the logits of its head.
static int examine_classifier(const Verification *v, Adapter *a, Err *err) {
    size_t n = (size_t)a->config.labels;
    AUTO_FREE float *with = mem_alloc(n, sizeof *with), *without = mem_alloc(n, sizeof *without);
    AUTO_STR StrBuf head = {0};
    adapter_print_head(&head, a);
    say_to(v->out, "PEFT %s: %s, ", v->peft, head.data);
    print_facts(a, v->out);
    int rc = adapter_check(a, err) || model_class_logits(v->m, a, v->ids, v->n_ids, v->n_ids, with, err) ? -1 : 0;
    zero_lora_b(a);
    if (rc || model_class_logits(v->m, a, v->ids, v->n_ids, v->n_ids, without, err))
        return err_context(err, "%s", v->peft);
    double effect = largest_difference(with, without, n);
    say_to(v->out, "its LoRA matrices move the head's logits by up to %.6g\n", effect);
    return check_effect(effect, v->peft, err);
}

// Of embeddings: the effect on the mean of the last hidden states.
static int examine_vectors(const Verification *v, const Adapter *a, Err *err) {
    size_t n = (size_t)v->m->config.hidden;
    AUTO_FREE float *with = mem_alloc(n, sizeof *with), *without = mem_alloc(n, sizeof *without);
    AUTO(text_vectors_free) TextVectors *adapted = text_vectors_new(v->m, a, POOLING_MEAN);
    AUTO(text_vectors_free) TextVectors *base = text_vectors_new(v->m, NULL, POOLING_MEAN);
    TextTokens text = {v->ids, v->n_ids};
    say_to(v->out, "PEFT %s: of the model without a head, ", v->peft);
    print_facts(a, v->out);
    if (adapter_check(a, err) || text_vectors_run(adapted, &text, 1, with, err) ||
        text_vectors_run(base, &text, 1, without, err))
        return err_context(err, "%s", v->peft);
    double effect = largest_difference(with, without, n);
    say_to(v->out, "it moves a text's vector by up to %.6g\n", effect);
    return check_effect(effect, v->peft, err);
}

static int64_t sequence_length(const Model *m) {
    enum { TOKENS = 48 };
    return m->max_positions < TOKENS ? m->max_positions : TOKENS;
}

// Ids spread over the whole vocabulary, the same on every machine.
static void choose_ids(Verification *v) {
    v->n_ids = sequence_length(v->m);
    v->ids = mem_alloc((size_t)v->n_ids, sizeof *v->ids);
    for (int64_t i = 0; i < v->n_ids; i++) {
        uint32_t word[4];
        rng_philox((RngKey){.module = rng_module("verify")}, (uint32_t)i, 0, word);
        v->ids[i] = (int32_t)(word[0] % (uint64_t)v->m->config.vocab);
    }
}

int adapter_verify(const Model *m, const char *path, FILE *out, Err *err) {
    AUTO_CALL(verification_clear) Verification v = {.m = m, .out = out};
    AUTO(adapter_free) Adapter *a = NULL;
    CHECK(model_is_whole(m), "logits of a stage");
    choose_ids(&v);
    if (find_files(&v, path, err) || (v.peft && adapter_load(&a, m, v.peft, false, err))) return -1;
    bool is_run = a && path_is_dir(path) && !dir_has(path, "adapter_config.json");
    if (is_run && !v.gguf && adapter_has_gguf(a)) return lacks_files(path, err);
    if (a && a->config.labels) return examine_classifier(&v, a, err);
    if (a && a->config.embedding) return examine_vectors(&v, a, err);
    if (m->head.rows == 0)
        return err_input(err, "%s: no language-model head; expected a classifier's adapter", m->path);
    return examine_all(&v, err);
}

int adapter_verify_files(const Model *m, const char *path, const Adapter *want, FILE *out, Err *err) {
    AUTO_CALL(verification_clear) Verification v = {.m = m, .out = out};
    AUTO(adapter_free) Adapter *peft = NULL, *gguf = NULL;
    if (find_files(&v, path, err) || adapter_load(&peft, m, v.peft, false, err)) return -1;
    if (v.gguf && (adapter_load(&gguf, m, v.gguf, false, err) || adapter_check(gguf, err))) return -1;
    adapter_narrow(&peft, m, want->config.projections);
    AUTO_FREE float *a = adapter_download(peft), *b = adapter_download(want);
    bool same = peft->count == want->count && memcmp(a, b, (size_t)want->count * sizeof *a) == 0;
    if (!same) return err_runtime(err, "%s: does not hold the adapter that was trained", v.peft);
    say_to(out, "PEFT %s: ", v.peft);
    print_facts(peft, out);
    return adapter_check(peft, err);
}

// The second file is examined while the logits of the base and of the first are kept. While it is loaded its matrices
// are in the map, in a host copy and in the adapter; while its logits are computed, in the adapter.
size_t adapter_verify_bytes(const Model *m, const Adapter *a) {
    if (!m->backend->host_memory) return 0;
    size_t n = (size_t)sequence_length(m), logits = n * (size_t)m->config.vocab * sizeof(float);
    size_t matrices = (size_t)a->count * (a->start ? 2 : 1) * sizeof(float), loading = 3 * matrices;
    if (a->config.labels || a->config.embedding || !model_is_whole(m)) return loading;
    size_t computing = matrices + logits + model_logits_bytes(m, a, (int64_t)n);
    return 2 * logits + (loading > computing ? loading : computing);
}

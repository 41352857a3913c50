#include "verify.h"

#include <math.h>
#include <string.h>

#include "logits.h"
#include "path.h"
#include "say.h"

// Both files hold the same float32 numbers except for one rounding where rank-stabilised scaling is folded into alpha,
// or differing alphas into B. With activations of fewer bits this can change how some of them round, hence
// SAME_ROUNDED.
static const double SAME_LOGITS = 1e-3, SAME_ROUNDED = 0x1p-6; // absolute; relative to the largest logit

typedef struct Subject {
    const Model *m;
    int32_t *ids; // the fixed sequence
    int64_t n_ids;
    float *base; // logits of m alone
    size_t n_logits;
    FILE *out;
} Subject;

// The files to check; NULL: absent.
typedef struct Files {
    char *peft, *gguf;
} Files;

static char *sibling(const char *path, const char *name) {
    char *whole = path_absolute(path), *slash = strrchr(whole, '/');
    if (slash) *slash = 0;
    char *found = path_join(slash == whole ? "/" : whole, name);
    mem_free(whole);
    if (path_exists(found)) return found;
    mem_free(found);
    return NULL;
}

// lorac writes labels.json next to a classifier's adapter_config.json.
static bool is_classifier(const char *peft) {
    char *labels = path_join(peft, "labels.json");
    bool there = path_exists(labels);
    mem_free(labels);
    return there;
}

static int find_files(Files *f, const char *path, Err *err) {
    *f = (Files){0};
    if (!path_exists(path)) return err_input(err, "%s: not found; expected an adapter", path);
    if (!path_is_dir(path)) {
        f->gguf = mem_strdup(path);
        f->peft = sibling(path, "adapter");
        return 0;
    }
    char *config = path_join(path, "adapter_config.json");
    bool is_peft = path_exists(config);
    mem_free(config);
    if (is_peft) {
        f->peft = mem_strdup(path);
        f->gguf = sibling(path, "adapter.gguf");
        return 0;
    }
    f->peft = path_join(path, "adapter");
    f->gguf = path_join(path, "adapter.gguf");
    if (path_exists(f->peft) && (path_exists(f->gguf) || is_classifier(f->peft))) return 0;
    return err_input(err, "%s: found neither adapter_config.json nor both adapter/ and adapter.gguf", path);
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
    StrBuf rank = {0}, scale = {0};
    adapter_print_range(&rank, a, ADAPTER_RANK);
    adapter_print_range(&scale, a, ADAPTER_SCALE);
    say_to(out, "%lld matrices, %lld parameters, rank %s, scale %s, finite\n", (long long)a->n_segments,
           (long long)a->count, rank.data, scale.data);
    str_clear(&rank);
    str_clear(&scale);
}

// Loads one file and computes its logits; the caller frees them.
static int examine(const Subject *s, const char *kind, const char *path, float **logits, Err *err) {
    Adapter *a;
    *logits = NULL;
    if (adapter_load(&a, s->m, path, false, err)) return -1;
    say_to(s->out, "%s %s: ", kind, path);
    print_facts(a, s->out);
    int rc = adapter_check(a, err);
    if (rc == 0) {
        *logits = mem_alloc(s->n_logits, sizeof **logits);
        rc = model_logits(s->m, a, s->ids, s->n_ids, *logits, err);
    }
    adapter_free(a);
    if (rc) return err_context(err, "%s", path);
    double effect = largest_difference(*logits, s->base, s->n_logits);
    say_to(s->out, "%s moves the base model's logits by up to %.6g\n", kind, effect);
    if (!(effect > 0) || !isfinite(effect))
        return err_runtime(err, "%s: moves the logits by %g; expected a finite number above 0", path, effect);
    return 0;
}

static double tolerance(const Subject *s) {
    const Backend *b = s->m->backend;
    if (b->activation == DTYPE_F32 && !b->tf32) return SAME_LOGITS;
    double largest = 0;
    for (size_t i = 0; i < s->n_logits; i++) largest = fmax(largest, fabs((double)s->base[i]));
    return fmax(SAME_LOGITS, SAME_ROUNDED * largest);
}

static int compare(const Subject *s, const Files *f, const float *peft, const float *gguf, Err *err) {
    if (!peft || !gguf) {
        say_to(s->out, "no %s next to it to compare with\n", peft ? "adapter.gguf" : "adapter/");
        return 0;
    }
    double largest = largest_difference(peft, gguf, s->n_logits);
    say_to(s->out, "largest logit difference PEFT - GGUF over %lld tokens: %.6g\n", (long long)s->n_ids, largest);
    if (largest <= tolerance(s)) return 0;
    return err_runtime(err, "%s and %s: logits differ by %g; expected at most %g", f->peft, f->gguf, largest,
                       tolerance(s));
}

// A classifier: the effect of its LoRA matrices on the logits of its head.
static int examine_classifier(const Subject *s, const char *path, Adapter *a, Err *err) {
    const Model *m = s->m;
    size_t n = (size_t)a->config.labels;
    float *with = mem_alloc(n, sizeof *with), *without = mem_alloc(n, sizeof *without);
    say_to(s->out, "PEFT %s: a classifier of %zu classes, ", path, n);
    print_facts(a, s->out);
    int rc = adapter_check(a, err);
    if (rc == 0) rc = model_class_logits(m, a, s->ids, s->n_ids, with, err);
    for (int64_t i = 0; rc == 0 && i < a->n_segments; i++) {
        const AdapterSegment *b = &a->segments[i];
        if (b->kind != SEGMENT_B) continue;
        m->backend->k->zero(m->backend, a->params + b->offset, (size_t)(b->rows * b->cols) * sizeof(float));
    }
    if (rc == 0) rc = model_class_logits(m, a, s->ids, s->n_ids, without, err);
    double effect = rc ? 0 : largest_difference(with, without, n);
    mem_free(with);
    mem_free(without);
    if (rc) return err_context(err, "%s", path);
    say_to(s->out, "its LoRA matrices move the classifier's logits by up to %.6g\n", effect);
    if (effect > 0 && isfinite(effect)) return 0;
    return err_runtime(err, "%s: moves the logits by %g; expected a finite number above 0", path, effect);
}

static int64_t sequence_length(const Model *m) {
    enum { TOKENS = 48 };
    return m->max_positions < TOKENS ? m->max_positions : TOKENS;
}

// Ids spread over the whole vocabulary, the same on every machine.
static void choose_ids(Subject *s) {
    s->n_ids = sequence_length(s->m);
    s->ids = mem_alloc((size_t)s->n_ids, sizeof *s->ids);
    for (int64_t i = 0; i < s->n_ids; i++) {
        uint32_t word[4];
        rng_philox((RngKey){.module = rng_module("verify")}, (uint32_t)i, 0, word);
        s->ids[i] = (int32_t)(word[0] % (uint64_t)s->m->config.vocab);
    }
}

// Checks each form, then compares both.
static int examine_all(Subject *s, const Files *f, Err *err) {
    float *peft = NULL, *gguf = NULL;
    s->n_logits = (size_t)s->n_ids * (size_t)s->m->config.vocab;
    s->base = mem_alloc(s->n_logits, sizeof *s->base);
    int rc = model_logits(s->m, NULL, s->ids, s->n_ids, s->base, err);
    if (rc == 0 && f->peft) rc = examine(s, "PEFT", f->peft, &peft, err);
    if (rc == 0 && f->gguf) rc = examine(s, "GGUF", f->gguf, &gguf, err);
    if (rc == 0) rc = compare(s, f, peft, gguf, err);
    mem_free(peft);
    mem_free(gguf);
    mem_free(s->base);
    return rc;
}

int adapter_verify(const Model *m, const char *path, FILE *out, Err *err) {
    Subject s = {.m = m, .out = out};
    Files f;
    Adapter *a = NULL;
    choose_ids(&s);
    int rc = find_files(&f, path, err);
    if (rc == 0 && f.peft) rc = adapter_load(&a, m, f.peft, false, err);
    if (rc == 0 && a && a->config.labels)
        rc = examine_classifier(&s, f.peft, a, err);
    else if (rc == 0 && m->head.rows == 0)
        rc = err_input(err, "%s: no language-model head; expected a classifier's adapter", m->path);
    else if (rc == 0)
        rc = examine_all(&s, &f, err);
    adapter_free(a);
    mem_free(f.peft);
    mem_free(f.gguf);
    mem_free(s.ids);
    return rc;
}

// The second file is examined while the logits of the base and of the first are kept; its matrices are in the map, in a
// host copy and in the adapter.
size_t adapter_verify_bytes(const Model *m, const Adapter *a) {
    if (!m->backend->host_memory) return 0;
    size_t n = (size_t)sequence_length(m), logits = n * (size_t)m->config.vocab * sizeof(float);
    size_t matrices = 3 * (size_t)a->count * sizeof(float);
    if (a->config.labels) return matrices;
    return matrices + 3 * logits + model_logits_bytes(m, a, (int64_t)n);
}

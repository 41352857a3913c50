// lorac merge (RUN / --model_name_or_path M [--adapter_name_or_path A]) --out P [--dtype T]
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "config.h"
#include "eval.h"
#include "logits.h"
#include "merge.h"
#include "merge_quality.h"
#include "run_folder.h"
#include "say.h"

// clang-format off
#define MERGE_DTYPES(X)                                                                                                \
    X(DTYPE_COUNT, "keep", "every tensor keeps its type; matrices of a quantised base become f16")                     \
    X(DTYPE_F32, "f32", NULL)                                                                                          \
    X(DTYPE_F16, "f16", NULL)                                                                                          \
    X(DTYPE_BF16, "bf16", NULL)                                                                                        \
    X(DTYPE_Q8_0, "q8_0", "8.5 bits a weight; this and the following in .gguf files only")                             \
    X(DTYPE_Q6_K, "q6_k", "6.6 bits a weight")                                                                         \
    X(DTYPE_Q5_K, "q5_k_m", "5.5 bits; 6.6 in the layers and the head that need more, as in llama.cpp")                \
    X(DTYPE_Q5_1, "q5_1", "6 bits")                                                                                    \
    X(DTYPE_Q5_0, "q5_0", "5.5 bits")                                                                                  \
    X(DTYPE_Q4_K, "q4_k_m", "4.5 bits, mixed likewise")                                                                \
    X(DTYPE_Q4_1, "q4_1", "5 bits")                                                                                    \
    X(DTYPE_Q4_0, "q4_0", "4.5 bits")                                                                                  \
    X(DTYPE_F32, "float32", "the same as f32")                                                                         \
    X(DTYPE_F16, "float16", "the same as f16")                                                                         \
    X(DTYPE_BF16, "bfloat16", "the same as bf16")
// clang-format on
#define UPPER_CASE                                                                                                     \
    "F32=f32 F16=f16 BF16=bf16 Q8_0=q8_0 Q6_K=q6_k Q5_K_M=q5_k_m Q5_1=q5_1 Q5_0=q5_0 Q4_K_M=q4_k_m Q4_1=q4_1 "         \
    "Q4_0=q4_0"
static const DType dtypes[] = {MERGE_DTYPES(ENUM_CONSTANT)};

typedef struct Options {
    LoadOptions load;
    char *out, *validation_file;
    int dtype; // index of dtypes
} Options;

static const Key options[] = {
    MODEL_OPTION,
    ADAPTER_OPTION,
    OPTION(PATH, out, .flags = OPTION_REQUIRED, .help = "Where the model is written; must not exist yet. Required."),
    OPTION_CHOICE(dtype, MERGE_DTYPES, .standard = "\"keep\"", .aliases = "type", .other_words = UPPER_CASE,
                  .help = "Type of the written weights."),
    OPTION(PATH, validation_file, .help = "Data on which the result is compared, too."),
};

// ---- comparing the merged model with base and adapter ----

typedef struct MergeCheck { // init with {0}
    int32_t *ids;           // a fixed text
    int64_t n;
    float *logits; // [n, vocab] with the adapter
    bool has_data;
    Config config; // of the validation data
    RunData data;
    EvalResult eval; // on data, with the adapter
} MergeCheck;

static const char text[] =
    "The harbour was quiet when the first boats came in. Two men carried baskets of herring up the stone steps, and a "
    "woman with a ledger wrote down the weight of each one. Nobody spoke until the sun stood over the lighthouse.";
enum { MAX_TOKENS = 64 };

// Limits of the root mean square of the logits' error, relative to their spread, and of the difference of the losses:
// several times what rounding each weight once causes. A wrong row, sign or scale exceeds all of them.
typedef struct Limit {
    DType dtype;
    double logits, loss;
} Limit;
static const Limit limits[] = {{DTYPE_F32, 2e-4, 1e-3}, {DTYPE_F16, 0.01, 0.01}, {DTYPE_BF16, 0.06, 0.03},
                               {DTYPE_Q8_0, 0.1, 0.05}, {DTYPE_Q6_K, 0.3, 0.2},  {DTYPE_Q5_K, 0.6, 0.5},
                               {DTYPE_Q5_1, 0.6, 0.5},  {DTYPE_Q5_0, 0.6, 0.5},  {DTYPE_Q4_K, 1, 1},
                               {DTYPE_Q4_1, 1, 1},      {DTYPE_Q4_0, 1, 1}};
enum { LIMITS = sizeof limits / sizeof *limits };

// Of the coarsest type among the layers' weights and the tables.
static const Limit *limit_of(const Model *m) {
    const Limit *worst = &limits[0];
    for (int64_t i = -1; i < m->config.layers; i++)
        for (Projection p = 0; p < PROJ_COUNT; p++) {
            const Weight *w = i < 0 ? &m->embedding : &m->layers[i].w[p];
            if (i >= 0 && p >= PROJ_EXPERT_GATE && m->layers[i].experts)
                w = &m->layers[i].experts[(p - PROJ_EXPERT_GATE) * m->config.experts];
            for (const Limit *l = limits; w->n_segments && l < limits + LIMITS; l++)
                if (l->dtype == w->segments[0].dtype && l > worst) worst = l;
        }
    return worst;
}

static int encode_text(MergeCheck *c, const Model *m, Err *err) {
    AUTO_IDS TokenIds ids = {0};
    tokenizer_encode(m->tokenizer, text, sizeof text - 1, NULL, false, &ids);
    int64_t bos = m->tokenizer->add_bos && m->tokenizer->bos >= 0;
    c->n = (int64_t)ids.count + bos;
    if (c->n > MAX_TOKENS) c->n = MAX_TOKENS;
    if (c->n > m->max_positions) c->n = m->max_positions;
    c->ids = mem_alloc((size_t)c->n, sizeof *c->ids);
    for (int64_t i = 0; i < c->n; i++) c->ids[i] = i < bos ? m->tokenizer->bos : ids.ids[i - bos];
    return token_ids_check(&ids, err);
}

static int open_data(MergeCheck *c, const Model *m, const char *file, Err *err) {
    char *words[] = {mem_printf("--model_name_or_path=%s", m->path), mem_printf("--validation_file=%s", file)};
    int rc = config_load(&c->config, 2, words, CONFIG_FOR_EVAL, err);
    mem_free(words[0]);
    mem_free(words[1]);
    return rc ? rc : run_data_open(&c->data, &c->config, m, NULL, false, err);
}

// Computes logits and loss with the adapter. validation_file NULL: only on the fixed text.
static int merge_check_open(MergeCheck *c, const Model *m, Adapter *a, const char *validation_file, Err *err) {
    if (m->config.arch->encoder)
        return err_input(err, "%s: merging an encoder is not in this version; expected a language model", m->path);
    if (encode_text(c, m, err)) return -1;
    c->logits = mem_alloc((size_t)c->n * (size_t)m->config.vocab, sizeof *c->logits);
    if (model_logits(m, a, c->ids, c->n, c->logits, err)) return -1;
    if (!validation_file) return 0;
    c->has_data = true;
    if (open_data(c, m, validation_file, err)) return -1;
    c->eval = evaluate_model(m, a, &c->data, 1, NULL);
    return 0;
}

// Mean loss of the next tokens.
static double text_loss(const MergeCheck *c, const float *logits, int64_t vocab) {
    double loss = 0;
    for (int64_t t = 0; t + 1 < c->n; t++) {
        const float *row = logits + t * vocab;
        double max = -INFINITY, sum = 0;
        for (int64_t v = 0; v < vocab; v++) max = fmax(max, (double)row[v]);
        for (int64_t v = 0; v < vocab; v++) sum += exp((double)row[v] - max);
        loss += max + log(sum) - (double)row[c->ids[t + 1]];
    }
    return c->n > 1 ? loss / (double)(c->n - 1) : 0;
}

typedef struct Difference {
    double largest, relative; // relative: root mean squares, of the difference and of the logits about their mean
} Difference;

static Difference logit_difference(const float *a, const float *b, size_t n) {
    double sum = 0, squares = 0, errors = 0;
    Difference d = {0};
    for (size_t i = 0; i < n; i++) {
        double e = fabs((double)a[i] - (double)b[i]);
        if (!(e <= d.largest)) d.largest = e; // NaN wins
        errors += e * e;
        sum += (double)a[i];
        squares += (double)a[i] * (double)a[i];
    }
    d.relative = sqrt(errors / (squares - sum * sum / (double)n));
    return d;
}

static void print_losses(const char *what, const Loaded *l, double before, double after) {
    say("perplexity of %s: %.6g %s, %.6g written (%+.3f%%)\n", what, exp(before),
        l->adapter ? "with the adapter" : "of the base", exp(after), 100 * expm1(after - before));
}

// On the validation data; raises *worst to the difference of the losses.
static int compare_on_data(const MergeCheck *c, const Loaded *l, const Model *merged, double *worst, Err *err) {
    MergeQuality q;
    EvalResult e = evaluate_model(merged, NULL, &c->data, 1, NULL);
    print_losses("the validation data", l, c->eval.loss, e.loss);
    if (!(fabs(e.loss - c->eval.loss) <= *worst)) *worst = fabs(e.loss - c->eval.loss);
    if (merge_quality(&q, l->model, l->adapter, merged, &c->data, err)) return -1;
    say("against %s in float32: mean KL divergence %.4g nats per token, the same first choice for %.2f%% of "
        "%ld tokens\n",
        l->adapter ? "the adapter" : "the base", q.kl, q.tokens ? 100 * (double)q.same / (double)q.tokens : 0,
        q.tokens);
    return 0;
}

// Prints the largest difference of the logits and the perplexities; ERR_RUNTIME when the merged model differs by more
// than the rounding of its weights explains.
static int merge_check_compare(const MergeCheck *c, const Loaded *l, const Model *merged, Err *err) {
    const Limit *limit = limit_of(merged);
    size_t n = (size_t)c->n * (size_t)merged->config.vocab;
    AUTO_FREE float *logits = mem_alloc(n, sizeof *logits);
    if (model_logits(merged, NULL, c->ids, c->n, logits, err)) return -1;
    Difference d = logit_difference(c->logits, logits, n);
    double before = text_loss(c, c->logits, merged->config.vocab), after = text_loss(c, logits, merged->config.vocab);
    double worst = fabs(after - before);
    say("largest logit difference written - %s over %ld token%s: %.4g (%.3g of the logits' spread)\n",
        l->adapter ? "adapter" : "base", c->n, plural(c->n), d.largest, d.relative);
    print_losses("a fixed text", l, before, after);
    if (c->has_data && compare_on_data(c, l, merged, &worst, err)) return -1;
    if (d.relative <= limit->logits && worst <= limit->loss) return 0;
    return err_runtime(err,
                       "%s: logits differ by %.3g of their spread and the loss by %.3g; expected at most %g and %g, "
                       "which rounding to %s explains",
                       merged->path, d.relative, worst, limit->logits, limit->loss, dtype_info(limit->dtype)->name);
}

static void merge_check_close(MergeCheck *c) {
    mem_free(c->ids);
    mem_free(c->logits);
    run_data_close(&c->data);
    config_clear(&c->config);
    *c = (MergeCheck){0};
}

// ---- the verb ----

// What was written is loaded as a user would.
static int check_result(const Loaded *l, const char *out, const MergeCheck *check, Err *err) {
    Model *merged;
    if (model_load(&merged, out, l->backend, NULL, err)) return -1;
    say("%s: %.1f MB of weights\n", out, (double)merged->weight_bytes / 1e6);
    int rc = merge_check_compare(check, l, merged, err);
    model_free(merged);
    return rc;
}

static int run_merge(const void *given, int argc, char **argv, Err *err) {
    const Options *o = given;
    MergeOptions how = {.dtype = dtypes[o->dtype]};
    LoadOptions load;
    AUTO_CALL(loaded_close) Loaded l = {0};
    AUTO_CALL(merge_check_close) MergeCheck check = {0};
    if (run_folder_names(&load, &l, &o->load, argc ? argv[0] : NULL, err)) return -1;
    load.device = "cpu";
    // A classifier's base loads too, so that the message is about the adapter.
    if (loaded_open(&l, &load, &(ModelOptions){.classifier = true}, err) ||
        (l.adapter && loaded_refuse_classifier(l.adapter, load.adapter_name_or_path, err)) ||
        model_merge_check(l.model, o->out, &how, err) ||
        merge_check_open(&check, l.model, l.adapter, o->validation_file, err) ||
        model_merge(l.model, l.adapter, o->out, &how, err))
        return -1;
    return check_result(&l, o->out, &check, err);
}

const Verb verb_merge = {
    .name = "merge",
    .usage = "lorac merge (RUN / --model_name_or_path M [--adapter_name_or_path A]) --out P\n"
             "              [--dtype T] [--validation_file F]",
    .summary = "Write the base model with an adapter folded into its weights",
    .help =
        "A Hugging Face folder becomes a folder (shards of 5 GB; the tokenizer and all small files are copied) or, if "
        "P\n"
        "ends in .gguf, the GGUF file that llama.cpp's converter makes of it; a GGUF file becomes a .gguf file (all\n"
        "metadata is kept). Without an adapter the base is written. W + scale * B A is computed in float32 and\n"
        "rounded once; a quantised block gets the scales with the smallest weighted square of the error, and which\n"
        "tensors of a mixture are larger is as in llama.cpp's llama-quantize. A chat_template.jinja of the adapter\n"
        "replaces the base model's template. The result is loaded and compared with base and adapter on a fixed text\n"
        "and on --validation_file: exit status 1 if it differs by more than rounding explains.",
    .example = "lorac merge out/run --out merged.gguf",
    OPTIONS(options),
    .operand = "[RUN]",
    .run = run_merge,
};

// adapter_gguf: an adapter as llama.cpp reads it: "<base tensor>.lora_a" and ".lora_b". The bytes are those of PEFT's A
// and B, except that B's rows of a rotated projection are in llama.cpp's interleaved order, like the base's. If the
// base file fuses q, k and v and Hugging Face does not (convert_hf_to_gguf.py --fuse-qkv), A is the stacked A's, and B
// is block-diagonal; the rank is 2r or 4r (three A's are padded to four with zeros). llama.cpp divides alpha by the
// tensor's rank, so B is multiplied by 2 or 4, which is exact. The keys lorac.lora.rank and lorac.lora.targets record r
// and the targets of such a file if all modules share them.
//
// The pairs of routed experts are one A and one B [E, ...] of "ffn_gate_exps" and so on.
//
// A file has one alpha for all tensors. If alphas differ (alpha_pattern, rsLoRA with rank_pattern), it is the most
// frequent one, and the other B's are multiplied by the ratio, rounded once unless it is a power of two.
// Keys and checks: llama.cpp, src/llama-adapter.cpp.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "adapter_internal.h"
#include "gguf.h"
#include "problem_list.h"
#include "unicode.h"

// The pairs of one linear layer of the GGUF file.
typedef struct Stack {
    uint32_t parts;                // of the layer
    AdapterPair pairs[PROJ_COUNT]; // a NULL: no adapter
    const AdapterSegment *a[3];    // their A's, each once
    int64_t n_a;
    int64_t blocks;           // columns of B in units of the largest r
    int64_t rank, rows, cols; // of A and B in the file; of the layer's weight
} Stack;

static bool stack_init(Stack *s, const Adapter *a, int64_t layer, uint32_t parts, int64_t expert) {
    int64_t largest = 0;
    *s = (Stack){.parts = parts};
    for (Projection p = 0; p < PROJ_COUNT; p++) {
        if (!(parts & PROJ_BIT(p)) || !adapter_expert_pair(a, layer, p, expert, &s->pairs[p])) continue;
        const AdapterSegment *found = s->pairs[p].a;
        s->cols = found->cols;
        if (found->rows > largest) largest = found->rows;
        if (s->n_a == 0 || s->a[s->n_a - 1] != found) s->a[s->n_a++] = found;
    }
    s->blocks = s->n_a == 3 ? 4 : s->n_a;
    s->rank = s->blocks * largest;
    for (Projection p = 0; p < PROJ_COUNT; p++) {
        int64_t rows, cols;
        model_projection_shape(a->model, p, &rows, &cols);
        if (parts & PROJ_BIT(p)) s->rows += rows;
    }
    return s->n_a > 0;
}

// First row of a pair's block in A, and first column in B.
static int64_t block_start(const Stack *s, const AdapterSegment *a) {
    int64_t start = 0;
    for (int64_t i = 0; s->a[i] != a; i++) start += s->a[i]->rows;
    return start;
}

int64_t adapter_gguf_row(const ModelConfig *c, uint32_t parts, Projection p, int64_t row) {
    int64_t first = adapter_part_row(c, parts, p), half = c->head_size / 2;
    if (!c->arch->gguf_permuted_qk || (p != PROJ_Q && p != PROJ_K)) return first + row;
    int64_t head = row / c->head_size, i = row % c->head_size;
    return first + head * c->head_size + 2 * (i % half) + i / half;
}

static void gguf_name(char *buf, size_t size, int64_t layer, const Module *module, bool is_b) {
    snprintf(buf, size, "blk.%ld.%s.weight.lora_%c", layer, module->name, is_b ? 'b' : 'a');
}

// ---- reading ----

static int check_string(const Gguf *g, const char *key, const char *want, Err *err) {
    GgufStr s;
    if (gguf_string(g, key, true, &s, err) < 0) return err_context(err, "%s", gguf_path(g));
    if (gguf_str_is(s, want)) return 0;
    return err_input(err, "%s: %s is \"%.*s\"; expected \"%s\"", gguf_path(g), key, (int)(s.len < 64 ? s.len : 64),
                     s.data, want);
}

// The layer and module of a tensor; false: not a LoRA tensor of this model.
static bool parse_name(const Model *m, const char *name, int64_t *layer, const Module **module, bool *is_b) {
    char want[64];
    for (*layer = 0; *layer < m->config.layers; ++*layer) { // only exact names match
        snprintf(want, sizeof want, "blk.%ld.", *layer);
        if (!starts_with(name, want)) continue;
        for (*module = m->gguf_modules; (*module)->name; ++*module)
            for (int b = 0; b < 2; b++) {
                gguf_name(want, sizeof want, *layer, *module, b);
                *is_b = b;
                if (strcmp(name, want) == 0) return true;
            }
        return false;
    }
    return false;
}

// The lorac.* keys of a block form; without them ranks are those of the tensors. most: the largest rank of a tensor.
static int read_own_keys(AdapterRank *each, int64_t layers, int64_t most, const Gguf *g, Err *err) {
    uint64_t rank = 0;
    GgufStr names = {"", 0};
    if (gguf_u64(g, "lorac.lora.rank", false, &rank, err) < 0 ||
        gguf_string(g, "lorac.lora.targets", false, &names, err) < 0)
        return err_context(err, "%s", gguf_path(g));
    if (gguf_has(g, "lorac.lora.rank") && (rank < 1 || rank > (uint64_t)most))
        return err_input(err, "%s: lorac.lora.rank is %lu; expected 1 to %ld, the tensors' own rank", gguf_path(g),
                         rank, most);
    uint32_t set = 0;
    for (Projection p = 0; p < PROJ_COUNT; p++) {
        size_t n = strlen(projection_name(p));
        for (size_t at = 0; at + n <= names.len; at++)
            if (memcmp(names.data + at, projection_name(p), n) == 0 && (!at || names.data[at - 1] != '.'))
                set |= PROJ_BIT(p);
    }
    for (int64_t i = 0; i < layers * PROJ_COUNT; i++) {
        if (set && !(set & PROJ_BIT(i % PROJ_COUNT))) each[i].rank = 0;
        if (rank && each[i].rank) each[i].rank = (int64_t)rank;
    }
    return 0;
}

// Both tensors of a module have its rank; read_tensor checks that they agree.
static void take_rank(AdapterRank *at, const Module *module, const GgufTensor *t, bool is_b, float alpha) {
    int64_t rank = t->shape[is_b ? 0 : 1];
    for (Projection p = 0; p < PROJ_COUNT; p++)
        if ((module->parts & PROJ_BIT(p)) && (!is_b || !at[p].rank))
            at[p] = (AdapterRank){rank, alpha != 0 ? alpha : (float)rank}; // llama.cpp: alpha 0 is no scaling
}

// A file has no r: the most frequent rank.
static void find_usual(AdapterConfig *c, AdapterRank *each, const Model *m) {
    int64_t n = m->config.layers * PROJ_COUNT, most = 0;
    AdapterRank usual = {.rank = 1, .alpha = 1};
    for (int64_t i = 0; i < n; i++) {
        int64_t same = 0;
        if (!each[i].rank || (each[i].rank == usual.rank && most)) continue;
        for (int64_t j = 0; j < n; j++) same += each[j].rank == each[i].rank;
        if (same > most) most = same, usual = each[i];
    }
    c->rank = usual.rank;
    c->alpha = usual.alpha;
    adapter_config_set_each(c, each, m);
}

// Layers, projections and ranks from the names and shapes of the tensors.
static int read_layout(AdapterConfig *c, const Gguf *g, const Model *m, Err *err) {
    AUTO_FREE AdapterRank *each = mem_calloc((size_t)m->config.layers * PROJ_COUNT, sizeof *each);
    ProblemList problems = {0};
    int64_t most = 0;
    for (int64_t i = 0; i < gguf_tensor_count(g); i++) {
        const GgufTensor *t = gguf_tensor_at(g, i);
        const Module *module;
        int64_t layer;
        bool is_b;
        if (!parse_name(m, t->name, &layer, &module, &is_b)) {
            problem_add(&problems, "%s is not a LoRA tensor of the base model", t->name);
        } else if (t->n_dims != (module_is_expert(module) ? 3 : 2) || t->shape[0] < 1 || t->shape[1] < 1) {
            problem_add(&problems, "%s has %d dimensions; expected %d", t->name, t->n_dims,
                        module_is_expert(module) ? 3 : 2);
        } else {
            take_rank(each + layer * PROJ_COUNT, module, t, is_b, c->alpha);
            if (t->shape[is_b ? 0 : 1] > most) most = t->shape[is_b ? 0 : 1];
        }
    }
    if (problem_end(&problems, gguf_path(g), "tensors are not valid", err) ||
        read_own_keys(each, m->config.layers, most, g, err))
        return -1;
    find_usual(c, mem_take(&each), m);
    return 0;
}

// The tensor as [n, rows, cols] float32, or NULL; the caller frees.
static float *read_tensor(const Gguf *g, const char *name, int64_t n, int64_t rows, int64_t cols,
                          ProblemList *problems) {
    const GgufTensor *t = gguf_tensor(g, name);
    if (!t) {
        problem_add(problems, "%s is missing", name);
        return NULL;
    }
    int64_t found = t->n_dims == 3 ? t->shape[2] : 1;
    if (t->n_dims > 3 || t->shape[0] != cols || t->shape[1] != rows || found != n || !dtype_is_weight(t->dtype)) {
        AUTO_STR StrBuf of = {0}; // experts
        if (n != found) str_printf(&of, " for each of %ld experts, not %ld", n, found);
        problem_add(problems, "%s is %s [%ld, %ld]; expected weights [%ld, %ld]%s", name, dtype_info(t->dtype)->name,
                    t->shape[0], t->shape[1], cols, rows, of.len ? of.data : "");
        return NULL;
    }
    float *values = mem_alloc((size_t)(n * rows * cols), sizeof *values);
    dtype_expand(t->dtype, values, t->data, (size_t)(n * rows * cols));
    return values;
}

// Pairs of one layer from its two tensors. Without lorac.* keys a fused layer has one A, which is copied to each pair.
static void unstack(const Stack *s, const ModelConfig *c, const float *a, const float *b, bool shared, float *host) {
    int64_t rank = shared ? s->a[0]->rows : s->rank;
    float blocks = shared ? 1.0f : (float)s->blocks;
    for (int64_t i = 0; i < s->n_a; i++) {
        int64_t first = shared ? 0 : block_start(s, s->a[i]);
        memcpy(host + s->a[i]->offset, a + first * s->cols, (size_t)(s->a[i]->rows * s->cols) * sizeof *host);
    }
    for (Projection p = 0; p < PROJ_COUNT; p++) {
        const AdapterPair *pair = &s->pairs[p];
        for (int64_t row = 0; pair->a && row < pair->rows; row++) {
            const float *from = b + adapter_gguf_row(c, s->parts, p, row) * rank;
            float *to = host + pair->b_offset + row * pair->a->rows;
            if (!shared) from += block_start(s, pair->a);
            for (int64_t i = 0; i < pair->a->rows; i++) to[i] = from[i] / blocks;
        }
    }
}

static void take_stack(Adapter *a, const Gguf *g, int64_t layer, const Module *module, float *host,
                       ProblemList *problems) {
    Stack s;
    if (!stack_init(&s, a, layer, module->parts, 0)) return;
    char name_a[64], name_b[64];
    gguf_name(name_a, sizeof name_a, layer, module, false);
    gguf_name(name_b, sizeof name_b, layer, module, true);
    bool shared = s.n_a > 1 && !gguf_has(g, "lorac.lora.rank");
    int64_t rank = shared ? s.a[0]->rows : s.rank;
    int64_t n = adapter_module_count(a->model, module);
    AUTO_FREE float *in = read_tensor(g, name_a, n, rank, s.cols, problems);
    AUTO_FREE float *out = read_tensor(g, name_b, n, s.rows, rank, problems);
    for (int64_t e = 0; in && out && e < n && stack_init(&s, a, layer, module->parts, e); e++)
        unstack(&s, a->model, in + e * rank * s.cols, out + e * s.rows * rank, shared, host);
}

static int fill(Adapter *a, const Gguf *g, const Model *m, Err *err) {
    AUTO_FREE float *host = mem_calloc((size_t)a->count, sizeof *host);
    ProblemList problems = {0};
    for (int64_t layer = 0; layer < m->config.layers; layer++)
        for (const Module *module = m->gguf_modules; module->name; module++)
            take_stack(a, g, layer, module, host, &problems);
    int rc = problem_end(&problems, gguf_path(g), "tensors do not fit the base model", err);
    return rc ? rc : adapter_upload(a, host, gguf_path(g), err);
}

static int load(Adapter **a, const Gguf *g, const Model *m, bool with_grad, Err *err) {
    AUTO_CALL(adapter_config_clear) AdapterConfig c = {0};
    AUTO(adapter_free) Adapter *new = NULL;
    if (!m->config.architecture)
        return err_input(err, "%s: %s has no GGUF form; expected a PEFT folder", gguf_path(g), m->path);
    if (check_string(g, "general.type", "adapter", err) || check_string(g, "adapter.type", "lora", err) ||
        check_string(g, "general.architecture", m->config.architecture, err))
        return -1;
    if (gguf_f32(g, "adapter.lora.alpha", true, &c.alpha, err) < 0) return err_context(err, "%s", gguf_path(g));
    if (read_layout(&c, g, m, err)) return -1;
    if (adapter_outline(&new, m, &c, err)) return err_context(err, "%s", gguf_path(g));
    adapter_reserve(new, with_grad);
    if (fill(new, g, m, err)) return -1;
    *a = mem_take(&new);
    return 0;
}

int adapter_load_gguf(Adapter **out, const Model *m, const char *file, bool with_grad, Err *err) {
    AUTO_GGUF Gguf *g = NULL;
    return gguf_open(&g, file, err) ? -1 : load(out, g, m, with_grad, err);
}

// ---- writing ----

// llama.cpp always divides by the rank; rank-stabilised scaling is folded into alpha.
static float file_alpha(const Adapter *a, const AdapterSegment *s) {
    return a->config.rslora ? (float)((double)s->alpha * sqrt((double)s->rows)) : s->alpha;
}

// The most frequent one.
static float usual_alpha(const Adapter *a) {
    float usual = 0;
    int64_t most = 0;
    for (int64_t i = 0; i < a->n_segments; i++) {
        int64_t same = 0;
        if (a->segments[i].kind != SEGMENT_A) continue;
        float alpha = file_alpha(a, &a->segments[i]);
        if (most && alpha == usual) continue;
        for (int64_t j = 0; j < a->n_segments; j++)
            same += a->segments[j].kind == SEGMENT_A && file_alpha(a, &a->segments[j]) == alpha;
        if (same > most) most = same, usual = alpha;
    }
    return usual;
}

static bool is_power_of_two(double x) {
    int exponent;
    return frexp(x, &exponent) == 0.5;
}

static void warn_of_rounding(const Adapter *a, float alpha, const char *file) {
    int64_t rounded = 0, modules = 0;
    for (int64_t i = 0; i < a->n_segments; i++) {
        if (a->segments[i].kind != SEGMENT_A) continue;
        modules++;
        rounded += !is_power_of_two((double)file_alpha(a, &a->segments[i]) / (double)alpha);
    }
    if (rounded)
        log_warn(
            "%s: a GGUF adapter has one alpha (%g); in %ld of %ld module%s with another alpha B is multiplied by the "
            "ratio, rounded once to float32",
            file, (double)alpha, rounded, modules, plural(modules));
}

// The two matrices of a linear in the file, which are zeros before. False: a value is too large for float32.
static bool stack_up(const Stack *s, const Adapter *a, const float *host, float alpha, float *in, float *out) {
    bool finite = true;
    for (int64_t i = 0; i < s->n_a; i++)
        memcpy(in + block_start(s, s->a[i]) * s->cols, host + s->a[i]->offset,
               (size_t)(s->a[i]->rows * s->cols) * sizeof *in);
    for (Projection p = 0; p < PROJ_COUNT; p++) {
        const AdapterPair *pair = &s->pairs[p];
        if (!pair->a) continue;
        int64_t r = pair->a->rows, column = block_start(s, pair->a);
        double factor = (double)s->rank / (double)r * ((double)file_alpha(a, pair->a) / (double)alpha);
        for (int64_t row = 0; row < pair->rows; row++) {
            float *to = out + adapter_gguf_row(a->model, s->parts, p, row) * s->rank + column;
            const float *from = host + pair->b_offset + row * r;
            for (int64_t i = 0; i < r; i++) {
                to[i] = (float)((double)from[i] * factor);
                finite = finite && isfinite(to[i]);
            }
        }
    }
    return finite;
}

static void add_keys(GgufWriter *w, const Adapter *a, const Model *m, const char *name, float alpha) {
    const AdapterConfig *c = &a->config;
    gguf_writer_string(w, "general.type", "adapter");
    gguf_writer_string(w, "general.architecture", m->config.architecture);
    AUTO_FREE char *clean = utf8_replaced(name); // of a path
    gguf_writer_string(w, "general.name", clean);
    gguf_writer_u32(w, "general.file_type", 0); // all F32
    gguf_writer_u32(w, "general.quantization_version", 2);
    gguf_writer_string(w, "adapter.type", "lora");
    gguf_writer_f32(w, "adapter.lora.alpha", alpha);
    gguf_writer_string(w, ADAPTER_MARK_KEY, ADAPTER_MARK);
    if (c->each || m->gguf_modules != m->config.arch->gguf_names.fused_modules) return;
    AUTO_STR StrBuf targets = {0};
    for (Projection p = 0; p < PROJ_COUNT; p++)
        if (c->projections & PROJ_BIT(p)) str_printf(&targets, "%s%s", targets.len ? " " : "", projection_name(p));
    gguf_writer_u32(w, "lorac.lora.rank", (uint32_t)c->rank);
    gguf_writer_string(w, "lorac.lora.targets", targets.data);
}

typedef struct Tensors {
    const float *host; // the adapter's parameters
    float alpha;       // of the file
    float **data;      // borrowed by the writer until it has written
    size_t count, capacity;
} Tensors;

static void free_tensors(Tensors *t) {
    for (size_t i = 0; i < t->count; i++) mem_free(t->data[i]);
    mem_free(t->data);
}

static int add_stack(GgufWriter *w, Tensors *owned, const Adapter *a, int64_t layer, const Module *module, Err *err) {
    Stack s;
    if (!stack_init(&s, a, layer, module->parts, 0)) return 0;
    MEM_GROW(owned->data, owned->capacity, owned->count + 2);
    int64_t n = adapter_module_count(a->model, module);
    float *in = owned->data[owned->count++] = mem_calloc((size_t)(n * s.rank * s.cols), sizeof *in);
    float *out = owned->data[owned->count++] = mem_calloc((size_t)(n * s.rows * s.rank), sizeof *out);
    char name[64];
    bool finite = true;
    for (int64_t e = 0; e < n && stack_init(&s, a, layer, module->parts, e); e++)
        finite &= stack_up(&s, a, owned->host, owned->alpha, in + e * s.rank * s.cols, out + e * s.rows * s.rank);
    if (!finite)
        return err_input(err,
                         "%s of layer %ld: B times its alpha is too large for float32, and a GGUF adapter has one "
                         "alpha (%g)",
                         module->name, layer, (double)owned->alpha);
    gguf_name(name, sizeof name, layer, module, false);
    int dims = module_is_expert(module) ? 3 : 2;
    gguf_writer_tensor(w, name, DTYPE_F32, dims, (int64_t[]){s.cols, s.rank, n}, in);
    gguf_name(name, sizeof name, layer, module, true);
    gguf_writer_tensor(w, name, DTYPE_F32, dims, (int64_t[]){s.rank, s.rows, n}, out);
    return 0;
}

int adapter_save_gguf(const Adapter *a, const Model *m, const char *file, const char *name, Err *err) {
    if (a->config.labels)
        return err_input(err, "%s: a classifier's head has no place in a GGUF adapter; expected a PEFT folder", file);
    if (a->config.dora)
        return err_input(err,
                         "%s: a GGUF adapter has no place for the magnitudes of DoRA; expected a PEFT folder, or lorac "
                         "merge, which writes the merged model",
                         file);
    if (!m->config.architecture) return err_input(err, "%s has no GGUF form; expected a PEFT folder", m->path);
    if (adapter_check(a, err)) return -1;
    AUTO_FREE float *copy = NULL;
    AUTO_CALL(free_tensors) Tensors owned = {.host = adapter_on_host(a, a->params, &copy), .alpha = usual_alpha(a)};
    AUTO_GGUF_WRITER GgufWriter *w = gguf_writer_new();
    warn_of_rounding(a, owned.alpha, file);
    add_keys(w, a, m, name, owned.alpha);
    for (int64_t layer = 0; layer < m->config.layers; layer++)
        for (const Module *module = m->gguf_modules; module->name; module++)
            if (add_stack(w, &owned, a, layer, module, err)) return -1;
    return gguf_writer_save(w, file, adapter_gguf_own, err);
}

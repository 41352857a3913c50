// inspect: a base model, from GGUF or a Hugging Face folder: what it is, its sizes, what LoRA can sit on, its dtypes,
// its tokenizer and chat template.
#include "inspect.h"

#include <inttypes.h>
#include <string.h>

#include "config_gguf.h"
#include "config_hf.h"
#include "json.h"
#include "model.h"
#include "say.h"
#include "weight_source.h"

// ---- counting tensors by dtype ----

void tally_add(Tally *t, const char *dtype, const int64_t *shape, int n_dims, size_t bytes) {
    size_t k = 0;
    while (k < t->n_kinds && strcmp(t->kinds[k].name, dtype) != 0) k++;
    if (k == sizeof t->kinds / sizeof *t->kinds) return; // more dtypes than the formats have
    if (k == t->n_kinds) t->kinds[t->n_kinds++].name = dtype;
    int64_t elements = 1; // the readers have checked that this does not overflow
    for (int d = 0; d < n_dims; d++) elements *= shape[d];
    t->kinds[k].tensors++;
    t->kinds[k].elements += elements;
    t->kinds[k].bytes += bytes;
}

void tally_print(const Tally *t, FILE *out) {
    for (size_t k = 0; k < t->n_kinds; k++)
        say_to(out, "  %-12s %" PRId64 " tensors, %" PRId64 " values, %.1f MB\n", t->kinds[k].name, t->kinds[k].tensors,
               t->kinds[k].elements, (double)t->kinds[k].bytes / 1e6);
}

// ---- the configuration ----

static void print_str(FILE *out, const char *label, const char *s, size_t len) {
    StrBuf quoted = {0};
    json_quote(&quoted, s, len); // a file's text, so that it cannot steer the terminal
    say_to(out, "  %-12s %s\n", label, quoted.data);
    str_clear(&quoted);
}

void inspect_gguf_key(const Gguf *g, const char *key, const char *label, FILE *out) {
    GgufStr s;
    Err ignored;
    if (gguf_has(g, key) && gguf_string(g, key, true, &s, &ignored) == 0) print_str(out, label, s.data, s.len);
}

static void print_sizes(const ModelConfig *c, FILE *out) {
    say_to(out,
           "  sizes        layers %" PRId64 ", hidden %" PRId64 ", heads %" PRId64 " (key/value %" PRId64
           ", size %" PRId64 "), feed-forward %" PRId64 ", vocabulary %" PRId64 "%s, context %" PRId64 "\n",
           c->layers, c->hidden, c->heads, c->kv_heads, c->head_size, c->ffn, c->vocab,
           c->arch->encoder ? ""
           : c->tied_head   ? " (tied head)"
           : c->head_unties ? " (own lm_head, though config.json ties it)"
                            : "",
           c->context);
    if (c->experts)
        say_to(out, "  experts      %" PRId64 " a layer of feed-forward %" PRId64 ", %" PRId64 " for each token\n",
               c->experts, c->expert_ffn, c->experts_used);
    int64_t sliding = 0;
    for (int64_t i = 0; i < c->layers; i++) sliding += c->layer_sliding[i];
    if (sliding)
        say_to(out, "  window       %" PRId64 " tokens in %" PRId64 " of %" PRId64 " layers\n", c->window, sliding,
               c->layers);
}

static void print_rope(const char *label, const RopeConfig *r, FILE *out) {
    static const char *const names[] = {
        [ROPE_LINEAR] = "linear", [ROPE_LLAMA3] = "llama3", [ROPE_YARN] = "yarn", [ROPE_LONGROPE] = "longrope"};
    if (r->scaling == ROPE_NONE) return;
    say_to(out, "  %-12s base %.9g, %" PRId64 " dimensions of a head", label, (double)r->base, r->rotated);
    if (r->scaling != ROPE_PLAIN) say_to(out, ", %s scaling by %g", names[r->scaling], (double)r->factor);
    if (r->scaling != ROPE_PLAIN && r->original_context)
        say_to(out, " over %" PRId64 " positions", r->original_context);
    say_to(out, "\n");
}

// A module's own name, with what is before it where two modules of a layer have the same.
static const char *shown_name(const Module *modules, const Module *m) {
    const char *dot = strrchr(m->name, '.');
    if (!dot) return m->name;
    for (const Module *other = modules; other->name; other++) {
        const char *leaf = strrchr(other->name, '.');
        if (other != m && leaf && strcmp(leaf, dot) == 0) return m->name;
    }
    return dot + 1;
}

static void print_targets(const ModelConfig *c, FILE *out) {
    const Module *modules = c->arch->hf.modules;
    const char *before = "";
    say_to(out, "  targets      ");
    for (const Module *m = modules; m->name; m++) {
        int64_t rows = 0, cols = 0;
        for (Projection p = 0; p < PROJ_COUNT; p++) {
            int64_t part;
            if (!(m->parts & PROJ_BIT(p)) || !model_has_projection(c, p)) continue;
            model_projection_shape(c, p, &part, &cols);
            rows += part;
        }
        if (!rows) continue;
        say_to(out, "%s%s [%" PRId64 ", %" PRId64 "]", before, shown_name(modules, m), rows, cols);
        before = ", ";
    }
    say_to(out, "\n");
}

static void print_config(const ModelConfig *c, FILE *out) {
    print_sizes(c, out);
    print_rope("rope", &c->rope, out);
    print_rope("local rope", &c->rope_local, out);
    print_targets(c, out);
}

// ---- the whole ----

static void print_tokenizer(const char *path, FILE *out) {
    Tokenizer *t;
    Err err;
    if (model_load_tokenizer(&t, path, &err)) {
        say_to(out, "  tokenizer    not usable: %s\n", err.msg);
        return;
    }
    const char *chat = tokenizer_chat_template(t);
    say_to(out, "  tokenizer    %s, %d tokens\n", tokenizer_kind(t), tokenizer_vocab_size(t));
    say_to(out, "  template     %s\n", chat ? "yes" : "none");
    if (chat) print_str(out, "", chat, strlen(chat));
    tokenizer_free(t);
}

// Elements of the layers' linears, which quantize_base is for.
static int64_t linear_elements(const ModelConfig *c) {
    int64_t sum = 0, matrices = c->arch->plain_mlp ? 2 : 3;
    for (int64_t layer = 0; layer < c->layers; layer++) {
        for (Projection p = 0; p < PROJ_GATE; p++) {
            int64_t rows, cols;
            model_projection_shape(c, p, &rows, &cols);
            sum += rows * cols;
        }
        bool dense = !c->experts || c->layer_dense[layer];
        sum += matrices * c->hidden * (dense ? c->ffn : c->experts * c->expert_ffn);
    }
    return sum;
}

// What the weights take in memory: as stored, and with quantize_base where the layers are dense.
static void print_memory(const Tally *t, const ModelConfig *c, FILE *out) {
    size_t total = 0, main = 0;
    for (size_t k = 0; k < t->n_kinds; k++) {
        total += t->kinds[k].bytes;
        if (t->kinds[k].bytes > t->kinds[main].bytes) main = k;
    }
    say_to(out, "  in memory    %.1f MB", (double)total / 1e6);
    const char *name = t->n_kinds ? t->kinds[main].name : "";
    double bytes = strcmp(name, "F32") == 0 ? 4 : strcmp(name, "F16") == 0 || strcmp(name, "BF16") == 0 ? 2 : 0;
    double linears = (double)linear_elements(c);
    if (bytes > 0 && linears * bytes <= (double)total)
        say_to(out, "; quantize_base int8 %.1f MB, nf4 %.1f MB", ((double)total - linears * (bytes - 34.0 / 32)) / 1e6,
               ((double)total - linears * (bytes - 33.0 / 64)) / 1e6);
    say_to(out, "\n");
}

static void tally_source(const WeightSource *s, const ModelConfig *c, FILE *out) {
    Tally t = {0};
    for (size_t i = 0; i < weight_source_count(s); i++) {
        const SourceTensor *x = weight_source_at(s, i);
        tally_add(&t, x->dtype_name, x->shape, x->n_dims, x->bytes);
    }
    tally_print(&t, out);
    if (c) print_memory(&t, c, out);
}

int inspect_base(const char *path, FILE *out, Err *err) {
    WeightSource *s;
    ModelConfig c;
    Err why;
    if (weight_source_open(&s, path, err)) return -1;
    const Gguf *g = weight_source_gguf(s);
    int bad_config = g ? config_gguf_read(&c, s, &why) : config_hf_read(&c, weight_source_dir(s), &why);
    say_to(out, "%s: base model\n", path);
    if (g) inspect_gguf_key(g, "general.name", "name", out);
    if (g) inspect_gguf_key(g, "general.architecture", "architecture", out);
    if (!g && !bad_config) say_to(out, "  architecture %s\n", c.arch->model_types[0]);
    if (bad_config)
        say_to(out, "  training     not possible: %s\n", why.msg);
    else
        print_config(&c, out);
    if (!g || gguf_has(g, "tokenizer.ggml.model")) print_tokenizer(path, out);
    tally_source(s, bad_config ? NULL : &c, out);
    weight_source_close(s);
    return 0;
}

int inspect_model_config(const char *path, FILE *out, Err *err) {
    ModelConfig c;
    if (config_hf_read(&c, path, err)) return -1;
    say_to(out, "%s: configuration of a base model\n  architecture %s\n", path, c.arch->model_types[0]);
    print_config(&c, out);
    return 0;
}

// inspect_base: a base model, from GGUF or a Hugging Face folder: architecture, sizes, target modules, dtypes,
// tokenizer and chat template.
#include "inspect.h"

#include <string.h>

#include "json.h"
#include "model.h"
#include "model_config.h"
#include "quantized.h"
#include "say.h"
#include "weight_source.h"

// ---- counting tensors by dtype ----

void tally_add(Tally *t, const char *dtype, const int64_t *shape, int n_dims, size_t bytes) {
    size_t k = 0;
    while (k < t->n_kinds && strcmp(t->kinds[k].name, dtype) != 0) k++;
    if (k == sizeof t->kinds / sizeof *t->kinds) return; // unreachable: the formats have fewer dtypes
    if (k == t->n_kinds) t->kinds[t->n_kinds++].name = dtype;
    int64_t elements = 1; // the readers have checked that this does not overflow
    for (int d = 0; d < n_dims; d++) elements *= shape[d];
    t->kinds[k].tensors++;
    t->kinds[k].elements += elements;
    t->kinds[k].bytes += bytes;
}

void tally_print(const Tally *t) {
    for (size_t k = 0; k < t->n_kinds; k++)
        say("  %-12s %ld tensor%s, %ld value%s, %.1f MB\n", t->kinds[k].name, t->kinds[k].tensors,
            plural(t->kinds[k].tensors), t->kinds[k].elements, plural(t->kinds[k].elements),
            (double)t->kinds[k].bytes / 1e6);
}

// ---- the configuration ----

static void print_str(const char *label, const char *s, size_t len) {
    AUTO_STR StrBuf quoted = {0};
    json_quote(&quoted, s, len); // text of a file must not control the terminal
    say("  %-12s %s\n", label, quoted.data);
}

void inspect_gguf_key(const Gguf *g, const char *key, const char *label) {
    GgufStr s;
    Err ignored;
    if (gguf_has(g, key) && gguf_string(g, key, true, &s, &ignored) == 0) print_str(label, s.data, s.len);
}

static void print_sizes(const ModelConfig *c) {
    say("  sizes        layers %ld, hidden %ld, heads %ld (key/value %ld, size %ld), feed-forward %ld, vocabulary "
        "%ld%s, context %ld\n",
        c->layers, c->hidden, c->heads, c->kv_heads, c->head_size, c->ffn, c->vocab,
        c->arch->encoder ? ""
        : c->tied_head   ? " (tied head)"
        : c->head_unties ? " (own lm_head, though config.json ties it)"
                         : "",
        c->context);
    if (c->experts)
        say("  experts      %ld per layer, feed-forward %ld, %ld per token\n", c->experts, c->expert_ffn,
            c->experts_used);
    int64_t sliding = 0;
    for (int64_t i = 0; i < c->layers; i++) sliding += c->layer_sliding[i];
    if (sliding)
        say("  window       %ld token%s in %ld of %ld layer%s\n", c->window, plural(c->window), sliding, c->layers,
            plural(c->layers));
}

static void print_rope(const char *label, const RopeConfig *r) {
    if (r->scaling == ROPE_NONE) return;
    say("  %-12s base %.9g, %ld dimension%s of a head", label, (double)r->base, r->rotated, plural(r->rotated));
    if (r->scaling != ROPE_PLAIN)
        say(", %s scaling by %g", ENUM_WORDS(ROPE_SCALINGS)[r->scaling].word, (double)r->factor);
    if (r->scaling != ROPE_PLAIN && r->original_context)
        say(" over %ld position%s", r->original_context, plural(r->original_context));
    say("\n");
}

// Last part of a module's name; the whole name if two modules of a layer share the last part.
static const char *shown_name(const Module *modules, const Module *m) {
    const char *dot = strrchr(m->name, '.');
    if (!dot) return m->name;
    for (const Module *other = modules; other->name; other++) {
        const char *leaf = strrchr(other->name, '.');
        if (other != m && leaf && strcmp(leaf, dot) == 0) return m->name;
    }
    return dot + 1;
}

static void print_targets(const ModelConfig *c) {
    const Module *modules = c->arch->hf.modules;
    const char *before = "";
    say("  targets      ");
    for (const Module *m = modules; m->name; m++) {
        int64_t rows = 0, cols = 0;
        for (Projection p = 0; p < PROJ_COUNT; p++) {
            int64_t part;
            if (!(m->parts & PROJ_BIT(p)) || !model_has_projection(c, p)) continue;
            model_projection_shape(c, p, &part, &cols);
            rows += part;
        }
        if (!rows) continue;
        AUTO_FREE char *name = module_name(&(Module){shown_name(modules, m), m->parts}, -1);
        say("%s%s [%ld, %ld]", before, name, rows, cols);
        before = ", ";
    }
    say("\n");
}

static void print_config(const ModelConfig *c) {
    print_sizes(c);
    print_rope("rope", &c->rope);
    print_rope("local rope", &c->rope_local);
    print_targets(c);
}

// ---- the whole ----

static void print_tokenizer(const char *path) {
    AUTO_TOKENIZER Tokenizer *t = NULL;
    Err err;
    if (model_load_tokenizer(&t, path, &err)) {
        say("  tokenizer    not supported: %s\n", err.msg);
        return;
    }
    const char *chat = t->chat_template;
    say("  tokenizer    %s, %d token%s\n", t->kind, t->vocab_size, plural(t->vocab_size));
    say("  template     %s\n", chat ? "yes" : "none");
    if (chat) print_str("", chat, strlen(chat));
}

// Elements of the layers' linears, which quantize_base is for.
static int64_t linear_elements(const ModelConfig *c) {
    int64_t sum = 0, matrices = c->arch->plain_mlp ? 2 : 3;
    for (int64_t layer = 0; layer < c->layers; layer++) {
        for (Projection p = 0; p < PROJ_COUNT; p++) {
            int64_t rows, cols;
            if (projection_is_mlp(p) || !model_layer_has(c, layer, p)) continue;
            model_projection_shape(c, p, &rows, &cols);
            sum += rows * cols;
        }
        bool dense = !c->experts || c->layer_dense[layer];
        sum += matrices * c->hidden * (dense ? c->ffn : c->experts * c->expert_ffn);
    }
    return sum;
}

// What the weights take in memory: as stored, and with quantize_base where the layers are dense.
static void print_memory(const Tally *t, const ModelConfig *c, size_t total) {
    size_t main = 0;
    for (size_t k = 0; k < t->n_kinds; k++)
        if (t->kinds[k].bytes > t->kinds[main].bytes) main = k;
    say("  in memory    %.1f MB", (double)total / 1e6);
    const char *name = t->n_kinds ? t->kinds[main].name : "";
    double bytes = strcmp(name, "F32") == 0 ? 4 : strcmp(name, "F16") == 0 || strcmp(name, "BF16") == 0 ? 2 : 0;
    double linears = (double)linear_elements(c);
    if (bytes > 0 && linears * bytes <= (double)total)
        say("; quantize_base int8 %.1f MB, nf4 %.1f MB", ((double)total - linears * (bytes - 34.0 / 32)) / 1e6,
            ((double)total - linears * (bytes - 33.0 / 64)) / 1e6);
    say("\n");
}

static void tally_source(const WeightSource *s, const ModelConfig *c) {
    Tally t = {0};
    size_t total = 0;
    for (size_t i = 0; i < s->n_tensors; i++) {
        const SourceTensor *x = &s->tensors[i];
        if (!x->is_part && !(x->quantized && x->quantized->copied)) total += x->bytes;
        if (x->quantized) total += quantized_bytes(x);
        tally_add(&t, x->dtype_name, x->shape, x->n_dims, x->bytes);
    }
    tally_print(&t);
    if (c) print_memory(&t, c, total);
}

int inspect_base(const char *path, Err *err) {
    WeightSource *s;
    ModelConfig c;
    Err why;
    if (weight_source_open(&s, path, err)) return -1;
    const Gguf *g = s->gguf;
    int bad_config = g ? model_config_gguf_read(&c, s, &why) : model_config_hf_read(&c, s->dir, &why);
    say("%s: base model\n", path);
    if (g) inspect_gguf_key(g, "general.name", "name");
    if (g) inspect_gguf_key(g, "general.architecture", "architecture");
    if (!g && !bad_config) say("  architecture %s\n", c.arch->model_types[0]);
    if (bad_config)
        say("  training     not supported: %s\n", why.msg);
    else
        print_config(&c);
    if (!g || gguf_has(g, "tokenizer.ggml.model")) print_tokenizer(path);
    tally_source(s, bad_config ? NULL : &c);
    weight_source_close(s);
    return 0;
}

int inspect_model_config(const char *path, Err *err) {
    ModelConfig c;
    if (model_config_hf_read(&c, path, err)) return -1;
    say("%s: configuration of a base model\n  architecture %s\n", path, c.arch->model_types[0]);
    print_config(&c);
    return 0;
}

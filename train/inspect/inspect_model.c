// inspect_model: adapters, snapshots and the output of a run; base models are in inspect_base.c.
#include "inspect.h"

#include <string.h>

#include "fileio.h"
#include "gguf.h"
#include "json_read.h"
#include "path.h"
#include "safetensors.h"
#include "say.h"
#include "snapshot.h"

// ---- GGUF ----

// From the least to the most of all pairs.
static void print_gguf_rank(const Gguf *g) {
    int64_t least = INT64_MAX, most = 0;
    for (int64_t i = 0; i < gguf_tensor_count(g); i++) {
        const GgufTensor *x = gguf_tensor_at(g, i);
        const char *half = strrchr(x->name, '.');
        int64_t rank = half && strcmp(half, ".lora_b") == 0 ? x->shape[0] : x->shape[1];
        if (rank < least) least = rank;
        if (rank > most) most = rank;
    }
    if (most) say("  rank         %ld", least);
    if (most > least) say(" to %ld", most);
    if (most) say("\n");
}

static void print_gguf_adapter(const Gguf *g, const char *path) {
    float alpha;
    Err ignored;
    say("%s: adapter for llama.cpp\n", path);
    inspect_gguf_key(g, "general.name", "name");
    inspect_gguf_key(g, "general.architecture", "architecture");
    print_gguf_rank(g);
    if (gguf_has(g, "adapter.lora.alpha") && gguf_f32(g, "adapter.lora.alpha", true, &alpha, &ignored) == 0)
        say("  alpha        %g\n", alpha);
}

static void tally_gguf(const Gguf *g) {
    Tally t = {0};
    for (int64_t i = 0; i < gguf_tensor_count(g); i++) {
        const GgufTensor *x = gguf_tensor_at(g, i);
        tally_add(&t, dtype_info(x->dtype)->name, x->shape, x->n_dims, x->bytes);
    }
    tally_print(&t);
}

int inspect_gguf(const char *path, Err *err) {
    Gguf *g;
    GgufStr type = {"", 0};
    if (gguf_open(&g, path, err)) return -1;
    int rc = gguf_string(g, "general.type", false, &type, err);
    bool is_adapter = rc >= 0 && type.len == 7 && memcmp(type.data, "adapter", 7) == 0;
    if (is_adapter) {
        print_gguf_adapter(g, path);
        tally_gguf(g);
    }
    gguf_close(g);
    if (rc < 0) return -1;
    return is_adapter ? 0 : inspect_base(path, err);
}

// ---- safetensors ----

int inspect_safetensors(const char *path, Err *err) {
    AUTO_SAFETENSORS Safetensors *s = NULL;
    Tally t = {0};
    if (safetensors_open(&s, path, err)) return -1;
    say("%s: %zu tensor%s\n", path, safetensors_count(s), plural(safetensors_count(s)));
    for (size_t i = 0; i < safetensors_count(s); i++) {
        const SafetensorsTensor *x = safetensors_at(s, i);
        tally_add(&t, x->dtype_name, x->shape, x->n_dims, x->bytes);
    }
    tally_print(&t);
    return 0;
}

// ---- folders ----

enum { MAX_JSON_BYTES = 16 << 20 };

static void put_value(StrBuf *text, const Json *v) {
    if (v->type == JSON_STRING)
        json_quote(text, v->str.data, v->str.len);
    else if (v->type == JSON_INT || v->type == JSON_FLOAT)
        str_puts(text, v->str.data);
    else
        str_puts(text, json_type_name(v));
}

static void print_field(const Json *object, const char *key) {
    const Json *v = json_get(object, key);
    AUTO_STR StrBuf text = {0};
    bool many = v && (v->type == JSON_ARRAY || v->type == JSON_OBJECT);
    if (!v || v->type == JSON_NULL || (many && !v->count)) return;
    if (!many) put_value(&text, v);
    for (size_t i = 0; many && i < v->count; i++) {
        if (i) str_puts(&text, ", ");
        if (v->type == JSON_OBJECT) {
            json_quote(&text, v->keys[i].data, v->keys[i].len);
            str_puts(&text, " ");
        }
        put_value(&text, &v->items[i]);
    }
    say("  %s: %s\n", key, text.data);
}

static int inspect_json_keys(const char *path, const char *what, const char *const *keys, const char *inside,
                             Err *err) {
    AUTO_JSON JsonDoc *doc = NULL;
    if (json_load(&doc, path, MAX_JSON_BYTES, err)) return -1;
    say("%s: %s\n", path, what);
    const Json *object = inside ? json_get(json_root(doc), inside) : json_root(doc);
    for (; *keys; keys++) print_field(object, *keys);
    return 0;
}

static int inspect_peft(const char *dir, Err *err) {
    static const char *const keys[] = {"base_model_name_or_path",
                                       "r",
                                       "lora_alpha",
                                       "lora_dropout",
                                       "use_rslora",
                                       "use_dora",
                                       "rank_pattern",
                                       "alpha_pattern",
                                       "target_modules",
                                       "exclude_modules",
                                       "layers_to_transform",
                                       "layers_pattern",
                                       "modules_to_save",
                                       "task_type",
                                       NULL};
    AUTO_FREE char *config = path_join(dir, "adapter_config.json"), *weights = NULL;
    if (adapter_peft_weights(&weights, dir, err)) return -1;
    return inspect_json_keys(config, "adapter (PEFT)", keys, NULL, err) || inspect_safetensors(weights, err) ? -1 : 0;
}

static int inspect_snapshot(const char *dir, Err *err) {
    static const char *const state[] = {"step", "tokens", "supervised", "last_loss", NULL};
    AUTO_FREE char *manifest = path_join(dir, "manifest.json"), *buffers = path_join(dir, "optimizer.safetensors");
    return inspect_json_keys(manifest, "snapshot", state, "state", err) || inspect_safetensors(buffers, err) ? -1 : 0;
}

static int inspect_output_dir(const char *dir, Err *err) {
    static const char *const keys[] = {"model_name_or_path", "train_file", "validation_file", NULL};
    size_t n;
    AUTO_FREE int64_t *steps = NULL;
    int rc = snapshot_list(&steps, &n, dir, err);
    AUTO_FREE char *config = path_join(dir, "config.json"), *adapter = path_join(dir, "adapter");
    if (!rc) rc = inspect_json_keys(config, "a run's output", keys, NULL, err);
    say("  snapshots:");
    for (size_t i = 0; i < n; i++) say(" %ld", steps[i]);
    say("%s", n ? "\n" : " none\n");
    if (!rc && path_is_dir(adapter)) rc = inspect_peft(adapter, err);
    return rc;
}

bool inspect_is_data_folder(const char *path) {
    return !dir_has(path, "adapter_config.json") && !dir_has(path, "manifest.json") && !dir_has(path, "config.json");
}

int inspect_folder(const char *path, Err *err) {
    if (dir_has(path, "adapter_config.json")) return inspect_peft(path, err);
    if (dir_has(path, "manifest.json")) return inspect_snapshot(path, err);
    if (dir_has(path, "config.json") && (dir_has(path, "train_log.jsonl") || dir_has(path, "adapter")))
        return inspect_output_dir(path, err);
    return inspect_base(path, err);
}

// model_load over Hugging Face folders: what is allowed beside the weights, and that every way in which the files are
// not the model that config.json says is refused by name. Bad folders are made from a good one of golden/families.
#include <math.h>

#include "family_fixture.h"
#include "fileio.h"
#include "logits.h"
#include "model.h"
#include "path.h"
#include "scratch.h"

static Backend *open_backend(void) {
    Backend *b;
    Err err;
    ASSERT_OK(backend_open(&b, "cpu", 2, &err), &err);
    return b;
}

// ---- a folder with one thing changed ----

typedef struct Change {
    const char *tensor;    // what the following are about
    bool left_out;         // it is not in the file
    bool one_row_more;     // it has another shape
    const char *dtype;     // it is stored as this, with so many bits an element
    int bits;              // of dtype
    float first_value;     // of it; 0: as it is
    const char *extra;     // one more tensor, [2] of float32
    const char *from, *to; // text of config.json to be replaced
    const char *tokenizer; // tokenizer.json as a whole
    const char *part;      // of the message; NULL: the model loads
} Change;

typedef struct Raw { // a safetensors file being put together by hand, so that it may hold anything
    StrBuf header, data;
} Raw;

static void add_raw(Raw *r, const char *name, const char *dtype, const int64_t *shape, int n_dims, const void *data,
                    size_t bytes) {
    str_printf(&r->header, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", r->header.len ? "," : "{", name, dtype);
    for (int d = 0; d < n_dims; d++) str_printf(&r->header, "%s%jd", d ? "," : "", (intmax_t)shape[d]);
    str_printf(&r->header, "],\"data_offsets\":[%zu,%zu]}", r->data.len, r->data.len + bytes);
    for (size_t i = 0; i < bytes; i++) str_add(&r->data, data ? (const char *)data + i : "", 1);
}

static void add_changed(Raw *r, const SafetensorsTensor *t, const Change *c) {
    bool it = c->tensor && strcmp(c->tensor, t->name) == 0;
    int64_t shape[SAFETENSORS_MAX_DIMS];
    size_t bytes = t->bytes;
    if (it && c->left_out) return;
    memcpy(shape, t->shape, sizeof shape);
    if (it && c->one_row_more) {
        bytes += bytes / (size_t)shape[0];
        shape[0]++;
    }
    if (it && c->dtype) bytes = bytes / 4 * (size_t)c->bits / 8;
    bool plain = !it || (!c->one_row_more && !c->dtype && c->first_value == 0);
    size_t at = r->data.len;
    add_raw(r, t->name, it && c->dtype ? c->dtype : "F32", shape, t->n_dims, plain ? t->data : NULL, bytes);
    if (it && c->first_value != 0) memcpy(r->data.data + at, &c->first_value, sizeof c->first_value);
}

static void put_weights(const char *folder, const Safetensors *good, const Change *c) {
    static const float two[2] = {1, 2};
    Raw r = {0};
    for (size_t i = 0; i < safetensors_count(good); i++) add_changed(&r, safetensors_at(good, i), c);
    if (c->extra) add_raw(&r, c->extra, "F32", (int64_t[]){2}, 1, two, sizeof two);
    str_puts(&r.header, "}");
    uint64_t n = r.header.len;
    StrBuf file = {0};
    str_add(&file, (const char *)&n, sizeof n);
    str_add(&file, r.header.data, r.header.len);
    str_add(&file, r.data.data, r.data.len);
    char *path = path_join(folder, "model.safetensors");
    scratch_put(path, file.data, file.len);
    mem_free(path);
    str_clear(&r.header);
    str_clear(&r.data);
    str_clear(&file);
}

static void put_config(const char *folder, const char *good, const Change *c) {
    const char *at = c->from ? strstr(good, c->from) : NULL;
    assert_true(at || !c->from);
    StrBuf text = {0};
    str_add(&text, good, at ? (size_t)(at - good) : strlen(good));
    if (at) str_printf(&text, "%s%s", c->to, at + strlen(c->from));
    char *path = path_join(folder, "config.json");
    scratch_put(path, text.data, text.len);
    mem_free(path);
    str_clear(&text);
}

static char *read_text(const char *folder, const char *name) {
    char *path = path_join(folder, name), *text;
    size_t size;
    Err err;
    ASSERT_OK(file_read(&text, &size, path, 1 << 20, &err), &err);
    mem_free(path);
    return text;
}

static void check_change(Backend *b, const char *folder, const Change *c) {
    Model *m;
    Err err;
    int rc = model_load(&m, folder, b, NULL, &err);
    if (!c->part && rc) fail_msg("%s", err.msg);
    if (!rc) model_free(m);
    if (!c->part) return;
    if (!rc) fail_msg("loaded; expected a refusal with \"%s\"", c->part);
    if (!strstr(err.msg, c->part)) fail_msg("message \"%s\" lacks \"%s\"", err.msg, c->part);
    assert_int_equal(err.kind, ERR_INPUT);
    assert_memory_equal(err.msg, folder, strlen(folder));
}

static void check_changes(const char *family, const Change *changes, size_t n) {
    Backend *b = open_backend();
    Family f;
    Safetensors *good;
    Err err;
    family_open(&f, family, FAMILY_HF);
    char *path = path_join(f.path, "model.safetensors"), *moved = path_join(f.path, "good");
    assert_int_equal(rename(path, moved), 0);
    ASSERT_OK(safetensors_open(&good, moved, &err), &err);
    char *config = read_text(f.path, "config.json"), *tokenizer = read_text(f.path, "tokenizer.json");
    char *tokenizer_path = path_join(f.path, "tokenizer.json");
    for (size_t i = 0; i < n; i++) {
        const char *text = changes[i].tokenizer ? changes[i].tokenizer : tokenizer;
        put_weights(f.path, good, &changes[i]);
        put_config(f.path, config, &changes[i]);
        scratch_put(tokenizer_path, text, strlen(text));
        check_change(b, f.path, &changes[i]);
    }
    safetensors_close(good);
    mem_free(tokenizer_path);
    mem_free(tokenizer);
    mem_free(config);
    mem_free(moved);
    mem_free(path);
    family_close(&f);
    backend_close(b);
}
#define CHECK_CHANGES(family, changes) check_changes(family, changes, sizeof(changes) / sizeof *(changes))

#define Q0 "model.layers.0.self_attn.q_proj.weight"

static void test_model_load_hf_refuses_weights_by_name(void **state) {
    (void)state;
    static const Change changes[] = {
        {.part = NULL},
        {.tensor = Q0, .left_out = true, .part = Q0 " is missing"},
        {.tensor = "model.embed_tokens.weight", .left_out = true, .part = "embed_tokens.weight is missing"},
        {.tensor = "lm_head.weight", .left_out = true, .part = "lm_head.weight is missing"},
        {.tensor = "model.norm.weight", .left_out = true, .part = "model.norm.weight is missing"},
        {.tensor = Q0, .one_row_more = true, .part = Q0 " has shape [33, 32]; expected [32, 32]"},
        {.tensor = "model.norm.weight",
         .one_row_more = true,
         .part = "model.norm.weight has shape [33]; expected [32]"},
        {.tensor = Q0, .dtype = "F8_E4M3", .bits = 8, .part = Q0 " has type F8_E4M3"},
        {.tensor = Q0, .dtype = "F4", .bits = 4, .part = Q0 " has type F4"},
        {.tensor = Q0, .dtype = "F64", .bits = 64, .part = Q0 " has type F64"},
        {.tensor = Q0, .dtype = "I8", .bits = 8, .part = Q0 " has type I8"},
        {.tensor = Q0, .dtype = "I32", .bits = 32, .part = Q0 " has type I32"},
        {.tensor = "model.norm.weight", .dtype = "U8", .bits = 8, .part = "model.norm.weight has type U8"},
        {.tensor = Q0, .first_value = NAN, .part = Q0 " holds a value that is not finite"},
        {.tensor = "lm_head.weight",
         .first_value = INFINITY,
         .part = "lm_head.weight holds a value that is not finite"},
        {.tensor = "model.norm.weight",
         .first_value = -INFINITY,
         .part = "model.norm.weight holds a value that is not"},
        {.extra = "model.layers.0.self_attn.rotary_emb.inv_freq", .part = NULL}, // a buffer of old checkpoints
        {.extra = "model.layers.0.self_attn.q_proj.bias",
         .part = "self_attn.q_proj.bias is not part of the llama graph"},
        {.extra = "model.layers.0.self_attn.q_norm.weight", .part = "self_attn.q_norm.weight is not part of"},
        {.extra = "model.layers.2.mlp.up_proj.weight", .part = "model.layers.2.mlp.up_proj.weight is not part of"},
        {.extra = "vision_tower.x", .part = "vision_tower.x is not part of the llama graph"},
        {.extra = "model.layers.0.self_attn.q_proj.weight_scale", .part = "q_proj.weight_scale is not part of"},
    };
    CHECK_CHANGES("llama3", changes);
}

static void test_model_load_hf_refuses_configurations_that_do_not_fit(void **state) {
    (void)state;
    static const Change changes[] = {
        {.from = "\"num_hidden_layers\": 2", .to = "\"num_hidden_layers\": 3", .part = "9 tensors do not fit"},
        {.from = "\"num_hidden_layers\": 2", .to = "\"num_hidden_layers\": 1", .part = "model.layers.1."},
        {.from = "\"hidden_size\": 32", .to = "\"hidden_size\": 64", .part = "has shape [64, 32]; expected [64, 64]"},
        {.from = "\"num_key_value_heads\": 1", .to = "\"num_key_value_heads\": 2", .part = "expected [16, 32]"},
        {.from = "\"attention_bias\": false", .to = "\"attention_bias\": true", .part = "q_proj.bias is missing"},
        {.from = "\"vocab_size\": 64", .to = "\"vocab_size\": 63", .part = "expected [63, 32]"},
        {.from = "\"model_type\": \"llama\"", .to = "\"model_type\": \"qwen3\"", .part = "q_norm.weight is missing"},
        {.from = "\"model_type\": \"llama\"", .to = "\"model_type\": \"t5\"", .part = "model_type is \"t5\"; expected"},
        {.from = "\"hidden_act\": \"silu\"",
         .to = "\"hidden_act\": \"mish\"",
         .part = "hidden_act is \"mish\"; expected"},
        {.from = "\"rope_type\": \"llama3\"", .to = "\"rope_type\": \"ntk\"", .part = "rope_type is \"ntk\"; expected"},
        {.tokenizer = "{}", .part = "tokenizer.json"},
        {.tokenizer = "[", .part = "tokenizer.json"},
    };
    CHECK_CHANGES("llama3", changes);
}

// The logits of a Llama whose config.json ties the head, though the file has one: those of the head, as transformers 5
// gives them when the two differ.
static void test_model_load_hf_uses_the_head_of_the_file(void **state) {
    (void)state;
    Backend *b = open_backend();
    Family f;
    Model *m;
    Err err;
    static const int32_t ids[] = {1, 5, 9};
    float want[3 * 64], got[3 * 64];
    family_open(&f, "llama3", FAMILY_HF);
    ASSERT_OK(model_load(&m, f.path, b, NULL, &err), &err);
    assert_false(m->config.head_unties);
    ASSERT_OK(model_logits(m, NULL, ids, 3, want, &err), &err);
    model_free(m);
    char *config = read_text(f.path, "config.json");
    put_config(f.path, config,
               &(Change){.from = "\"tie_word_embeddings\": false", .to = "\"tie_word_embeddings\": true"});
    ASSERT_OK(model_load(&m, f.path, b, NULL, &err), &err);
    assert_true(m->config.head_unties && !m->config.tied_head);
    ASSERT_OK(model_logits(m, NULL, ids, 3, got, &err), &err);
    assert_memory_equal(got, want, sizeof want);
    model_free(m);
    mem_free(config);
    family_close(&f);
    backend_close(b);
}

// Entries of an index for tensors that are not there: harmless where they are not needed (a tied head, a buffer, a
// bias that the configuration does not have), refused by name where they are.
static void test_model_load_hf_index_may_name_what_is_not_needed(void **state) {
    (void)state;
    static const char more[] =
        "\"weight_map\": {\"lm_head.weight\": \"model-00001-of-00002.safetensors\", "
        "\"model.layers.0.self_attn.rotary_emb.inv_freq\": \"model-00002-of-00002.safetensors\", "
        "\"model.layers.0.self_attn.o_proj.bias\": \"model-00001-of-00002.safetensors\", ";
    Backend *b = open_backend();
    Family f;
    Model *m;
    Err err;
    family_open(&f, "qwen2", FAMILY_HF_SHARDED);
    char *index = read_text(f.path, "model.safetensors.index.json"),
         *map = strchr(strstr(index, "\"weight_map\""), '{');
    char *text = mem_printf("{%s%s", more, map + 1), *path = path_join(f.path, "model.safetensors.index.json");
    scratch_put(path, text, strlen(text));
    int rc = model_load(&m, f.path, b, NULL, &err);
    if (rc) fail_msg("%s", err.msg);
    assert_true(m->config.tied_head);
    model_free(m);
    mem_free(text);
    mem_free(path);
    mem_free(index);
    family_close(&f);
    backend_close(b);
}

static void test_model_load_hf_checks_fused_and_transposed_weights(void **state) {
    (void)state;
    static const Change gpt2[] = {
        {.extra = "transformer.h.0.attn.bias", .part = NULL}, // GPT-2's causal masks
        {.extra = "transformer.h.1.attn.masked_bias", .part = NULL},
        {.tensor = "transformer.h.0.attn.c_attn.weight",
         .one_row_more = true,
         .part = "c_attn.weight has shape [33, 96]; expected [32, 96]"},
        {.tensor = "transformer.h.1.mlp.c_fc.weight",
         .first_value = NAN,
         .part = "c_fc.weight holds a value that is not"},
        {.tensor = "transformer.h.0.attn.c_attn.bias", .left_out = true, .part = "attn.c_attn.bias is missing"},
        {.tensor = "transformer.wpe.weight", .left_out = true, .part = "wpe.weight is missing"},
        {.from = "\"n_positions\": ", .to = "\"n_positions\": 1", .part = "wpe.weight has shape"},
    };
    static const Change phi3[] = {
        {.tensor = "model.layers.0.self_attn.qkv_proj.weight",
         .one_row_more = true,
         .part = "qkv_proj.weight has shape"},
        {.tensor = "model.layers.1.mlp.gate_up_proj.weight",
         .dtype = "F8_E5M2",
         .bits = 8,
         .part = "gate_up_proj.weight has type F8_E5M2"},
    };
    CHECK_CHANGES("gpt2", gpt2);
    CHECK_CHANGES("phi3", phi3);
}

// A shard that is cut, missing or another one, on the way of a whole load.
static void test_model_load_hf_refuses_shards_that_do_not_fit(void **state) {
    (void)state;
    Backend *b = open_backend();
    Family f;
    Model *m;
    Err err;
    family_open(&f, "llama3", FAMILY_HF_SHARDED);
    ASSERT_OK(model_load(&m, f.path, b, NULL, &err), &err);
    model_free(m);
    char *shard = path_join(f.path, "model-00002-of-00002.safetensors");
    assert_int_equal(truncate(shard, 3000), 0);
    ASSERT_REFUSED(model_load(&m, f.path, b, NULL, &err), &err, "model-00002-of-00002.safetensors: ");
    unlink(shard);
    ASSERT_REFUSED(model_load(&m, f.path, b, NULL, &err), &err, "model-00002-of-00002.safetensors: cannot be opened");
    assert_int_equal(err.kind, ERR_INPUT);
    mem_free(shard);
    family_close(&f);
    backend_close(b);
}

TEST_MAIN(SCRATCH_TEST(test_model_load_hf_refuses_weights_by_name),
          SCRATCH_TEST(test_model_load_hf_refuses_configurations_that_do_not_fit),
          SCRATCH_TEST(test_model_load_hf_uses_the_head_of_the_file),
          SCRATCH_TEST(test_model_load_hf_index_may_name_what_is_not_needed),
          SCRATCH_TEST(test_model_load_hf_checks_fused_and_transposed_weights),
          SCRATCH_TEST(test_model_load_hf_refuses_shards_that_do_not_fit))

// Layers of routed experts in files: every way of storing them gives the same bits, what does not fit is refused by
// name; and cached generation against the whole. That the numbers are right is test_families' business.
#include <math.h>
#include <sys/stat.h>

#include "decode_engine.h"
#include "family_fixture.h"
#include "fileio.h"
#include "gguf_builder.h"
#include "logits.h"
#include "quantize.h"

enum { TOKENS = 24, VOCAB = 64, MAX_TENSORS = 128 };

static Backend *open_backend(void) {
    Backend *b;
    Err err;
    ASSERT_OK(backend_open(&b, "cpu", 2, &err), &err);
    return b;
}

// Logits of 24 tokens; the caller frees.
static float *logits_of(const char *path, const ModelOptions *o) {
    Backend *b = open_backend();
    Model *m;
    Err err;
    int32_t ids[TOKENS];
    for (int i = 0; i < TOKENS; i++) ids[i] = (i * 37 + 5) % VOCAB;
    ASSERT_OK(model_load(&m, path, b, o, &err), &err);
    float *logits = mem_alloc((size_t)TOKENS * VOCAB, sizeof *logits);
    ASSERT_OK(model_logits(m, NULL, ids, TOKENS, logits, &err), &err);
    model_free(m);
    backend_close(b);
    return logits;
}

static void check_same_logits(const char *a, const char *b, const ModelOptions *o) {
    float *x = logits_of(a, o), *y = logits_of(b, o);
    if (memcmp(x, y, (size_t)TOKENS * VOCAB * sizeof *x)) fail_msg("%s and %s give different logits", a, b);
    mem_free(x);
    mem_free(y);
}

static void check_refused(const char *path, const char *part) {
    Backend *b = open_backend();
    Model *m;
    Err err;
    ASSERT_REFUSED(model_load(&m, path, b, NULL, &err), &err, part);
    backend_close(b);
}

// ---- GGUF files, rewritten ----

typedef struct Tensors {
    GgufTensor list[MAX_TENSORS]; // data is owned
    int n;
} Tensors;

static GgufTensor *find(Tensors *t, const char *name) {
    for (int i = 0; i < t->n; i++)
        if (strcmp(t->list[i].name, name) == 0) return &t->list[i];
    fail_msg("no tensor %s", name);
    return NULL;
}

// Removes a tensor from the list; the caller frees its data.
static GgufTensor take(Tensors *t, const char *name) {
    GgufTensor *at = find(t, name), taken = *at;
    *at = t->list[--t->n];
    return taken;
}

static void read_tensors(Tensors *t, const char *path) {
    Gguf *g;
    Err err;
    ASSERT_OK(gguf_open(&g, path, &err), &err);
    t->n = (int)gguf_tensor_count(g);
    assert_true(t->n < MAX_TENSORS);
    for (int i = 0; i < t->n; i++) {
        t->list[i] = *gguf_tensor_at(g, i);
        void *data = mem_alloc(t->list[i].bytes, 1);
        memcpy(data, t->list[i].data, t->list[i].bytes);
        t->list[i].data = data;
    }
    gguf_close(g);
}

// The keys of `from` with other tensors. Frees the data.
static void write_tensors(Tensors *t, const char *from, const char *first, const char *path) {
    char *old;
    size_t size, at = 24;
    Err err;
    ASSERT_OK(file_read(&old, &size, from, 1 << 20, &err), &err);
    while (memcmp(old + at, first, strlen(first)) || old[at - 8] != (char)strlen(first)) at++;
    Builder b = {{0}}, data = {{0}};
    add(&b, old, 8);
    add_u64(&b, (uint64_t)t->n);
    add(&b, old + 16, at - 8 - 16);
    for (int i = 0; i < t->n; i++) {
        const GgufTensor *x = &t->list[i];
        assert_true(x->dtype == DTYPE_F32 || x->dtype == DTYPE_F16);
        add_tensor(&b, x->name, x->n_dims, x->shape, x->dtype == DTYPE_F16, data.bytes.len);
        add(&data, x->data, x->bytes);
        add_padding(&data, 32);
        mem_free((void *)x->data);
    }
    add_padding(&b, 32);
    add(&b, data.bytes.data, data.bytes.len);
    scratch_put(path, b.bytes.data, b.bytes.len);
    mem_free(old);
    str_clear(&b.bytes);
    str_clear(&data.bytes);
}

// Gate and up of each expert behind one another, as llama.cpp's converter does with --fuse-gate-up-exps.
static void fuse_layer(Tensors *t, int layer) {
    char name[64];
    snprintf(name, sizeof name, "blk.%d.ffn_gate_exps.weight", layer);
    GgufTensor gate = take(t, name);
    snprintf(name, sizeof name, "blk.%d.ffn_up_exps.weight", layer);
    GgufTensor up = take(t, name);
    GgufTensor *fused = &t->list[t->n++];
    *fused = gate;
    fused->shape[1] *= 2;
    fused->bytes *= 2;
    snprintf(fused->name, sizeof fused->name, "blk.%d.ffn_gate_up_exps.weight", layer);
    size_t one = gate.bytes / (size_t)gate.shape[2];
    char *data = mem_alloc(fused->bytes, 1);
    for (size_t e = 0; e < (size_t)gate.shape[2]; e++) {
        memcpy(data + 2 * e * one, (const char *)gate.data + e * one, one);
        memcpy(data + (2 * e + 1) * one, (const char *)up.data + e * one, one);
    }
    fused->data = data;
    mem_free((void *)gate.data);
    mem_free((void *)up.data);
}

static void family_gguf(const char *family, char path[256]) {
    snprintf(path, 256, TEST_DIR "/golden/families/%s/base.gguf", family);
}

static void test_moe_gguf_fused_gate_up(void **state) {
    (void)state;
    static const char *const families[] = {"mixtral", "qwen3moe"};
    for (int i = 0; i < 2; i++) {
        char from[256];
        Tensors t;
        family_gguf(families[i], from);
        read_tensors(&t, from);
        char *first = mem_strdup(t.list[0].name);
        for (int layer = 0; layer < 2; layer++) fuse_layer(&t, layer);
        write_tensors(&t, from, first, "fused.gguf");
        check_same_logits(from, "fused.gguf", NULL);
        mem_free(first);
    }
}

// What a file of Mixtral may lack or have wrong, by the change that is made to its tensors.
static void rename_to_old(Tensors *t) {
    snprintf(find(t, "blk.0.ffn_gate_exps.weight")->name, 64, "blk.0.ffn_gate.0.weight");
}
static void drop_router(Tensors *t) { mem_free((void *)take(t, "blk.1.ffn_gate_inp.weight").data); }
static void drop_downs(Tensors *t) { mem_free((void *)take(t, "blk.1.ffn_down_exps.weight").data); }
static void one_expert_fewer(Tensors *t) {
    GgufTensor *x = find(t, "blk.0.ffn_up_exps.weight");
    x->bytes -= x->bytes / (size_t)x->shape[2];
    x->shape[2]--;
}
static void put_nan(Tensors *t) {
    GgufTensor *x = find(t, "blk.1.ffn_down_exps.weight");
    ((uint16_t *)x->data)[x->bytes / 2 - 1] = 0x7E00;
}
static void add_bias(Tensors *t) {
    GgufTensor *x = find(t, "blk.0.attn_norm.weight"), *bias = &t->list[t->n++];
    *bias = *x;
    bias->data = mem_calloc(x->bytes, 1);
    snprintf(bias->name, sizeof bias->name, "blk.0.ffn_down_exps.bias");
}

static void test_moe_gguf_refusals(void **state) {
    (void)state;
    static const struct {
        void (*change)(Tensors *t);
        const char *part;
    } cases[] = {
        {rename_to_old, "blk.0.ffn_gate.0.weight), as llama.cpp wrote them before"},
        {drop_router, "blk.1.ffn_gate_inp.weight is missing"},
        {drop_downs, "blk.1.ffn_down_exps.weight is missing"},
        {one_expert_fewer, "blk.0.ffn_up_exps.weight has shape [5, 48, 32]; expected [6, 48, 32]"},
        {put_nan, "blk.1.ffn_down_exps.weight holds a value that is not finite"},
        {add_bias, "blk.0.ffn_down_exps.bias is not part of the mixtral graph"},
    };
    char from[256];
    family_gguf("mixtral", from);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Tensors t;
        read_tensors(&t, from);
        char *first = mem_strdup(t.list[0].name);
        cases[i].change(&t);
        write_tensors(&t, from, first, "bad.gguf");
        check_refused("bad.gguf", cases[i].part);
        mem_free(first);
    }
}

// ---- Hugging Face folders: experts one by one, made into the stacked tensors that transformers 5 has in memory ----

enum { MAX_ENTRIES = 64 };
typedef struct Entries {
    SafetensorsEntry list[MAX_ENTRIES];
    size_t n;
} Entries;

// "layers.L.(mlp|block_sparse_moe).experts.E.WHICH.weight".
static const SafetensorsTensor *expert_tensor(const Safetensors *s, bool mixtral, int layer, int e, const char *which) {
    char name[160];
    snprintf(name, sizeof name, "model.layers.%d.%s.experts.%d.%s.weight", layer, mixtral ? "block_sparse_moe" : "mlp",
             e, which);
    return safetensors_get(s, name);
}

// The named matrices of all experts of a layer in one tensor [E, rows of them all, cols].
static void stack(Entries *out, const Safetensors *s, bool mixtral, int layer, const char *const *which, int n,
                  const char *name) {
    const SafetensorsTensor *one = expert_tensor(s, mixtral, layer, 0, which[0]);
    if (!one) return; // a dense layer
    int experts = 0;
    while (expert_tensor(s, mixtral, layer, experts, which[0])) experts++;
    char *data = mem_alloc((size_t)(experts * n), one->bytes);
    for (int i = 0; i < experts * n; i++)
        memcpy(data + (size_t)i * one->bytes, expert_tensor(s, mixtral, layer, i / n, which[i % n])->data, one->bytes);
    out->list[out->n++] = (SafetensorsEntry){.name = mem_printf("model.layers.%d.mlp.experts.%s", layer, name),
                                             .dtype = one->dtype,
                                             .n_dims = 3,
                                             .shape = {experts, n * one->shape[0], one->shape[1]},
                                             .data = data};
}

static void keep(Entries *out, const SafetensorsTensor *t) {
    SafetensorsEntry e = {.dtype = t->dtype, .n_dims = t->n_dims};
    const char *old = strstr(t->name, "block_sparse_moe.");
    e.name = old ? mem_printf("%.*smlp.%s", (int)(old - t->name), t->name, old + 17) : mem_strdup(t->name);
    memcpy(e.shape, t->shape, sizeof e.shape);
    void *data = mem_alloc(t->bytes, 1);
    memcpy(data, t->data, t->bytes);
    e.data = data;
    out->list[out->n++] = e;
}

static void copy_file(const char *from, const char *to, const char *name) {
    char *a = mem_printf("%s/%s", from, name), *b = mem_printf("%s/%s", to, name), *text;
    size_t n;
    Err err;
    ASSERT_OK(file_read(&text, &n, a, 1 << 20, &err), &err);
    scratch_put(b, text, n);
    mem_free(a);
    mem_free(b);
    mem_free(text);
}

static void write_stacked(const char *from, const char *to, bool mixtral) {
    static const char *const w[2][3] = {{"gate_proj", "up_proj", "down_proj"}, {"w1", "w3", "w2"}};
    Safetensors *s;
    Err err;
    Entries out = {.n = 0};
    char *path = mem_printf("%s/model.safetensors", from);
    ASSERT_OK(safetensors_open(&s, path, &err), &err);
    for (size_t i = 0; i < safetensors_count(s); i++)
        if (!strstr(safetensors_at(s, i)->name, ".experts.")) keep(&out, safetensors_at(s, i));
    for (int layer = 0; layer < 3; layer++) {
        stack(&out, s, mixtral, layer, w[mixtral], 2, "gate_up_proj");
        stack(&out, s, mixtral, layer, w[mixtral] + 2, 1, "down_proj");
    }
    assert_true(out.n < MAX_ENTRIES && mkdir(to, 0777) == 0);
    mem_free(path);
    path = mem_printf("%s/model.safetensors", to);
    ASSERT_OK(safetensors_save(path, out.list, out.n, NULL, 0, NULL, &err), &err);
    copy_file(from, to, "config.json");
    copy_file(from, to, "tokenizer.json");
    for (size_t i = 0; i < out.n; i++) {
        mem_free((char *)out.list[i].name);
        mem_free((void *)out.list[i].data);
    }
    mem_free(path);
    safetensors_close(s);
}

static void test_moe_stacked_folder_equals_one_by_one(void **state) {
    (void)state;
    static const char *const families[] = {"mixtral", "qwen3moe", "qwen3moe-dense"};
    for (int i = 0; i < 3; i++) {
        Family f;
        char to[64];
        snprintf(to, sizeof to, "%s-stacked", families[i]);
        family_open(&f, families[i], FAMILY_HF);
        write_stacked(f.path, to, i == 0);
        check_same_logits(f.path, to, NULL);
        family_close(&f);
    }
}

// Quantised experts: the same bits both ways, and close to the dense ones.
static void test_moe_quantized_experts(void **state) {
    (void)state;
    Family f;
    family_open(&f, "mixtral-top1", FAMILY_HF);
    write_stacked(f.path, "stacked", true);
    ModelOptions o = {.quantize = QUANTIZE_INT8};
    check_same_logits(f.path, "stacked", &o);
    float *dense = logits_of("stacked", NULL), *quantized = logits_of("stacked", &o);
    double difference = 0, scale = 0;
    for (int i = 0; i < TOKENS * VOCAB; i++) {
        difference += fabs((double)dense[i] - (double)quantized[i]);
        scale += fabs((double)dense[i]);
    }
    assert_true(difference > 0 && difference < 0.05 * scale);
    mem_free(dense);
    mem_free(quantized);
    family_close(&f);
}

// ---- generation ----

// Tokens one by one over the cache, two sequences at once, against the whole in one pass.
static void test_moe_cached_generation_equals_the_whole(void **state) {
    (void)state;
    Backend *b = open_backend();
    Model *m;
    Err err;
    char path[256];
    family_gguf("qwen3moe", path);
    ASSERT_OK(model_load(&m, path, b, NULL, &err), &err);
    int32_t ids[2][TOKENS];
    static float whole[2][TOKENS * VOCAB], got[VOCAB];
    for (int i = 0; i < 2 * TOKENS; i++) ids[i / TOKENS][i % TOKENS] = (i * 29 + 3) % VOCAB;
    for (int s = 0; s < 2; s++) ASSERT_OK(model_logits(m, NULL, ids[s], TOKENS, whole[s], &err), &err);
    DecodeEngine *e = decode_engine_new(m, 2, TOKENS, 2 * TOKENS);
    for (int past = 0, count = 5; past < TOKENS; past += count, count = 1) {
        DecodePiece pieces[2] = {{NULL, 0, past, count, past + count, ids[0] + past},
                                 {NULL, 1, past, count, past + count, ids[1] + past}};
        decode_engine_run(e, pieces, 2);
        for (int s = 0; s < 2; s++) {
            decode_engine_logits(e, s, got);
            const float *want = whole[s] + (past + count - 1) * VOCAB;
            for (int v = 0; v < VOCAB; v++) ASSERT_NEAR((double)got[v], (double)want[v], 1e-4);
        }
    }
    decode_engine_free(e);
    model_free(m);
    backend_close(b);
}

TEST_MAIN(SCRATCH_TEST(test_moe_gguf_fused_gate_up), SCRATCH_TEST(test_moe_gguf_refusals),
          SCRATCH_TEST(test_moe_stacked_folder_equals_one_by_one), SCRATCH_TEST(test_moe_quantized_experts),
          TEST(test_moe_cached_generation_equals_the_whole))

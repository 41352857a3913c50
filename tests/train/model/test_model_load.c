// model_load: what a good file becomes, and that every way in which a file is not the model it claims is refused by
// name. Bad files are made from the good one by changing bytes, or with gguf_writer.
#include <math.h>
#include <time.h>

#include "fileio.h"
#include "gguf.h"
#include "gguf_builder.h"
#include "model.h"
#include "model_file.h"
#include "quantize.h"
#include "scratch.h"
#include "tiny_model.h"

static Backend *open_backend(void) {
    Backend *b;
    Err err;
    ASSERT_OK(backend_open(&b, "cpu", 2, &err), &err);
    return b;
}

static void test_model_load_reads_the_config(void **state) {
    (void)state;
    Backend *b = open_backend();
    Model *m;
    Err err;
    tiny_model_write("tiny.gguf", &TINY_MODEL);
    ASSERT_OK(model_load(&m, "tiny.gguf", b, &(ModelOptions){.max_positions = 100}, &err), &err);
    const ModelConfig *c = &m->config;
    assert_string_equal(c->architecture, "llama");
    assert_true(c->layers == 2 && c->hidden == 32 && c->heads == 4 && c->kv_heads == 2 && c->head_size == 8);
    assert_true(c->ffn == 64 && c->vocab == TINY_VOCAB && c->context == 256 && c->tied_head && c->permuted_qk);
    assert_true(c->norm_eps == 1e-5f && c->rope.base == 10000 && c->rope.scaling == ROPE_PLAIN);
    assert_string_equal(m->name, "tiny");
    assert_null(m->repository);
    assert_int_equal(m->max_positions, 100);
    assert_ptr_equal(m->head.segments[0].data, m->embedding.segments[0].data);
    assert_int_equal(m->layers[1].w[PROJ_K].rows, 16);
    assert_int_equal(m->tokenizer->vocab_size, TINY_VOCAB);
    assert_int_equal(strlen(m->fingerprint), 32);
    const float *row = m->cos_sin + 3 * 8; // position 3: cosines, then sines
    for (int i = 0; i < 4; i++) {
        double angle = 3 * pow(10000, -2.0 * i / 8);
        ASSERT_NEAR(row[i], cos(angle), 1e-6);
        ASSERT_NEAR(row[4 + i], sin(angle), 1e-6);
    }
    model_free(m);
    ASSERT_REFUSED(model_load(&m, "tiny.gguf", b, &(ModelOptions){.max_positions = 257}, &err), &err,
                   "the model's context is 256");
    backend_close(b);
}

static void test_model_load_puts_qk_rows_in_hugging_face_order(void **state) {
    (void)state;
    Backend *b = open_backend();
    Model *m;
    Err err;
    tiny_model_write("tiny.gguf", &TINY_MODEL);
    ASSERT_OK(model_load(&m, "tiny.gguf", b, NULL, &err), &err);
    float row[32];
    const float *stored = m->layers[0].w[PROJ_Q].segments[0].data;
    for (int h = 0; h < 4; h++)
        for (int i = 0; i < 4; i++)
            for (int j = 0; j < 2; j++) {
                b->k->expand(b, mat_of(row, DTYPE_F32, 1, 32), &m->layers[0].w[PROJ_Q], h * 8 + j * 4 + i);
                assert_memory_equal(row, stored + (h * 8 + 2 * i + j) * 32, sizeof row);
            }
    assert_null(m->layers[0].w[PROJ_V].segments[0].row_map);
    model_free(m);
    backend_close(b);
}

// ---- quantize_base ----

// Sizes that are whole blocks.
static void write_wide_model(void) {
    TinyModel t = TINY_MODEL;
    t.hidden = 64, t.ffn = 128;
    tiny_model_write("wide.gguf", &t);
}

// The largest difference of a projection's elements between the two models, rows in logical order.
static double largest_difference(const Model *a, const Model *b, int layer, Projection p) {
    double largest = 0;
    const Weight *w = &a->layers[layer].w[p];
    float x[128], y[128];
    for (int64_t row = 0; row < w->rows; row++) {
        a->backend->k->expand(a->backend, mat_of(x, DTYPE_F32, 1, w->cols), w, row);
        b->backend->k->expand(b->backend, mat_of(y, DTYPE_F32, 1, w->cols), &b->layers[layer].w[p], row);
        for (int64_t i = 0; i < w->cols; i++) largest = fmax(largest, fabs((double)x[i] - (double)y[i]));
    }
    return largest;
}

static void check_quantized(QuantizeKind kind, DType want, double step) {
    Backend *b = open_backend();
    Model *m, *q;
    Err err;
    ASSERT_OK(model_load(&m, "wide.gguf", b, NULL, &err), &err);
    ASSERT_OK(model_load(&q, "wide.gguf", b, &(ModelOptions){.quantize = kind}, &err), &err);
    size_t bytes = m->weight_bytes;
    for (int layer = 0; layer < 2; layer++)
        for (Projection p = 0; p < PROJ_CONV_B; p++) {
            const Weight *w = &q->layers[layer].w[p];
            size_t before, after;
            assert_int_equal(w->segments[0].dtype, want);
            double difference = largest_difference(m, q, layer, p); // elements are U(-0.2, 0.2)
            assert_true(difference > step / 4 && difference < step);
            dtype_bytes(DTYPE_F32, (size_t)(w->rows * w->cols), &before);
            dtype_bytes(want, (size_t)(w->rows * w->cols), &after);
            bytes -= before - after;
        }
    assert_in_range(q->weight_bytes, bytes, bytes + 14 * 1024); // scales of rows, alignment
    assert_int_equal(q->embedding.segments[0].dtype, DTYPE_F32);
    assert_memory_equal(q->fingerprint, m->fingerprint, 32);
    model_free(q);
    model_free(m);
    backend_close(b);
}

// The tied head is the embedding; a head of its own is quantised, too.
static void test_model_load_quantizes_the_head(void **state) {
    (void)state;
    write_wide_model();
    Backend *b = open_backend();
    Model *m, *q;
    Err err;
    ASSERT_OK(model_load(&m, "wide.gguf", b, NULL, &err), &err);
    ASSERT_OK(model_load(&q, "wide.gguf", b, &(ModelOptions){.quantize_head = QUANTIZE_INT8}, &err), &err);
    assert_int_equal(q->embedding.segments[0].dtype, DTYPE_Q8_0);
    assert_int_equal(q->head.segments[0].dtype, DTYPE_Q8_0);
    assert_int_equal(q->layers[0].w[PROJ_Q].segments[0].dtype, DTYPE_F32);
    assert_true(q->weight_bytes < m->weight_bytes - (size_t)(q->embedding.rows * q->embedding.cols * 2));
    model_free(q);
    model_free(m);
    backend_close(b);
}

static void test_model_load_quantizes_the_layers(void **state) {
    (void)state;
    write_wide_model();
    check_quantized(QUANTIZE_INT8, DTYPE_Q8_0, 0.2 / 127 * 0.6);
    check_quantized(QUANTIZE_NF4, DTYPE_NF4, 0.2 * 0.16);
}

static void test_model_load_refuses_to_quantize(void **state) {
    (void)state;
    Backend *b = open_backend();
    Model *m;
    Err err;
    tiny_model_write("tiny.gguf", &TINY_MODEL);
    ASSERT_REFUSED(model_load(&m, "tiny.gguf", b, &(ModelOptions){.quantize = QUANTIZE_NF4}, &err), &err,
                   "tiny.gguf: blk.0.attn_q.weight has 32 columns; expected a multiple of 64 for nf4");
    if (model_file())
        ASSERT_REFUSED(model_load(&m, model_file(), b, &(ModelOptions){.quantize = QUANTIZE_INT8}, &err), &err,
                       "keeps its own blocks");
    backend_close(b);
}

// A longer context than the model's own: linear scaling puts twice as many positions where the angles were.
static void test_model_load_scales_rope(void **state) {
    (void)state;
    Backend *b = open_backend();
    tiny_model_write("tiny.gguf", &TINY_MODEL);
    Model *plain, *scaled;
    Err err;
    ASSERT_OK(model_load(&plain, "tiny.gguf", b, NULL, &err), &err);
    ModelOptions o = {.rope_scaling = ROPE_LINEAR, .rope_factor = 2};
    ASSERT_OK(model_load(&scaled, "tiny.gguf", b, &o, &err), &err);
    assert_int_equal(scaled->config.context, 512);
    assert_int_equal(scaled->max_positions, 512);
    for (int64_t p = 0; p < 256; p++) assert_memory_equal(scaled->cos_sin + 2 * p * 8, plain->cos_sin + p * 8, 32);
    model_free(scaled);
    o = (ModelOptions){.rope_scaling = ROPE_YARN, .rope_factor = 4, .max_positions = 1024};
    ASSERT_OK(model_load(&scaled, "tiny.gguf", b, &o, &err), &err);
    float factor = 0.1f * logf(4) + 1; // of YaRN: cos 0 at the first position
    assert_true(fabsf(scaled->cos_sin[0] - factor) < 1e-6f);
    model_free(scaled);
    o = (ModelOptions){.rope_scaling = ROPE_LLAMA3, .rope_factor = 4, .max_positions = 1024};
    ASSERT_OK(model_load(&scaled, "tiny.gguf", b, &o, &err), &err);
    // The first pair of dimensions is as before, the last rotates four times slower.
    assert_true(scaled->cos_sin[8] == plain->cos_sin[8]);
    ASSERT_NEAR(scaled->cos_sin[8 * 4 + 7], plain->cos_sin[8 + 7], 1e-8);
    model_free(scaled);
    o = (ModelOptions){.rope_scaling = ROPE_DYNAMIC, .rope_factor = 4, .max_positions = 1024};
    ASSERT_OK(model_load(&scaled, "tiny.gguf", b, &o, &err), &err);
    assert_null(scaled->cos_sin); // of each pass
    model_free(scaled);
    o.rope_factor = NAN;
    ASSERT_REFUSED(model_load(&scaled, "tiny.gguf", b, &o, &err), &err, "rope_scaling_factor is nan");
    model_free(plain);
    backend_close(b);
}

// ---- files that are something else ----

typedef struct ModelCase {
    const char *architecture;
    int64_t skip;           // leave out the skip-th tensor (from 1; 0: none)
    const char *extra;      // one more tensor
    const char *bad_shape;  // this tensor gets one row more
    const char *number_key; // one more key
    uint32_t number;
    const char *array_key; // a key with a value for each layer
    int64_t array[3];
    int array_count;
    uint32_t array_type; // of GGUF
    const char *text_key, *text;
    const char *part; // of the message
} ModelCase;

static void add_keys(GgufWriter *w, const ModelCase *c) {
    static const char *const names[] = {"block_count",         "context_length",       "embedding_length",
                                        "feed_forward_length", "attention.head_count", "attention.head_count_kv"};
    static const uint32_t values[] = {1, 64, 16, 24, 2, 2};
    gguf_writer_string(w, "general.architecture", c->architecture ? c->architecture : "llama");
    for (int i = 0; i < 6; i++) {
        char key[64];
        snprintf(key, sizeof key, "llama.%s", names[i]);
        bool array = c->array_key && strcmp(key, c->array_key) == 0;
        if (!array && (!c->number_key || strcmp(key, c->number_key) != 0)) gguf_writer_u32(w, key, values[i]);
    }
    if (c->array_key) {
        Builder raw = {{0}};
        add_key_array(&raw, c->array_key, c->array_type, (uint64_t)c->array_count);
        for (int i = 0; i < c->array_count; i++) add(&raw, &c->array[i], c->array_type == I64 ? 8 : 4);
        gguf_writer_key(w, (GgufStr){raw.bytes.data, raw.bytes.len});
        str_clear(&raw.bytes);
    }
    if (!c->number_key || strcmp(c->number_key, "llama.attention.layer_norm_rms_epsilon") != 0)
        gguf_writer_f32(w, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    if (c->number_key) gguf_writer_u32(w, c->number_key, c->number);
    if (c->text_key) gguf_writer_string(w, c->text_key, c->text);
}

static void write_case(const ModelCase *c) {
    static float data[64 * 64];
    static const struct {
        const char *name;
        int64_t cols, rows;
    } tensors[] = {
        {"token_embd.weight", 16, 20},    {"output_norm.weight", 16, 0},        {"blk.0.attn_norm.weight", 16, 0},
        {"blk.0.ffn_norm.weight", 16, 0}, {"blk.0.attn_q.weight", 16, 16},      {"blk.0.attn_k.weight", 16, 16},
        {"blk.0.attn_v.weight", 16, 16},  {"blk.0.attn_output.weight", 16, 16}, {"blk.0.ffn_gate.weight", 16, 24},
        {"blk.0.ffn_up.weight", 16, 24},  {"blk.0.ffn_down.weight", 24, 16}};
    GgufWriter *w = gguf_writer_new();
    add_keys(w, c);
    for (int64_t i = 0; i < (int64_t)(sizeof tensors / sizeof *tensors); i++) {
        bool bad = c->bad_shape && strcmp(c->bad_shape, tensors[i].name) == 0;
        int64_t shape[2] = {tensors[i].cols, tensors[i].rows + bad};
        if (i + 1 != c->skip) gguf_writer_tensor(w, tensors[i].name, DTYPE_F32, shape[1] ? 2 : 1, shape, data);
    }
    if (c->extra) gguf_writer_tensor(w, c->extra, DTYPE_F32, 1, (int64_t[]){16}, data);
    Err err;
    ASSERT_OK(gguf_writer_save(w, "case.gguf", replace_any, &err), &err);
    gguf_writer_free(w);
}

static void test_model_load_refuses_by_name(void **state) {
    (void)state;
    const ModelCase cases[] = {
        {.architecture = "mamba", .part = "architecture \"mamba\"; expected one of llama, mistral3, smollm3"},
        {.skip = 1, .part = "token_embd.weight"},
        {.skip = 2, .part = "output_norm.weight is missing"},
        {.skip = 9, .part = "blk.0.ffn_gate.weight is missing"},
        {.bad_shape = "blk.0.attn_v.weight", .part = "blk.0.attn_v.weight has shape [17, 16]; expected [16, 16]"},
        {.bad_shape = "output_norm.weight", .part = "output_norm.weight has shape [1, 16]; expected [16]"},
        {.extra = "blk.0.attn_q.bias", .part = "blk.0.attn_k.bias is missing; blk.0.attn_v.bias is missing"},
        {.extra = "blk.0.attn_v.bias", .part = "blk.0.attn_v.bias is not part of the llama graph"},
        {.extra = "blk.0.attn_qkv.weight", .part = "blk.0.attn_qkv.weight has shape [16]; expected [48, 16]"},
        {.extra = "rope_freqs.weight", .part = "rope_freqs.weight has 16 values of type F32; expected 4"},
        {.number_key = "llama.expert_count", .number = 8, .part = "expert_used_count\" is missing"},
        {.number_key = "llama.block_count", .number = 0, .part = "llama.block_count is 0; expected 1 to 1024"},
        {.number_key = "llama.block_count", .number = UINT32_MAX, .part = "llama.block_count is 4294967295"},
        {.number_key = "llama.block_count", .number = 2, .part = "9 tensors do not fit"},
        {.number_key = "llama.embedding_length", .number = 32, .part = "expected [20, 32]"},
        {.number_key = "llama.attention.head_count", .number = 3, .part = "3 attention heads over 2"},
        {.number_key = "llama.attention.head_count", .number = 0, .part = "head_count is 0"},
        {.number_key = "llama.attention.key_length", .number = 4, .part = "heads of 4 (keys) and 8 (values)"},
        {.number_key = "llama.rope.dimension_count", .number = 4, .part = "rope.dimension_count is 4"},
        {.number_key = "llama.vocab_size",
         .number = 21,
         .part = "token_embd.weight has shape [20, 16]; expected [21, 16]"},
        {.number_key = "llama.attention.layer_norm_rms_epsilon", .number = 1, .part = "layer_norm_rms_epsilon"},
#define HEADS "llama.attention.head_count"
        {.array_key = HEADS, .array = {2}, .array_count = 1, .array_type = I32, .part = "tokenizer"}, // as one value
        {.array_key = HEADS "_kv", .array = {2}, .array_count = 1, .array_type = U32, .part = "tokenizer"},
        {.array_key = "llama.feed_forward_length",
         .array = {24},
         .array_count = 1,
         .array_type = I64,
         .part = "tokenizer"},
        {.array_key = HEADS "_kv",
         .array = {2, 2},
         .array_count = 2,
         .array_type = U32,
         .number_key = "llama.block_count",
         .number = 2,
         .part = "9 tensors do not fit"},
        {.array_key = HEADS "_kv",
         .array = {2, 1},
         .array_count = 2,
         .array_type = I32,
         .number_key = "llama.block_count",
         .number = 2,
         .part = "llama.attention.head_count_kv is 2 in layer 0 and 1 in layer 1; expected the same in all layers"},
        {.array_key = "llama.feed_forward_length",
         .array = {24, 24, 48},
         .array_count = 3,
         .array_type = U32,
         .number_key = "llama.block_count",
         .number = 3,
         .part = "feed_forward_length is 24 in layer 0 and 48 in layer 2"},
        {.array_key = HEADS,
         .array = {2, 2},
         .array_count = 2,
         .array_type = U32,
         .part = "head_count has 2 values; expected one for each of the 1 layer"},
        {.array_key = HEADS, .array = {2}, .array_count = 0, .array_type = U32, .part = "head_count has 0 values"},
        {.array_key = HEADS, .array = {-2}, .array_count = 1, .array_type = I32, .part = "element 0 is negative"},
        {.array_key = HEADS,
         .array = {2},
         .array_count = 1,
         .array_type = F32,
         .part = "expected an array of integers"},
        {.text_key = "llama.rope.scaling.type", .text = "ntk", .part = "is \"ntk\"; expected none, linear"},
        {.text_key = "llama.rope.scaling.type", .text = "linear", .part = "rope.scaling.factor"},
        {.text_key = "llama.rope.scaling.type", .text = "yarn", .part = "rope.scaling.factor"},
        {.text_key = "llama.rope.scaling.type", .text = "longrope", .part = "rope_factors_short.weight"},
        {.part = "tokenizer"}, // all that is wrong with the last one: it has none
    };
    Backend *b = open_backend();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Model *m;
        Err err;
        write_case(&cases[i]);
        ASSERT_REFUSED(model_load(&m, "case.gguf", b, NULL, &err), &err, cases[i].part);
        assert_int_equal(err.kind, ERR_INPUT);
        assert_non_null(strstr(err.msg, "case.gguf"));
    }
    // the last tensor of a model with a tokenizer
    static const float values[] = {NAN, INFINITY};
    for (int i = 0; i < 2; i++) {
        enum { BYTES = 256 };
        Model *m;
        Err err;
        char *bytes;
        size_t size;
        tiny_model_write("values.gguf", &TINY_MODEL);
        ASSERT_OK(file_read(&bytes, &size, "values.gguf", 64 << 20, &err), &err);
        for (size_t at = size - BYTES; at < size; at += sizeof *values) memcpy(bytes + at, &values[i], sizeof *values);
        scratch_put("values.gguf", bytes, size);
        ASSERT_REFUSED(model_load(&m, "values.gguf", b, NULL, &err), &err, "weight holds a value that is not finite");
        mem_free(bytes);
    }
    Model *m;
    Err err;
    ASSERT_REFUSED(model_load(&m, ".", b, NULL, &err), &err, "found no config.json");
    ASSERT_REFUSED(model_load(&m, "model.safetensors", b, NULL, &err), &err, "model.safetensors");
    ASSERT_REFUSED(model_load(&m, "absent.gguf", b, NULL, &err), &err, "absent.gguf");
    backend_close(b);
}

// Every byte of the metadata, changed: loaded or refused, but never a crash, a hang or a leak (the suite runs under
// ASan and UBSan too).
static void test_model_load_survives_damaged_metadata(void **state) {
    (void)state;
    Backend *b = open_backend();
    TinyModel tiny = TINY_MODEL;
    tiny.layers = 1;
    tiny_model_write("good.gguf", &tiny);
    char *data;
    size_t size;
    Err err;
    ASSERT_OK(file_read(&data, &size, "good.gguf", 1 << 24, &err), &err);
    size_t metadata = size < 700 ? size : 700; // keys of the model; the reader's own test has the rest
    int refused = 0;
    for (size_t i = 0; i < metadata; i++) {
        char good = data[i];
        data[i] = (char)(good ^ (1 << i % 8));
        scratch_put("bad.gguf", data, size);
        Model *m;
        if (model_load(&m, "bad.gguf", b, &(ModelOptions){.max_positions = 8}, &err))
            refused++;
        else
            model_free(m);
        data[i] = good;
    }
    assert_in_range(refused, 300, 700);
    mem_free(data);
    backend_close(b);
}

static void test_model_load_smollm2_is_fast(void **state) {
    (void)state;
    if (!model_file()) skip();
    Backend *b = open_backend();
    double best = INFINITY;
    for (int i = 0; i < 5; i++) {
        Model *m;
        Err err;
        clock_t start = clock(); // processor time: tests run side by side
        ASSERT_OK(model_load(&m, model_file(), b, &(ModelOptions){.max_positions = 2048}, &err), &err);
        best = fmin(best, (double)(clock() - start) / CLOCKS_PER_SEC);
        assert_int_equal(m->config.layers, 30);
        model_free(m);
    }
    if (best > 1) fail_msg("loading took %.3f s; expected 0.07 s of processor time", best);
    backend_close(b);
}

TEST_MAIN(SCRATCH_TEST(test_model_load_reads_the_config),
          SCRATCH_TEST(test_model_load_puts_qk_rows_in_hugging_face_order),
          SCRATCH_TEST(test_model_load_quantizes_the_head), SCRATCH_TEST(test_model_load_quantizes_the_layers),
          SCRATCH_TEST(test_model_load_refuses_to_quantize), SCRATCH_TEST(test_model_load_scales_rope),
          SCRATCH_TEST(test_model_load_refuses_by_name), SCRATCH_TEST(test_model_load_survives_damaged_metadata),
          TEST(test_model_load_smollm2_is_fast))

// gguf: what the reader gives for right files, lookups, the writer.
#include "gguf_builder.h"

#include <math.h>

#include "model_file.h"
#include "path.h"

static void test_gguf_reads_tensors(void **state) {
    (void)state;
    Builder b = build_good();
    Gguf *g;
    Err err;
    ASSERT_OK(open_built(&g, &b, &err), &err);
    assert_string_equal(gguf_path(g), "f.gguf");
    assert_int_equal(gguf_tensor_count(g), 3);
    const GgufTensor *w = gguf_tensor(g, "blk.0.w"), *scalar = gguf_tensor(g, "scalar");
    assert_ptr_equal(w, gguf_tensor_at(g, 0));
    assert_int_equal(w->dtype, DTYPE_Q4_1);
    assert_int_equal(w->n_dims, 2);
    assert_int_equal(w->shape[0], 32);
    assert_int_equal(w->shape[1], 3);
    assert_int_equal(w->shape[3], 1);
    assert_int_equal(w->bytes, 60);
    assert_int_equal(*(const uint8_t *)w->data, 0);
    assert_int_equal(gguf_tensor(g, "empty")->bytes, 0);
    assert_int_equal(scalar->bytes, 40);
    assert_int_equal(*(const uint8_t *)scalar->data, 64);
    assert_null(gguf_tensor(g, "blk.0"));
    assert_null(gguf_tensor(g, ""));
    gguf_close(g);
    gguf_close(NULL);
}

static void test_gguf_reads_integers(void **state) {
    (void)state;
    static const char *const negative[] = {"i8", "i16", "i64"}, *const others[] = {"f32", "yes", "string", "f64"};
    Builder b = build_good();
    Gguf *g;
    Err err;
    uint64_t v = 42;
    ASSERT_OK(open_built(&g, &b, &err), &err);
    ASSERT_OK(gguf_u64(g, "u8", true, &v, &err), &err);
    assert_true(v == 0);
    ASSERT_OK(gguf_u64(g, "u16", true, &v, &err), &err);
    assert_true(v == 65535);
    ASSERT_OK(gguf_u64(g, "u32", true, &v, &err), &err);
    assert_true(v == UINT32_MAX);
    ASSERT_OK(gguf_u64(g, "u64", true, &v, &err), &err);
    assert_true(v == UINT64_MAX);
    ASSERT_OK(gguf_u64(g, "i32", true, &v, &err), &err);
    assert_true(v == 7);
    for (size_t i = 0; i < 3; i++) ASSERT_REFUSED(gguf_u64(g, negative[i], false, &v, &err), &err, "no negative");
    for (size_t i = 0; i < 4; i++) ASSERT_REFUSED(gguf_u64(g, others[i], false, &v, &err), &err, "expected an integer");
    ASSERT_REFUSED(gguf_u64(g, "i32s", false, &v, &err), &err, "found an array of i32; expected an integer");
    assert_int_equal(gguf_u64(g, "absent", false, &v, &err), 1);
    assert_true(v == 7);
    ASSERT_REFUSED(gguf_u64(g, "absent", true, &v, &err), &err, "f.gguf: key \"absent\" is missing");
    gguf_close(g);
}

static void test_gguf_reads_other_scalars(void **state) {
    (void)state;
    Builder b = build_good();
    Gguf *g;
    Err err;
    float f = 9;
    bool yes = false, no = true;
    GgufStr s;
    ASSERT_OK(open_built(&g, &b, &err), &err);
    ASSERT_OK(gguf_f32(g, "f32", true, &f, &err), &err);
    assert_true(f == 0.5f);
    ASSERT_OK(gguf_bool(g, "yes", true, &yes, &err), &err);
    ASSERT_OK(gguf_bool(g, "no", true, &no, &err), &err);
    assert_true(yes && !no);
    ASSERT_OK(gguf_string(g, "string", true, &s, &err), &err);
    assert_int_equal(s.len, 5);
    assert_memory_equal(s.data, "text\n", 5);
    ASSERT_REFUSED(gguf_f32(g, "u32", false, &f, &err), &err, "key \"u32\": found u32; expected f32");
    ASSERT_REFUSED(gguf_f32(g, "f64", false, &f, &err), &err, "found f64; expected f32");
    ASSERT_REFUSED(gguf_bool(g, "u8", false, &no, &err), &err, "found u8; expected bool");
    ASSERT_REFUSED(gguf_string(g, "strings", false, &s, &err), &err, "found an array of string; expected string");
    assert_int_equal(gguf_f32(g, "x", false, &f, &err), 1);
    assert_int_equal(gguf_bool(g, "x", false, &no, &err), 1);
    assert_int_equal(gguf_string(g, "x", false, &s, &err), 1);
    assert_true(gguf_has(g, "none") && !gguf_has(g, "x"));
    gguf_close(g);
}

static void test_gguf_reads_arrays(void **state) {
    (void)state;
    Builder b = build_good();
    Gguf *g;
    Err err;
    GgufStr *strings;
    int32_t *ints;
    float *floats;
    size_t n;
    ASSERT_OK(open_built(&g, &b, &err), &err);
    ASSERT_OK(gguf_string_array(g, "strings", true, &strings, &n, &err), &err);
    assert_int_equal(n, 3);
    assert_int_equal(strings[1].len, 0);
    assert_memory_equal(strings[2].data, "b\0c", 3);
    mem_free(strings);
    ASSERT_OK(gguf_i32_array(g, "i32s", true, &ints, &n, &err), &err);
    assert_true(n == 2 && ints[0] == -1 && ints[1] == 2);
    mem_free(ints);
    ASSERT_OK(gguf_i32_array(g, "u32s", true, &ints, &n, &err), &err);
    assert_true(n == 2 && ints[1] == INT32_MAX);
    mem_free(ints);
    ASSERT_OK(gguf_f32_array(g, "f32s", true, &floats, &n, &err), &err);
    assert_true(n == 2 && floats[0] == -1.5f);
    mem_free(floats);
    ASSERT_OK(gguf_f32_array(g, "none", true, &floats, &n, &err), &err);
    assert_int_equal(n, 0);
    mem_free(floats);
    ASSERT_REFUSED(gguf_i32_array(g, "i8s", false, &ints, &n, &err), &err, "found an array of i8; expected an array");
    ASSERT_REFUSED(gguf_i32_array(g, "f32s", false, &ints, &n, &err), &err, "found an array of f32");
    ASSERT_REFUSED(gguf_f32_array(g, "i32s", false, &floats, &n, &err), &err, "found an array of i32");
    ASSERT_REFUSED(gguf_f32_array(g, "f32", false, &floats, &n, &err), &err, "found f32; expected an array of f32");
    ASSERT_REFUSED(gguf_string_array(g, "string", false, &strings, &n, &err), &err, "expected an array of string");
    assert_int_equal(gguf_i32_array(g, "x", false, &ints, &n, &err), 1);
    gguf_close(g);
    b = begin(0, 1);
    add_key_array(&b, "a", U32, 1), add_u32(&b, 1u << 31);
    ASSERT_OK(open_built(&g, &b, &err), &err);
    ASSERT_REFUSED(gguf_i32_array(g, "a", true, &ints, &n, &err), &err, "element 0 is above");
    gguf_close(g);
}

static void test_gguf_lists_keys(void **state) {
    (void)state;
    static const char *const want[] = {"u8 0",           "i8 -1",          "u16 65535", "i16 -2",     "u32 4294967295",
                                       "i32 7",          "f32 0.5",        "bool true", "bool false", "string text ",
                                       "u64 1844674407", "i64 -922337203", "f64 0.25",  "string[3]",  "i32[2]",
                                       "u32[2]",         "f32[2]",         "i8[2]",     "f32[0]"};
    Builder b = build_good();
    Gguf *g;
    Err err;
    char buf[15];
    ASSERT_OK(open_built(&g, &b, &err), &err);
    assert_int_equal(gguf_key_count(g), 19);
    for (size_t i = 0; i < 19; i++) {
        GgufStr name = gguf_key_at(g, i, buf, sizeof buf);
        assert_true(name.len >= 2);
        assert_string_equal(buf, want[i]);
    }
    gguf_close(g);
}

// ---- many names ----

static void test_gguf_lookup_scales(void **state) {
    (void)state;
    enum { MANY = 100000 };
    Builder b = begin(MANY, MANY);
    char name[32];
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "key.%d", i);
        add_key_u32(&b, name, (uint32_t)i);
    }
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "t.%d", i);
        add_tensor(&b, name, 1, (int64_t[]){0}, 0, 0);
    }
    Gguf *g;
    Err err;
    double start = time_now();
    add_padding(&b, 32);
    ASSERT_OK(open_built(&g, &b, &err), &err);
    for (int i = 0; i < MANY; i++) {
        uint64_t v;
        snprintf(name, sizeof name, "key.%d", i);
        ASSERT_OK(gguf_u64(g, name, true, &v, &err), &err);
        assert_int_equal(v, i);
        snprintf(name, sizeof name, "t.%d", i);
        assert_ptr_equal(gguf_tensor(g, name), gguf_tensor_at(g, i));
    }
    assert_true(time_now() - start < 10);
    gguf_close(g);
}

// ---- writing ----

static void test_gguf_writes_what_it_reads(void **state) {
    (void)state;
    const float a[2][3] = {{1, 2, 3}, {4, 5, 6}};
    const uint16_t h[1] = {0x3C00};
    uint8_t q[40];
    memset(q, 7, sizeof q);
    GgufWriter *w = gguf_writer_new();
    gguf_writer_string(w, "general.type", "adapter");
    gguf_writer_u32(w, "general.file_type", 1);
    gguf_writer_f32(w, "adapter.lora.alpha", 32);
    gguf_writer_tensor(w, "blk.0.attn_q.weight.lora_a", DTYPE_F32, 2, (int64_t[]){3, 2}, a);
    gguf_writer_tensor(w, "h", DTYPE_F16, 1, (int64_t[]){1}, h);
    gguf_writer_tensor(w, "q", DTYPE_Q4_1, 2, (int64_t[]){32, 2}, q);
    Gguf *g;
    Err err;
    ASSERT_REFUSED(gguf_writer_save(w, "missing/w.gguf", NULL, &err), &err, "missing/w.gguf: cannot be created");
    ASSERT_OK(gguf_writer_save(w, "w.gguf", NULL, &err), &err);
    gguf_writer_free(w);
    gguf_writer_free(NULL);
    ASSERT_OK(gguf_open(&g, "w.gguf", &err), &err);
    GgufStr s;
    uint64_t u;
    float f;
    ASSERT_OK(gguf_string(g, "general.type", true, &s, &err), &err);
    assert_memory_equal(s.data, "adapter", 7);
    ASSERT_OK(gguf_u64(g, "general.file_type", true, &u, &err), &err);
    ASSERT_OK(gguf_f32(g, "adapter.lora.alpha", true, &f, &err), &err);
    assert_true(u == 1 && f == 32);
    assert_memory_equal(gguf_tensor(g, "blk.0.attn_q.weight.lora_a")->data, a, sizeof a);
    assert_memory_equal(gguf_tensor(g, "h")->data, h, sizeof h);
    assert_memory_equal(gguf_tensor(g, "q")->data, q, sizeof q);
    gguf_close(g);
}

// The first kilobytes of a real model decide how fast every verb starts.
static void test_gguf_opens_the_real_model_fast(void **state) {
    (void)state;
    const char *path = model_file();
    if (!path) skip();
    double best = INFINITY;
    for (int i = 0; i < 5; i++) {
        Gguf *g;
        Err err;
        double start = time_now();
        ASSERT_OK(gguf_open(&g, path, &err), &err);
        if (time_now() - start < best) best = time_now() - start;
        assert_int_equal(gguf_tensor_count(g), 272);
        assert_int_equal(gguf_tensor(g, "blk.29.attn_v.weight")->dtype, DTYPE_Q4_1);
        gguf_close(g);
    }
    assert_true(best < 0.05); // measured 0.0004
}

TEST_MAIN(SCRATCH_TEST(test_gguf_reads_tensors), SCRATCH_TEST(test_gguf_reads_integers),
          SCRATCH_TEST(test_gguf_reads_other_scalars), SCRATCH_TEST(test_gguf_reads_arrays),
          SCRATCH_TEST(test_gguf_lists_keys), SCRATCH_TEST(test_gguf_lookup_scales),
          SCRATCH_TEST(test_gguf_writes_what_it_reads), SCRATCH_TEST(test_gguf_opens_the_real_model_fast))

// gguf: files that must be refused or survived. They mirror test-gguf.cpp of llama.cpp and the parser bugs on record.
#include "gguf_builder.h"

#define REFUSED(builder, part)                                                                                         \
    do {                                                                                                               \
        Gguf *g_;                                                                                                      \
        Err err_;                                                                                                      \
        ASSERT_REFUSED(open_built(&g_, (builder), &err_), &err_, part);                                                \
        assert_null(g_);                                                                                               \
        assert_int_equal(err_.kind, ERR_INPUT);                                                                        \
        assert_memory_equal(err_.msg, "f.gguf: ", 8);                                                                  \
    } while (0)

// ---- hostile headers ----

static void test_gguf_refuses_bad_magic_and_version(void **state) {
    (void)state;
    static const struct {
        uint32_t version;
        const char *message;
    } cases[] = {{0, "version 0"}, {1, "version 1"}, {4, "version 4"}, {0x03000000, "big-endian"}, {UINT32_MAX, "ver"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Builder b = begin(0, 0);
        memcpy(b.bytes.data + 4, &cases[i].version, 4);
        REFUSED(&b, cases[i].message);
    }
    Builder b = begin(0, 0);
    b.bytes.data[0] = 'X';
    REFUSED(&b, "expected a GGUF file");
    Gguf *g;
    Err err;
    ASSERT_REFUSED(open_bytes(&g, "", 0, &err), &err, "empty file");
    ASSERT_REFUSED(gguf_open(&g, "missing.gguf", &err), &err, "missing.gguf: cannot be opened");
    b = begin(0, 0);
    memcpy(b.bytes.data + 4, &(uint32_t){2}, 4);
    ASSERT_OK(open_built(&g, &b, &err), &err);
    gguf_close(g);
}

static void test_gguf_refuses_bad_counts(void **state) {
    (void)state;
    static const uint64_t counts[] = {UINT64_MAX, 1ull << 63, INT64_MAX, UINT64_MAX / sizeof(GgufTensor) + 1, 1000};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        Builder b = begin(counts[i], 0);
        REFUSED(&b, "the number of tensors is");
        b = begin(0, counts[i]);
        REFUSED(&b, "the number of keys is");
    }
}

static void test_gguf_refuses_bad_key_names(void **state) {
    (void)state;
    Builder b = begin(0, 1);
    add_u64(&b, UINT64_MAX), add_data(&b, 100);
    REFUSED(&b, "key 0: its name is 18446744073709551615 bytes long; only 100");
    b = begin(0, 1);
    add_key_u32(&b, "", 0);
    REFUSED(&b, "key 0: its name is 0 bytes long; expected 1 to 65535");
    b = begin(0, 1);
    add_u64(&b, 65536), add_data(&b, 70000);
    REFUSED(&b, "65536 bytes long; expected 1 to 65535");
    b = begin(0, 1);
    add_key_u32(&b, "a\xFF", 0);
    REFUSED(&b, "not valid UTF-8");
    b = begin(0, 1);
    add_strn(&b, "a\0b", 3), add_u32(&b, U8), add_data(&b, 16);
    REFUSED(&b, "not valid UTF-8");
    b = begin(0, 3);
    add_key_u32(&b, "same", 0), add_key_u32(&b, "other", 0), add_key_u32(&b, "same", 0);
    REFUSED(&b, "key \"same\" occurs twice");
}

static void test_gguf_refuses_bad_values(void **state) {
    (void)state;
    static const uint32_t types[] = {13, 0x80000000, UINT32_MAX};
    for (size_t i = 0; i < 3; i++) {
        Builder b = begin(0, 1);
        add_key(&b, "k", types[i]), add_data(&b, 100);
        REFUSED(&b, "key \"k\": the type of the value is");
        b = begin(0, 1);
        add_key_array(&b, "k", types[i], 1), add_data(&b, 100);
        REFUSED(&b, "the array's element type is");
    }
    Builder b = begin(0, 1);
    add_key_array(&b, "k", ARRAY, 1), add_data(&b, 100);
    REFUSED(&b, "an array of arrays");
    static const uint64_t counts[] = {UINT64_MAX, 1ull << 63, 1ull << 62, (1ull << 62) + 1, 1ull << 61, 26};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        b = begin(0, 1);
        add_key_array(&b, "k", F32, counts[i]), add_data(&b, 100);
        REFUSED(&b, "f32; only 100 bytes are left");
        b = begin(0, 1);
        add_key_array(&b, "k", STRING, counts[i]), add_data(&b, 100);
        REFUSED(&b, "string; only 100 bytes are left");
    }
    b = begin(0, 1);
    add_key(&b, "k", STRING), add_u64(&b, UINT64_MAX), add_data(&b, 100);
    REFUSED(&b, "the string is 18446744073709551615 bytes long");
    b = begin(0, 1);
    add_key_array(&b, "k", STRING, 2), add_str(&b, "a"), add_u64(&b, 1ull << 63);
    REFUSED(&b, "a string of the array is 9223372036854775808 bytes long");
    b = begin(0, 1);
    add_key(&b, "key", U64), add_u32(&b, 0);
    REFUSED(&b, "key \"key\": the file ends inside the value");
}

static void test_gguf_checks_alignment(void **state) {
    (void)state;
    static const uint32_t bad[] = {0, 1, 4, 13, 48, 1 << 17, 0x80000000, UINT32_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        Builder b = begin(0, 1);
        add_key_u32(&b, "general.alignment", bad[i]);
        REFUSED(&b, "expected a power of two from 8 to 65536");
    }
    Builder b = begin(0, 1);
    add_key(&b, "general.alignment", U64), add_u64(&b, 32);
    REFUSED(&b, "found u64; expected u32");
    for (uint32_t alignment = 8; alignment <= 65536; alignment *= 2) {
        Gguf *g;
        Err err;
        b = begin(2, 1);
        add_key_u32(&b, "general.alignment", alignment);
        add_tensor(&b, "a", 1, (int64_t[]){1}, 0, 0);
        add_tensor(&b, "b", 1, (int64_t[]){1}, 0, alignment);
        add_padding(&b, alignment), add_data(&b, alignment + 4);
        ASSERT_OK(open_built(&g, &b, &err), &err);
        assert_int_equal((uintptr_t)gguf_tensor(g, "b")->data % (alignment < 4096 ? alignment : 4096), 0);
        gguf_close(g);
    }
    b = begin(2, 1); // offsets laid out for another alignment than the key's
    add_key_u32(&b, "general.alignment", 64);
    add_tensor(&b, "a", 1, (int64_t[]){1}, 0, 0), add_tensor(&b, "b", 1, (int64_t[]){1}, 0, 32);
    add_padding(&b, 64), add_data(&b, 128);
    REFUSED(&b, "tensor \"b\": found offset 32; expected 64");
}

// ---- hostile tensors ----

static Builder one_tensor(const char *name, int n_dims, const int64_t *shape, uint32_t type, uint64_t offset) {
    Builder b = begin(1, 0);
    add_tensor(&b, name, n_dims, shape, type, offset);
    add_padding(&b, 32), add_data(&b, 256);
    return b;
}

static void test_gguf_refuses_bad_tensor_names(void **state) {
    (void)state;
    char name[66];
    memset(name, 'n', sizeof name);
    name[64] = 0;
    Builder b = one_tensor(name, 1, (int64_t[]){1}, 0, 0);
    REFUSED(&b, "tensor 0: its name is 64 bytes long; expected 1 to 63");
    b = one_tensor("", 1, (int64_t[]){1}, 0, 0);
    REFUSED(&b, "tensor 0: its name is 0 bytes long");
    b = one_tensor("\xC0\x80", 1, (int64_t[]){1}, 0, 0);
    REFUSED(&b, "tensor 0: its name is not valid UTF-8");
    b = begin(3, 0);
    for (int i = 0; i < 3; i++) add_tensor(&b, i == 1 ? "other" : "same", 1, (int64_t[]){1}, 0, 32 * (uint64_t)i);
    add_padding(&b, 32), add_data(&b, 256);
    REFUSED(&b, "tensor \"same\" occurs twice");
    Gguf *g;
    Err err;
    name[63] = 0;
    b = one_tensor(name, 1, (int64_t[]){1}, 0, 0);
    ASSERT_OK(open_built(&g, &b, &err), &err);
    assert_non_null(gguf_tensor(g, name));
    gguf_close(g);
}

static void test_gguf_refuses_bad_shapes(void **state) {
    (void)state;
    const int64_t big = 1ll << 62;
    static const int64_t five[5] = {1, 1, 1, 1, 1};
    Builder b = one_tensor("t", 5, five, 0, 0);
    REFUSED(&b, "tensor \"t\": found 5 dimensions; expected at most 4");
    b = begin(1, 0);
    add_str(&b, "t"), add_u32(&b, UINT32_MAX), add_data(&b, 64);
    REFUSED(&b, "found 4294967295 dimensions");
    b = one_tensor("t", 2, (int64_t[]){1, -1}, 0, 0);
    REFUSED(&b, "dimension 1 is -1");
    b = one_tensor("t", 1, (int64_t[]){INT64_MIN}, 0, 0);
    REFUSED(&b, "dimension 0 is -9223372036854775808");
    b = one_tensor("t", 4, (int64_t[]){big, 4, 1, 1}, 0, 0);
    REFUSED(&b, "the product of the dimensions exceeds 63 bits");
    b = one_tensor("t", 2, (int64_t[]){big, 2}, 0, 0);
    REFUSED(&b, "the product of the dimensions exceeds 63 bits");
    b = one_tensor("t", 4, (int64_t[]){0, big, 1, big}, 0, 0);
    REFUSED(&b, "the product of the dimensions exceeds 63 bits");
    b = one_tensor("t", 2, (int64_t[]){big, 1}, 0, 0);
    REFUSED(&b, "its size in bytes exceeds 63 bits");
    b = one_tensor("t", 1, (int64_t[]){INT64_MAX / 32 * 32}, 8, 0);
    REFUSED(&b, "its size in bytes exceeds 63 bits");
    b = one_tensor("t", 1, (int64_t[]){33}, 3, 0);
    REFUSED(&b, "rows of 33 elements; Q4_1 needs a multiple of 32");
    b = one_tensor("t", 2, (int64_t[]){128, 2}, 12, 0);
    REFUSED(&b, "rows of 128 elements; Q4_K needs a multiple of 256");
}

static void test_gguf_refuses_bad_tensor_types(void **state) {
    (void)state;
    Builder b = one_tensor("t", 1, (int64_t[]){256}, 16, 0);
    REFUSED(&b, "tensor \"t\": type IQ2_XXS is not supported");
    static const uint32_t types[] = {4, 5, 31, 36, 43, 0x80000000, UINT32_MAX};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        b = one_tensor("t", 1, (int64_t[]){256}, types[i], 0);
        REFUSED(&b, ", which does not exist");
    }
}

static void test_gguf_refuses_bad_offsets_and_sizes(void **state) {
    (void)state;
    static const uint64_t offsets[] = {1, 32, UINT64_MAX, UINT64_MAX - 31};
    Builder b;
    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
        b = one_tensor("t", 1, (int64_t[]){1}, 0, offsets[i]);
        REFUSED(&b, "expected 0, right after the one before");
    }
    b = one_tensor("t", 1, (int64_t[]){65}, 0, 0); // 260 bytes, 256 are there
    REFUSED(&b, "its tensors need 260 after byte 64: it is truncated");
    b = one_tensor("t", 1, (int64_t[]){(INT64_MAX - 3) / 4}, 0, 0); // rounding up to the alignment must not wrap
    REFUSED(&b, "it is truncated");
    b = begin(3, 0); // the sum of the sizes wraps to a small number
    for (int i = 0; i < 3; i++)
        add_tensor(&b, (char[]){(char)('a' + i), 0}, 1, (int64_t[]){INT64_MAX / 4 - 31}, 0,
                   ((uint64_t)INT64_MAX / 4 - 31) * 4 * (uint64_t)i);
    add_padding(&b, 32), add_data(&b, 256);
    REFUSED(&b, "tensor \"c\": the sizes up to it exceed 64 bits");
    b = begin(1, 0);
    add_tensor(&b, "t", 1, (int64_t[]){1}, 0, 0);
    REFUSED(&b, "it is truncated");
}

static void test_gguf_accepts_zero_dimensions(void **state) {
    (void)state;
    static const int64_t shapes[][2] = {{0, 5}, {5, 0}, {0, 0}};
    for (size_t i = 0; i < 3; i++) {
        Builder b = one_tensor("t", 2, shapes[i], 0, 0);
        Gguf *g;
        Err err;
        ASSERT_OK(open_built(&g, &b, &err), &err);
        assert_int_equal(gguf_tensor(g, "t")->bytes, 0);
        gguf_close(g);
    }
}

// ---- truncation and bit flips ----

// Reads everything the file shows: the sanitizer or the page after the file catches any bad pointer.
static void touch_everything(const Gguf *g) {
    static const char *const names[] = {"u8", "string", "strings", "i32s", "u32s", "f32s", "none"};
    volatile uint8_t sink = 0;
    char buf[64];
    for (size_t i = 0; i < gguf_key_count(g); i++) {
        GgufStr name = gguf_key_at(g, i, buf, sizeof buf);
        for (size_t j = 0; j < name.len; j++) sink ^= (uint8_t)name.data[j];
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        uint64_t u;
        float *floats = NULL;
        int32_t *ints = NULL;
        GgufStr *strings = NULL, string;
        size_t n;
        gguf_u64(g, names[i], false, &u, NULL);
        gguf_string(g, names[i], false, &string, NULL);
        gguf_f32_array(g, names[i], false, &floats, &n, NULL);
        gguf_i32_array(g, names[i], false, &ints, &n, NULL);
        if (gguf_string_array(g, names[i], false, &strings, &n, NULL) == 0)
            for (size_t j = 0; j < n; j++)
                if (strings[j].len) sink ^= (uint8_t)strings[j].data[strings[j].len - 1];
        mem_free(floats);
        mem_free(ints);
        mem_free(strings);
    }
    for (int64_t i = 0; i < gguf_tensor_count(g); i++) {
        const GgufTensor *t = gguf_tensor_at(g, i);
        for (size_t j = 0; j < t->bytes; j++) sink ^= ((const uint8_t *)t->data)[j];
    }
    (void)sink;
}

static void test_gguf_refuses_every_truncation(void **state) {
    (void)state;
    Builder b = build_good();
    size_t needed = 4096;
    while (!b.bytes.data[needed - 1]) needed--; // the last byte of tensor data is not 0
    for (size_t n = 0; n < needed; n++) {
        Gguf *g;
        Err err;
        if (open_bytes(&g, b.bytes.data, n, &err) == 0) fail_msg("opened with %zu of %zu bytes", n, needed);
        assert_int_equal(err.kind, ERR_INPUT);
    }
    str_clear(&b.bytes);
}

static void test_gguf_survives_every_bit_flip(void **state) {
    (void)state;
    Builder b = build_good();
    int opened = 0;
    for (size_t bit = 0; bit < 1100 * 8; bit++) {
        Gguf *g;
        b.bytes.data[bit / 8] ^= (char)(1 << bit % 8);
        if (open_bytes(&g, b.bytes.data, b.bytes.len, NULL) == 0) {
            touch_everything(g);
            gguf_close(g);
            opened++;
        }
        b.bytes.data[bit / 8] ^= (char)(1 << bit % 8);
    }
    assert_true(opened > 1000); // flips inside values and names do not make a file invalid
    str_clear(&b.bytes);
}

TEST_MAIN(SCRATCH_TEST(test_gguf_refuses_bad_magic_and_version), SCRATCH_TEST(test_gguf_refuses_bad_counts),
          SCRATCH_TEST(test_gguf_refuses_bad_key_names), SCRATCH_TEST(test_gguf_refuses_bad_values),
          SCRATCH_TEST(test_gguf_checks_alignment), SCRATCH_TEST(test_gguf_refuses_bad_tensor_names),
          SCRATCH_TEST(test_gguf_refuses_bad_shapes), SCRATCH_TEST(test_gguf_refuses_bad_tensor_types),
          SCRATCH_TEST(test_gguf_refuses_bad_offsets_and_sizes), SCRATCH_TEST(test_gguf_accepts_zero_dimensions),
          SCRATCH_TEST(test_gguf_refuses_every_truncation), SCRATCH_TEST(test_gguf_survives_every_bit_flip))

// safetensors: the writer against the reference library's bytes (golden/safetensors_golden.txt), the reader against
// every rule of the format.
#include "fileio.h"
#include "safetensors.h"
#include "scratch.h"

// ---- hostile files are built from their header text ----

static int open_bytes(Safetensors **s, const void *data, size_t n, Err *err) {
    scratch_put("f.safetensors", data, n);
    return safetensors_open(s, "f.safetensors", err);
}

static StrBuf build(const char *header, size_t header_len, size_t data_bytes) {
    StrBuf b = {0};
    uint64_t n = header_len;
    str_add(&b, (const char *)&n, sizeof n);
    str_add(&b, header, header_len);
    for (size_t i = 0; i < data_bytes; i++) str_add(&b, &(char){(char)(i + 1)}, 1);
    return b;
}

static int open_header(Safetensors **s, const char *header, size_t data_bytes, Err *err) {
    StrBuf b = build(header, strlen(header), data_bytes);
    int rc = open_bytes(s, b.data, b.len, err);
    str_clear(&b);
    return rc;
}

static void refuse(const char *header, size_t data_bytes, const char *part) {
    Safetensors *s;
    Err err;
    ASSERT_REFUSED(open_header(&s, header, data_bytes, &err), &err, part);
    assert_null(s);
    assert_int_equal(err.kind, ERR_INPUT);
    assert_memory_equal(err.msg, "f.safetensors: ", 15);
}

static void accept(const char *header, size_t data_bytes, size_t tensors) {
    Safetensors *s;
    Err err;
    ASSERT_OK(open_header(&s, header, data_bytes, &err), &err);
    assert_int_equal(safetensors_count(s), tensors);
    safetensors_close(s);
}

#define T(name, dtype, shape, begin, end)                                                                              \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end "]}"

// ---- the writer ----

static const float b_data[6] = {0, 1, 2, 3, 4, 5}, scalar_data = 2.5f;
static const uint16_t a_data[3] = {0x3C00, 0x3C00, 0x3C00}, bf_data[2] = {0x3F80, 0x3F80};
static const int64_t long_data[2] = {0, 1};
static const int32_t i_data[1] = {1};
static const uint8_t u_data[3] = {1, 2, 3};
static const SafetensorsEntry entries[] = {
    {"b", DTYPE_F32, 2, {2, 3}, b_data},
    {"a", DTYPE_F16, 1, {3}, a_data},
    {"long", DTYPE_I64, 1, {2}, long_data},
    {"u", DTYPE_U8, 1, {3}, u_data},
    {"bf", DTYPE_BF16, 1, {2}, bf_data},
    {"i", DTYPE_I32, 1, {1}, i_data},
    {"\xC3\xA9\"\\\n\x01", DTYPE_F32, 2, {0, 4}, NULL},
    {"scalar", DTYPE_F32, 0, {0}, &scalar_data},
};
enum { N_ENTRIES = sizeof entries / sizeof *entries };

static void save_entries(const char *path, const char *const *metadata, size_t n_metadata) {
    Err err;
    ASSERT_OK(safetensors_save(path, entries, N_ENTRIES, metadata, n_metadata, replace_any, &err), &err);
}

static void assert_file_is(const char *path, FILE *golden) {
    char hex[4096];
    char *data;
    size_t size;
    Err err;
    assert_int_equal(fscanf(golden, "%4095s", hex), 1);
    ASSERT_OK(file_read(&data, &size, path, sizeof hex, &err), &err);
    assert_int_equal(size, strlen(hex) / 2);
    for (size_t i = 0; i < size; i++) {
        unsigned byte;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        if ((uint8_t)data[i] != byte) fail_msg("%s: byte %zu is %02x, want %02x", path, i, (uint8_t)data[i], byte);
    }
    mem_free(data);
}

static void test_safetensors_writes_the_reference_bytes(void **state) {
    (void)state;
    static const char *const metadata[] = {"format", "pt"};
    FILE *golden = fopen(TEST_DIR "/golden/safetensors_golden.txt", "r");
    Err err;
    assert_non_null(golden);
    save_entries("with", metadata, 1);
    assert_file_is("with", golden);
    save_entries("without", NULL, 0);
    assert_file_is("without", golden);
    ASSERT_OK(safetensors_save("none", NULL, 0, NULL, 0, NULL, &err), &err);
    assert_file_is("none", golden);
    fclose(golden);
    ASSERT_REFUSED(safetensors_save("no/dir", entries, N_ENTRIES, NULL, 0, NULL, &err), &err,
                   "no/dir: cannot be created");
}

static void test_safetensors_reads_what_it_wrote(void **state) {
    (void)state;
    static const char *const metadata[] = {"format", "pt", "quote\"", "line\nbreak"};
    Safetensors *s;
    Err err;
    save_entries("f", metadata, 2);
    ASSERT_OK(safetensors_open(&s, "f", &err), &err);
    assert_int_equal(safetensors_count(s), N_ENTRIES);
    for (size_t i = 0; i < N_ENTRIES; i++) {
        const SafetensorsEntry *e = &entries[i];
        const SafetensorsTensor *t = safetensors_get(s, e->name);
        assert_non_null(t);
        assert_string_equal(t->name, e->name);
        assert_string_equal(t->dtype_name, dtype_info(e->dtype)->name);
        assert_int_equal(t->dtype, e->dtype);
        assert_int_equal(t->n_dims, e->n_dims);
        assert_memory_equal(t->shape, e->shape, (size_t)e->n_dims * sizeof *e->shape);
        if (t->bytes) assert_memory_equal(t->data, e->data, t->bytes);
    }
    assert_string_equal(safetensors_at(s, 0)->name, "long");
    assert_null(safetensors_get(s, "x"));
    assert_string_equal(safetensors_metadata(s, "format"), "pt");
    assert_string_equal(safetensors_metadata(s, "quote\""), "line\nbreak");
    assert_null(safetensors_metadata(s, "x"));
    safetensors_close(s);
    safetensors_close(NULL);
}

// ---- the reader ----

static void test_safetensors_accepts_what_the_format_allows(void **state) {
    (void)state;
    accept("{}", 0, 0);
    accept("{}   ", 0, 0);
    accept("{\"__metadata__\":{}}", 0, 0);
    accept("{" T("x", "F32", "[]", 0, 4) "}", 4, 1);
    accept("{" T("x", "F32", "[0]", 0, 0) "}", 0, 1);
    accept("{" T("b", "U8", "[2]", 3, 5) "," T("a", "U8", "[3]", 0, 3) "}", 5, 2);
    accept("{" T("b", "U8", "[2]", 0, 2) "," T("z", "F32", "[0,7]", 2, 2) "," T("c", "U8", "[1]", 2, 3) "}", 3, 3);
    accept("{" T("x", "F4", "[4]", 0, 2) "," T("y", "F6_E2M3", "[2,2]", 2, 5) "}", 5, 2);
    accept("{" T("x", "U8", "[1,1,1,1,1,1,1,1]", 0, 1) "}", 1, 1);
}

static void test_safetensors_knows_dtypes_it_does_not_compute_with(void **state) {
    (void)state;
    Safetensors *s;
    Err err;
    ASSERT_OK(open_header(&s, "{" T("x", "F8_E4M3", "[2]", 0, 2) "}", 2, &err), &err);
    assert_int_equal(safetensors_at(s, 0)->dtype, DTYPE_COUNT);
    assert_string_equal(safetensors_at(s, 0)->dtype_name, "F8_E4M3");
    assert_null(safetensors_metadata(s, "format"));
    safetensors_close(s);
    refuse("{" T("x", "F7", "[2]", 0, 2) "}", 2, "tensor \"x\": dtype \"F7\" is unknown");
    refuse("{" T("x", "f32", "[1]", 0, 4) "}", 4, "dtype \"f32\" is unknown");
}

static void test_safetensors_refuses_bad_lengths(void **state) {
    (void)state;
    static const uint64_t lengths[] = {100000001, 1ull << 32, 1ull << 63, UINT64_MAX};
    Safetensors *s;
    Err err;
    uint8_t bytes[10] = {3, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
    for (size_t n = 0; n < 8; n++) ASSERT_REFUSED(open_bytes(&s, bytes, n, &err), &err, "at least 10");
    ASSERT_REFUSED(open_bytes(&s, bytes, 10, &err), &err, "a header of 3 bytes; the file has 2 after the length");
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        memcpy(bytes, &lengths[i], 8);
        ASSERT_REFUSED(open_bytes(&s, bytes, 10, &err), &err, "expected at most 100000000");
    }
    ASSERT_REFUSED(safetensors_open(&s, "missing", &err), &err, "missing: cannot be opened");
}

static void test_safetensors_refuses_bad_headers(void **state) {
    (void)state;
    refuse("", 0, "does not begin with '{'");
    refuse(" {}", 0, "does not begin with '{'");
    refuse("[]", 0, "does not begin with '{'");
    refuse("{", 0, "header: found the end at byte 1");
    refuse("{}x", 0, "expected nothing after the value");
    refuse("{\"\xFF\":1}", 0, "expected valid UTF-8");
    refuse("{" T("x", "U8", "[1]", 0, 1) "," T("x", "U8", "[1]", 1, 2) "}", 2, "key \"x\" twice");
    refuse("{\"__metadata__\":{},\"__metadata__\":{}}", 0, "key \"__metadata__\" twice");
    refuse("{\"__metadata__\":[]}", 0, "__metadata__ is an array; expected an object");
    refuse("{\"__metadata__\":{\"k\":1}}", 0, "__metadata__: \"k\" is an integer; expected a string");
    refuse("{\"x\":1}", 0, "tensor \"x\": found an integer; expected an object");
    refuse("{" T("a\\u0000b", "U8", "[1]", 0, 1) "}", 1, "holds a NUL character");
    StrBuf bomb = {0};
    str_puts(&bomb, "{\"x\":");
    for (int i = 0; i < 100000; i++) str_puts(&bomb, "[");
    refuse(bomb.data, 0, "nesting deeper than 64");
    str_clear(&bomb);
}

static void test_safetensors_refuses_bad_tensors(void **state) {
    (void)state;
    refuse("{\"x\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "dtype is nothing; expected a string");
    refuse("{\"x\":{\"dtype\":1,\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "dtype is an integer; expected a string");
    refuse("{\"x\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, "shape is nothing; expected an array");
    refuse("{\"x\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "data_offsets is nothing");
    refuse("{\"x\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0]}}", 1, "expected an array of two integers");
    refuse("{\"x\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1,2]}}", 1, "an array of two integers");
    refuse("{" T("x", "U8", "1", 0, 1) "}", 1, "shape is an integer");
    refuse("{" T("x", "U8", "[-1]", 0, 1) "}", 1, "a dimension is -1; expected an integer from 0");
    refuse("{" T("x", "U8", "[1.0]", 0, 1) "}", 1, "a dimension is 1.0");
    refuse("{" T("x", "U8", "[9223372036854775808]", 0, 1) "}", 1, "a dimension is 9223372036854775808");
    refuse("{" T("x", "U8", "[[1]]", 0, 1) "}", 1, "a dimension is an array");
    refuse("{" T("x", "U8", "[1,1,1,1,1,1,1,1,1]", 0, 1) "}", 1, "shape has 9 dimensions; expected at most 8");
    refuse("{" T("x", "F32", "[4294967296,4294967296]", 0, 4) "}", 4, "exceeds 64 bits");
    refuse("{" T("x", "F32", "[0,4294967296,4294967296]", 0, 0) "}", 0, "exceeds 64 bits");
    refuse("{" T("x", "U8", "[2305843009213693952]", 0, 0) "}", 0, "exceeds 64 bits"); // 2^61 * 8 wraps to 0
    refuse("{" T("x", "U8", "[1]", -1, 0) "}", 1, "a data offset is -1");
    refuse("{" T("x", "U8", "[1]", 1, 0) "}", 1, "data_offsets are 1 to 0");
    refuse("{" T("x", "U8", "[2]", 0, 2) "}", 1, "data_offsets are 0 to 2; the file has 1 byte of data");
    refuse("{" T("x", "U8", "[1]", 0, 9223372036854775807) "}", 1, "the file has 1 byte of data");
    refuse("{" T("x", "F32", "[1]", 0, 3) "}", 3, "found 3 bytes of data; F32 of its shape needs 32 bits");
    refuse("{" T("x", "U8", "[0]", 0, 1) "}", 1, "found 1 byte of data; U8 of its shape needs 0 bits");
    refuse("{" T("x", "F4", "[3]", 0, 1) "}", 1, "F4 of its shape needs 12 bits");
}

static void test_safetensors_refuses_holes_overlaps_and_rests(void **state) {
    (void)state;
    refuse("{" T("x", "U8", "[1]", 1, 2) "}", 2,
           "\"x\" begins at byte 1 of the data; expected 0, where the data begins");
    refuse("{" T("a", "U8", "[1]", 0, 1) "," T("b", "U8", "[1]", 2, 3) "}", 3,
           "\"b\" begins at byte 2 of the data; ex");
    refuse("{" T("a", "U8", "[2]", 0, 2) "," T("b", "U8", "[2]", 1, 3) "}", 3, "expected 2, where the one before ends");
    refuse("{" T("a", "U8", "[3]", 0, 3) "," T("b", "U8", "[3]", 0, 3) "}", 3,
           "begins at byte 0 of the data; expected 3");
    refuse("{" T("a", "U8", "[1]", 0, 1) "}", 2, "found 2 bytes of data; the tensors have 1");
    refuse("{}", 1, "found 1 byte of data; the tensors have 0");
    refuse("{" T("a", "U8", "[2]", 0, 2) "," T("z", "U8", "[0]", 1, 1) "}", 2, "\"z\" begins at byte 1");
}

// 20000 tensors that all claim the same megabyte: refused, and quickly.
static void test_safetensors_refuses_the_overlap_bomb(void **state) {
    (void)state;
    StrBuf header = {0};
    str_puts(&header, "{");
    for (int i = 0; i < 20000; i++)
        str_printf(&header, "%s\"%d\":{\"dtype\":\"U8\",\"shape\":[1000],\"data_offsets\":[0,1000]}", i ? "," : "", i);
    str_puts(&header, "}");
    refuse(header.data, 1000, "begins at byte 0 of the data; expected 1000");
    str_clear(&header);
}

static void touch_everything(const Safetensors *s) {
    volatile uint8_t sink = 0;
    for (size_t i = 0; i < safetensors_count(s); i++) {
        const SafetensorsTensor *t = safetensors_at(s, i);
        assert_non_null(safetensors_get(s, t->name));
        for (size_t j = 0; j < t->bytes; j++) sink ^= ((const uint8_t *)t->data)[j];
    }
    safetensors_metadata(s, "format");
    (void)sink;
}

static void test_safetensors_survives_truncation_and_bit_flips(void **state) {
    (void)state;
    static const char *const metadata[] = {"format", "pt"};
    char *data;
    size_t size;
    Safetensors *s;
    Err err;
    save_entries("f", metadata, 1);
    ASSERT_OK(file_read(&data, &size, "f", 1 << 20, &err), &err);
    for (size_t n = 0; n < size; n++)
        if (open_bytes(&s, data, n, NULL) == 0) fail_msg("opened with %zu of %zu bytes", n, size);
    for (size_t bit = 0; bit < size * 8; bit++) {
        data[bit / 8] ^= (char)(1 << bit % 8);
        if (open_bytes(&s, data, size, NULL) == 0) {
            touch_everything(s);
            safetensors_close(s);
        }
        data[bit / 8] ^= (char)(1 << bit % 8);
    }
    mem_free(data);
}

TEST_MAIN(SCRATCH_TEST(test_safetensors_writes_the_reference_bytes), SCRATCH_TEST(test_safetensors_reads_what_it_wrote),
          SCRATCH_TEST(test_safetensors_accepts_what_the_format_allows),
          SCRATCH_TEST(test_safetensors_knows_dtypes_it_does_not_compute_with),
          SCRATCH_TEST(test_safetensors_refuses_bad_lengths), SCRATCH_TEST(test_safetensors_refuses_bad_headers),
          SCRATCH_TEST(test_safetensors_refuses_bad_tensors),
          SCRATCH_TEST(test_safetensors_refuses_holes_overlaps_and_rests),
          SCRATCH_TEST(test_safetensors_refuses_the_overlap_bomb),
          SCRATCH_TEST(test_safetensors_survives_truncation_and_bit_flips))

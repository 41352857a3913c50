// The CUDA backend's frame on the emulated device: opening and refusals, the upload ring, what moves beside the ops,
// recorded passes, faults, placed weights, stored choices. The emulation puts work off until somebody waits, so memory
// that is reused too early shows.
#include "test.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "emulated.h"
#include "records.h"

static Backend *open_or_fail(DType activation) {
    Err err;
    Backend *b = NULL;
    ASSERT_OK(emulated_open(&b, activation, &err), &err);
    return b;
}

static void close_whole(Backend *b) {
    Err err;
    b->k->sync(b);
    ASSERT_OK(b->k->status(b, &err), &err);
    backend_close(b);
    assert_int_equal(emulated_memory_used(), 0);
}

// ---- opening ----

static void test_cuda_opens_as_asked(void **state) {
    (void)state;
    Backend *b = open_or_fail(DTYPE_BF16);
    assert_string_equal(b->k->name, "cuda");
    assert_int_equal(b->activation, DTYPE_BF16);
    assert_false(b->host_memory || b->precision || b->fp8);
    assert_true(b->name[0] != 0);
    DeviceMemory m = b->k->memory(b);
    assert_true(m.total >= m.free && m.free > 0 && m.used > 0);
    close_whole(b);
}

static void assert_open_refused(BackendOptions o, ErrKind kind, const char *part) {
    Err err = {0};
    Backend *b = NULL;
    ASSERT_REFUSED(emulated_open_with(&b, &o, &err), &err, part);
    assert_int_equal(err.kind, kind);
    assert_int_equal(emulated_memory_used(), 0);
}

static void test_cuda_refuses_at_opening(void **state) {
    (void)state;
    assert_open_refused((BackendOptions){.device = "cuda:1"}, ERR_RUNTIME, "device cuda:1: this machine has 1 GPU(s)");
    assert_open_refused((BackendOptions){.device = "cuda:-1"}, ERR_INPUT, "expected cuda or cuda:N");
    assert_open_refused((BackendOptions){.device = "cuda:0x"}, ERR_INPUT, "expected cuda or cuda:N");
    assert_open_refused((BackendOptions){.device = "cuda", .activation = DTYPE_Q8_0}, ERR_INPUT, "activations of type");
    assert_open_refused((BackendOptions){.device = "cuda", .activation = DTYPE_BF16, .precision = PRECISION_HIGH},
                        ERR_INPUT, "BF16 with TF32 products");
    assert_open_refused((BackendOptions){.device = "cuda", .precision = PRECISION_MEDIUM}, ERR_INPUT,
                        "F32 with BF16 products");
    assert_open_refused((BackendOptions){.device = "cuda", .activation = DTYPE_F16, .fp8 = true}, ERR_INPUT,
                        "F16 with FP8 weights");
    emulated_set_devices(0);
    assert_open_refused((BackendOptions){.device = "cuda"}, ERR_RUNTIME, "device cuda: no NVIDIA GPU is visible");
    emulated_set_devices(1);
    emulated_set_capability(7, 5);
    assert_open_refused((BackendOptions){.device = "cuda"}, ERR_RUNTIME, "compute capability 7.5, expected 8.0");
    emulated_set_capability(8, 6);
    assert_open_refused((BackendOptions){.device = "cuda", .activation = DTYPE_BF16, .fp8 = true}, ERR_RUNTIME,
                        "dtype fp8 needs compute capability 8.9, the device has 8.6");
    emulated_set_capability(9, 0);
}

// ---- transfers ----

// More than the ring holds, in pieces of all sizes, from one buffer that is overwritten at once.
static void test_cuda_upload_frees_the_host_at_once(void **state) {
    (void)state;
    enum { BYTES = 24 << 20, MOST = 5 << 20 };
    Backend *b = open_or_fail(DTYPE_F32);
    uint8_t *device = b->k->alloc(b, BYTES), *host = mem_alloc(MOST, 1), *back = mem_alloc(BYTES, 1);
    assert_int_equal((uintptr_t)device % 256, 0);
    b->k->download(b, back, device, BYTES);
    for (size_t i = 0; i < BYTES; i++)
        if (back[i]) fail_msg("byte %zu is not zero", i);
    size_t done = 0, piece = 1;
    for (int n = 0; done < BYTES; n++, done += piece) {
        piece = (piece * 7 + 13) % MOST;
        piece = piece < BYTES - done ? piece : BYTES - done;
        for (size_t i = 0; i < piece; i++) host[i] = (uint8_t)((done + i) * 2654435761u >> 13);
        b->k->upload(b, device + done, host, piece);
        memset(host, 0xEE, piece);
    }
    b->k->download(b, back, device, BYTES);
    for (size_t i = 0; i < BYTES; i++)
        if (back[i] != (uint8_t)(i * 2654435761u >> 13)) fail_msg("byte %zu", i);
    b->k->upload(b, device, host, 0);
    b->k->copy(b, device, device + 1000, 500);
    b->k->zero(b, device + 200, 100);
    b->k->download(b, back, device, 500);
    for (size_t i = 0; i < 500; i++) {
        bool zeroed = i >= 200 && i < 300;
        assert_int_equal(back[i], zeroed ? 0 : (uint8_t)((i + 1000) * 2654435761u >> 13));
    }
    b->k->free(b, device, BYTES);
    b->k->free(b, NULL, 0);
    mem_free(host);
    mem_free(back);
    close_whole(b);
}

// Round trips through pinned memory between ops that write and read the same device memory.
static void test_cuda_offload_keeps_the_order(void **state) {
    (void)state;
    enum { N = 1000, BYTES = N * sizeof(float) };
    Backend *b = open_or_fail(DTYPE_F32);
    float *x = b->k->alloc(b, BYTES), *y = b->k->alloc(b, BYTES), host[N], back[N];
    float *pinned = b->k->host_alloc(b, BYTES);
    for (int i = 0; i < N; i++) host[i] = (float)i;
    b->k->upload(b, x, host, BYTES);
    b->k->offload(b, pinned, x, BYTES);
    b->k->settle(b);
    b->k->zero(b, x, BYTES); // after the offload, which may still be queued
    b->k->reload(b, y, pinned, BYTES);
    b->k->settle(b);
    b->k->add(b, mat_of(y, DTYPE_F32, 1, N), mat_of(y, DTYPE_F32, 1, N));
    b->k->settle(b);
    b->k->download(b, back, y, BYTES);
    for (int i = 0; i < N; i++) assert_true(back[i] == 2 * host[i]);
    b->k->free(b, x, BYTES);
    b->k->free(b, y, BYTES);
    b->k->host_free(b, pinned, BYTES);
    b->k->host_free(b, NULL, 0);
    close_whole(b);
}

// ---- recorded passes ----

static void double_it(Backend *b, float *x, float *pinned, int64_t n) {
    b->k->offload(b, pinned, x, (size_t)n * sizeof *x);
    b->k->add(b, mat_of(x, DTYPE_F32, 1, n), mat_of(x, DTYPE_F32, 1, n));
}

static float first_of(Backend *b, const float *x) {
    float first;
    b->k->download(b, &first, x, sizeof first);
    return first;
}

// Until a pass may be dropped for another: recording may take a 20th of the time.
static void wait_for_room(const Backend *b) {
    double seconds = 21 * cuda_record_counts(b).seconds;
    nanosleep(&(struct timespec){.tv_sec = (time_t)seconds, .tv_nsec = (long)(fmod(seconds, 1) * 1e9)}, NULL);
}

static void test_cuda_replays_what_was_recorded(void **state) {
    (void)state;
    enum { N = 64, BYTES = N * sizeof(float) };
    Backend *b = open_or_fail(DTYPE_F32);
    float *x = b->k->alloc(b, BYTES), one[N], *pinned = b->k->host_alloc(b, BYTES);
    for (int i = 0; i < N; i++) one[i] = 1;
    b->k->upload(b, x, one, BYTES);
    assert_false(b->k->replay(b, 7));
    b->k->offload(b, pinned, x, BYTES); // not settled before the recording
    b->k->record(b, 7);
    double_it(b, x, pinned, N);
    b->k->record_end(b);
    assert_true(first_of(b, x) == 2);
    for (int i = 0; i < 3; i++) assert_true(b->k->replay(b, 7));
    assert_true(first_of(b, x) == 16);
    assert_true(pinned[N - 1] == 8);
    assert_false(b->k->replay(b, 8));
    for (uint64_t key = 100; key < 131; key++) { // 32 with 7
        b->k->record(b, key);
        b->k->zero(b, x, BYTES);
        b->k->record_end(b);
    }
    b->k->upload(b, x, one, BYTES);
    assert_true(b->k->replay(b, 7)); // now 100 is the oldest
    wait_for_room(b);
    b->k->record(b, 131);
    b->k->record_end(b); // nothing at all is a pass as well
    assert_false(b->k->replay(b, 100));
    assert_true(b->k->replay(b, 7) && b->k->replay(b, 131));
    assert_true(first_of(b, x) == 4);
    b->k->forget(b);
    assert_false(b->k->replay(b, 7));
    b->k->free(b, x, BYTES);
    b->k->host_free(b, pinned, BYTES);
    close_whole(b);
}

// A pass of n nodes; false: it was not recorded.
static bool record_nodes(Backend *b, uint64_t key, float *x, int n) {
    int64_t before = cuda_record_counts(b).recorded;
    b->k->record(b, key);
    for (int i = 0; i < n; i++) b->k->zero(b, x, 4);
    assert_true(b->k->record_end(b));
    return cuda_record_counts(b).recorded > before;
}

// Passes in turn, of more shapes than are kept: with the oldest dropped each time, none would ever be replayed.
static void test_cuda_records_do_not_thrash(void **state) {
    (void)state;
    enum { SHAPES = 40, ROUNDS = 50 };
    Backend *b = open_or_fail(DTYPE_F32);
    float *x = b->k->alloc(b, 4);
    for (int i = 0; i < ROUNDS * SHAPES; i++)
        if (!b->k->replay(b, (uint64_t)(i % SHAPES))) record_nodes(b, (uint64_t)(i % SHAPES), x, 20);
    RecordCounts counts = cuda_record_counts(b), *c = &counts;
    assert_int_equal(c->replayed + c->recorded + c->refused, ROUNDS * SHAPES);
    assert_int_equal(c->recorded - c->dropped, 32);
    if (c->replayed < ROUNDS * SHAPES / 2 || c->seconds <= 0)
        fail_msg("%ld of %d passes replayed, %ld recorded", c->replayed, ROUNDS * SHAPES, c->recorded);
    b->k->free(b, x, 4);
    close_whole(b);
}

// On a device of 256 MiB recorded passes may take 4 MiB; a node takes 1 KiB.
static void test_cuda_records_take_bounded_memory(void **state) {
    (void)state;
    emulated_set_memory(256 << 20);
    Backend *b = open_or_fail(DTYPE_F32);
    float *x = b->k->alloc(b, 4);
    DeviceMemory before = b->k->memory(b);
    for (uint64_t key = 0; key < 4; key++) assert_true(record_nodes(b, key, x, 1000));
    assert_int_equal(cuda_record_counts(b).bytes, 4 * 1000 * 1024);
    assert_int_equal(b->k->memory(b).free, before.free); // counted before
    wait_for_room(b);
    assert_true(record_nodes(b, 4, x, 1000));
    assert_true(b->k->replay(b, 4) && b->k->replay(b, 1) && !b->k->replay(b, 0));
    wait_for_room(b);
    assert_true(record_nodes(b, 5, x, 5000)); // more than all may take: the last that is recorded
    assert_int_equal(cuda_record_counts(b).bytes, 0);
    assert_false(b->k->replay(b, 5) || record_nodes(b, 6, x, 1));
    b->k->sync(b);
    assert_int_equal(b->k->memory(b).free, before.free + (4 << 20)); // none will take any
    b->k->free(b, x, 4);
    close_whole(b);
    emulated_set_memory(0);
}

// ---- choices ----

static void test_cuda_choices_come_back(void **state) {
    (void)state;
    Backend *b = open_or_fail(DTYPE_F32);
    StrBuf json = {0}, again = {0};
    Err err = {0};
    b->k->choices_get(b, &json);
    assert_non_null(strstr(json.data, "\"cublaslt\""));
    char *more = mem_printf("%.*s, \"b 1x2\": \"17\",\n\t\"a\" :\"x,y\"} \n", (int)json.len - 1, json.data);
    ASSERT_OK(b->k->choices_set(b, more, &err), &err);
    b->k->choices_get(b, &again);
    assert_non_null(strstr(again.data, "\"b 1x2\":\t\"17\",\n\t\"a\":\t\"x,y\"\n}"));
    static const struct {
        const char *json, *part;
    } bad[] = {
        {"{}", "another kind of device"},
        {"", "expected a JSON object"},
        {"[1]", "expected a JSON object"},
        {"{\"device\": \"another\", \"cublaslt\": \"1.2.3\"}", "was made with device another, this is"},
        {"{\"device\": 3}", "device: expected a text"},
        {"{\"device", "byte 2: expected a JSON object"},
        {"{\"a\": \"\\u0041\"}", "another kind of device"},
        {"{\"a\": \"b\"} x", "byte 11"},
        {"{\"a\": \"b\"", "byte 9"},
        {"{\"a\": \"b\",}", "byte 11"},
        {"{\"a\": [1]}", "a: expected a text"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ASSERT_REFUSED(b->k->choices_set(b, bad[i].json, &err), &err, bad[i].part);
        assert_int_equal(err.kind, ERR_INPUT);
    }
    mem_free(more);
    str_clear(&json);
    str_clear(&again);
    close_whole(b);
}

// ---- faults ----

static void assert_failed(Backend *b, ErrKind kind, const char *part) {
    Err err = {0};
    ASSERT_REFUSED(b->k->status(b, &err), &err, part);
    assert_int_equal(err.kind, kind);
    assert_int_equal(strncmp(err.msg, "device cuda:0 (", 15), 0);
}

static void test_cuda_out_of_memory_is_a_status(void **state) {
    (void)state;
    emulated_set_memory(256 << 20);
    Backend *b = open_or_fail(DTYPE_F32);
    float *x = b->k->alloc(b, 4), value = 5;
    size_t used = b->k->memory(b).used;
    void *none = b->k->alloc(b, (size_t)1 << 40);
    assert_non_null(none);
    assert_failed(b, ERR_MEMORY, "out of memory: 1048576 MiB more on the device were asked for");
    b->k->free(b, none, (size_t)1 << 40);
    assert_int_equal(b->k->memory(b).used, used);
    b->k->download(b, &value, x, sizeof value); // after a fault: nothing is done, nothing is left unset
    assert_true(value == 0);
    b->k->record(b, 1);
    b->k->add(b, mat_of(x, DTYPE_F32, 1, 1), mat_of(x, DTYPE_F32, 1, 1));
    b->k->record_end(b);
    assert_true(b->k->replay(b, 1));
    assert_failed(b, ERR_MEMORY, "out of memory");
    b->k->free(b, x, 4);
    backend_close(b);
    emulated_set_memory(0);
    assert_int_equal(emulated_memory_used(), 0);
}

// The last test: a fault spoils the device for the process.
static void test_cuda_first_fault_is_kept(void **state) {
    (void)state;
    Backend *b = open_or_fail(DTYPE_F32);
    float *x = b->k->alloc(b, 64);
    emulated_fail_launch(1);
    b->k->record(b, 1);
    b->k->add(b, mat_of(x, DTYPE_F32, 1, 16), mat_of(x, DTYPE_F32, 1, 16));
    b->k->record_end(b);
    b->k->sync(b);
    b->k->alloc(b, (size_t)1 << 40);
    assert_failed(b, ERR_RUNTIME, "unspecified launch failure (");
    uint64_t launches = emulated_launches();
    b->k->add(b, mat_of(x, DTYPE_F32, 1, 16), mat_of(x, DTYPE_F32, 1, 16));
    assert_int_equal(emulated_launches(), launches);
    backend_close(b);
    Err err = {0};
    ASSERT_REFUSED(emulated_open(&b, DTYPE_F32, &err), &err, "device cuda: unspecified launch failure");
}

TEST_MAIN(TEST(test_cuda_opens_as_asked), TEST(test_cuda_refuses_at_opening),
          TEST(test_cuda_upload_frees_the_host_at_once), TEST(test_cuda_offload_keeps_the_order),
          TEST(test_cuda_replays_what_was_recorded), TEST(test_cuda_records_do_not_thrash),
          TEST(test_cuda_records_take_bounded_memory), TEST(test_cuda_choices_come_back),
          TEST(test_cuda_out_of_memory_is_a_status), TEST(test_cuda_first_fault_is_kept))

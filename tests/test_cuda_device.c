// The frame of the CUDA backend over the emulated device: memory, copies, streams beside each other, out of memory.
#include <string.h>

#include "test.h"

#include "emulated.h"

static Backend *open_device(void) {
    Backend *b;
    Err err;
    if (emulated_open(&b, DTYPE_BF16, &err)) fail_msg("%s", err.msg);
    return b;
}

static void test_device_memory_goes_there_and_back(void **state) {
    (void)state;
    Backend *b = open_device();
    enum { N = 3000000 };
    char *host = mem_alloc(N, 1), *back = mem_calloc(N, 1);
    for (int i = 0; i < N; i++) host[i] = (char)(i * 7);
    char *p = b->k->alloc(b, N), *q = b->k->alloc(b, N);
    b->k->download(b, back, p, N);
    for (int i = 0; i < N; i++)
        if (back[i]) fail_msg("byte %d of fresh memory is %d", i, back[i]);
    for (int round = 0; round < 8; round++) b->k->upload(b, p, host, N); // goes round the ring
    memset(host, 0, 100);                                                // free at once
    b->k->copy(b, q, p, N);
    b->k->zero(b, p, N);
    b->k->download(b, back, q, N);
    for (int i = 0; i < N; i++)
        if (back[i] != (char)(i * 7)) fail_msg("byte %d is %d", i, back[i]);
    b->k->free(b, p, N);
    b->k->free(b, q, N);
    mem_free(host);
    mem_free(back);
    backend_close(b);
}

static void test_device_offloads_and_reloads(void **state) {
    (void)state;
    Backend *b = open_device();
    enum { N = 4096 };
    char *pinned = b->k->host_alloc(b, N), back[N];
    char *p = b->k->alloc(b, N);
    memset(back, 5, N);
    b->k->upload(b, p, back, N);
    b->k->offload(b, pinned, p, N);
    b->k->settle(b);
    b->k->zero(b, p, N);
    b->k->reload(b, p, pinned, N);
    b->k->settle(b);
    b->k->download(b, back, p, N);
    for (int i = 0; i < N; i++) assert_int_equal(back[i], 5);
    Err err;
    if (b->k->status(b, &err)) fail_msg("%s", err.msg);
    b->k->free(b, p, N);
    b->k->host_free(b, pinned, N);
    backend_close(b);
}

static void test_device_out_of_memory_is_a_status(void **state) {
    (void)state;
    emulated_set_memory((size_t)64 << 20);
    Backend *b = open_device();
    Err err;
    void *p = b->k->alloc(b, (size_t)1 << 30);
    assert_non_null(p);
    assert_int_equal(b->k->status(b, &err), -1);
    assert_non_null(strstr(err.msg, "out of memory: 1024 MiB"));
    b->k->free(b, p, (size_t)1 << 30);
    backend_close(b);
    emulated_set_memory(0);
    assert_int_equal(emulated_memory_used(), 0);
}

TEST_MAIN(TEST(test_device_memory_goes_there_and_back), TEST(test_device_offloads_and_reloads),
          TEST(test_device_out_of_memory_is_a_status))

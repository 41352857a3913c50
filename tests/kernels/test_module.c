// Modules: what is said when one is absent, broken, foreign, of another build or lacks a library; the binary itself
// needs no library of a module.
#include "test.h"

#include <stdlib.h>
#include <unistd.h>

#include "kernels.h"

static void assert_cuda_refused(const char *folder, const char *part) {
    Err err = {0};
    Backend *b = NULL;
    setenv("LORAC_MODULES", folder, 1);
    ASSERT_REFUSED(backend_open(&b, "cuda", 1, &err), &err, part);
    assert_int_equal(err.kind, ERR_RUNTIME);
    assert_null(b);
    assert_int_equal(strncmp(err.msg, "device cuda: ", 13), 0);
    unsetenv("LORAC_MODULES");
}

static void test_module_absent(void **state) {
    (void)state;
    assert_cuda_refused("/nowhere", "lorac-cuda.so not found (searched: /nowhere/lorac-cuda.so); it is built if cmake "
                                    "finds CUDA Toolkit");
}

static void test_module_of_another_program(void **state) {
    (void)state;
    assert_cuda_refused(BROKEN_MODULES "/foreign",
                        "lorac-cuda.so is not a module of lorac: symbol lorac_cuda_open not found");
}

static void test_module_of_another_build(void **state) {
    (void)state;
    assert_cuda_refused(BROKEN_MODULES "/other_sources",
                        "was built from other sources than this program: rebuild both");
}

static void test_module_lacks_a_library(void **state) {
    (void)state;
    assert_cuda_refused(BROKEN_MODULES "/needs_library", "libforeign.so: cannot open shared object file");
}

static void test_module_is_no_library(void **state) {
    (void)state;
    assert_cuda_refused(BROKEN_MODULES "/broken", "lorac-cuda.so: file too short");
}

static void test_module_device_names(void **state) {
    (void)state;
    Err err = {0};
    Backend *b = NULL;
    ASSERT_REFUSED(backend_open(&b, "cudax", 1, &err), &err, "device 'cudax' is unknown");
    BackendOptions o = {.device = "cpu", .activation = DTYPE_F16};
    ASSERT_REFUSED(backend_open_with(&b, &o, &err), &err, "device cpu computes in f32 or bf16");
    o = (BackendOptions){.device = "cpu", .activation = DTYPE_BF16, .precision = PRECISION_HIGH};
    ASSERT_REFUSED(backend_open_with(&b, &o, &err), &err, "device cpu computes in f32");
    o = (BackendOptions){.device = "ref", .activation = DTYPE_F32, .precision = PRECISION_HIGH};
    ASSERT_REFUSED(backend_open_with(&b, &o, &err), &err, "device ref computes in f32");
}

// The whole way: found, loaded, every slot there.
static void test_module_opens(void **state) {
    (void)state;
    Err err = {0};
    Backend *b = NULL;
    if (access(EMULATED_MODULES "/lorac-cuda.so", F_OK)) skip();
    setenv("LORAC_MODULES", EMULATED_MODULES, 1);
    ASSERT_OK(backend_open(&b, "cuda:0", 3, &err), &err);
    assert_string_equal(b->k->name, "cuda");
    assert_int_equal(b->threads, 3);
    assert_false(b->host_memory);
    backend_close(b);
    ASSERT_REFUSED(backend_open(&b, "cuda:9", 1, &err), &err, "device cuda:9: this machine has 3 GPU(s)");
    unsetenv("LORAC_MODULES");
}

static void test_module_counts_gpus(void **state) {
    (void)state;
    Err err = {0};
    GpuId ids[4] = {0};
    int count = -1;
    if (access(EMULATED_MODULES "/lorac-cuda.so", F_OK)) skip();
    setenv("LORAC_MODULES", EMULATED_MODULES, 1);
    setenv("LORAC_EMULATED_DEVICES", "3", 1); // read once a process: this test comes before those that open a device
    ASSERT_OK(backend_gpus(&count, NULL, 0, &err), &err);
    assert_int_equal(count, 3);
    ASSERT_OK(backend_gpus(&count, ids, 2, &err), &err);
    assert_int_equal(count, 3);
    assert_memory_not_equal(&ids[0], &ids[1], sizeof *ids);
    assert_memory_equal(&ids[2], &ids[3], sizeof *ids); // not written
    setenv("LORAC_MODULES", "/nowhere", 1);
    ASSERT_REFUSED(backend_gpus(&count, ids, 4, &err), &err, "lorac-cuda.so not found");
    unsetenv("LORAC_MODULES");
}

// The real module, where it was built, on a machine without a GPU.
static void test_module_without_a_device(void **state) {
    (void)state;
    Err err = {0};
    Backend *b = NULL;
    if (backend_open(&b, "cuda", 1, &err) == 0) {
        backend_close(b);
        skip();
    }
    assert_int_equal(err.kind, ERR_RUNTIME);
    assert_int_equal(strncmp(err.msg, "device cuda: ", 13), 0);
}

static void test_binary_links_no_module(void **state) {
    (void)state;
    FILE *f = popen("ldd " LORAC, "r");
    char line[1024];
    int lines = 0;
    assert_non_null(f);
    for (; fgets(line, sizeof line, f); lines++)
        if (strstr(line, "libcuda.") || strstr(line, "libcudart") || strstr(line, "cublas") || strstr(line, "cudnn") ||
            strstr(line, "nccl") || strstr(line, "libmpi"))
            fail_msg("lorac needs %s", line);
    assert_int_equal(pclose(f), 0);
    assert_true(lines > 3);
}

TEST_MAIN(TEST(test_module_absent), TEST(test_module_of_another_program), TEST(test_module_of_another_build),
          TEST(test_module_lacks_a_library), TEST(test_module_is_no_library), TEST(test_module_device_names),
          TEST(test_module_counts_gpus), TEST(test_module_opens), TEST(test_module_without_a_device),
          TEST(test_binary_links_no_module))

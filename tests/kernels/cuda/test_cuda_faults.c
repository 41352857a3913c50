// The emulated device notices what a kernel or the host does wrong: each fault ends its process with the line that
// names it, or shows as an error of the runtime, or in one of the orders of threads.
#include "test.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cuda_runtime_api.h>

#include "emulated.h"
#include "faults.h"

// Runs f in a process of its own; its error output, and how it ended.
static int run_apart(void (*f)(const void *), const void *argument, char *output, size_t size) {
    int ends[2];
    if (pipe(ends)) fail_msg("pipe");
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        signal(SIGSEGV, SIG_DFL); // cmocka goes on after them
        signal(SIGABRT, SIG_DFL);
        close(ends[0]);
        f(argument);
        _exit(0);
    }
    close(ends[1]);
    size_t n = 0;
    for (ssize_t got; n + 1 < size && (got = read(ends[0], output + n, size - 1 - n)) > 0;) n += (size_t)got;
    output[n] = 0;
    close(ends[0]);
    int status;
    waitpid(child, &status, 0);
    return status;
}

static void expect_fault(void (*f)(const void *), const void *argument, const char *name, const char *message) {
    static char output[1 << 16];
    int status = run_apart(f, argument, output, sizeof output);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) fail_msg("%s was not noticed", name);
    if (!strstr(output, message) && !strstr(output, "AddressSanitizer") && !strstr(output, "runtime error"))
        fail_msg("%s: \"%s\" lacks \"%s\"", name, output, message);
}

static void run_kernel(const void *name) { fault_run(name); }

static void test_faults_of_kernels(void **state) {
    (void)state;
    static const struct {
        const char *name, *message;
    } expected[] = {
        {"half_at_barrier", "kernel k.kernel, block (0,0,0): divergent barrier, nobody can go on: 32 threads returned"},
        {"early_return", "1 threads returned (first: thread 5)"},
        {"two_barriers", "divergent barrier"},
        {"half_in_shuffle", "wait in __shfl_xor_sync"},
        {"two_shuffles", "divergent barrier"},
        {"shuffle_against_barrier", "wait in __syncthreads"},
        {"lane_outside_mask", "reads lane 20, which is not in the mask 0x0000ffff"},
        {"not_in_own_mask", "does not name the thread itself"},
        {"different_masks", "(mask 0xffffffff)"},
        {"beyond_shared", "beyond its end"},
        {"beyond_dynamic_shared", "beyond its end"},
        {"beyond_allocation", "beyond the end of an allocation of 256 bytes"},
        {"too_much_shared", "shared memory of a block is full"},
    };
    int seen = 0;
    for (int i = 0; i < fault_count(); i++)
        for (size_t j = 0; j < sizeof expected / sizeof *expected; j++)
            if (!strcmp(fault_name(i), expected[j].name)) {
                expect_fault(run_kernel, fault_name(i), fault_name(i), expected[j].message);
                seen++;
            }
    assert_int_equal(seen, fault_count() - 1); // all but unwritten_shared
    assert_true(fault_run("unwritten_shared"));
}

static void run_partial_warp(const void *nothing) {
    (void)nothing;
    fault_partial_warp();
}

static void test_faults_full_mask_of_a_partial_warp(void **state) {
    (void)state;
    expect_fault(run_partial_warp, NULL, "a full mask in a block of 40", "mask 0xffffffff");
}

static void test_faults_missing_barriers_show_in_some_order(void **state) {
    (void)state;
    for (int i = 0; i < shift_count(); i++) {
        int wrong = 0;
        for (int order = EMULATED_ASCENDING; order <= EMULATED_SHUFFLED; order++) {
            emulated_set_order((EmulatedOrder)order);
            if (!shift_is_right(i, true)) fail_msg("%s is wrong with its barrier", shift_name(i));
            wrong += !shift_is_right(i, false);
        }
        // A shuffle makes the threads of a warp meet: that it orders no memory, only ThreadSanitizer sees.
        if (!wrong && strcmp(shift_name(i), "shift_in_warp"))
            fail_msg("%s is right without its barrier", shift_name(i));
    }
    emulated_set_order(EMULATED_ASCENDING);
}

static void test_faults_of_launches(void **state) {
    (void)state;
    assert_int_equal(launch_error(1025, 0, false), cudaErrorInvalidConfiguration);
    assert_int_equal(launch_error(0, 0, false), cudaErrorInvalidConfiguration);
    assert_int_equal(launch_error(32, 48 * 1024 + 1, false), cudaErrorInvalidValue);
    assert_int_equal(launch_error(32, 228 * 1024, true), cudaErrorInvalidValue);
    assert_int_equal(cudaGetLastError(), cudaSuccess);
}

static void read_from_host(const void *p) { fprintf(stderr, "%d", *(const volatile char *)p); }
static void copy_too_much(const void *p) {
    char host[512];
    cudaMemcpy(host, p, sizeof host, cudaMemcpyDeviceToHost);
}

static void test_faults_of_memory(void **state) {
    (void)state;
    char *p;
    static char output[1 << 16];
    assert_int_equal(cudaMalloc((void **)&p, 256), 0);
    int status = run_apart(read_from_host, p, output, sizeof output);
    assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    expect_fault(copy_too_much, p, "a copy beyond an allocation", "256 bytes before the end of an allocation");
    assert_int_equal(cudaFree(p), 0);
    expect_fault(copy_too_much, p, "a copy of freed memory", "not in an allocation");
}

static void test_faults_missing_waits_show(void **state) {
    (void)state;
    cudaStream_t a, b;
    cudaEvent_t done;
    int *device, *host, *copied;
    assert_int_equal(cudaStreamCreateWithFlags(&a, cudaStreamNonBlocking), 0);
    assert_int_equal(cudaStreamCreateWithFlags(&b, cudaStreamNonBlocking), 0);
    assert_int_equal(cudaEventCreateWithFlags(&done, cudaEventDisableTiming), 0);
    assert_int_equal(cudaMalloc((void **)&device, 4), 0);
    assert_int_equal(cudaMallocHost((void **)&host, 4), 0);
    assert_int_equal(cudaMallocHost((void **)&copied, 4), 0);
    for (int wait = 0; wait < 2; wait++) {
        *host = 5 + wait;
        cudaMemcpyAsync(device, host, 4, cudaMemcpyHostToDevice, a);
        cudaEventRecord(done, a);
        if (wait) cudaStreamWaitEvent(b, done, 0);
        cudaMemcpyAsync(copied, device, 4, cudaMemcpyDeviceToHost, b);
        assert_int_not_equal(*copied, 5 + wait); // the host has not waited yet
        cudaStreamSynchronize(b);
        assert_int_equal(*copied == 5 + wait, wait); // b has waited for a, or not
        cudaStreamSynchronize(a);
    }
    cudaFree(device);
    cudaFreeHost(host);
    cudaFreeHost(copied);
    cudaEventDestroy(done);
    cudaStreamDestroy(a);
    cudaStreamDestroy(b);
}

static void test_faults_of_recordings(void **state) {
    (void)state;
    cudaStream_t s, side;
    cudaEvent_t fork;
    cudaGraph_t graph;
    cudaGraphExec_t recorded;
    int *device, host = 7;
    assert_int_equal(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking), 0);
    assert_int_equal(cudaStreamCreateWithFlags(&side, cudaStreamNonBlocking), 0);
    assert_int_equal(cudaEventCreateWithFlags(&fork, cudaEventDisableTiming), 0);
    assert_int_equal(cudaMalloc((void **)&device, 4), 0);
    // What waits, allocates or reads pageable memory is not for a recording.
    assert_int_equal(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal), 0);
    void *more;
    assert_int_equal(cudaMalloc(&more, 4), cudaErrorStreamCaptureUnsupported);
    assert_int_equal(cudaMemcpyAsync(device, &host, 4, cudaMemcpyHostToDevice, s), cudaErrorStreamCaptureUnsupported);
    assert_int_equal(cudaStreamEndCapture(s, &graph), cudaErrorStreamCaptureInvalidated);
    // A stream that took part must come back.
    assert_int_equal(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal), 0);
    cudaEventRecord(fork, s);
    cudaStreamWaitEvent(side, fork, 0);
    cudaMemsetAsync(device, 1, 4, side);
    assert_int_equal(cudaStreamEndCapture(s, &graph), cudaErrorStreamCaptureUnjoined);
    // A right one runs when it is launched, as often as it is launched.
    assert_int_equal(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal), 0);
    cudaEventRecord(fork, s);
    cudaStreamWaitEvent(side, fork, 0);
    cudaMemsetAsync(device, 1, 4, side);
    cudaEventRecord(fork, side);
    cudaStreamWaitEvent(s, fork, 0);
    assert_int_equal(cudaStreamEndCapture(s, &graph), 0);
    assert_int_equal(cudaGraphInstantiate(&recorded, graph, 0), 0);
    for (int i = 0; i < 2; i++) {
        cudaMemsetAsync(device, 0, 4, s);
        cudaGraphLaunch(recorded, s);
        cudaMemcpyAsync(&host, device, 4, cudaMemcpyDeviceToHost, s);
        assert_int_equal(host, 0x01010101);
    }
    cudaGraphExecDestroy(recorded);
    cudaGraphDestroy(graph);
    while (cudaGetLastError()) {
    }
    cudaFree(device);
    cudaEventDestroy(fork);
    cudaStreamDestroy(side);
    cudaStreamDestroy(s);
}

static void fail_second_launch(const void *nothing) {
    (void)nothing;
    emulated_fail_launch(2);
    bool first = shift_is_right(0, true), second = shift_is_right(0, true);
    if (first && !second && cudaGetLastError() == cudaErrorLaunchFailure) fprintf(stderr, "as asked");
    abort();
}

static void test_faults_that_a_test_asks_for(void **state) {
    (void)state;
    expect_fault(fail_second_launch, NULL, "the second launch", "as asked");
}

TEST_MAIN(TEST(test_faults_of_kernels), TEST(test_faults_full_mask_of_a_partial_warp),
          TEST(test_faults_missing_barriers_show_in_some_order), TEST(test_faults_of_launches),
          TEST(test_faults_of_memory), TEST(test_faults_missing_waits_show), TEST(test_faults_of_recordings),
          TEST(test_faults_that_a_test_asks_for))

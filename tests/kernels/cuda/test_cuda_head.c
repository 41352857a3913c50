// The head of the language model on an emulated CUDA device that is so small that its rows come in several chunks and
// its weights in several tiles; and what a classifier's head says of rows with equal logits or a NaN.
#include <string.h>

#include "emulated.h"
#include "host.h"
#include "opcheck.h"
#include "test.h"

static const DType types[] = {DTYPE_F32, DTYPE_BF16, DTYPE_F16};
static const size_t SMALL = (size_t)8 << 20, LARGE = (size_t)512 << 20;

static Backend *open_emulated(DType activation, size_t memory) {
    Backend *b = NULL;
    Err err;
    emulated_set_memory(memory);
    ASSERT_OK(emulated_open(&b, activation, &err), &err);
    return b;
}

static const OpCase *head_case(void) {
    const OpCase *c = op_cases_head;
    while (strcmp(c->name, "head_loss") != 0) c++;
    return c;
}

// Runs the size on a device of that much memory against `want`; returns the kernels and products that it took.
static uint64_t check_head(const OpRun *want, const OpSize *size, OpSetup setup, size_t memory) {
    Backend *b = open_emulated(setup.activation, memory);
    char message[512], sizes[256];
    Err err;
    uint64_t before = emulated_launches();
    OpRun *got = op_run(head_case(), size, b, setup);
    uint64_t launches = emulated_launches() - before;
    ASSERT_OK(b->k->status(b, &err), &err);
    if (!op_agree(want, got, OP_WITHIN_TOLERANCE, message, sizeof message)) {
        op_size_text(size, sizes, sizeof sizes);
        fail_msg("%s, %zu bytes: %s\n  %s", dtype_info(setup.activation)->name, memory, message, sizes);
    }
    op_run_free(got);
    backend_close(b);
    return launches;
}

static void test_head_goes_by_chunks_and_tiles(void **state) {
    (void)state;
    static const OpSize sizes[] = {
        {.t = 300, .n = 515, .k = 64, .dtype = DTYPE_BF16},
        {.t = 150, .n = 515, .k = 96, .dtype = DTYPE_Q8_0, .smoothing = 0.1f},
        {.t = 130, .n = 601, .k = 256, .dtype = DTYPE_Q6_K, .softcap = 5},
        {.t = 260, .n = 301, .k = 64, .dtype = DTYPE_Q4_0, .bias = true, .no_dx = true},
    };
    Err err;
    Backend *ref = NULL;
    ASSERT_OK(backend_open(&ref, "ref", 1, &err), &err);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
            OpSetup setup = {.poison = -1, .activation = types[i], .gap = s % 2 ? 8 : 0};
            OpRun *want = op_run(head_case(), sizes + s, ref, setup);
            uint64_t whole = check_head(want, sizes + s, setup, LARGE);
            uint64_t parts = check_head(want, sizes + s, setup, SMALL);
            if (parts <= whole) fail_msg("size %zu: %d launches in parts, %d whole", s, (int)parts, (int)whole);
            op_run_free(want);
        }
    backend_close(ref);
}

enum { ROWS = 5, CLASSES = 40, COLS = 32 };

// Memory of the device from one block: filled from `host`, or as it is.
static char *at;
static void *take(Backend *b, const void *host, size_t bytes) {
    void *p = at;
    at += (bytes + 255) / 256 * 256;
    if (host) b->k->upload(b, p, host, bytes);
    return p;
}

// Rows: all logits equal; a NaN; class 33 wins; padding; classes 7 and 39 equal and largest.
static void test_class_verdicts(void **state) {
    (void)state;
    static const int32_t labels[ROWS] = {0, 3, 33, -1, 39}, want[ROWS] = {0, -1, 33, -1, 7};
    float x[ROWS][COLS] = {{0}}, w[CLASSES][COLS] = {{0}}, dx[ROWS][COLS];
    x[1][5] = NAN;
    x[2][1] = x[3][1] = x[4][2] = 1;
    w[33][1] = w[7][2] = w[39][2] = 2;
    enum { BYTES = 1 << 20 };
    Backend *b = open_emulated(DTYPE_F32, LARGE);
    char *memory = at = b->k->alloc(b, BYTES);
    Mat in = mat_of(take(b, x, sizeof x), DTYPE_F32, ROWS, COLS), out = in;
    out.data = take(b, NULL, sizeof dx);
    ClassHead h = {.w = take(b, w, sizeof w), .labels = take(b, labels, sizeof labels), .classes = CLASSES};
    h.state = take(b, &(PassState){.grad_scale = 1}, sizeof(PassState));
    h.dw = take(b, NULL, sizeof w);
    h.predicted = take(b, NULL, sizeof want);
    HeadResult *device = take(b, NULL, sizeof *device), result;
    b->k->class_loss(b, device, out, in, &h, take(b, NULL, b->k->class_loss_workspace(b, &h, ROWS)));
    assert_true(at <= memory + BYTES);
    int32_t got[ROWS];
    b->k->download(b, got, h.predicted, sizeof got);
    b->k->download(b, &result, device, sizeof result);
    b->k->download(b, dx, out.data, sizeof dx);
    assert_memory_equal(got, want, sizeof want);
    assert_int_equal(result.correct, 2);
    assert_true(isnan(result.loss) && isnan(dx[1][0]) && !isnan(dx[2][1]));
    for (int c = 0; c < COLS; c++) assert_true(dx[3][c] == 0);
    b->k->free(b, memory, BYTES);
    backend_close(b);
    assert_int_equal(emulated_memory_used(), 0);
}

TEST_MAIN(TEST(test_head_goes_by_chunks_and_tiles), TEST(test_class_verdicts))

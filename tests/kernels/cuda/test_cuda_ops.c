// Every op of the emulated CUDA device against the reference, in each type of activations; in other orders of threads;
// with a NaN in each input. The argument names the table of op cases (op_table.h), or is "padding" (padding_cases.c).
#include <string.h>

#include "cuda_open.h"
#include "op_table.h"
#include "padding_cases.h"

static const OpCase *cases; // the table, up to an op without a name

static const DType activation_types[] = {DTYPE_F32, DTYPE_BF16, DTYPE_F16};
enum { ACTIVATION_TYPES = 3 };

static Backend *open_reference(void) {
    Err err;
    Backend *b = NULL;
    ASSERT_OK(backend_open(&b, "ref", 1, &err), &err);
    return b;
}

// Rows back to back; rows that begin and end at 16 bytes, and rows that do not: in turn over types and sizes.
static OpSetup setup_of(int type, int size) {
    static const int64_t gaps[] = {0, 8, 3};
    return (OpSetup){.poison = -1, .activation = activation_types[type], .gap = gaps[(type + size) % 3]};
}

static void compare(const OpRun *want, const OpCase *c, const OpSize *size, Backend *b, OpSetup setup, OpRule rule) {
    char message[512], sizes[256];
    Err err;
    OpRun *got = op_run(c, size, b, setup);
    ASSERT_OK(b->k->status(b, &err), &err);
    if (!op_agree(want, got, rule, message, sizeof message)) {
        op_size_text(size, sizes, sizeof sizes);
        fail_msg("%s in %s, gap %lld, poisoned input %d: %s\n  %s", c->name, dtype_info(setup.activation)->name,
                 (long long)setup.gap, setup.poison, message, sizes);
    }
    op_run_free(got);
}

// What costs much is tested less often: sizes in turn over the types. F16 differs from BF16 in no algorithm.
// Attention's backward case runs its forward too and compares what that wrote.
enum { SOME_TOKENS = 40, MANY_TOKENS = 256 };
static bool is_turn(const OpCase *c, int type, int size) {
    int64_t tokens = c->sizes[size].t;
    if (strcmp(c->name, "attention_forward") == 0 && size % 3) return false;
    if (tokens <= SOME_TOKENS) return type < 2 || size % 3 == 1;
    if (tokens > MANY_TOKENS) return size % 2 == type;
    return type == 0 || (type == 1 ? size % 2 == 0 : size % 6 == 1);
}

static void test_cuda_matches_reference(void **state) {
    (void)state;
    Backend *ref = open_reference();
    for (int type = 0; type < ACTIVATION_TYPES; type++) {
        Backend *b = open_emulated(activation_types[type]);
        for (const OpCase *c = cases; c->name; c++)
            for (int s = 0; s < c->n_sizes && !c->host; s++) {
                if (!is_turn(c, type, s)) continue;
                OpRun *want = op_run(c, c->sizes + s, ref, setup_of(type, s));
                compare(want, c, c->sizes + s, b, setup_of(type, s), OP_WITHIN_TOLERANCE);
                op_run_free(want);
            }
        backend_close(b);
    }
    backend_close(ref);
}

// Whatever the order in which threads and blocks run: a missing barrier shows here.
static void test_cuda_ignores_order(void **state) {
    (void)state;
    Backend *b = open_emulated(DTYPE_BF16);
    for (const OpCase *c = cases; c->name; c++)
        for (int s = 0; s < c->n_sizes && !c->host; s++) {
            if (c->sizes[s].t > MANY_TOKENS || s % 4) continue;
            emulated_set_order(EMULATED_ASCENDING);
            OpRun *want = op_run(c, c->sizes + s, b, setup_of(1, s));
            for (int order = EMULATED_DESCENDING; order <= EMULATED_SHUFFLED; order++) {
                emulated_set_order((EmulatedOrder)order);
                compare(want, c, c->sizes + s, b, setup_of(1, s), OP_SAME_BITS);
            }
            op_run_free(want);
        }
    emulated_set_order(EMULATED_ASCENDING);
    backend_close(b);
}

// A NaN in each random input in turn. Where rounding makes more of the reference's elements NaN, the device's are, too.
static void test_cuda_shows_nan(void **state) {
    (void)state;
    Backend *ref = open_reference(), *b = open_emulated(DTYPE_BF16);
    for (const OpCase *c = cases; c->name; c++)
        for (int s = 0; s < c->n_sizes && !c->host; s++) {
            const OpSize *size = c->sizes + s;
            if (size->t > 16 || size->no_dx || size->no_da || size->no_db) continue; // without an output NaN may rest
            OpSetup setup = setup_of(1, s);
            OpRun *want = op_run(c, size, ref, setup);
            int inputs = want->n_inputs;
            op_run_free(want);
            for (setup.poison = 0; setup.poison < inputs; setup.poison++) {
                want = op_run(c, size, ref, setup);
                compare(want, c, size, b, setup, OP_NAN_SHOWS);
                op_run_free(want);
            }
        }
    backend_close(ref);
    backend_close(b);
}

static int run_table(int argc, char **argv) {
    cases = argc > 1 && strcmp(argv[1], "padding") == 0 ? padding_cases : op_table(argc > 1 ? argv[1] : "");
    if (!cases) {
        fprintf(stderr, "usage: %s TABLE [PATTERN]\n", argv[0]);
        return 2;
    }
    if (argc > 2) cmocka_set_test_filter(argv[2]);
    const struct CMUnitTest tests[] = {TEST(test_cuda_matches_reference), TEST(test_cuda_ignores_order),
                                       TEST(test_cuda_shows_nan)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

TEST_FILE(run_table)

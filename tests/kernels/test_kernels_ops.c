// Every op of the CPU backend against the reference, on each copy that this machine can run; with other numbers of
// threads; with a NaN in each input. The argument names the table of op cases (op_table.h).
#include <stdlib.h>

#include "op_table.h"
#include "test.h"

static const OpCase *cases; // the table, up to an op without a name

static Backend *open_backend(const char *device, const char *isa, int threads) {
    Err err;
    Backend *b = NULL;
    if (isa) setenv("LORAC_ISA", isa, 1);
    ASSERT_OK(backend_open(&b, device, threads, &err), &err);
    unsetenv("LORAC_ISA");
    return b;
}

static const char *const all_isas[] = {"base", "v3", "v4"};

// Runs a case on `b` and fails unless it agrees with `want`.
static void check_against(const OpRun *want, const OpCase *c, const OpSize *size, Backend *b, int poison, OpRule rule) {
    char message[512], sizes[256];
    OpRun *got = op_run(c, size, b, (OpSetup){.poison = poison});
    if (!op_agree(want, got, rule, message, sizeof message)) {
        op_size_text(size, sizes, sizeof sizes);
        fail_msg("%s on %s, %d threads, poisoned input %d: %s\n  %s", c->name, b->k->name, b->threads, poison, message,
                 sizes);
    }
    op_run_free(got);
}

// The reference must be finite without poison, or NaN would agree with NaN.
static void test_kernels_match_reference(void **state) {
    (void)state;
    Backend *ref = open_backend("ref", NULL, 1);
    for (const OpCase *c = cases; c->name; c++)
        for (int s = 0; s < c->n_sizes; s++) {
            OpRun *want = op_run(c, c->sizes + s, ref, OP_PLAIN);
            for (size_t i = 0; i < sizeof all_isas / sizeof *all_isas; i++) {
                if (!kernels_cpu(all_isas[i])) continue;
                Backend *b = open_backend("cpu", all_isas[i], 1);
                check_against(want, c, c->sizes + s, b, -1, OP_WITHIN_TOLERANCE);
                backend_close(b);
            }
            op_run_free(want);
        }
    backend_close(ref);
}

static void test_kernels_ignore_threads(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof all_isas / sizeof *all_isas; i++) {
        if (!kernels_cpu(all_isas[i])) continue;
        Backend *one = open_backend("cpu", all_isas[i], 1), *two = open_backend("cpu", all_isas[i], 2);
        Backend *three = open_backend("cpu", all_isas[i], 3);
        for (const OpCase *c = cases; c->name; c++)
            for (int s = 0; s < c->n_sizes; s++) {
                OpRun *want = op_run(c, c->sizes + s, one, OP_PLAIN);
                check_against(want, c, c->sizes + s, two, -1, OP_SAME_BITS);
                check_against(want, c, c->sizes + s, three, -1, OP_SAME_BITS);
                op_run_free(want);
            }
        backend_close(one);
        backend_close(two);
        backend_close(three);
    }
}

// A NaN in each random input in turn, at the sizes that are quick on the reference.
static void test_kernels_show_nan(void **state) {
    (void)state;
    Backend *ref = open_backend("ref", NULL, 1), *cpu = open_backend("cpu", NULL, 2);
    for (const OpCase *c = cases; c->name; c++)
        for (int s = 0; s < c->n_sizes; s++) {
            const OpSize *size = c->sizes + s;
            if (size->t > 100 || size->no_dx || size->no_da || size->no_db) continue; // without an output NaN may rest
            OpRun *want = op_run(c, c->sizes + s, ref, OP_PLAIN);
            int inputs = want->n_inputs;
            op_run_free(want);
            for (int poison = 0; poison < inputs; poison++) {
                want = op_run(c, c->sizes + s, ref, (OpSetup){.poison = poison});
                if (!op_shows_nan(want)) fail_msg("%s on ref hides a NaN in input %d", c->name, poison);
                check_against(want, c, c->sizes + s, cpu, poison, OP_NAN_SHOWS);
                op_run_free(want);
            }
        }
    backend_close(ref);
    backend_close(cpu);
}

static int run_table(int argc, char **argv) {
    cases = op_table(argc > 1 ? argv[1] : "");
    if (!cases) {
        fprintf(stderr, "usage: %s TABLE [PATTERN]\n", argv[0]);
        return 2;
    }
    if (argc > 2) cmocka_set_test_filter(argv[2]);
    const struct CMUnitTest tests[] = {TEST(test_kernels_match_reference), TEST(test_kernels_ignore_threads),
                                       TEST(test_kernels_show_nan)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

TEST_FILE(run_table)

// Every op of the CPU backend against the reference, on each copy that this machine can run; with other numbers of
// threads; with a NaN in each input. The argument names the table of op cases (op_table.h).
#include <stdlib.h>

#include "op_table.h"
#include "test.h"

static const OpCase *cases; // the table, up to an op without a name

// A copy of the CPU backend (cpu.h).
typedef struct Copy {
    DType activation;
    MatmulPrecision precision;
    const char *isa;
} Copy;
static const Copy copies[] = {
    {DTYPE_F32, PRECISION_HIGHEST, "base"},     {DTYPE_F32, PRECISION_HIGHEST, "v3"},
    {DTYPE_F32, PRECISION_HIGHEST, "v4"},       {DTYPE_BF16, PRECISION_HIGHEST, "avx512_bf16"},
    {DTYPE_F32, PRECISION_HIGH, "avx512_bf16"}, {DTYPE_F32, PRECISION_MEDIUM, "avx512_bf16"},
    {DTYPE_BF16, PRECISION_HIGHEST, "amx"},     {DTYPE_F32, PRECISION_HIGH, "amx"},
    {DTYPE_F32, PRECISION_MEDIUM, "amx"}};
enum { N_COPIES = sizeof copies / sizeof *copies };

static Backend *open_backend(const char *device, Copy copy, int threads) {
    Err err;
    Backend *b = NULL;
    BackendOptions o = {
        .device = device, .activation = copy.activation, .precision = copy.precision, .threads = threads};
    if (copy.isa) setenv("LORAC_ISA", copy.isa, 1);
    ASSERT_OK(backend_open_with(&b, &o, &err), &err);
    unsetenv("LORAC_ISA");
    return b;
}

static bool runs_here(Copy copy) { return kernels_cpu(copy.activation, copy.precision, copy.isa); }

// Runs a case on `b` and fails unless it agrees with `want`.
static void check_against(const OpRun *want, const OpCase *c, const OpSize *size, Backend *b, int poison, OpRule rule) {
    char message[512], sizes[256];
    OpRun *got = op_run(c, size, b, (OpSetup){.poison = poison, .activation = b->activation});
    if (!op_agree(want, got, rule, message, sizeof message)) {
        op_size_text(size, sizes, sizeof sizes);
        fail_msg("%s on %s, %d threads, poisoned input %d: %s\n  %s", c->name, b->k->name, b->threads, poison, message,
                 sizes);
    }
    op_run_free(got);
}

// With a kept copy of W: the same bits.
static void check_kept(const OpCase *c, OpSize size, Backend *b) {
    OpSetup setup = {.poison = -1, .activation = b->activation};
    size.kept = false;
    OpRun *want = op_run(c, &size, b, setup);
    size.kept = true;
    check_against(want, c, &size, b, -1, OP_SAME_BITS);
    op_run_free(want);
}

static void test_kernels_kept_copies_change_no_bit(void **state) {
    (void)state;
    for (int i = 0; i < N_COPIES; i++) {
        if (!runs_here(copies[i])) continue;
        Backend *b = open_backend("cpu", copies[i], 2);
        for (const OpCase *c = cases; c->name; c++)
            for (int s = 0; s < c->n_sizes && strncmp(c->name, "linear_", 7) == 0; s++) check_kept(c, c->sizes[s], b);
        backend_close(b);
    }
}

static void each_forward(Backend *b, const LinearCall *calls, size_t n, const Weight *w, void *ws) {
    for (size_t i = 0; i < n; i++) b->k->linear_forward(b, calls[i].out, calls[i].in, w, calls[i].residual, ws);
}

static void each_backward(Backend *b, const LinearCall *calls, size_t n, const Weight *w, void *ws) {
    for (size_t i = 0; i < n; i++) b->k->linear_backward(b, calls[i].out, calls[i].in, w, calls[i].residual.data, ws);
}

// Parts in one call or each in its own: the same bits. Some parts have few rows, which are dot products.
static void check_parts(const OpCase *c, const OpSize *size, Backend *b) {
    const Kernels *own = b->k;
    Kernels each = *own;
    OpRun *want = op_run(c, size, b, (OpSetup){.poison = -1, .activation = b->activation});
    each.linears_forward = each_forward;
    each.linears_backward = each_backward;
    b->k = &each;
    check_against(want, c, size, b, -1, OP_SAME_BITS);
    b->k = own;
    op_run_free(want);
}

static void test_kernels_parts_change_no_bit(void **state) {
    (void)state;
    static const OpSize tall = {.t = 12, .n = 17000, .k = 288, .dtype = DTYPE_Q8_0, .accumulate = true};
    for (int i = 0; i < N_COPIES; i++) {
        if (!runs_here(copies[i])) continue;
        Backend *b = open_backend("cpu", copies[i], 2);
        for (const OpCase *c = cases; c->name; c++) {
            if (strncmp(c->name, "linears_", 8) != 0) continue;
            for (int s = 0; s < c->n_sizes; s++) check_parts(c, c->sizes + s, b);
            check_parts(c, &tall, b);
        }
        backend_close(b);
    }
}

// W has more rows than a panel of it holds (matmul_cpu.c).
static void test_kernels_tall_weight(void **state) {
    (void)state;
    OpSize tall = {.t = 3, .n = 20001, .k = 288, .dtype = DTYPE_Q8_0, .accumulate = true};
    Backend *ref = open_backend("ref", (Copy){0}, 1);
    for (const OpCase *c = cases; c->name; c++)
        for (int i = 0; i < N_COPIES && strcmp(c->name, "linear_backward") == 0; i++) {
            if (!runs_here(copies[i])) continue;
            Backend *b = open_backend("cpu", copies[i], 2);
            OpRun *want = op_run(c, &tall, ref, (OpSetup){.poison = -1, .activation = b->activation});
            check_against(want, c, &tall, b, -1, OP_WITHIN_TOLERANCE);
            op_run_free(want);
            check_kept(c, tall, b);
            backend_close(b);
        }
    backend_close(ref);
}

// Each copy with activations of a type against the reference, which must be finite without poison, or NaN would agree
// with NaN.
static void check_copies(const OpCase *c, const OpSize *size, Backend *ref, DType activation) {
    OpRun *want = op_run(c, size, ref, (OpSetup){.poison = -1, .activation = activation});
    for (int i = 0; i < N_COPIES; i++) {
        if (copies[i].activation != activation || !runs_here(copies[i])) continue;
        Backend *b = open_backend("cpu", copies[i], 1);
        check_against(want, c, size, b, -1, OP_WITHIN_TOLERANCE);
        backend_close(b);
    }
    op_run_free(want);
}

static void test_kernels_match_reference(void **state) {
    (void)state;
    Backend *ref = open_backend("ref", (Copy){0}, 1);
    for (const OpCase *c = cases; c->name; c++)
        for (int s = 0; s < c->n_sizes; s++) {
            check_copies(c, c->sizes + s, ref, DTYPE_F32);
            if (runs_here((Copy){DTYPE_BF16, PRECISION_HIGHEST, NULL})) check_copies(c, c->sizes + s, ref, DTYPE_BF16);
        }
    backend_close(ref);
}

static void test_kernels_ignore_threads(void **state) {
    (void)state;
    for (int i = 0; i < N_COPIES; i++) {
        if (!runs_here(copies[i])) continue;
        Backend *one = open_backend("cpu", copies[i], 1), *two = open_backend("cpu", copies[i], 2);
        Backend *three = open_backend("cpu", copies[i], 3);
        for (const OpCase *c = cases; c->name; c++)
            for (int s = 0; s < c->n_sizes; s++) {
                OpRun *want = op_run(c, c->sizes + s, one, (OpSetup){.poison = -1, .activation = one->activation});
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
static void check_nan(const OpCase *c, const OpSize *size, Backend *ref, Backend *cpu) {
    OpRun *want = op_run(c, size, ref, OP_PLAIN);
    int inputs = want->n_inputs;
    op_run_free(want);
    for (int poison = 0; poison < inputs; poison++) {
        want = op_run(c, size, ref, (OpSetup){.poison = poison, .activation = cpu->activation});
        if (!op_shows_nan(want)) fail_msg("%s on ref hides a NaN in input %d", c->name, poison);
        check_against(want, c, size, cpu, poison, OP_NAN_SHOWS);
        op_run_free(want);
    }
}

static void test_kernels_show_nan(void **state) {
    (void)state;
    static const Copy best[] = {{DTYPE_F32, PRECISION_HIGHEST, NULL},
                                {DTYPE_BF16, PRECISION_HIGHEST, NULL},
                                {DTYPE_F32, PRECISION_HIGH, NULL},
                                {DTYPE_F32, PRECISION_MEDIUM, NULL}};
    Backend *ref = open_backend("ref", (Copy){0}, 1);
    for (size_t i = 0; i < sizeof best / sizeof *best; i++) {
        if (!runs_here(best[i])) continue;
        Backend *cpu = open_backend("cpu", best[i], 2);
        for (const OpCase *c = cases; c->name; c++)
            for (int s = 0; s < c->n_sizes; s++) {
                const OpSize *size = c->sizes + s;
                if (size->t > 100 || size->no_dx || size->no_da || size->no_db) continue; // NaN may have no output
                check_nan(c, size, ref, cpu);
            }
        backend_close(cpu);
    }
    backend_close(ref);
}

static int run_table(int argc, char **argv) {
    cases = op_table(argc > 1 ? argv[1] : "");
    if (!cases) {
        fprintf(stderr, "usage: %s TABLE [PATTERN]\n", argv[0]);
        return 2;
    }
    if (argc > 2) cmocka_set_test_filter(argv[2]);
    const struct CMUnitTest tests[] = {TEST(test_kernels_match_reference),
                                       TEST(test_kernels_ignore_threads),
                                       TEST(test_kernels_kept_copies_change_no_bit),
                                       TEST(test_kernels_parts_change_no_bit),
                                       TEST(test_kernels_tall_weight),
                                       TEST(test_kernels_show_nan)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

TEST_FILE(run_table)

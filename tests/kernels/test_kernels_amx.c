// The backends for AMX against the reference: every op that multiplies, in bf16 and in float32 with precision high and
// medium; on emulated tile registers (amx_on_cpu.h) and, where this machine has them, on real ones.
#include "op_table.h"
#include "test.h"

extern const Kernels cpu_amx_emulated_kernels, cpu_amx_high_emulated_kernels, cpu_amx_medium_emulated_kernels;

static const struct {
    const Kernels *emulated;
    DType activation;
    MatmulPrecision precision;
} copies[] = {{&cpu_amx_emulated_kernels, DTYPE_BF16, PRECISION_HIGHEST},
              {&cpu_amx_high_emulated_kernels, DTYPE_F32, PRECISION_HIGH},
              {&cpu_amx_medium_emulated_kernels, DTYPE_F32, PRECISION_MEDIUM}};

static void check_table_on(const char *name, Backend amx) {
    Backend ref = {.k = &kernels_ref, .threads = 1, .host_memory = true};
    OpSetup setup = {.poison = -1, .activation = amx.activation};
    for (const OpCase *c = op_table(name); c->name; c++)
        for (int s = 0; s < c->n_sizes; s++) {
            char message[512], sizes[256];
            OpRun *want = op_run(c, c->sizes + s, &ref, setup), *got = op_run(c, c->sizes + s, &amx, setup);
            if (!op_agree(want, got, OP_WITHIN_TOLERANCE, message, sizeof message)) {
                op_size_text(c->sizes + s, sizes, sizeof sizes);
                fail_msg("%s on %s: %s\n  %s", c->name, amx.k->name, message, sizes);
            }
            op_run_free(want);
            op_run_free(got);
        }
}

static void check_table(const char *name) {
    for (size_t i = 0; i < sizeof copies / sizeof *copies; i++) {
        const Kernels *tables[] = {copies[i].emulated, kernels_cpu(copies[i].activation, copies[i].precision, "amx")};
        for (int real = 0; real < 2 && tables[real]; real++)
            check_table_on(name, (Backend){.k = tables[real],
                                           .threads = 2,
                                           .activation = copies[i].activation,
                                           .precision = copies[i].precision,
                                           .host_memory = true});
    }
}

static void test_amx_products(void **state) {
    (void)state;
    check_table("matmul");
}

static void test_amx_attention(void **state) {
    (void)state;
    check_table("attention");
}

static void test_amx_experts(void **state) {
    (void)state;
    check_table("moe");
}

TEST_MAIN(TEST(test_amx_products), TEST(test_amx_attention), TEST(test_amx_experts))

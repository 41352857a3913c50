// The backends for AMX on emulated tile registers (amx_on_cpu.h) against the reference: every op that multiplies, in
// bf16 and in float32 with precision high and medium.
#include "op_table.h"
#include "test.h"

extern const Kernels cpu_amx_emulated_kernels, cpu_amx_high_emulated_kernels, cpu_amx_medium_emulated_kernels;

static const Backend copies[] = {
    {.k = &cpu_amx_emulated_kernels, .threads = 2, .activation = DTYPE_BF16, .host_memory = true},
    {.k = &cpu_amx_high_emulated_kernels, .threads = 2, .precision = PRECISION_HIGH, .host_memory = true},
    {.k = &cpu_amx_medium_emulated_kernels, .threads = 2, .precision = PRECISION_MEDIUM, .host_memory = true}};

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
    for (size_t i = 0; i < sizeof copies / sizeof *copies; i++) check_table_on(name, copies[i]);
}

static void test_amx_products(void **state) {
    (void)state;
    check_table("matmul");
    check_table("head");
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

// What `lorac plan` says is what a run then takes; it reads no weight.
#include "run_device.h"
#include "run_plan.h"
#include "spawn.h"
#include "test.h"
#include "tiny_model.h"
#include "tiny_run.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { N_LEVELS = RECOMPUTE_BLOCKS + 1 };
static const char *const LEVELS[N_LEVELS] = {"--gradient_checkpointing=false", "--gradient_checkpointing=ffn",
                                             "--gradient_checkpointing=blocks"};

static void test_plan_is_what_a_run_takes(void **state) {
    (void)state;
    for (int level = 0; level < N_LEVELS; level++) {
        TinyRun r;
        RunPlan p;
        Err err;
        const char *words[] = {"--max_seq_length=192", LEVELS[level], "--quantize_base=int8"};
        tiny_run_open(&r, 0, words, level == 0 ? 2 : 3);
        ASSERT_OK(run_plan_open(&p, &r.config, 1, NULL, &err), &err);
        assert_int_equal(p.chosen, level);
        assert_int_equal(p.base, r.model->weight_bytes);
        assert_int_equal(p.levels[level].arena, r.trainer->runner->arena_bytes);
        size_t steps = p.base + p.adapter_state + p.others + p.levels[level].arena;
        assert_int_equal(p.levels[level].total, steps > p.levels[level].end ? steps : p.levels[level].end);
        assert_true(p.levels[level].tokens_per_second > 0);
        for (int i = 1; i < N_LEVELS; i++) assert_true(p.levels[i].arena <= p.levels[i - 1].arena);
        run_plan_close(&p);
        tiny_run_close(&r);
    }
}

// The lightest level that fits; none: chosen stays -1.
static void test_plan_chooses_as_a_run_does(void **state) {
    (void)state;
    TinyRun r;
    RunPlan all, p;
    Err err;
    tiny_run_open(&r, 1, NULL, 0);
    ASSERT_OK(run_plan_open(&all, &r.config, 1, NULL, &err), &err);
    assert_int_equal(all.chosen, RECOMPUTE_NONE);
    r.config.max_memory = (int64_t)(all.base + all.adapter_state) / 2;
    ASSERT_OK(run_plan_open(&p, &r.config, 1, NULL, &err), &err);
    assert_int_equal(p.chosen, -1);
    assert_int_equal(p.budget.limit, (size_t)r.config.max_memory);
    run_plan_close(&p);
    run_plan_close(&all);
    tiny_run_close(&r);
}

// A GPU that is not there: bf16 halves what float32 takes, and a card that is too small refuses.
static void test_plan_for_a_named_gpu(void **state) {
    (void)state;
    TinyRun r;
    RunPlan wide, narrow;
    Err err;
    GpuSpec small = *gpu_by_key("rtx4090");
    tiny_run_open(&r, 1, NULL, 0);
    ASSERT_OK(run_plan_open(&narrow, &r.config, 1, gpu_by_key("h100"), &err), &err);
    assert_int_equal(narrow.chosen, RECOMPUTE_NONE);
    assert_true(narrow.levels[RECOMPUTE_NONE].tokens_per_second > 0);
    assert_true(narrow.levels[RECOMPUTE_OFFLOAD].offloaded > 0);
    Config f32 = r.config;
    f32.dtype = DTYPE_WORD_F32;
    ASSERT_OK(run_plan_open(&wide, &f32, 1, gpu_by_key("h100"), &err), &err);
    assert_true(wide.levels[0].arena > narrow.levels[0].arena && wide.levels[0].arena <= 2 * narrow.levels[0].arena);
    run_plan_close(&wide);
    run_plan_close(&narrow);
    small.memory = 400e6; // less than CUDA itself takes
    ASSERT_OK(run_plan_open(&narrow, &r.config, 1, &small, &err), &err);
    assert_int_equal(narrow.chosen, -1);
    run_plan_close(&narrow);
    tiny_run_close(&r);
}

// A pass of a row leaves a GPU idle: as many rows at once as make up 8 to 16 thousand tokens, with the same steps.
static void test_plan_suggests_a_batch(void **state) {
    (void)state;
    static const struct {
        const char *gpu;
        int64_t batch, accumulation, want, then;
    } cases[] = {{"h100", 1, 64, 64, 1},
                 {"h100", 2, 48, 48, 2},
                 {"h100", 64, 1, 0, 0},
                 {"h100", 1, 1, 0, 0},
                 {NULL, 1, 64, 0, 0}};
    TinyRun r;
    tiny_run_open(&r, 1, NULL, 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Config c = r.config; // without data: rows of max_seq_length tokens, as many as a step takes
        Err err;
        RunPlan p;
        c.train_file.count = 0;
        c.max_seq_length = 192;
        c.max_steps = 10;
        c.per_device_train_batch_size = cases[i].batch;
        c.gradient_accumulation_steps = cases[i].accumulation;
        ASSERT_OK(run_plan_open(&p, &c, 1, cases[i].gpu ? gpu_by_key(cases[i].gpu) : NULL, &err), &err);
        assert_int_equal(p.hint.batch, cases[i].want);
        assert_int_equal(p.hint.accumulation, cases[i].then);
        if (p.hint.batch) assert_true(p.hint.same_steps && p.hint.new_tokens == 192 * p.hint.batch);
        run_plan_close(&p);
    }
    tiny_run_close(&r);
}

// The same memory on each, so many times the rows of a step.
static void test_plan_for_several_gpus(void **state) {
    (void)state;
    TinyRun r;
    RunPlan p;
    Err err;
    static const struct {
        const char *gpu;
        int64_t num_gpus;
        int gpus;
    } cases[] = {{"h100", 1, 1}, {"h100", 4, 4}, {"h100", NUM_GPUS_ALL, 1}, {NULL, 4, 1}};
    tiny_run_open(&r, 1, NULL, 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        r.config.num_gpus = cases[i].num_gpus;
        ASSERT_OK(run_plan_open(&p, &r.config, 1, cases[i].gpu ? gpu_by_key(cases[i].gpu) : NULL, &err), &err);
        assert_int_equal(p.gpus, cases[i].gpus);
        assert_int_equal(p.runs->trainer->plan.rows_per_step, cases[i].gpus * config_global_batch(&r.config));
        run_plan_close(&p);
    }
    tiny_run_close(&r);
}

// A relative of a GPU is not that GPU: what a driver calls cards, by the products' names.
static void test_plan_knows_gpus_by_name(void **state) {
    (void)state;
    static const struct {
        const char *name, *key;
    } cards[] = {{"NVIDIA A100-SXM4-80GB", "a100"},
                 {"NVIDIA A100 80GB PCIe", "a100"},
                 {"NVIDIA A10", "a10"},
                 {"NVIDIA A10G", NULL},
                 {"NVIDIA RTX A6000", "a6000"},
                 {"NVIDIA L4", "l4"},
                 {"NVIDIA L40", NULL},
                 {"NVIDIA L40S", "l40s"},
                 {"NVIDIA GeForce RTX 4090", "rtx4090"},
                 {"NVIDIA GeForce RTX 4090 Laptop GPU", NULL},
                 {"NVIDIA GeForce RTX 3090 Ti", NULL},
                 {"NVIDIA H100 80GB HBM3", "h100"},
                 {"NVIDIA H100 PCIe", NULL},
                 {"NVIDIA H200", "h200"},
                 {"NVIDIA GH200 480GB", NULL},
                 {"NVIDIA A100-SXM4-80GB MIG 1g.10gb", NULL}};
    for (size_t i = 0; i < sizeof cards / sizeof *cards; i++) {
        const GpuSpec *g = gpu_by_name(cards[i].name);
        const char *key = g ? g->key : "none", *want = cards[i].key ? cards[i].key : "none";
        if (strcmp(key, want) != 0) fail_msg("%s: %s, expected %s", cards[i].name, key, want);
    }
    char keys[] = GPU_KEYS;
    for (char *key = strtok(keys, ", "); key; key = strtok(NULL, ", ")) assert_non_null(gpu_by_key(key));
}

// Every weight becomes NaN: a run refuses the model, a plan does not look.
static void test_plan_reads_no_weight(void **state) {
    (void)state;
    TinyRun r;
    RunPlan p;
    Err err;
    char path[128];
    struct stat st;
    tiny_run_open(&r, 1, NULL, 0);
    snprintf(path, sizeof path, "%s/tiny.gguf", tiny_dir);
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    char ones[4096];
    memset(ones, 0xff, sizeof ones);
    for (off_t at = st.st_size / 2; at + (off_t)sizeof ones <= st.st_size; at += (off_t)sizeof ones)
        assert_int_equal(pwrite(fd, ones, sizeof ones, at), sizeof ones);
    close(fd);
    Model *m;
    assert_int_equal(model_load(&m, path, r.backend, NULL, &err), -1);
    assert_non_null(strstr(err.msg, "not finite"));
    ASSERT_OK(run_plan_open(&p, &r.config, 1, NULL, &err), &err);
    run_plan_close(&p);
    tiny_run_close(&r);
}

TEST_MAIN(cmocka_unit_test_setup_teardown(test_plan_is_what_a_run_takes, tiny_dir_setup, tiny_dir_teardown),
          cmocka_unit_test_setup_teardown(test_plan_chooses_as_a_run_does, tiny_dir_setup, tiny_dir_teardown),
          cmocka_unit_test_setup_teardown(test_plan_for_a_named_gpu, tiny_dir_setup, tiny_dir_teardown),
          cmocka_unit_test_setup_teardown(test_plan_suggests_a_batch, tiny_dir_setup, tiny_dir_teardown),
          cmocka_unit_test_setup_teardown(test_plan_for_several_gpus, tiny_dir_setup, tiny_dir_teardown),
          cmocka_unit_test(test_plan_knows_gpus_by_name),
          cmocka_unit_test_setup_teardown(test_plan_reads_no_weight, tiny_dir_setup, tiny_dir_teardown))

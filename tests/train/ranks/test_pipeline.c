// `lorac train` with pipeline_parallel_size on several ranks, each a process: the adapter and the losses of one rank,
// to the bit; other layouts, faults and resumption between them; what is refused.
#include "test.h"

#include "rank_job.h"
#include "tiny_model.h"

static const double AT_ONCE = 5; // seconds: for a busy machine

// The long ones run with PIPELINES=all.
static bool all_are_asked_for(void) { return getenv("PIPELINES") != NULL; }

static void train(int ranks, const char *out, const char *words) {
    RankJob job = job_start(ranks, out, words);
    for (int r = 0; r < ranks; r++) job_expect_end(&job, r, time_now() + 120, 0, "");
}

typedef struct Layout {
    int stages, pipelines;
} Layout;

// Steps of 12 rows on every layout, into directories named by `name`.
static void same_on(const char *name, const char *words, const Layout *layouts, int n) {
    char *one = mem_printf("%s-one", name), *all = mem_printf("model=%s/deep.gguf %s", tiny_dir, words);
    char *first = mem_printf("%s gradient_accumulation_steps=12", all);
    train(1, one, first);
    for (int i = 0; i < n; i++) {
        Layout l = layouts[i];
        char *out = mem_printf("%s-%d-%d", name, l.stages, l.pipelines);
        char *more =
            mem_printf("%s gradient_accumulation_steps=%d pipeline_parallel_size=%d", all, 12 / l.pipelines, l.stages);
        train(l.stages * l.pipelines, out, more);
        if (!job_same_result(one, out)) fail_msg("%s differs from %s", out, one);
        mem_free(out);
        mem_free(more);
    }
    mem_free(one);
    mem_free(all);
    mem_free(first);
}

static void write_model(int64_t experts, int64_t window) {
    TinyModel m = TINY_MODEL;
    char *path = mem_printf("%s/deep.gguf", tiny_dir);
    m.layers = 5, m.experts = experts, m.experts_used = experts ? 2 : 0, m.window = window;
    tiny_model_write(path, &m);
    mem_free(path);
}

#define WORDS "num_train_epochs=2 eval_steps=2 save_steps=2"

static void test_pipelines_have_the_bits_of_one_rank(void **state) {
    (void)state;
    static const Layout layouts[] = {{2, 1}, {2, 2}};
    write_model(0, 0);
    same_on("plain", WORDS, layouts, 2);
}

// ---- what a layout may be ----

static void refuse(int ranks, const char *words, int status, const char *part) {
    char *all = mem_printf("model=%s/deep.gguf %s", tiny_dir, words);
    RankJob job = job_start(ranks, "refused", all);
    job_expect_end(&job, 0, time_now() + 60, status, part);
    for (int r = 1; r < ranks; r++) job_expect_end(&job, r, time_now() + 60, status, "");
    mem_free(all);
}

static void test_pipelines_refuse_other_layouts(void **state) {
    (void)state;
    write_model(0, 0);
    refuse(3, "pipeline_parallel_size=2", 2,
           "pipeline_parallel_size: 2, with 3 ranks; expected a divisor of 3: the nearest is 1");
    refuse(1, "pipeline_parallel_size=4", 2,
           "pipeline_parallel_size: 4, with 1 rank; expected a divisor of 1: the nearest is 1");
    refuse(1, "pipeline_parallel_size=2 task=preference", 2, "pipeline_parallel_size: above 1 needs task");
    refuse(1, "pipeline_parallel_size=2 use_dora=true", 2, "use_dora: not with pipeline_parallel_size above 1");
    refuse(2, "pipeline_parallel_size=2 base_memory=disk", 2, "base_memory: with pipeline_parallel_size above 1");
}

// ---- faults ----

// The run of one rank that the faults below interrupt.
static void need_whole(void) {
    static bool made;
    char *words = mem_printf("model=%s/deep.gguf", tiny_dir);
    write_model(0, 0);
    if (!made) train(1, "whole", words);
    made = true;
    mem_free(words);
}

static void resume_and_compare(const char *out, int ranks, const char *words) {
    char *all = mem_printf("model=%s/deep.gguf %s", tiny_dir, words);
    RankJob job = job_start(ranks, out, all);
    for (int r = 0; r < ranks; r++) job_expect_end(&job, r, time_now() + 120, 0, "");
    char *text = job_output(0);
    assert_non_null(strstr(text, "resuming from"));
    assert_true(job_same_result("whole", out));
    mem_free(text);
    mem_free(all);
}

// Each rank of 2 x 2 is killed once; another layout goes on.
static void test_pipelines_survive_a_kill(void **state) {
    (void)state;
    if (!all_are_asked_for()) skip();
    static const struct {
        int victim, ranks;
        const char *words;
    } cases[] = {{0, 1, "gradient_accumulation_steps=12"},
                 {1, 4, "gradient_accumulation_steps=12 pipeline_parallel_size=4"},
                 {2, 2, "gradient_accumulation_steps=6"},
                 {3, 4, "gradient_accumulation_steps=6 pipeline_parallel_size=2"}};
    need_whole();
    for (int c = 0; c < 4; c++) {
        char *out = mem_printf("killed-%d", c), who[96];
        char *words = mem_printf("model=%s/deep.gguf gradient_accumulation_steps=6 pipeline_parallel_size=2", tiny_dir);
        RankJob job = job_start(4, out, words);
        int victim = cases[c].victim;
        snprintf(who, sizeof who, ", stage %d of 2, process %d) exited unexpectedly; ", victim / 2,
                 (int)job.pids[victim]);
        job_wait_for_steps(&job, 9);
        kill(job.pids[victim], SIGKILL);
        double deadline = time_now() + AT_ONCE;
        for (int r = 0; r < 4; r++)
            job_expect_end(&job, r, deadline, r == victim ? 256 + SIGKILL : 1, r == victim ? "" : who);
        resume_and_compare(out, cases[c].ranks, cases[c].words);
        mem_free(out);
        mem_free(words);
    }
}

static void test_a_signal_stops_all_stages(void **state) {
    (void)state;
    if (!all_are_asked_for()) skip();
    need_whole();
    char *words = mem_printf("model=%s/deep.gguf gradient_accumulation_steps=12 pipeline_parallel_size=3", tiny_dir);
    RankJob job = job_start(3, "stopped", words);
    job_wait_for_steps(&job, 5);
    kill(job.pids[1], SIGTERM);
    for (int r = 0; r < 3; r++) job_expect_end(&job, r, time_now() + 60, EXIT_INTERRUPTED, "");
    resume_and_compare("stopped", 1, "gradient_accumulation_steps=12");
    mem_free(words);
}

static void test_a_stage_that_hangs_ends_the_others(void **state) {
    (void)state;
    if (!all_are_asked_for()) skip();
    write_model(0, 0);
    char *words = mem_printf("model=%s/deep.gguf pipeline_parallel_size=2 ddp_timeout=3", tiny_dir);
    RankJob job = job_start(2, "hangs", words);
    job_wait_for_steps(&job, 3);
    kill(job.pids[1], SIGSTOP);
    job_expect_end(&job, 0, time_now() + 3 + AT_ONCE, 1, ", stage 1 of 2, process ");
    job_kill(&job);
    mem_free(words);
}

// ---- the table ----

static void test_pipelines_table(void **state) {
    (void)state;
    if (!all_are_asked_for()) skip();
    static const Layout layouts[] = {{2, 1}, {3, 1}, {4, 1}, {2, 2}, {1, 2}};
    static const struct {
        const char *name, *words;
        int experts, window;
    } cases[] = {
        {"blocks", WORDS " gradient_checkpointing=blocks", 0, 0},
        {"ffn", WORDS " gradient_checkpointing=ffn neftune_noise_alpha=5 lora_target_modules=all-linear", 0, 0},
        {"packing", WORDS " packing=true max_seq_length=128", 0, 0},
        {"windows", WORDS " lora_target_modules=all-linear", 0, 4},
        {"experts", WORDS, 4, 0},
        {"top", WORDS " layers_to_transform=[3,4]", 0, 0},
        {"bottom", WORDS " layers_to_transform=[0] load_best_model_at_end=true", 0, 0},
        {"int8", WORDS " quantize_base=int8 quantize_head=int8", 0, 0},
        {"clipped", WORDS " max_grad_norm=0.1 logging_steps=2", 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_model(cases[i].experts, cases[i].window);
        same_on(cases[i].name, cases[i].words, layouts, sizeof layouts / sizeof *layouts);
    }
}

// Token ids below those families' 64.
static char *write_small_ids(void) {
    char *path = mem_printf("%s/small.jsonl", tiny_dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (int i = 0; i < 24; i++) {
        fprintf(f, "{\"input_ids\": [");
        for (int k = 0; k < 10 + i; k++) fprintf(f, "%s%d", k ? ", " : "", (k * 7 + i * 5) % 60);
        fprintf(f, "]}\n");
    }
    fclose(f);
    return path;
}

// Families of other layers, in the tests' own folders.
static void test_pipelines_of_families(void **state) {
    (void)state;
    if (!all_are_asked_for()) skip();
    static const Layout two[] = {{2, 1}, {2, 2}}, four[] = {{2, 1}, {4, 1}};
    static const char *const names[] = {"gemma3", "cohere2", "mixtral", "qwen3moe"};
    char *data = write_small_ids();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *words =
            mem_printf(WORDS " model=%s/golden/families/%s/base.gguf train_file=%s", TEST_DIR, names[i], data);
        same_on(names[i], words, i < 2 ? four : two, 2);
        mem_free(words);
    }
    mem_free(data);
}

static int set_up(void **state) { return tiny_dir_setup(state); }

TEST_MAIN_WITH(set_up, tiny_dir_teardown, TEST(test_pipelines_have_the_bits_of_one_rank),
               TEST(test_pipelines_refuse_other_layouts), TEST(test_pipelines_survive_a_kill),
               TEST(test_a_signal_stops_all_stages), TEST(test_a_stage_that_hangs_ends_the_others),
               TEST(test_pipelines_table), TEST(test_pipelines_of_families))

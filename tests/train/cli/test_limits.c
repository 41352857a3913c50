// The limits of a model: each number that a file chooses at its largest, its smallest and at odd sizes, with everything
// else tiny. Such a model trains a step, is evaluated and generates; one beyond the limit is refused in one line that
// names the key. Run on a build with sanitizers this shows whatever is sized by a constant and indexed by a file.
#include "cli_runner.h"
#include "path.h"
#include "tiny_model.h"

typedef struct Limit {
    TinyModel model;     // where a number is 0: as in `small`
    const char *words;   // of the training besides
    const char *refusal; // NULL: it works
} Limit;

static const TinyModel small = {
    .layers = 1, .hidden = 8, .heads = 2, .kv_heads = 1, .ffn = 16, .context = 64, .seed = 3, .scale = 0.1f};

static TinyModel filled(const TinyModel *m) {
    TinyModel full = *m;
    int64_t *const to[] = {&full.layers, &full.hidden, &full.heads, &full.kv_heads, &full.ffn, &full.context};
    const int64_t from[] = {small.layers, small.hidden, small.heads, small.kv_heads, small.ffn, small.context};
    for (size_t i = 0; i < sizeof to / sizeof *to; i++)
        if (!*to[i]) *to[i] = from[i];
    full.seed = small.seed;
    full.scale = small.scale;
    return full;
}

static void check(const Limit *l) {
    TinyModel m = filled(&l->model);
    char *train = mem_printf("train c.json %s", l->words ? l->words : "");
    put("c.json", "{\"model_name_or_path\": \"m.gguf\", \"train_file\": \"d.jsonl\", \"validation_file\": \"d.jsonl\","
                  " \"output_dir\": \"out\", \"max_seq_length\": 48, \"max_steps\": 1, \"save_steps\": 1,"
                  " \"device\": \"cpu\", \"lora_r\": 2, \"lora_target_modules\": \"all-linear\"}");
    tiny_model_write("m.gguf", &m);
    if (l->refusal) {
        char *got = run(train, 2), *at = strstr(got, "\nlorac: "), *line = at ? at + 1 : got, *end = strchr(line, '\n');
        if (strncmp(line, "lorac: ", 7) != 0 || !strstr(line, l->refusal) || !end || end[1])
            fail_msg("\"%s\": \"%s\"; expected one line with \"%s\"", train, line, l->refusal);
        mem_free(got);
    } else {
        Err err;
        mem_free(run(train, 0));
        mem_free(run("generate --model_name_or_path m.gguf --adapter_name_or_path out/adapter --prompt hello"
                     " --max_new_tokens 3",
                     0));
        ASSERT_OK(dir_remove("out", &err), &err);
    }
    mem_free(train);
}

// Rows of several samples, one of a single token's answer, one whose answer is the only scored position.
static void put_data(void) {
    put("d.jsonl", "{\"input_ids\": [104, 101, 108, 108, 111]}\n"
                   "{\"input_ids\": [97, 98], \"labels\": [-100, 98]}\n"
                   "{\"input_ids\": [97, 98, 99, 100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112, 113],"
                   " \"labels\": [-100, -100, -100, -100, -100, -100, -100, -100, -100, -100, -100, -100, -100, -100,"
                   " -100, -100, 113]}\n");
}

static void check_all(const Limit *limits, size_t n) {
    put_data();
    for (size_t i = 0; i < n; i++) check(&limits[i]);
}
#define CHECK_ALL(limits) check_all(limits, sizeof(limits) / sizeof *(limits))

static void test_limits_of_heads(void **state) {
    (void)state;
    static const Limit limits[] = {
        {{.heads = 64, .head_size = 2}, NULL, NULL}, // a block of queries in attention_cpu.h
        {{.heads = 65, .head_size = 2}, NULL, NULL},
        {{.heads = 1024, .head_size = 2}, NULL, NULL},
        {{.heads = 1024, .kv_heads = 1024, .head_size = 2}, NULL, NULL},
        {{.heads = 1025, .head_size = 2}, NULL, "attention.head_count is 1025; expected 1 to 1024"},
        {{.heads = 2, .kv_heads = 1025, .head_size = 2}, NULL, "attention.head_count_kv is 1025; expected 1 to 1024"},
        {{.heads = 6, .kv_heads = 4, .head_size = 2}, NULL, "expected a multiple"},
        {{.heads = 1, .head_size = 1024}, NULL, NULL},
        {{.heads = 3, .kv_heads = 3, .head_size = 254}, NULL, NULL},
        {{.heads = 1, .head_size = 1026}, NULL, "attention.key_length is 1026; expected 2 to 1024"},
        {{.heads = 1, .head_size = 1}, NULL, "attention.key_length is 1; expected 2 to 1024"},
        {{.heads = 1, .head_size = 7}, NULL, "expected the same even size"},
    };
    CHECK_ALL(limits);
}

static void test_limits_of_sizes(void **state) {
    (void)state;
    static const Limit limits[] = {
        {{.layers = 40, .ffn = 1}, NULL, NULL},
        {{.layers = 1025, .ffn = 1}, NULL, "block_count is 1025; expected 1 to 1024"},
        {{.hidden = 2, .head_size = 2}, NULL, NULL},
        {{.hidden = 3, .head_size = 2}, NULL, NULL},
        {{.hidden = 1, .head_size = 2}, NULL, "embedding_length is 1; expected 2 to 262144"},
        {{.hidden = 8191, .heads = 1, .head_size = 2, .ffn = 3}, NULL, NULL},
        {{.ffn = 1}, NULL, NULL},
        {{.ffn = 31}, NULL, NULL},
        {{.ffn = 1 << 18}, "--target_modules q_proj", NULL},
        {{.ffn = (1 << 18) + 1}, NULL, "feed_forward_length is 262145; expected 1 to 262144"},
        {{.window = 1}, NULL, NULL},
        {{.window = 3}, NULL, NULL},
        {{.window = 1 << 24}, NULL, NULL},
        {{.window = (1 << 24) + 1}, NULL, "attention.sliding_window is 16777217; expected 0 to 16777216"},
        {{.context = 1 << 24}, NULL, NULL},
        {{.context = (1 << 24) + 1}, NULL, "context_length is 16777217; expected 1 to 16777216"},
        {{.more_tokens = 4096}, NULL, NULL}, // an odd vocabulary of several panels
        {{.more_tokens = 100002}, NULL, NULL},
    };
    CHECK_ALL(limits);
}

// Half a minute: a training run lists and places thousands of weights.
static void test_limits_long_layers(void **state) {
    (void)state;
    static const Limit limits[] = {{{.layers = 1024, .ffn = 1}, "--target_modules q_proj", NULL}};
    CHECK_ALL(limits);
}

static void test_limits_of_experts(void **state) {
    (void)state;
#define EXPERTS "--target_modules q_proj"
    static const Limit limits[] = {
        {{.experts = 1, .experts_used = 1}, EXPERTS, NULL},
        {{.experts = 7, .experts_used = 7, .ffn = 3}, EXPERTS, NULL},
        {{.experts = 300, .experts_used = 300, .ffn = 2}, EXPERTS, NULL},
        {{.experts = 4096, .experts_used = 33, .ffn = 1}, EXPERTS, NULL},
        {{.experts = 4097, .experts_used = 2, .ffn = 1}, EXPERTS, "expert_count is 4097; expected 0 to 4096"},
        {{.experts = 4, .experts_used = 5}, EXPERTS, "expert_used_count is 5; expected 1 to 4"},
    };
    CHECK_ALL(limits);
}

static void test_limits_of_ranks_and_rows(void **state) {
    (void)state;
    static const Limit limits[] = {
        {{0}, "--lora_r 1", NULL},
        {{0}, "--lora_r 7 --lora_dropout 0.5", NULL},
        {{.hidden = 64, .head_size = 64}, "--lora_r 64 --lora_dropout 0.1", NULL},
        {{0}, "--lora_r 65537", "expected"},
        {{0}, "--max_seq_length 2", NULL},
        {{0}, "--max_seq_length 64 --per_device_train_batch_size 16", NULL},
        {{0}, "--label_smoothing_factor 0.1 --neftune_noise_alpha 5", NULL},
    };
    CHECK_ALL(limits);
}

static int run_all(int argc, char **argv) {
    cmocka_set_test_filter(argc > 1 ? argv[1] : "*limits_of*");
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(test_limits_of_heads), SCRATCH_TEST(test_limits_of_sizes), SCRATCH_TEST(test_limits_of_experts),
        SCRATCH_TEST(test_limits_of_ranks_and_rows), SCRATCH_TEST(test_limits_long_layers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

TEST_FILE(run_all)

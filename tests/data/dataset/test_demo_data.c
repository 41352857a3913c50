// The demo's data as transformers sees it: token ids and mask of every held-out conversation, through SmolLM2's own
// tokenizer and chat template. Golden file: tests/golden/make_demo_tokens_golden.py. Needs the base model.
#include "dataset_fixture.h"
#include "gguf.h"
#include "model_file.h"
#include "tokenizer_files.h"

static void check_sample(Sample s, const char *line, int64_t number) {
    for (int64_t i = 0; i < s.count; i++) {
        char *end;
        long id = strtol(line, &end, 10);
        bool supervised = *end == '*';
        if (end == line || id != s.ids[i] || supervised != s.supervised[i])
            fail_msg("conversation %lld, token %lld: got %d%s, transformers has \"%.12s\"", (long long)number,
                     (long long)i, s.ids[i], s.supervised[i] ? "*" : "", line);
        line = end + supervised;
    }
    if (*line) fail_msg("conversation %lld: transformers has more: \"%.40s\"", (long long)number, line);
}

static void test_demo_data_tokens_as_transformers(void **state) {
    (void)state;
    Gguf *g;
    Tokenizer *t;
    ChatTemplate *chat;
    Dataset *d;
    Err err;
    ASSERT_OK(gguf_open(&g, model_file(), &err), &err);
    ASSERT_OK(tokenizer_from_gguf(&t, g, &err), &err);
    ASSERT_OK(chat_template_new(&chat, t, NULL, &err), &err);
    const char *file = SOURCE_DIR "/data/examples/tool_calls_test.jsonl";
    DatasetOptions o = {.files = &file, .n_files = 1, .max_seq_length = 512, .cache_dir = "cache"};
    ASSERT_OK(dataset_open(&d, &o, t, chat, &err), &err);
    Lines golden = lines_open(TEST_DIR "/golden/demo_tokens.txt");
    for (int64_t i = 0; i < d->count; i++) check_sample(dataset_sample(d, i), lines_need(&golden), i);
    assert_null(lines_next(&golden));
    lines_close(&golden);
    dataset_close(d);
    chat_template_free(chat);
    tokenizer_free(t);
    gguf_close(g);
}

static int run_all(int argc, char **argv) {
    (void)argc, (void)argv;
    const struct CMUnitTest tests[] = {SCRATCH_TEST(test_demo_data_tokens_as_transformers)};
    if (!model_file()) {
        printf("skipped: the base model is not there (make model)\n");
        return TEST_SKIPPED;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}

TEST_FILE(run_all)

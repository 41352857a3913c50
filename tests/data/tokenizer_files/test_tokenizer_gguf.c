// tokenizer: SmolLM2's own, from the model file ($LORAC_TEST_MODEL or models/): ids against Hugging Face tokenizers,
// time to load, speed. Skipped without the file.
#include "model_file.h"
#include "tokenizer_files.h"
#include "tokenizer_golden.h"

static Gguf *model;
static Tokenizer *tokenizer;

static int open_model(void **state) {
    (void)state;
    Err err;
    ASSERT_OK(gguf_open(&model, model_file(), &err), &err);
    ASSERT_OK(tokenizer_from_gguf(&tokenizer, model, &err), &err);
    return 0;
}

static int close_model(void **state) {
    (void)state;
    tokenizer_free(tokenizer);
    gguf_close(model);
    return 0;
}

static void test_smollm2_ids_as_reference(void **state) {
    (void)state;
    check_full_ids(tokenizer, "smollm2");
    check_corpus(tokenizer, "smollm2", 0);
    check_characters(tokenizer, "smollm2", 0);
}

static void test_smollm2_special_tokens(void **state) {
    (void)state;
    assert_string_equal(tokenizer->kind, "gpt2/smollm");
    assert_int_equal(tokenizer->vocab_size, 49152);
    assert_int_equal(tokenizer->bos, 1);
    assert_int_equal(tokenizer->eos, 2);
    assert_int_equal(tokenizer->pad, 2);
    assert_false(tokenizer->add_bos);
    assert_true(tokenizer_is_control(tokenizer, tokenizer_find(tokenizer, "<|im_start|>")));
    assert_non_null(strstr(tokenizer->chat_template, "<|im_start|>"));
}

// The start-up of a run has 0.5 s in all: loading takes about 10 ms. The limit leaves room for a sanitizer build.
static void test_smollm2_loads_quickly(void **state) {
    (void)state;
    double best = 1e9;
    Err err;
    for (int i = 0; i < 5; i++) {
        Tokenizer *t = NULL;
        double start = time_now();
        ASSERT_OK(tokenizer_from_gguf(&t, model, &err), &err);
        double seconds = time_now() - start;
        best = seconds < best ? seconds : best;
        tokenizer_free(t);
    }
    print_message("loads in %.1f ms\n", 1e3 * best);
    assert_true(best < 0.5);
}

static int run_all(int argc, char **argv) {
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    if (!model_file()) return TEST_SKIPPED;
    const struct CMUnitTest tests[] = {TEST(test_smollm2_ids_as_reference), TEST(test_smollm2_special_tokens),
                                       TEST(test_smollm2_loads_quickly)};
    return cmocka_run_group_tests(tests, open_model, close_model);
}

TEST_FILE(run_all)

// Evaluation data that val_set_size holds out of the training data: train, inspect, the report and `eval --generate`
// all speak of the same records. And the order of the checks: what is wrong with the data is found before the weights
// are read, and a missing validation file before the training data is tokenized.
#include "cli_runner.h"
#include "fileio.h"
#include "tiny_model.h"

#include <stdlib.h>

static void put_data(void) {
    StrBuf text = {0};
    for (int i = 0; i < 20; i++)
        str_printf(&text, "{\"prompt\": \"question %d\", \"completion\": \"answer %d\"}\n", i, i);
    put("d.jsonl", text.data);
    str_clear(&text);
    TinyModel tiny = TINY_MODEL;
    tiny_model_write("m.gguf", &tiny);
}

#define TRAIN                                                                                                          \
    "train --model_name_or_path m.gguf --device cpu --max_steps 2 --max_seq_length 128 --learning_rate 1e-2 "          \
    "--output_dir out "

// Bit i: "question i" is in the text.
static unsigned questions(const char *text) {
    unsigned set = 0;
    for (int i = 0; i < 20; i++) {
        AUTO_FREE char *name = mem_printf("question %d", i);
        for (const char *at = text; (at = strstr(at, name)); at++)
            if (at[strlen(name)] < '0' || at[strlen(name)] > '9') set |= 1u << i;
    }
    return set;
}

static void test_held_out_records_are_the_same_everywhere(void **state) {
    (void)state;
    put_data();
    char *out = run(TRAIN "--train_file d.jsonl --val_set_size 5", 0);
    static const char *const lines[] = {"\ndata     20 samples (prompt_completion), ",
                                        "\neval     5 samples of these are held out, ", "; lorac eval out --generate;"};
    CHECK_PARTS(out, lines);
    mem_free(out);
    out = run("eval out --generate --show 20 --max_new_tokens 2", 0);
    unsigned held_out = questions(out);
    assert_int_equal(__builtin_popcount(held_out), 5);
    assert_non_null(strstr(out, "exact_match=0.00 (0/5)"));
    mem_free(out);
    char *report;
    size_t size;
    Err err;
    ASSERT_OK(file_read(&report, &size, "out/report.html", 1 << 22, &err), &err);
    char *config = strstr(report, "<h2>Config</h2>");
    assert_non_null(config);
    *config = 0; // it has the names of the files alone
    unsigned shown = questions(report);
    assert_true(!(shown & ~held_out));
    static const char *const parts[] = {"<td>evaluation samples</td><td>5, held out of these files (val_set_size)</td>",
                                        "(held-out prompts)"};
    check_parts(report, parts, SANITIZED ? 1 : 2); // memory that is freed and held back leaves no room for answers
    assert_true(shown || SANITIZED);
    mem_free(report);
    out = run("inspect out/config.json --packing false", 0);
    static const char *const seen[] = {"  held out  5 of the samples, for evaluation (val_set_size)\n",
                                       "  rows      15 (one sample each)"};
    CHECK_PARTS(out, seen);
    mem_free(out);
    // a file of which only some records are used
    char *some = run("eval --model_name_or_path m.gguf --generate --show 20 --max_new_tokens 2 --val_set_size 3 "
                     "--train_file '[{\"path\": \"d.jsonl\", \"max_samples\": 8}]'",
                     0);
    assert_int_equal(__builtin_popcount(questions(some)), 3);
    assert_int_equal(questions(some) >> 8, 0);
    mem_free(some);
    put("t.jsonl", "{\"text\": \"abc\"}\n{\"text\": \"abd\"}\n{\"text\": \"abe\"}\n");
    out = run("train --model_name_or_path m.gguf --device cpu --max_steps 1 --learning_rate 1e-2 --train_file t.jsonl "
              "--val_set_size 1 --output_dir text",
              0);
    assert_non_null(strstr(out, "; lorac eval text;")); // there is nothing to generate against
    mem_free(out);
}

// Weights that are not finite, which are found when they are read.
static void test_data_is_checked_before_the_weights(void **state) {
    (void)state;
    put_data();
    char *bytes;
    size_t size;
    Err err;
    ASSERT_OK(file_read(&bytes, &size, "m.gguf", 64 << 20, &err), &err);
    memset(bytes + size - 4096, 0xff, 4096);
    scratch_put("m.gguf", bytes, size);
    mem_free(bytes);
    put("bad.jsonl", "{\"prompt\": \"a\", \"completion\": \"b\"}\n{\"prompt\": \"a\", \n");
    check_has(TRAIN "--train_file d.jsonl", 2, "not finite");
    check_has(TRAIN "--train_file bad.jsonl", 2, "bad.jsonl:2: ");
    check_has(TRAIN "--train_file d.jsonl --validation_file bad.jsonl", 2, "bad.jsonl:2: ");
    check_has(TRAIN "--train_file bad.jsonl --validation_file none.jsonl", 2, "none.jsonl: no such file");
    check_has(TRAIN "--train_file none.jsonl", 2, "none.jsonl: ");
    check_has(TRAIN "--train_file bad.jsonl --chat_template none.jinja", 2, "none.jinja");
    assert_int_equal(truncate("m.gguf", (off_t)size - 64), 0); // the headers are read first of all
    check_has(TRAIN "--train_file bad.jsonl", 2, "it is truncated");
}

TEST_MAIN(SCRATCH_TEST(test_held_out_records_are_the_same_everywhere),
          SCRATCH_TEST(test_data_is_checked_before_the_weights))

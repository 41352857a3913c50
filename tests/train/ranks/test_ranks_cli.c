// `lorac train` under mpirun, as processes: the adapter and the losses of one process, stopped and gone on with by
// other numbers of ranks; an error is said once; rank 0 alone speaks unless all are asked to. Skipped where there is no
// mpirun.
#include <stdlib.h>

#include "command.h"
#include "path.h"
#include "tiny_run.h"

// The words of all runs, unless extra sets their keys; the caller frees.
static char *common(const char *extra) {
    static const char *const words[] = {"device=cpu",         "packing=false",       "max_seq_length=48",
                                        "val_set_size=4",     "eval_strategy=steps", "eval_steps=4",
                                        "save_steps=2",       "learning_rate=1e-2",  "lora_dropout=0.1",
                                        "num_train_epochs=3", "run_name=tiny",       "ddp_timeout=30"};
    StrBuf list = {0};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!sets_key_of(extra, words[i])) str_printf(&list, "%s ", words[i]);
    return list.data;
}

// Output and errors together; ranks 0: without mpirun. The caller frees.
static char *train(int ranks, const char *out, const char *extra, int want_status) {
    AUTO_FREE char *launch = ranks ? mem_printf("sh %s/train/ranks/mpirun.sh %d ", TEST_DIR, ranks) : mem_strdup("");
    AUTO_FREE char *words = common(extra);
    AUTO_FREE char *command = mem_printf(
        "D=%s OMP_NUM_THREADS=1; export OMP_NUM_THREADS; %s%s train model=%s/tiny.gguf train_file=%s/data.jsonl "
        "output_dir=%s/%s %s 2>&1 %s",
        tiny_dir, launch, LORAC, tiny_dir, tiny_dir, tiny_dir, out, words, extra);
    return command_output(command, want_status);
}

static int count(const char *text, const char *part) {
    int n = 0;
    for (; (text = strstr(text, part)); text++) n++;
    return n;
}

static void must_train(int ranks, const char *out, const char *extra) { mem_free(train(ranks, out, extra, 0)); }

static void expect_once(int ranks, const char *out, const char *extra, int status, const char *part) {
    char *text = train(ranks, out, extra, status);
    const char *said = strstr(text, "lorac: ");
    if (!said || !strstr(said, part) || count(text, "lorac: ") != 1)
        fail_msg("expected \"%s\" once and no other error:\n%s", part, text);
    mem_free(text);
}

static void same_as_one(const char *out) {
    char *x = path_join(tiny_dir, "one"), *y = path_join(tiny_dir, out), *one = tiny_losses(x), *other = tiny_losses(y);
    if (!tiny_same_adapter(x, y)) fail_msg("the adapters of one rank and of %s differ", out);
    assert_string_equal(one, other);
    mem_free(x);
    mem_free(y);
    mem_free(one);
    mem_free(other);
}

static void test_mpirun_has_the_bits_of_one(void **state) {
    (void)state;
    must_train(0, "one", "gradient_accumulation_steps=6");
    must_train(3, "three", "per_device_train_batch_size=2");
    same_as_one("three");
}

// Long enough that it is not done when the signal comes.
#define LONG "num_train_epochs=12 "
// USR1 is a signal that mpirun passes on to its ranks. Any snapshot will do: older ones are removed soon.
#define STOP_AT_A_SNAPSHOT                                                                                             \
    "& pid=$!; i=0; while ! ls $D/cut/checkpoint-*/manifest.json >/dev/null 2>&1 && [ $i -lt 600 ]; do "               \
    "sleep 0.05; i=$((i+1)); done; kill -USR1 $pid; wait $pid #"

static void test_mpirun_goes_on_with_another_number(void **state) {
    (void)state;
    char *text =
        train(4, "cut", LONG "gradient_accumulation_steps=2 save_steps=1 " STOP_AT_A_SNAPSHOT, EXIT_INTERRUPTED);
    assert_int_equal(count(text, "stopped by a signal after step"), 1);
    mem_free(text);
    text = train(3, "cut", LONG "gradient_accumulation_steps=2", 0);
    assert_int_equal(count(text, "resuming from"), 1);
    assert_int_equal(count(text, "8 rows per step, 2 to 3 on each"), 1);
    mem_free(text);
    must_train(0, "whole", LONG "gradient_accumulation_steps=8");
    char *x = path_join(tiny_dir, "whole"), *y = path_join(tiny_dir, "cut");
    assert_true(tiny_same_adapter(x, y));
    mem_free(x);
    mem_free(y);
    expect_once(2, "cut", LONG "gradient_accumulation_steps=3", EXIT_INPUT,
                "8 rows per step (3 ranks, 2 rows per rank)");
}

static void test_mpirun_says_an_error_once(void **state) {
    (void)state;
    expect_once(3, "no", "lora_rang=4", EXIT_INPUT, "lora_rang");
    expect_once(2, "no", "max_memory=1MiB", EXIT_NO_FIT, "max_memory");
}

static void test_mpirun_lets_rank_0_speak(void **state) {
    (void)state;
    char *text = train(3, "quiet", "max_steps=2", 0);
    assert_int_equal(count(text, "\nsteps    2, batch size 3 "), 1);
    assert_int_equal(count(text, "\nranks    3 on 1 machine (mpi): 3 rows per step, 1 on each"), 1);
    assert_int_equal(count(text, "[rank "), 0);
    mem_free(text);
    text = train(3, "loud", "max_steps=2 log_on_each_rank=true", 0);
    assert_int_equal(count(text, "\n[rank 1] steps    2, batch size 3 "), 1);
    assert_int_equal(count(text, "\n[rank 2] steps    2, batch size 3 "), 1);
    assert_int_equal(count(text, "\nsteps    2, batch size 3 "), 1);
    mem_free(text);
}

static int run_all(int argc, char **argv) {
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    if (system("command -v mpirun >/dev/null 2>&1")) return TEST_SKIPPED;
    const struct CMUnitTest tests[] = {TEST(test_mpirun_has_the_bits_of_one),
                                       TEST(test_mpirun_goes_on_with_another_number),
                                       TEST(test_mpirun_says_an_error_once), TEST(test_mpirun_lets_rank_0_speak)};
    return cmocka_run_group_tests(tests, tiny_dir_setup, tiny_dir_teardown);
}

TEST_FILE(run_all)

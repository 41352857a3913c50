// test_report_verb: lorac report: several runs in one page.
#include "cli_runner.h"
#include "fileio.h"
#include "path.h"
#include "tiny_run.h"

#define TRAIN                                                                                                          \
    "train --model tiny.gguf --train_file data.jsonl --validation_file data.jsonl --eval_strategy steps --eval_steps " \
    "2 --max_seq_length 48 --save_steps 2 --report_to none "

static int start(void **state) { return tiny_dir_setup(state) || chdir(tiny_dir); }
static int end(void **state) { return chdir("/") || tiny_dir_teardown(state); }

static char *page(void) {
    char *text;
    size_t size;
    Err err;
    ASSERT_OK(file_read(&text, &size, "page.html", 1 << 24, &err), &err);
    return text;
}

static void compares_runs(void **state) {
    static const char *const parts[] = {
        "<td>a",           "<td>&lt;b&gt;&amp;",       " (best)</td>",  "<td>4 of 4</td>",
        "<td>0.002</td>",  "<td>0.003</td><td>2</td>", "<td>done</td>", "<code>moved/b</code>",
        "Evaluation loss", "<h1>two &lt;runs&gt;</h1>"};
    mem_free(run(TRAIN "--max_steps 4 --learning_rate 2e-3 --output_dir a", 0));
    mem_free(run(TRAIN "--max_steps 6 --learning_rate 3e-3 --lora_r 2 --run_name '<b>&' --output_dir b", 0));
    mem_free(command_output("mkdir moved && mv b moved", 0));
    check_has("report a/ moved/b --out page.html --name 'two <runs>'", 0, "2 runs in page.html");
    AUTO_FREE char *text = page();
    CHECK_PARTS(text, parts);
    assert_null(strstr(text, "<b>&"));
    assert_null(strstr(text, "http")); // nothing from elsewhere
    // without snapshots: what the log says
    mem_free(command_output("rm -r moved/b/checkpoint-*", 0));
    check_has("report a moved/b --out page.html", 0, "2 runs in page.html");
    AUTO_FREE char *again = page();
    assert_non_null(strstr(again, "<td>6</td>"));
    assert_non_null(strstr(again, "<td>unknown</td>"));
}

static void refuses(void **state) {
    put("mine.html", "mine");
    check_has("report nowhere --out page2.html", 2, "nowhere: found no config.json with train_log.jsonl");
    check_has("report --out page2.html", 2, "RUN is missing");
    check_has("report a", 2, "out");
    check_has("report a --out mine.html", 2, "mine.html: found what lorac did not write");
    assert_false(path_exists("page2.html"));
}

TEST_MAIN_WITH(start, end, TEST(compares_runs), TEST(refuses))

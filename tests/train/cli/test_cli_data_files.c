// Data as tables, folders and patterns, as a user has them: the same adapter as from JSON lines, what the log says of
// the files, a resume that notices another file.
#include "cli_runner.h"
#include "fileio.h"
#include "tiny_model.h"

#include <sys/stat.h>

#define TRAIN_STEPS                                                                                                    \
    "train --model_name_or_path m.gguf --max_seq_length 64 --device cpu --save_steps 1 --report_to none --max_steps "
#define TRAIN TRAIN_STEPS "2 "

static void put_data(void) {
    tiny_model_write("m.gguf", &TINY_MODEL);
    mkdir("d", 0777);
    put("d/b.csv", "prompt,completion\nq3,\"a, 3\"\n");
    put("d/a.csv", "completion,prompt\na1,q1\na2,q2\n");
    put("d/notes.md", "x");
    put("d.jsonl", "{\"prompt\":\"q1\",\"completion\":\"a1\"}\n{\"prompt\":\"q2\",\"completion\":\"a2\"}\n"
                   "{\"prompt\":\"q3\",\"completion\":\"a, 3\"}\n");
}

static void assert_same_adapter(const char *a, const char *b) {
    char *text[2];
    size_t n[2];
    Err err;
    for (int i = 0; i < 2; i++) {
        char *path = mem_printf("%s/adapter/adapter_model.safetensors", i ? b : a);
        ASSERT_OK(file_read(&text[i], &n[i], path, 1 << 22, &err), &err);
        mem_free(path);
    }
    assert_int_equal(n[0], n[1]);
    assert_memory_equal(text[0], text[1], n[0]);
    mem_free(text[0]);
    mem_free(text[1]);
}

static void test_cli_folder_of_tables_trains_as_json_lines(void **state) {
    (void)state;
    put_data();
    check_has(TRAIN "--train_file d/ --output_dir x", 0,
              "files    d/: 2 files: d/a.csv, d/b.csv; not read: notes.md\n");
    check_has(TRAIN "--train_file d.jsonl --output_dir y", 0, "data     3 samples (prompt_completion)");
    check_has(TRAIN "--train_file 'd/*.csv' --validation_file d --output_dir z", 0, "files    d/*.csv: 2 files");
    assert_same_adapter("x", "y");
    assert_same_adapter("x", "z");
    check_has("eval --model_name_or_path m.gguf --max_seq_length 64 --validation_file d", 0, "loss");
    put("d/c.csv", "prompt,completion\nq4,a4\n");
    check_has(TRAIN_STEPS "3 --train_file d/ --output_dir x", 2, "a snapshot of another run: data was");
    unlink("d/c.csv");
    put("d/b.csv", "prompt,completion\nq3,a\n");
    check_has(TRAIN_STEPS "3 --train_file d/ --output_dir x", 2, "a snapshot of another run: data was");
}

static void test_cli_inspect_folders_and_tables(void **state) {
    (void)state;
    put_data();
    check_has("inspect d/b.csv --show 1", 0, "d/b.csv:2: {\"prompt\": \"q3\", \"completion\": \"a, 3\"}");
    check_has("inspect d", 0, "d/a.csv: data, prompt_completion, 2 records");
    check_has("inspect 'd/*.csv'", 0, "d/b.csv: data, prompt_completion, 1 record,");
    check_has("inspect d", 0, "d: not read: notes.md\n");
    put("c.json", "{\"model_name_or_path\": \"m.gguf\", \"train_file\": \"d\", \"output_dir\": \"o\", "
                  "\"max_seq_length\": 64}");
    check_has("inspect c.json", 0,
              "train       d/a.csv: 2 samples\n            d/b.csv: 1 sample\n"
              "  files     d: 2 files: d/a.csv, d/b.csv; not read: notes.md\n");
    put("d/b.csv", "prompt,completion\nq3\n");
    check_has("inspect c.json", 2, "d/b.csv:2: found a row of 1 cell; expected 2");
    put("d/e.tsv", "prompt\tcompletion\n");
    check_has("inspect c.json", 2, "train_file: d: found .csv and .tsv files in the folder");
}

// Interleaved in turns: the same adapter as from one file in that order, also after a stop.
static void test_cli_interleaved_files(void **state) {
    (void)state;
#define MIX                                                                                                            \
    "train --model_name_or_path m.gguf --max_seq_length 64 --device cpu --save_steps 1 --report_to none "              \
    "--packing false --shuffle false --num_train_epochs 1 "
#define FILES "--train_file '[{\"path\":\"a.jsonl\",\"split\":\"train[1:4]\"},\"s\"]' --mix_strategy interleave_over "
#define PAIR(p) "{\"prompt\":\"" p "\",\"completion\":\"" p "\"}\n"
    tiny_model_write("m.gguf", &TINY_MODEL);
    mkdir("s", 0777);
    put("a.jsonl", PAIR("a0") PAIR("a1") PAIR("a2") PAIR("a3") PAIR("a4"));
    put("s/b.jsonl", PAIR("b0"));
    put("s/c.jsonl", PAIR("c0"));
    put("one.jsonl", PAIR("a1") PAIR("b0") PAIR("a2") PAIR("c0") PAIR("a3") PAIR("b0"));
    mem_free(run(MIX "--train_file one.jsonl --output_dir x", 0));
    mem_free(run(MIX FILES "--output_dir y", 0));
    assert_same_adapter("x", "y");
    mem_free(run(MIX FILES "--output_dir z --max_steps 3 --lr_scheduler_type constant", 0));
    mem_free(run(MIX FILES "--output_dir z --lr_scheduler_type constant", 0));
    mem_free(run(MIX "--train_file one.jsonl --output_dir w --lr_scheduler_type constant", 0));
    assert_same_adapter("w", "z");
    check_has(MIX "--train_file '[\"a.jsonl\",\"s\"]' --mix_strategy interleave_under --output_dir z", 2,
              "mix_strategy was");
    check_has(MIX "--train_file '[{\"path\":\"s\",\"split\":\"train[:1]\"}]' --output_dir q", 2,
              "split: train[:1] of 2 files, s; expected the slice of one file");
    check_has(MIX "--train_file '[{\"path\":\"a.jsonl\",\"split\":\"test\"}]' --output_dir q", 2,
              "split: test of the file a.jsonl, which is the split train");
}

TEST_MAIN(SCRATCH_TEST(test_cli_interleaved_files), SCRATCH_TEST(test_cli_folder_of_tables_trains_as_json_lines),
          SCRATCH_TEST(test_cli_inspect_folders_and_tables))

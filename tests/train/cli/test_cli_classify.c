// Classification as a user runs it, over the tiny models of golden/classify (BERT, with their character tokenizer) and
// tiny_model (a GGUF decoder): train, resume, eval, verify, logits, and what is refused.
#include "cli_runner.h"
#include "family_fixture.h"
#include "path.h"
#include "tiny_model.h"

#include <math.h>

#define TRAIN(model)                                                                                                   \
    "train --model_name_or_path " model " --task classification --train_file d.jsonl --validation_file d.jsonl "       \
    "--max_seq_length 24 --lora_r 2 --max_steps 6 --learning_rate 0.02 --eval_strategy steps --eval_steps 3 "          \
    "--save_steps 3 --logging_steps 1 "

static void put_data(void) {
    put("d.jsonl", "{\"text\": \"GOOD\", \"text_pair\": \"FILM\", \"label\": \"up\"}\n"
                   "{\"text\": \"BAD\", \"text_pair\": \"SONG\", \"label\": \"down\"}\n"
                   "{\"text\": \"ODD\", \"text_pair\": \"BOOK\", \"label\": \"side\"}\n"
                   "{\"text\": \"GREAT\", \"text_pair\": \"PLAY\", \"label\": \"up\"}\n");
    put("e.jsonl", "{\"text\": \"GOOD\", \"text_pair\": \"FILM\", \"label\": \"off\"}\n");
}

static void check_file(const char *path, const char *part) {
    char *text = scratch_read(path);
    if (!strstr(text, part)) fail_msg("%s lacks \"%s\": %s", path, part, text);
    mem_free(text);
}

static void test_cli_classify_decoder(void **state) {
    (void)state;
    put_data();
    tiny_model_write("m.gguf", &TINY_MODEL);
    check_has(TRAIN("m.gguf") "--output_dir out", 0, "macro-F1");
    check_file("out/train_log.jsonl", "\"eval_macro_f1\":");
    check_file("out/adapter/labels.json", "\"1\":\t\"side\"");
    check_file("out/adapter/adapter_config.json", "\"task_type\":\t\"SEQ_CLS\"");
    check_file("out/adapter/adapter_config.json", "\"modules_to_save\":\t[\"score\"]");
    check_file("out/adapter/README.md", "AutoModelForSequenceClassification");
    assert_false(path_exists("out/adapter.gguf") || path_exists("out/Modelfile"));
    check_has(TRAIN("m.gguf") "--output_dir out", 0, "a classifier of 3 classes"); // finished: verified once more
    check_has("verify out --model m.gguf", 0, "verified");
    check_has("eval --model_name_or_path m.gguf --adapter_name_or_path out/adapter --validation_file d.jsonl --json", 0,
              "\"id2label\": {\"0\": \"down\", \"1\": \"side\", \"2\": \"up\"}");
    check_has("eval out/config.json", 0, "accuracy=");
    check_output("logits --model m.gguf --adapter_name_or_path out/adapter --input_ids 1,2,3 --out l.safetensors", "");
    check_has(TRAIN("m.gguf") "--output_dir more --adapter_name_or_path out/adapter", 0, "macro-F1");
}

// Data with the labels that predict printed, in their order: eval finds an accuracy of 1 only if it computes the same.
static void put_predicted(const char *out) {
    static const char *const pairs[][2] = {{"GOOD", "FILM"}, {"BAD", "SONG"}, {"ODD", "BOOK"}, {"GREAT", "PLAY"}};
    AUTO_STR StrBuf data = {0};
    for (size_t i = 0; i < 4; i++) {
        const char *label = strstr(out, "{\"label\": ");
        assert_non_null(label);
        label += strlen("{\"label\": ");
        str_printf(&data, "{\"text\": \"%s\", \"text_pair\": \"%s\", \"label\": %.*s}\n", pairs[i][0], pairs[i][1],
                   (int)strcspn(label, ","), label);
        out = label;
    }
    scratch_put("predicted.jsonl", data.data, data.len);
}

// Labels of the classifier in `out`: those of eval, with bits that do not depend on the other texts.
static void check_predictions(const char *eval) {
    AUTO_FREE char *of_file = run("predict out --file d.jsonl", 0);
    put_predicted(of_file);
    check_has(eval, 0, "accuracy=1.0000");
    AUTO_FREE char *alone = run("predict out ODD --text_pair BOOK", 0);
    assert_non_null(strstr(of_file, alone));
    AUTO_FREE char *of_input = run("predict out < d.jsonl", 0), *all = run("predict out --all < d.jsonl", 0);
    assert_string_equal(of_file, of_input);
    double sum = 0;
    char *p = strstr(all, "\"scores\"");
    for (int i = 0; i < 3; i++, p++) sum += strtod((p = strstr(p, "\"score\": ")) + 9, NULL);
    assert_true(fabs(sum - 1) < 1e-6);
}

static void test_cli_predict(void **state) {
    (void)state;
    put_data();
    tiny_model_write("m.gguf", &TINY_MODEL);
    mem_free(run(TRAIN("m.gguf") "--output_dir out", 0));
    check_predictions("eval out --validation_file predicted.jsonl");
    put("t.txt", "GOOD FILM\r\nBAD {\n");
    AUTO_FREE char *lines = run("predict out --file t.txt --with_text --top_k 1", 0),
                   *words = run("predict -m m.gguf -a out/adapter 'GOOD FILM' -p 'no' --with_text --top_k 1", 0);
    assert_true(starts_with(lines, "{\"text\": \"GOOD FILM\", \"label\": "));
    assert_non_null(strstr(lines, "\n{\"text\": \"BAD {\", \"label\": "));
    assert_true(starts_with(words, "{\"text\": \"no\", ")); // --text first
    assert_non_null(strstr(words, "\n{\"text\": \"GOOD FILM\", "));
    put("t.txt", "A LONG TEXT OF MORE THAN TWENTY-FOUR CHARACTERS\n");
    check_has("predict out --file t.txt", 0, "lorac: 1 text longer than max_seq_length, 24 tokens, cut to that\n");
    scratch_put("t.txt", "A\nB\xFF\n", 5);
    check_has("predict out --file t.txt", 2, "lorac: t.txt:2: found byte 0xFF; expected valid UTF-8");
    scratch_put("t.txt", "A\nB\0C\n", 6);
    check_has("predict out --file t.txt", 2, "lorac: t.txt:2: found byte 0x00; expected valid UTF-8");
    put("b.jsonl", "{\"text\": \"A\"}\n{\"text\": \n{\"text\": 1}\n");
    check_has("predict out --file b.jsonl", 2, "}\nlorac: b.jsonl:2: ");
    put("b.jsonl", "{\"texts\": \"A\"}\n");
    check_has("predict out --file b.jsonl", 2, "lorac: b.jsonl:1: found a record with the keys {texts}; expected");
    put("t.txt", "A\n\nB\n"); // a byte-level decoder without BOS
    check_has("predict out --file t.txt", 2,
              "}\nlorac: t.txt:2: found a text without tokens, or a max_seq_length "
              "without room for one");
    check_has("predict out --file out", 2, "lorac: out: found a folder; expected one data file in it\n");
    check_has("predict out --file d.jsonl A", 2, "expected texts or --file, not both");
    check_has("predict out A B --text_pair C", 2, "--text_pair: found 2 texts; expected one");
    check_has("predict -m m.gguf A", 2, "--adapter_name_or_path is missing; expected a classifier's adapter");
    check_has("predict none A", 2, "none: no config.json with adapter/ beside it");
}

// The file to label has the training data's names of columns, and no label.
static void test_cli_predict_reads_columns(void **state) {
    (void)state;
    put_data();
    tiny_model_write("m.gguf", &TINY_MODEL);
    put("c.csv", "review,mood\nGOOD FILM,good\nBAD FILM,bad\nGOOD,good\nBAD,bad\n");
    mem_free(run(TRAIN("m.gguf") "--train_file c.csv --columns '{\"text\": \"review\", \"label\": \"mood\"}' "
                                 "--validation_file c.csv --output_dir out",
                 0));
    put("new.csv", "id,review\n7,GOOD FILM\n");
    check_has("predict out --file new.csv --with_text", 0, "{\"text\": \"GOOD FILM\", \"label\": ");
    check_has("predict out --file nothere.csv", 2, "nothere.csv: no such file");
}

// Star ratings of a table, quoted or not: 1 to 5 are the names of the classes.
static void test_cli_classify_star_ratings(void **state) {
    (void)state;
    tiny_model_write("m.gguf", &TINY_MODEL);
    put("s.csv", "\"text\",\"label\"\n\"GOOD\",\"5\"\n\"BAD\",\"1\"\n\"ODD\",\"3\"\n\"FAIR\",\"2\"\n\"FINE\",\"4\"\n");
    put("v.csv", "text,label\nGOOD,5\nODD,3\n");
    check_has(TRAIN("m.gguf") "--train_file s.csv --validation_file v.csv --output_dir out", 0,
              "labels   5: 1 (1), 2 (1), 3 (1), 4 (1), 5 (1); the integers are names, their ids are 0 to 4\n");
    check_file("out/adapter/labels.json", "\"0\":\t\"1\"");
    check_file("out/adapter/labels.json", "\"4\":\t\"5\"");
    put("v.csv", "text,label\nGOOD,0\n");
    check_has("eval out --validation_file v.csv", 2,
              "v.csv:2: label: found \"0\"; expected a label of the training data: 1, 2, 3, 4, 5");
    put("s.csv", "text,label\nGOOD,2\nBAD,0\nODD,2\n");
    check_has(TRAIN("m.gguf") "--train_file s.csv --validation_file s.csv --output_dir gap", 0,
              "labels: found integers from 0 to 2, but no 1; each of the 2 that occur is a class of its own\n");
    put("s.csv", "text,label\nGOOD,2\nBAD,0\nODD,l\n");
    check_has(TRAIN("m.gguf") "--train_file s.csv --validation_file s.csv --output_dir mix", 0,
              "labels: found the integer 2 and the text \"l\"; all labels are names, sorted as text\n");
}

static void test_cli_predict_pairs_of_bert(void **state) {
    (void)state;
    Family f;
    put_data();
    family_open(&f, "../classify/bert", FAMILY_HF);
    family_close(&f);
    mem_free(run(TRAIN("bert-0") "--output_dir out --lora_target_modules '[\"query\",\"value\"]'", 0));
    check_predictions("eval out --validation_file predicted.jsonl");
}

// A resumed run has the bits of an uninterrupted one: snapshots hold the head.
static void test_cli_classify_resumes(void **state) {
    (void)state;
    put_data();
    tiny_model_write("m.gguf", &TINY_MODEL);
    mem_free(run(TRAIN("m.gguf") "--output_dir whole", 0));
    mem_free(run(TRAIN("m.gguf") "--output_dir cut", 0));
    assert_int_equal(system("rm -rf cut/adapter cut/checkpoint-000006"), 0);
    check_has(TRAIN("m.gguf") "--output_dir cut", 0, "resuming from cut/checkpoint-000003");
    assert_int_equal(system("cmp cut/adapter/adapter_model.safetensors whole/adapter/adapter_model.safetensors"), 0);
}

static void test_cli_classify_encoder(void **state) {
    (void)state;
    Family f;
    put_data();
    family_open(&f, "../classify/bert", FAMILY_HF);
    family_close(&f);
    check_has(TRAIN("bert-0") "--output_dir out --lora_target_modules '[\"query\",\"value\"]'", 0,
              "with the head classifier");
    check_file("out/adapter/adapter_config.json", "\"modules_to_save\":\t[\"classifier\"]");
    check_has("verify out --model bert-0", 0, "verified");
    check_has("inspect bert-0", 0, "vocabulary 64, context 24");
    check_has("eval out/config.json", 0, "accuracy=");
    check_output("logits --model bert-0 --adapter_name_or_path out/adapter --input_ids 1,2 --out l.safetensors", "");
    check_has("logits --model bert-0 --input_ids 1,2 --out l.safetensors", 2, "no language-model head");
    check_has("generate --model bert-0 --prompt A", 2, "without a language-model head");
    check_has("merge --model bert-0 --adapter_name_or_path out/adapter --out m", 2, "a classifier of 3 classes");
    check_has("train --model_name_or_path bert-0 --train_file d.jsonl --output_dir no", 2,
              "expected task classification");
}

// Several labels, and numbers: training, evaluation, files and predictions.
static void test_cli_classify_each(void **state) {
    (void)state;
    tiny_model_write("m.gguf", &TINY_MODEL);
    put("d.jsonl", "{\"text\": \"GOOD FILM\", \"labels\": [\"good\", \"film\"]}\n"
                   "{\"text\": \"BAD SONG\", \"labels\": []}\n{\"text\": \"FILM\", \"labels\": [\"film\"]}\n");
    check_has(TRAIN("m.gguf") "--output_dir multi", 0, "micro-F1");
    check_file("multi/adapter/labels.json", "\"problem_type\":\t\"multi_label_classification\"");
    check_file("multi/train_log.jsonl", "\"eval_micro_f1\":");
    check_has("eval multi", 0, " micro_f1=");
    check_has("predict multi --file d.jsonl --threshold 0", 0, "{\"labels\": [{\"label\": ");
    check_has("predict multi 'BAD SONG' --threshold 1 --all", 0, "{\"labels\": [], \"scores\": [{\"label\": ");
    check_has("inspect multi/config.json --show 2", 0, "=> good, film\n");
    check_has("verify multi --model m.gguf", 0, "verified");
    put("d.jsonl", "{\"text\": \"GOOD\", \"label\": 1.5}\n{\"text\": \"BAD\", \"label\": -1}\n");
    check_has(TRAIN("m.gguf") "--output_dir number", 0, "Pearson's r");
    check_file("number/adapter/labels.json", "\"problem_type\":\t\"regression\"");
    check_file("number/adapter/README.md", "problem_type=\"regression\"");
    check_has("eval number --json", 0, "\"eval_mae\": ");
    check_has("predict number GOOD", 0, "{\"value\": ");
    check_has("predict number GOOD --all", 2, "--all: needs labels of whole texts; this is a run of regression");
    check_has("predict number GOOD --threshold 0.2", 2, "--threshold: needs several labels of a text");
    put("large.jsonl", "{\"text\": \"GOOD\", \"label\": 10001}\n{\"text\": \"BAD\", \"label\": -1}\n");
    check_has(TRAIN("m.gguf") "--output_dir no --problem_type regression --train_file large.jsonl", 2,
              "large.jsonl:1: label: found 10001; expected at most 10000 in magnitude");
    assert_int_equal(unlink("number/adapter/labels.json"), 0);
    check_has("predict number GOOD", 2, "number/adapter/labels.json: no such file; expected the names");
    check_has("inspect number/config.json --show 1", 0, "=> 1.5\n");
    check_has(TRAIN("m.gguf") "--output_dir no --label_smoothing_factor 0.1", 2,
              "label_smoothing_factor: 0.1 with problem_type regression; expected 0");
    check_has(TRAIN("m.gguf") "--output_dir no --adapter_name_or_path multi/adapter", 2, "the adapter has 2 classes");
    put("d.jsonl", "{\"text\": \"GOOD\", \"label\": [1.5, 0]}\n{\"text\": \"BAD\", \"label\": [-1, 1]}\n");
    check_has(TRAIN("m.gguf") "--output_dir no", 2, "d.jsonl:1: label: found numbers that may be names of classes");
    check_has(TRAIN("m.gguf") "--output_dir numbers --problem_type regression", 0, "labels   2 numbers of each record");
    check_has("predict numbers GOOD", 0, "{\"values\": [");
}

// Labels of words: training on an encoder and a decoder, resuming, evaluation, and what predict prints.
static void test_cli_classify_tokens(void **state) {
    (void)state;
    Family f;
    family_open(&f, "../classify/bert", FAMILY_HF);
    family_close(&f);
    tiny_model_write("m.gguf", &TINY_MODEL);
    put("d.jsonl", "{\"tokens\": [\"GOOD\", \"FILM\"], \"tags\": [\"O\", \"B-X\"]}\n"
                   "{\"tokens\": [\"BAD\", \"SONG\", \"BOOK\"], \"tags\": [\"O\", \"B-X\", \"I-X\"]}\n");
#define TOKENS(model) TRAIN(model) "--task token_classification "
    check_has(TOKENS("bert-0") "--output_dir bert --lora_target_modules '[\"query\"]'", 0, "precision");
    check_has(TOKENS("m.gguf") "--output_dir whole", 0, "a classifier of 3 classes");
    check_file("whole/adapter/adapter_config.json", "\"task_type\":\t\"TOKEN_CLS\"");
    check_file("whole/adapter/README.md", "AutoModelForTokenClassification");
    check_file("whole/train_log.jsonl", "\"eval_f1\":");
    mem_free(run(TOKENS("m.gguf") "--output_dir cut", 0));
    assert_int_equal(system("rm -rf cut/adapter cut/checkpoint-000006"), 0);
    check_has(TOKENS("m.gguf") "--output_dir cut", 0, "resuming from cut/checkpoint-000003");
    assert_int_equal(system("cmp cut/adapter/adapter_model.safetensors whole/adapter/adapter_model.safetensors"), 0);
    check_has("eval whole", 0, " f1=");
    check_has("eval bert --json", 0, "\"labels\": 5");
    check_has("predict bert 'GOOD FILM'", 0, "{\"entities\": [");
    check_has("predict bert GOOD --text_pair FILM", 2, "--text_pair: needs labels of whole texts");
    check_has("predict whole --file d.jsonl", 0, "{\"tags\": [\"");
    check_has("predict whole --file d.jsonl --max_seq_length 4", 0,
              ", null]}\nlorac: 2 texts longer than max_seq_length");
    check_has("inspect bert/config.json --show 1", 0, "=> O B-X\n");
    check_has("inspect d.jsonl", 0, "task      token_classification (--task token_classification)");
    check_has("verify whole --model m.gguf", 0, "verified");
    check_has("generate --prompt A --model m.gguf --adapter_name_or_path whole/adapter", 2,
              "a classifier of 3 classes");
    check_has(TRAIN("m.gguf") "--output_dir no", 2, "d.jsonl:1: found a record with the keys {tokens, tags}; expected");
    put("d.jsonl", "{\"tokens\": [\"GOOD\", \"FILM\"], \"tags\": [\"O\"]}\n");
    check_has(TOKENS("m.gguf") "--output_dir no", 2, "d.jsonl:1: tags: found 1 tag for 2 words; expected one for each");
}

static void test_cli_classify_refusals(void **state) {
    (void)state;
    put_data();
    tiny_model_write("m.gguf", &TINY_MODEL);
    mem_free(run(TRAIN("m.gguf") "--output_dir out", 0));
#define ADAPTER " --model_name_or_path m.gguf --adapter_name_or_path out/adapter "
    check_has("eval out --validation_file null", 2, "found no validation data; expected --validation_file FILE");
    mem_free(run("train --model_name_or_path m.gguf --train_file d.jsonl --output_dir lm --max_steps 1", 0));
    check_has("eval lm --validation_file d.jsonl", 0, "perplexity="); // the default length, of the saved config
    check_has("predict lm A", 2, "lm/adapter: found an adapter without a classifier; expected one");
    check_has("generate --prompt A" ADAPTER, 2, "a classifier of 3 classes; expected an adapter that generates text");
    check_has("chat --model m.gguf --adapter a=out/adapter", 2, "a classifier of 3 classes");
    check_has("merge --out merged.gguf" ADAPTER, 2, "a classifier of 3 classes");
    check_has("export out/adapter --model m.gguf --format gguf --out a.gguf", 2, "no place in a GGUF adapter");
    check_has("eval --validation_file e.jsonl" ADAPTER, 2, "\"off\"");
    check_has("eval --generate --validation_file d.jsonl" ADAPTER, 2, "does not generate text");
    check_has("eval --task classification --model_name_or_path m.gguf --validation_file d.jsonl", 2,
              "expected an adapter with a classifier");
    put("out/adapter/labels.json", "{\"id2label\": {\"0\": \"a\"}}");
    check_has("eval --validation_file d.jsonl" ADAPTER, 2, "labels.json: id2label: expected an object of 3 names");
    put("out/adapter/labels.json", "{\"id2label\": {\"0\": \"a\", \"1\": \"b\", \"2\": \"a\"}}");
    check_has("eval --validation_file d.jsonl" ADAPTER, 2, "labels.json: id2label: two of the names are \"a\"");
}

TEST_MAIN(SCRATCH_TEST(test_cli_classify_decoder), SCRATCH_TEST(test_cli_classify_resumes),
          SCRATCH_TEST(test_cli_classify_encoder), SCRATCH_TEST(test_cli_classify_star_ratings),
          SCRATCH_TEST(test_cli_predict), SCRATCH_TEST(test_cli_predict_reads_columns),
          SCRATCH_TEST(test_cli_predict_pairs_of_bert), SCRATCH_TEST(test_cli_classify_each),
          SCRATCH_TEST(test_cli_classify_tokens), SCRATCH_TEST(test_cli_classify_refusals))

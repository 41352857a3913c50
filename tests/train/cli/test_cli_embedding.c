// Sentence embeddings as a user trains and uses them: losses and vectors of sentence-transformers (golden/embedding),
// the same bits however the batch is split, evaluation, `lorac embed`, and what is refused.
#include <math.h>

#include "golden_run.h"
#include "npy_file.h"
#include "same_adapter.h"

#define GOLDEN SOURCE_DIR "/tests/golden/embedding/"
#define TRAIN                                                                                                          \
    "train --task embedding --adapter_name_or_path start --lora_dropout 0 --lr_scheduler_type constant "               \
    "--warmup_ratio 0 --learning_rate 5e-3 --logging_steps 1 --save_steps 100 --model_name_or_path model "
#define TRIPLETS TRAIN "--train_file " GOLDEN "triplets.jsonl "

enum { STEPS = 20, SHOWN = 4, HIDDEN = 32 };

static void put_model(const char *name) {
    Family f;
    bool bert = strcmp(name, "bert") == 0;
    family_open(&f, bert ? "../classify/bert" : name, FAMILY_HF);
    assert_int_equal(rename(f.path, "model"), 0);
    if (bert) assert_int_equal(system("cp -r " GOLDEN "bert-start start"), 0);
    if (!bert) put_start(&f, "model", NULL, "start");
    family_close(&f);
}

// ---- sentence-transformers' values ----

static void check_losses(const char *kind, int steps, const char **numbers, double most) {
    static const char *const keys[] = {"\"loss\":"};
    double got[STEPS];
    read_steps("out", steps, keys, 1, got);
    for (int i = 0; i < steps; i++) {
        double want = strtod(*numbers, (char **)numbers);
        if (!(fabs(got[i] - want) <= most * fabs(want)))
            fail_msg("%s, step %d: loss %.8g, expected %.8g", kind, i + 1, got[i], want);
    }
}

static void check_vectors(const char *kind, const char **numbers, double most) {
    put("texts.txt", "ASK:NAME\nTOWN\n2+2\nDAY\n");
    mem_free(run("embed out texts.txt --out vectors.npy", 0));
    NpyFile f = npy_read("vectors.npy");
    assert_int_equal(f.rows, SHOWN);
    assert_int_equal(f.cols, HIDDEN);
    for (int i = 0; i < SHOWN * HIDDEN; i++) {
        double want = strtod(*numbers, (char **)numbers), got = f.data[i];
        if (!(fabs(got - want) <= most)) fail_msg("%s, number %d: %.8g, expected %.8g", kind, i, got, want);
    }
    npy_free(&f);
}

static void check_kind(const char *kind, int steps, const char *device) {
    AUTO_FREE char *path = mem_printf(GOLDEN "%s.txt", kind), *golden = scratch_read(path);
    char model[16], data[16];
    int at;
    assert_int_equal(sscanf(golden, "%15s %15s%n", model, data, &at), 2);
    int n = (int)strcspn(golden + at, "\n");
    assert_int_equal(system("rm -rf model model.old start out vectors.npy"), 0);
    put_model(model);
    AUTO_FREE char *words = mem_printf(TRAIN "--train_file " GOLDEN "%s.jsonl --max_steps %d --output_dir out "
                                             "--shuffle false --per_device_train_batch_size 3 %s %.*s",
                                       data, steps, device, n, golden + at);
    mem_free(run(words, 0));
    const char *numbers = golden + at + n;
    check_losses(kind, steps, &numbers, 1e-4);
    if (steps == STEPS) check_vectors(kind, &numbers, 4e-5); // of length 4 and more
}

static void test_embedding_golden(void **state) {
    (void)state;
    static const char *const kinds[] = {"ranking", "dot", "cosine", "cosent", "matryoshka", "last", "decoder-mean"};
    setenv("OMP_NUM_THREADS", "1", 1); // threads would wait more than they compute
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) check_kind(kinds[i], STEPS, "");
    unsetenv("OMP_NUM_THREADS");
}

// Of an emulated device: texts are padded to one of few shapes, recorded and replayed.
static void test_embedding_cuda(void **state) {
    (void)state;
    if (!*EMULATED_MODULES) skip();
    setenv("LORAC_MODULES", EMULATED_MODULES, 1);
    setenv("OMP_NUM_THREADS", "1", 1);
    check_kind("ranking", 6, "--device cuda --dtype f32");
    check_kind("cosent", 4, "--device cuda --dtype f32");
    unsetenv("LORAC_MODULES");
    unsetenv("OMP_NUM_THREADS");
}

// ---- the same bits ----

static void test_embedding_bits(void **state) {
    (void)state;
    put_model("bert");
    mem_free(run(TRIPLETS "--lora_dropout 0.1 --max_steps 4 --per_device_train_batch_size 4 --output_dir four", 0));
    mem_free(run(TRIPLETS "--lora_dropout 0.1 --max_steps 4 --per_device_train_batch_size 1 "
                          "--gradient_accumulation_steps 4 --output_dir one",
                 0));
    check_same("four", "one");
    run_two_ranks(TRIPLETS "--lora_dropout 0.1 --max_steps 4 --per_device_train_batch_size 2 --output_dir ranks");
    check_same("four", "ranks");
    mem_free(run(TRIPLETS "--lora_dropout 0.1 --max_steps 4 --per_device_train_batch_size 4 "
                          "--gradient_checkpointing blocks --output_dir blocks",
                 0));
    check_same("four", "blocks");
    mem_free(run(TRIPLETS "--lora_dropout 0.1 --max_steps 2 --per_device_train_batch_size 4 --output_dir grown", 0));
    mem_free(run(TRIPLETS "--lora_dropout 0.1 --max_steps 4 --per_device_train_batch_size 4 --output_dir grown", 0));
    check_same("four", "grown");
    // Rows 0 and 1, 2 and 3, ... are compared with each other, whatever a step is.
    mem_free(run(TRIPLETS "--contrastive_batch_size 2 --max_steps 1 --per_device_train_batch_size 6 --shuffle false "
                          "--output_dir parts",
                 0));
    AUTO_FREE char *log = scratch_read("parts/train_log.jsonl");
    double whole = strtod(strstr(log, "\"loss\":") + 7, NULL), sum = 0;
    mem_free(run(TRIPLETS "--learning_rate 1e-30 --max_steps 3 --per_device_train_batch_size 2 --shuffle false "
                          "--output_dir pairs",
                 0));
    AUTO_FREE char *pairs = scratch_read("pairs/train_log.jsonl");
    for (const char *p = pairs; (p = strstr(p, "\"loss\":")); p++) sum += strtod(p + 7, NULL);
    assert_true(fabs(sum / 3 - whole) < 1e-7);
}

// ---- evaluation ----

static void test_embedding_eval(void **state) {
    (void)state;
    put_model("bert");
    check_has(TRIPLETS "--max_steps 20 --per_device_train_batch_size 3 --output_dir out --validation_file " GOLDEN
                       "triplets.jsonl --packing true",
              0, "accuracy");
    AUTO_FREE char *log = scratch_read("out/train_log.jsonl");
    assert_non_null(strstr(log, "\"eval_accuracy\":"));
    assert_null(strstr(log, "perplexity"));
    check_has("eval out", 0, " accuracy=");
    check_has("eval out --json", 0, "\"records\": 6");
    check_has("eval out --generate", 2, "embeddings have no answer");
    check_has("verify out", 0, "it moves a text's vector by up to");
    check_has(TRAIN
              "--train_file " GOLDEN
              "scored.jsonl --embedding_loss cosent --per_device_train_batch_size 2 --max_steps 20 --output_dir scored "
              "--validation_file " GOLDEN "scored.jsonl",
              0, "Spearman");
    check_has("eval scored --json", 0, "\"eval_spearman\": ");
    check_has("inspect scored/config.json --show 1", 0, "texts");
}

// ---- embed ----

static void test_embed_verb(void **state) {
    (void)state;
    put_model("llama3");
    put("texts.jsonl", "{\"text\": \"ADA\", \"q\": \"OSLO\"}\n{\"text\": \"ROME\", \"q\": \"5\"}\n");
    put("texts.txt", "ADA\nROME\n");
    check_has("embed model texts.jsonl --out a.npy", 0, "2 vectors of 32 numbers (pooling last) in a.npy");
    check_has("embed " SOURCE_DIR "/tests/golden/families/llama3/base.gguf texts.txt --out gguf.npy", 0,
              "(pooling last)");
    check_has("embed -m model texts.txt --pooling mean --normalize true --dims 8 --out b.npy", 0,
              "(pooling mean, normalised)");
    NpyFile f = npy_read("b.npy");
    double squares = 0;
    for (int i = 0; i < 8; i++) squares += (double)f.data[8 + i] * (double)f.data[8 + i];
    assert_true(f.rows == 2 && f.cols == 8 && fabs(squares - 1) < 1e-6);
    npy_free(&f);
    check_has("embed model - --with_text --dims 2 < texts.txt", 0,
              "{\"index\": 1, \"text\": \"ROME\", \"embedding\": [");
    check_has("embed model texts.jsonl --column q --out c.jsonl", 0, "2 vectors");
    check_has("embed model texts.jsonl --out a.npy", 2, "--out: a.npy exists");
    check_has("embed model texts.jsonl --out a.bin", 2, "a name that ends with .npy or .jsonl");
    check_has("embed model texts.jsonl --column x", 2, "texts.jsonl:1: found an object; expected a record with \"x\"");
    check_has("embed model --dims 33 texts.txt", 2, "--dims: found 33; expected at most 32");
    check_has("embed model none.txt", 2, "none.txt: no such file");
    check_has("embed model texts.txt --max_seq_length 1 --out d.npy", 0, "2 texts longer than max_seq_length, 1 token");
    // An adapter that generates text, too.
    check_has("embed model -a start texts.txt --out e.npy", 0, "2 vectors");
}

// What the folder says.
static void test_embed_folder(void **state) {
    (void)state;
    put_model("bert");
    put("texts.txt", "ADA\nROME\n");
    check_has("embed model texts.txt --out a.npy", 0, "(pooling mean)");
    put("model/modules.json",
        "[{\"type\": \"a.Transformer\", \"path\": \"\"}, {\"type\": \"a.Pooling\", \"path\": \"1_P\"},"
        " {\"type\": \"sentence_transformers.models.Normalize\", \"path\": \"2\"}]");
    assert_int_equal(system("mkdir model/1_P"), 0);
    put("model/1_P/config.json", "{\"pooling_mode_cls_token\": true, \"pooling_mode_mean_tokens\": false}");
    check_has("embed model texts.txt --out b.npy", 0, "(pooling cls, normalised)");
    put("model/1_P/config.json", "{\"pooling_mode\": \"lasttoken\"}");
    check_has("embed model texts.txt --out c.npy", 0, "(pooling last, normalised)");
    put("model/1_P/config.json", "{\"pooling_mode\": [\"mean\", \"max\"]}");
    check_has("embed model texts.txt --out d.npy", 2, "its pooling is mean + max; expected cls, mean or last");
    check_has("embed model texts.txt --out d.npy --pooling mean", 0, "(pooling mean, normalised)");
    put("model/tokenizer_config.json", "{\"model_max_length\": 1000000000000000019884624838656}");
    check_has("embed model texts.txt --out f.npy --pooling mean", 0, "2 vectors");
    put("model/tokenizer_config.json", "{\"model_max_length\": 2}");
    check_has("embed model texts.txt --out g.npy --pooling mean", 0, "2 texts longer than max_seq_length, 2 tokens");
    put("model/sentence_bert_config.json", "{\"max_seq_length\": 3}");
    put("model/config_sentence_transformers.json", "{\"prompts\": {\"q\": \"A:\"}, \"default_prompt_name\": \"q\"}");
    check_has("embed model texts.txt --pooling cls --out e.npy", 0, "2 texts longer than max_seq_length, 3 tokens");
    put("model/modules.json", "[{\"type\": \"sentence_transformers.models.Dense\", \"path\": \"2_Dense\"}]");
    check_has("embed model texts.txt", 2, "found the module sentence_transformers.models.Dense; expected Transformer");
    check_has(TRIPLETS "--output_dir out", 2, "found the module sentence_transformers.models.Dense");
}

// ---- refusals ----

static void test_embedding_refusals(void **state) {
    (void)state;
    put_model("bert");
    static const struct {
        const char *record, *words, *expected;
    } all[] = {
        {"{\"anchor\": \"A\", \"text\": \"B\"}", "", "found a record with the keys {anchor, text}; expected anchor"},
        {"{\"sentence1\": \"A\", \"sentence2\": \"B\", \"score\": 1}", "", "found a score (score), which multiple"},
        {"{\"anchor\": \"A\", \"positive\": \"B\"}", "--matryoshka_dims 64",
         "matryoshka_dims: 64; expected at most 32"},
        {"{\"anchor\": \"A\", \"positive\": \"B\"}", "--matryoshka_dims 8 --matryoshka_weights 1,2", "as many numbers"},
        {"{\"anchor\": \"A\", \"positive\": \"B\"}", "--task classification --pooling mean", "pooling: needs task"},
        {"{\"anchor\": \"A\", \"positive\": \"B\"}", "--train_on_inputs true", "not with task \"embedding\""},
        {"{\"anchor\": \"A\", \"positive\": \"B\"}", "", "batches of one record without negatives, which is compared"},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        put("data.jsonl", all[i].record);
        AUTO_FREE char *words = mem_printf(TRAIN "--train_file data.jsonl --output_dir out %s", all[i].words);
        check_has(words, 2, all[i].expected);
    }
    put("text.txt", "A\n");
    check_has(TRAIN "--train_file text.txt --output_dir out", 2, "found plain text; expected records with texts");
}

TEST_MAIN(SCRATCH_TEST(test_embedding_golden), SCRATCH_TEST(test_embedding_cuda), SCRATCH_TEST(test_embedding_bits),
          SCRATCH_TEST(test_embedding_eval), SCRATCH_TEST(test_embed_verb), SCRATCH_TEST(test_embed_folder),
          SCRATCH_TEST(test_embedding_refusals))

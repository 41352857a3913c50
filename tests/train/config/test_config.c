// The config: every key's rules through the table, messages with file and line, overrides, saving and resuming.
#include "config.h"
#include "config_internal.h"
#include "quantize.h"
#include "scratch.h"
#include "words.h"

#define REQUIRED "\"model\": \"m.gguf\", \"output_dir\": \"out\", \"dataset\": \"d.jsonl\""

// Loads `text` as the file, with up to three words behind it.
static int load(Config *c, const char *text, const char *w1, const char *w2, const char *w3, Err *err) {
    char *path = scratch_file(text);
    char *argv[] = {path, (char *)w1, (char *)w2, (char *)w3};
    int argc = 1 + (w1 != NULL) + (w2 != NULL) + (w3 != NULL);
    *c = (Config){0};
    err->kind = ERR_NONE;
    int status = config_load(c, argc, argv, CONFIG_FOR_TRAIN, err);
    unlink(path);
    mem_free(path);
    return status;
}

static void refused(const char *text, const char *part) {
    Config c;
    Err err = {0};
    ASSERT_REFUSED(load(&c, text, NULL, NULL, NULL, &err), &err, part);
    assert_int_equal(err.kind, ERR_INPUT);
    config_clear(&c);
}

static void test_config_defaults(void **state) {
    (void)state;
    Config c;
    Err err = {0};
    ASSERT_OK(load(&c, "{" REQUIRED "}", NULL, NULL, NULL, &err), &err);
    assert_string_equal(c.model_name_or_path, "m.gguf");
    assert_int_equal(c.train_file.count, 1);
    assert_string_equal(c.train_file.items[0], "d.jsonl");
    assert_int_equal(c.lora_r, 16);
    assert_int_equal(c.max_steps, -1);
    assert_true(c.packing && c.shuffle && !c.train_on_inputs);
    assert_int_equal(c.lora_target_modules.count, 2);
    assert_string_equal(c.resume_from_checkpoint, "auto");
    ASSERT_NEAR(c.learning_rate, 2e-4, 0);
    ASSERT_NEAR(c.save_steps, 0.1, 0);
    assert_null(c.layers_to_transform.items);
    assert_true(config_is_set(&c, CONFIG_train_file));
    assert_false(config_is_set(&c, CONFIG_lora_r));
    config_clear(&c);
}

static void test_config_comments_and_lines(void **state) {
    (void)state;
    Config c;
    Err err = {0};
    const char *text =
        "// head \"{\n{" REQUIRED ", // \"lora_r\": 3\n \"run_name\": \"a // b\\\" // c\",\n\"r\": 8}// end";
    ASSERT_OK(load(&c, text, NULL, NULL, NULL, &err), &err);
    assert_int_equal(c.lora_r, 8);
    assert_string_equal(c.run_name, "a // b\" // c");
    config_clear(&c);
    refused("{" REQUIRED ",\n\n\"lorra_r\": 8}", ":3: unknown key \"lorra_r\"; the nearest known key is \"lora_r\"");
    refused("{" REQUIRED ",\n\"micro_batchsize\": 8}", "the nearest known key is \"per_device_train_batch_size\"");
    refused("{" REQUIRED ",\n\"zzzzzzzzzzzz\": 8}", ":2: unknown key \"zzzzzzzzzzzz\"; \"lorac help config\"");
    refused("{" REQUIRED ",\n\"seed\": 1,\n\"seed\": 2}", ":3: found key \"seed\" twice (first on line 2)");
    refused("{" REQUIRED ",\n\"seed\": 1,\n\"see\\u0064\": 2}", ":3: found key \"seed\" twice");
    refused("{" REQUIRED ",\n\"lora_r\": 1,\n\"r\": 2}", ":3: \"r\" is another name of lora_r, which line 2 has set");
}

#define NEST "[[[[[[[[[[[[[[[[[["

static void test_config_refuses_broken_json(void **state) {
    (void)state;
    refused("", ":1: found the end at column 1; expected a JSON value");
    refused("\xFF\xFE{", "found UTF-16 text; expected UTF-8");
    refused("{\n  'seed': 1}", ":2: found text in Python's form (single quotes) at column 3");
    refused("{\"seed\": None}", ":1: found text in Python's form (None, True or False) at column 10");
    refused("{\"seed\": 1,\n}", ":2: found '}' at column 1");
    refused("{\"learning_rate\": NaN}", ":1: found 'N' at column 19; expected a JSON value");
    refused("[]", "expected one JSON object");
    refused("{\"seed\": 1\n\"packing\": true}", ":2: found '\"' at column 1; expected ',' or '}'");
    refused("{\"seed\": 1}\n{}", ":2: found '{' at column 1; expected nothing after the value");
    refused("{\"seed\": \"abc", ":1: found the end at column 14; expected '\"' to end a string");
    refused("{\"runs\": " NEST NEST NEST NEST "}", "nesting deeper than 64");
    Config c = {0};
    Err err = {0};
    char *argv[] = {"/nonexistent/config.json"};
    ASSERT_REFUSED(config_load(&c, 1, argv, CONFIG_FOR_TRAIN, &err), &err, "/nonexistent/config.json");
    assert_int_equal(err.kind, ERR_INPUT);
    config_clear(&c);
}

static void test_config_refuses_values(void **state) {
    (void)state;
    static const struct {
        const char *member, *part;
    } cases[] = {
        {"\"lora_r\": 0", "lora_r: 0; expected 1 to"},
        {"\"lora_r\": 1.5", "lora_r: 1.5; expected an integer"},
        {"\"lora_r\": \"8\"", "lora_r: \"8\"; expected an integer"},
        {"\"seed\": 9223372036854775808", "seed: "},
        {"\"learning_rate\": 1e309", ":2: found a number too large for a double at column 18"},
        {"\"learning_rate\": -1", "learning_rate: -1; expected 0 to"},
        {"\"lora_alpha\": 0", "lora_alpha: 0; expected above 0"},
        {"\"lora_dropout\": 1", "lora_dropout: 1; expected 0 to"},
        {"\"packing\": 1", "packing: 1; expected true or false"},
        {"\"truncation\": \"cut\"", "truncation: \"cut\"; expected drop, truncate or error"},
        {"\"per_device_train_batch_size\": 0", "per_device_train_batch_size: 0"},
        {"\"max_steps\": 0", "max_steps: 0 steps"},
        {"\"validation_file\": \"\"", "validation_file: \"\"; expected a path or"},
        {"\"lora_target_modules\": []", "lora_target_modules: an empty list"},
        {"\"lora_target_modules\": [\"q_proj\", 1]", "lora_target_modules: 1; expected a string"},
        {"\"layers_to_transform\": [1, 1]", "ascending"},
        {"\"layers_pattern\": \"layers\"", "layers_pattern: needs layers_to_transform"},
        {"\"modules_to_save\": [\"score\"]", "modules_to_save: \"score\": only the head of a classifier"},
        {"\"task\": \"classification\", \"modules_to_save\": [\"score\", \"lm_head\"]",
         "modules_to_save: \"lm_head\": only the head"},
        {"\"layers_to_transform\": [-1]", "layers_to_transform: -1"},
        {"\"max_memory\": \"6 boxes\"", "max_memory: \"6 boxes\"; expected bytes"},
        {"\"save_steps\": 2.5", "save_steps: 2.5; expected a whole number of steps"},
        {"\"warmup_steps\": 1.5", "warmup_steps: 1.5; expected a whole number of steps"},
        {"\"eval_strategy\": \"steps\"", "eval_strategy: needs validation_file"},
        {"\"val_set_size\": 10, \"validation_file\": \"v\"", "val_set_size: validation_file is set too"},
        {"\"early_stopping_patience\": 3", "early_stopping_patience: needs eval_strategy"},
        {"\"report_to\": \"wandb\"", "report_to: \"wandb\"; expected html, tensorboard or none"},
        {"\"report_to\": [\"html\", 5]", "report_to: 5; expected a string"},
        {"\"device\": \"tpu\"", "device: \"tpu\"; expected auto, cpu, cuda or cuda:N"},
        {"\"device\": \"cuda:\"", "; expected auto, cpu, cuda or cuda:N"},
        {"\"device\": \"cuda:1x\"", "; expected auto, cpu, cuda or cuda:N"},
        {"\"device\": 1", "device: 1; expected auto, cpu"},
        {"\"dtype\": \"int8\"", "dtype: \"int8\"; expected auto, f32, tf32, bf16, f16 or fp8"},
        {"\"float32_matmul_precision\": \"low\"", "\"low\"; expected highest, high or medium"},
        {"\"float32_matmul_precision\": \"high\", \"dtype\": \"bf16\"",
         ":2: float32_matmul_precision: \"high\" with dtype bf16; expected dtype f32 or auto"},
        {"\"float32_matmul_precision\": \"medium\", \"dtype\": \"tf32\"", "\"medium\" with dtype tf32; expected"},
        {"\"dtype\": \"tf32\", \"float32_matmul_precision\": \"highest\"",
         "\"highest\" with dtype tf32; expected high, or dtype f32"},
        {"\"gradient_checkpointing\": \"some\"", "expected auto, true, false, none, ffn, blocks or offload"},
        {"\"quantize_base\": \"fp4\"", "expected none, int8 or nf4"},
        {"\"load_in_4bit\": 4", "load_in_4bit: expected true or false"},
        {"\"task\": \"regression\"", "task"},
        {"\"rope_scaling_type\": \"ntk\"", "\"ntk\"; expected model, linear, dynamic, yarn or llama3"},
        {"\"rope_scaling_type\": \"dynamic\"", "rope_scaling_type: needs rope_scaling_factor above 1"},
        {"\"rope_scaling_type\": \"yarn\"", "rope_scaling_type: needs rope_scaling_factor above 1"},
        {"\"rope_scaling_factor\": 2", "rope_scaling_factor: needs rope_scaling_type"},
        {"\"num_gpus\": 0", "num_gpus: 0; expected 1 to 1024"},
        {"\"num_gpus\": -1", "num_gpus: -1; expected 1 to 1024"},
        {"\"num_gpus\": \"most\"", "num_gpus: \"most\"; expected an integer or all"},
        {"\"num_gpus\": true", "num_gpus: true; expected an integer or all"},
        {"\"runs\": [8]", "runs: [8]; expected a list of objects, one for each run"},
        {"\"runs\": []", "runs: []; expected a list of objects, one for each run"},
        {"\"hot_swap_url\": \"h:8000\"", "hot_swap_url: expected \"http://host:port\""},
        {"\"hot_swap_url\": [\"http://h\", \"http://u:p@h/\"]", "hot_swap_url: expected \"http://host:port\""},
        {"\"hot_swap_url\": \"http://h?key=1\"", "hot_swap_url: expected \"http://host:port\""},
        {"\"hot_swap_url\": \"ftp://h\"", "hot_swap_url: expected \"http://host:port\""},
        {"\"hot_swap_url\": [\"http://h\", \"http://h\"]", "hot_swap_url: the same URL twice"},
        {"\"hot_swap_url\": \"http://h\", \"task\": \"classification\"", "hot_swap_url: with task classification"},
        {"\"hot_swap_engine\": \"ollama\"", "\"ollama\"; expected auto, vllm, sglang or llama.cpp"},
        {"\"hot_swap_timeout\": 0", "hot_swap_timeout: 0; expected 0.1 to 3600"},
        {"\"resume_from_checkpoint\": 5", "resume_from_checkpoint: 5; expected a path, auto, true or false"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = mem_printf("{" REQUIRED ",\n%s}", cases[i].member);
        refused(text, cases[i].part);
        mem_free(text);
    }
    refused("{" REQUIRED ",\n\"validation_file\": {\"path\": \"v\", \"weight\": 2}}", "; expected no weight");
    refused("{\"model\": \"m\", \"output_dir\": \"o\"}", "required key train_file is missing");
    refused("{\"output_dir\": \"o\", \"dataset\": \"d\"}", "required key model_name_or_path is missing");
}

static void test_config_weights_of_files(void **state) {
    (void)state;
    Config c, again;
    Err err = {0};
    ASSERT_OK(load(&c,
                   "{\"model\": \"m\", \"output_dir\": \"o\", \"dataset\": [\"/a.jsonl\", {\"weight\": 0.5, "
                   "\"path\": \"/b-{00..99}.tar\"}, {\"path\": \"/a.jsonl\"}, {\"path\": \"/c\", \"weight\": 3}]}",
                   NULL, NULL, NULL, &err),
              &err);
    char *text = config_json(&c);
    ASSERT_OK(load(&again, text, NULL, NULL, NULL, &err), &err);
    static const char *const names[] = {"/a.jsonl", "/b-{00..99}.tar", "/a.jsonl", "/c"};
    static const double weights[] = {1, 0.5, 1, 3};
    assert_int_equal(again.train_file.count, 4);
    for (int i = 0; i < 4; i++) {
        assert_string_equal(again.train_file.items[i], names[i]);
        assert_true(again.train_file.weights[i] == weights[i]);
    }
    mem_free(text);
    config_clear(&again);
    config_clear(&c);
    ASSERT_OK(load(&c, "{" REQUIRED "}", "--train_file={\"path\":\"x\",\"weight\":2}", NULL, NULL, &err), &err);
    assert_int_equal(c.train_file.count, 1);
    assert_string_equal(c.train_file.items[0], "x");
    assert_true(c.train_file.weights[0] == 2);
    config_clear(&c);
    ASSERT_OK(load(&c, "{" REQUIRED "}", "--train_file=x,y", NULL, NULL, &err), &err);
    assert_int_equal(c.train_file.count, 2);
    assert_true(c.train_file.weights[1] == 1);
    config_clear(&c);
}

static void test_config_refuses_bad_weights(void **state) {
    (void)state;
    static const struct {
        const char *file, *part;
    } cases[] = {
        {"{\"path\": \"a\", \"weight\": 0}",
         ":2: train_file: {\"path\": \"a\", \"weight\": 0}; expected a weight above 0"},
        {"{\"path\": \"a\", \"weight\": -1}", "expected a weight above 0"},
        {"{\"path\": \"a\", \"weight\": 1e9}", "expected a weight above 0, at most 1000"},
        {"{\"path\": \"a\", \"weight\": \"2\"}", "expected a weight"},
        {"{\"weight\": 1}", "expected a path or {\"path\": ..., \"weight\": ...}"},
        {"{\"path\": \"\"}", "expected a path or"},
        {"{\"path\": \"a\", \"wieght\": 1}", "expected no keys but path, weight, "},
        {"{\"path\": \"a\", \"format\": \"csv\"}", "expected a format of dataset_format"},
        {"{\"path\": \"a\", \"max_samples\": 1.5}", "expected max_samples as a number of records, or a fraction"},
        {"{\"path\": \"a\", \"max_samples\": 0}", "expected max_samples as"},
        {"{\"path\": \"a\", \"columns\": {\"x\": \"y\"}}", "expected columns of messages, tools, system"},
        {"{\"path\": \"a\", \"columns\": [\"x\"]}", "expected columns as {\"messages\": "},
        {"{\"path\": \"a\", \"columns\": {\"text\": 1}}", "expected names of columns as text"},
        {"{\"path\": \"a\", \"weight\": 1, \"weight\": 2}", "found key \"weight\" twice"},
        {"[\"a\"]", "expected a path or"},
        {"7", "expected a path or"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = mem_printf("{\"model\": \"m\", \"output_dir\": \"o\",\n\"train_file\": [%s]}", cases[i].file);
        refused(text, cases[i].part);
        mem_free(text);
    }
    refused("{\"model\": \"m\", \"output_dir\": \"o\", \"train_file\": 7}",
            "train_file: 7; expected a path or a list of paths");
}

static void test_config_quantize_base(void **state) {
    (void)state;
    static const struct {
        const char *member;
        QuantizeKind kind;
    } cases[] = {{"\"quantize_base\": \"none\"", QUANTIZE_NONE}, {"\"quantize_base\": \"int8\"", QUANTIZE_INT8},
                 {"\"quantize_base\": \"nf4\"", QUANTIZE_NF4},   {"\"load_in_4bit\": true", QUANTIZE_NF4},
                 {"\"load_in_8bit\": true", QUANTIZE_INT8},      {"\"load_in_8bit\": false", QUANTIZE_NONE}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Config c;
        Err err = {0};
        char *text = mem_printf("{" REQUIRED ",\n%s}", cases[i].member);
        ASSERT_OK(load(&c, text, NULL, NULL, NULL, &err), &err);
        assert_int_equal(c.quantize_base, cases[i].kind);
        config_clear(&c);
        mem_free(text);
    }
}

// null is absence, of every key, under each of its names, in the file and on the command line.
static void test_config_null_is_absence(void **state) {
    (void)state;
    static const char *const aliases[] = {"load_in_4bit", "r", "cutoff_len", "sample_packing", "torch_dtype"};
    Config plain, c;
    Err err = {0};
    ASSERT_OK(load(&plain, "{" REQUIRED "}", NULL, NULL, NULL, &err), &err);
    char *want = config_json(&plain);
    for (size_t i = 0; i < CONFIG_KEYS + 5; i++) {
        const char *name = i < CONFIG_KEYS ? config_table.keys[i].name : aliases[i - CONFIG_KEYS];
        if (strcmp(name, "output_dir") == 0) continue; // REQUIRED has it
        char *text = mem_printf("{\"%s\": null, " REQUIRED ", \"seed\": 7, \"lora_r\": 3.0}", name);
        if (strcmp(name, "seed") == 0 || strcmp(name, "lora_r") == 0) // twice the same key
            mem_free(text), text = mem_printf("{\"%s\": null, " REQUIRED "}", name);
        if (load(&c, text, "--seed=null", "lora_r=null", "report_to=null", &err)) fail_msg("%s: %s", text, err.msg);
        char *got = config_json(&c);
        assert_string_equal(got, want);
        assert_false(config_is_set(&c, CONFIG_seed) || config_is_set(&c, CONFIG_max_seq_length));
        config_clear(&c);
        mem_free(got);
        mem_free(text);
    }
    ASSERT_OK(load(&c, "{" REQUIRED ", \"lora_r\": null, \"r\": 4.0, \"save_steps\": 5.0}", NULL, NULL, NULL, &err),
              &err);
    assert_int_equal(c.lora_r, 4);
    config_clear(&c);
    refused("{\"model\": null, \"output_dir\": \"o\", \"dataset\": \"d\"}", "model_name_or_path is missing");
    refused("{" REQUIRED ", \"lora_rr\": null}", "unknown key \"lora_rr\"");
    mem_free(want);
    config_clear(&plain);
}

static void test_config_accepts_defaults_of_later_keys(void **state) {
    (void)state;
    Config c;
    Err err = {0};
    const char *text =
        "{" REQUIRED ", \"num_gpus\": 1, \"runs\": null, \"load_in_4bit\": false, \"dashboard\": null,"
        "\"resume_from_checkpoint\": false, \"gradient_checkpointing\": true, \"max_memory\": \"1.5GiB\"}";
    ASSERT_OK(load(&c, text, NULL, NULL, NULL, &err), &err);
    assert_string_equal(c.resume_from_checkpoint, "false");
    assert_int_equal(c.gradient_checkpointing, CHECKPOINT_TRUE);
    assert_int_equal(c.max_memory, 3 << 29);
    config_clear(&c);
}

static void test_config_numbers_of_gpus(void **state) {
    (void)state;
    static const struct {
        const char *member, *saved;
        int64_t number;
    } cases[] = {
        {"\"seed\": 1", "\"num_gpus\":\t1", 1},
        {"\"num_gpus\": 8", "\"num_gpus\":\t8", 8},
        {"\"num_gpus\": \"all\"", "\"num_gpus\":\t\"all\"", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Config c, again;
        Err err = {0};
        char *text = mem_printf("{" REQUIRED ",\n%s}", cases[i].member);
        ASSERT_OK(load(&c, text, NULL, NULL, NULL, &err), &err);
        assert_int_equal(c.num_gpus, cases[i].number);
        char *saved = config_json(&c);
        if (!strstr(saved, cases[i].saved)) fail_msg("%s lacks %s", saved, cases[i].saved);
        ASSERT_OK(load(&again, saved, NULL, NULL, NULL, &err), &err);
        assert_int_equal(again.num_gpus, cases[i].number);
        config_clear(&again);
        mem_free(saved);
        mem_free(text);
        config_clear(&c);
    }
}

static void test_config_devices(void **state) {
    (void)state;
    static const char *const devices[] = {"auto", "cpu", "cuda", "cuda:0", "cuda:15"};
    static const char *const dtypes[] = {"auto", "f32", "tf32", "bf16", "f16", "fp8"};
    for (int i = 0; i < 6; i++) {
        Config c;
        Err err = {0};
        char *text =
            mem_printf("{" REQUIRED ", \"device\": \"%s\", \"torch_dtype\": \"%s\"}", devices[i % 5], dtypes[i]);
        ASSERT_OK(load(&c, text, NULL, NULL, NULL, &err), &err);
        assert_string_equal(c.device, devices[i % 5]);
        assert_int_equal(c.dtype, i);
        char *saved = config_json(&c);
        assert_non_null(strstr(saved, devices[i % 5]));
        mem_free(saved);
        config_clear(&c);
        mem_free(text);
    }
}

// dtype tf32 is f32 with high, also in the config that a run saves.
static void test_config_precision(void **state) {
    (void)state;
    static const struct {
        const char *words[2];
        DtypeWord dtype;
    } cases[] = {{{"--dtype=tf32", NULL}, DTYPE_WORD_TF32},
                 {{"--float32_matmul_precision=high", NULL}, DTYPE_WORD_TF32},
                 {{"--float32_matmul_precision=high", "--dtype=tf32"}, DTYPE_WORD_TF32},
                 {{"--float32_matmul_precision=medium", "--dtype=f32"}, DTYPE_WORD_F32_MEDIUM},
                 {{"--float32_matmul_precision=highest", NULL}, DTYPE_WORD_AUTO},
                 {{"--float32_matmul_precision=highest", "--dtype=bf16"}, DTYPE_WORD_BF16}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Config c, again;
        Err err = {0};
        ASSERT_OK(load(&c, "{" REQUIRED "}", cases[i].words[0], cases[i].words[1], NULL, &err), &err);
        assert_int_equal(config_dtype(&c), cases[i].dtype);
        char *saved = config_json(&c);
        ASSERT_OK(load(&again, saved, NULL, NULL, NULL, &err), &err);
        assert_int_equal(config_dtype(&again), cases[i].dtype);
        mem_free(saved);
        config_clear(&again);
        config_clear(&c);
    }
}

static void test_config_overrides(void **state) {
    (void)state;
    Config c;
    Err err = {0};
    const char *text = "{" REQUIRED ", \"lora_r\": 4, \"seed\": 5}";
    ASSERT_OK(load(&c, text, "--lora-r=8", "seed=7", "--use_rslora", &err), &err);
    assert_int_equal(c.lora_r, 8);
    assert_int_equal(c.seed, 7);
    assert_true(c.use_rslora);
    config_clear(&c);
    ASSERT_OK(load(&c, text, "lora_rank=9", "--target_modules=q_proj,k_proj,o_proj", NULL, &err), &err);
    assert_int_equal(c.lora_r, 9);
    assert_int_equal(c.lora_target_modules.count, 3);
    assert_string_equal(c.lora_target_modules.items[2], "o_proj");
    config_clear(&c);
    ASSERT_OK(load(&c, text, "--max_steps", "-1", "layers_to_transform=[0, 3]", &err), &err);
    assert_int_equal(c.layers_to_transform.count, 2);
    assert_int_equal(c.layers_to_transform.items[1], 3);
    config_clear(&c);
    ASSERT_REFUSED(load(&c, text, "--lorra_r", "8", NULL, &err), &err,
                   "command line: unknown key \"lorra_r\"; the nearest");
    config_clear(&c);
    ASSERT_OK(load(&c, text, "r=8", "lora_rank=9", NULL, &err), &err); // the last one wins
    assert_int_equal(c.lora_r, 9);
    config_clear(&c);
    ASSERT_OK(load(&c, text, "--use_rslora", "--dtype=bfloat16", "--stage=sft", &err), &err);
    assert_int_equal(c.dtype, DTYPE_WORD_BF16);
    config_clear(&c);
    ASSERT_REFUSED(load(&c, text, "--seed", NULL, NULL, &err), &err, "--seed has no value");
    config_clear(&c);
    ASSERT_REFUSED(load(&c, text, "--seed=x", NULL, NULL, &err), &err,
                   "command line: seed: \"x\"; expected an integer");
    config_clear(&c);
    ASSERT_REFUSED(load(&c, text, "other.json", NULL, NULL, &err), &err, "other.json: a second config file");
    config_clear(&c);
}

// The saved config loads to the same values, with absolute paths, and "auto" stays "auto".
static void test_config_saved_form_loads(void **state) {
    (void)state;
    Config c, again;
    Err err = {0};
    const char *text =
        "{" REQUIRED ", \"r\": 8, \"eval_strategy\": \"steps\", \"eval_steps\": 5, \"val_set_size\": 0.1,"
        "\"layers_to_transform\": [1], \"max_memory\": \"2GiB\", \"learning_rate\": 1.7e-4}";
    ASSERT_OK(load(&c, text, NULL, NULL, NULL, &err), &err);
    char *saved = config_json(&c), cwd[4096];
    assert_non_null(getcwd(cwd, sizeof cwd));
    assert_non_null(strstr(saved, cwd));
    assert_non_null(strstr(saved, "\"gradient_checkpointing\":\t\"auto\""));
    assert_non_null(strstr(saved, "\"resume_from_checkpoint\":\t\"auto\""));
    ASSERT_OK(load(&again, saved, NULL, NULL, NULL, &err), &err);
    char *saved_again = config_json(&again);
    assert_string_equal(saved, saved_again);
    mem_free(saved);
    mem_free(saved_again);
    config_clear(&c);
    config_clear(&again);
}

static void test_config_same_run(void **state) {
    (void)state;
    Config c, other;
    Err err = {0};
    ASSERT_OK(load(&c, "{" REQUIRED ", \"gradient_accumulation_steps\": 4}", NULL, NULL, NULL, &err), &err);
    char *saved = config_json(&c);
    ASSERT_OK(load(&other, "{" REQUIRED ", \"per_device_train_batch_size\": 4}", "save_steps=7", "logging_steps=3",
                   "gradient_checkpointing=true", &err),
              &err);
    ASSERT_OK(config_check_same_run(&other, saved, "config.json", &err), &err);
    config_clear(&other);
    ASSERT_OK(load(&other, "{" REQUIRED ", \"per_device_train_batch_size\": 2}", "lora_r=8", "seed=1", NULL, &err),
              &err);
    ASSERT_REFUSED(config_check_same_run(&other, saved, "config.json", &err), &err, "lora_r was 16, now 8");
    assert_non_null(strstr(err.msg, "seed was 42, now 1"));
    assert_null(strstr(err.msg, "gradient_accumulation_steps"));
    ASSERT_REFUSED(config_check_same_run(&other, "{\"seed\":", "config.json", &err), &err,
                   "config.json:1: found the end");
    config_clear(&other);
    ASSERT_OK(load(&other, "{" REQUIRED ", \"gradient_accumulation_steps\": 4}",
                   "train_file={\"path\": \"d.jsonl\", \"weight\": 2}", NULL, NULL, &err),
              &err);
    ASSERT_REFUSED(config_check_same_run(&other, saved, "config.json", &err), &err, "train_file was [");
    config_clear(&other);
    config_clear(&c);
    mem_free(saved);
}

static int takes(const Key *k, const char *json) {
    Config c = {0};
    Err err;
    JsonDoc *doc;
    ASSERT_OK(json_parse_data(&doc, json, strlen(json), "", 1, &err), &err);
    int status = key_read(&c, k, json_root(doc), "test: ", &err);
    json_free(doc);
    config_clear(&c);
    return status;
}

// Whatever is added to the table: each key refuses the types it does not have, and has help.
static void test_config_every_key_refuses_wrong_types(void **state) {
    (void)state;
    for (size_t i = 0; i < CONFIG_KEYS; i++) {
        const Key *k = &config_table.keys[i];
        bool number = k->type == KEY_INT || k->type == KEY_FLOAT || k->type == KEY_BYTES || k->type == KEY_INTS ||
                      k->type == KEY_FLOATS;
        if (!number) assert_int_equal(takes(k, "12345"), -1);
        bool object = k->type == KEY_COLUMNS || k->type == KEY_OBJECT;
        if (k->type != KEY_BOOL && !object) assert_int_equal(takes(k, "{}"), -1);
        if (object) assert_int_equal(takes(k, "[]"), -1);
        if (number || k->type == KEY_BOOL) assert_int_equal(takes(k, "\"text\""), -1);
        if (number) assert_int_equal(takes(k, "1e309"), -1);
        assert_true(strlen(k->help) > 3);
    }
}

// Any change of one byte gives a config or one refusal, never a crash.
static void test_config_survives_mutations(void **state) {
    (void)state;
    const char *text = "{" REQUIRED ", \"r\": 8, // c\n\"layers_to_transform\": [1,2], \"max_memory\": \"2GiB\"}";
    for (size_t i = 0; i < strlen(text); i++) {
        for (int b = 1; b < 256; b += 13) {
            char *changed = mem_strdup(text);
            changed[i] = (char)b;
            Config c = {0}, before;
            Err err = {0};
            ASSERT_OK(load(&before, "{" REQUIRED "}", NULL, NULL, NULL, &err), &err);
            config_check_same_run(&before, changed, "c", &err);
            config_clear(&before);
            config_clear(&c);
            mem_free(changed);
        }
    }
}

static void test_words_split_and_nearest(void **state) {
    (void)state;
    Word w = word_split("--max-steps=3");
    assert_true(w.is_key);
    assert_string_equal(w.key, "max_steps");
    assert_string_equal(w.value, "3");
    assert_false(word_split("./a=b/c.json").is_key);
    assert_false(word_split("config.json").is_key);
    assert_true(word_split("a=").is_key);
    Nearest n = nearest_start("lerning_rat");
    nearest_try(&n, "seed");
    assert_null(n.name);
    nearest_try(&n, "learning_rate");
    assert_string_equal(n.name, "learning_rate");
}

TEST_MAIN(TEST(test_config_defaults), TEST(test_config_null_is_absence), TEST(test_config_comments_and_lines),
          TEST(test_config_refuses_broken_json), TEST(test_config_refuses_values), TEST(test_config_weights_of_files),
          TEST(test_config_refuses_bad_weights), TEST(test_config_quantize_base), TEST(test_config_numbers_of_gpus),
          TEST(test_config_devices), TEST(test_config_accepts_defaults_of_later_keys), TEST(test_config_precision),
          TEST(test_config_overrides), TEST(test_config_saved_form_loads), TEST(test_config_same_run),
          TEST(test_config_every_key_refuses_wrong_types), TEST(test_config_survives_mutations),
          TEST(test_words_split_and_nearest))

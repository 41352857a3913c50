// Configs in the shape of those that Axolotl, LLaMA-Factory and TRL publish train a tiny model: only the paths of model
// and data are replaced, and --max_steps 2 is given. Their keys and values are in tests/golden/tool_configs.
#include "test.h"

#include <dirent.h>
#include <sys/stat.h>

#include "cli_runner.h"
#include "fileio.h"
#include "json.h"
#include "json_save.h"
#include "tiny_model.h"

typedef struct ToolConfig {
    const char *name;
    const char *parts[8]; // of what is printed
} ToolConfig;

static const ToolConfig configs[] = {
    {"axolotl_llama_lora.yml",
     {"reads as a config of Axolotl", "\"format\":\"alpaca_prompt\"", "eval_steps                   0.25 ", "dropout",
      "adamw_8bit: AdamW, with its state in float32", "lora_r                       16 ",
      "packing                      true "}},
    {"axolotl_instruct_8bit.yml",
     {"quantize_base                \"int8\" ", "[\"all-linear\"]", "eval_steps                   0.0625 ",
      "save_steps                   0.0625 ", "template                     \"chatml\" ",
      "eos_token                    \"<|im_end|>\" ", "layers in int8"}},
    {"axolotl_qlora_split.yaml",
     {"\"max_samples\":0.2", "8 samples (sharegpt)", "quantize_base                \"nf4\" ",
      "plugins                      changes nothing"}},
    {"axolotl_gemma_qlora.yml",
     {"40 samples (sharegpt)", "eot_tokens                   changes nothing", "layers in nf4"}},
    {"axolotl_linear_8bit.yml",
     {"\"columns\":{\"text\":\"body\"}", "deepspeed                    ZeRO is data parallelism",
      "warmup_steps                 10 ", "fsdp_config                  changes nothing here"}},
    {"axolotl_custom_prompt.yml",
     {"\"prompt_format\":{\"system_prompt\":\"Answer.\"", "\"format\":\"[INST] {instruction} {input} [/INST]\"",
      "\"columns\":{\"input\":\"context\",\"output\":\"target\"}",
      "\"roles\":{\"user\":[\"visitor\"],\"assistant\":[\"clerk\"]}", "80 samples"}},
    {"llama_factory_tags.yaml",
     {"\"roles\":{\"user\":[\"visitor\"],\"assistant\":[\"clerk\"],\"tool\":[\"result\"],\"function_call\":[\"call\"]}",
      "mask_history                 true ", "40 samples (messages)"}},
    {"llama_factory_lora_sft.yaml",
     {"reads as a config of LLaMA-Factory",
      "\"path\":\"data/identity.json\",\"format\":\"alpaca\",\"max_samples\":1000",
      "lora_alpha                   16                                       default of LLaMA-Factory",
      "truncation                   \"truncate\"                               default of LLaMA-Factory",
      "80 samples (alpaca)"}},
    {"llama_factory_lora_eval.yaml",
     {"[\"q_proj\",\"v_proj\"]", "12 samples (sharegpt)",
      "validation_file              [{\"path\":\"MESSAGES.jsonl\",\"max_samples\":12}]"}},
    {"llama_factory_qlora.yaml", {"quantize_base                \"nf4\" ", "val_set_size                 0.1 "}},
    {"llama_factory_loraplus.yaml",
     {"\"columns\":{\"messages\":\"chat\",\"role\":\"speaker\",\"content\":\"said\"}",
      "loraplus_lr_ratio            16 ", "40 samples"}},
    {"llama_factory_zero3.yaml",
     {"packing                      true ", "flash_attn                   changes nothing here"}},
    {"trl_sft.yaml",
     {"reads as a config of TRL",
      "train_on_inputs              true                                     default of TRL",
      "per_device_train_batch_size  8                                        default of TRL",
      "lora_dropout                 0.05 "}},
    {"trl_lora.yaml",
     {"\"DATA/train.jsonl\"", "\"DATA/test.jsonl\"", "train_on_inputs              false ",
      "push_to_hub                  changes nothing here"}},
    {"trl_qlora_mixture.yaml",
     {"raw_pairs                    true                                     default of TRL",
      "wandb: report.html and train_log.jsonl are written", " samples (auto)", "val_set_size                 0.1 ",
      "logging_steps                0.1: every step is logged"}},
};
enum { CONFIGS = sizeof configs / sizeof *configs };

static void put_lines(const char *path, int n, const char *fmt) {
    StrBuf text = {0};
    for (int i = 0; i < n; i++)
        for (const char *p = fmt; *p; p++) // # is the number of the record
            if (*p == '#')
                str_printf(&text, "%d", i);
            else
                str_add(&text, p, 1);
    put(path, text.data);
    str_clear(&text);
}

static void put_data(void) {
    static const char messages[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"Say "
                                   "#\"},{\"role\":\"assistant\",\"content\":\"It is #.\"}]}\n";
    static const char turns[] =
        "{\"conversations\":[{\"from\":\"human\",\"value\":\"Say #\"},{\"from\":\"gpt\",\"value\":\"It is #.\"}]}\n";
    static const char alpaca[] = "{\"instruction\":\"Say #\",\"input\":\"\",\"output\":\"#.\"}\n";
    TinyModel tiny = TINY_MODEL;
    tiny.hidden = 64;
    tiny.ffn = 128;
    tiny_model_write("MODEL.gguf", &tiny);
    mkdir("DATA", 0777);
    mkdir("data", 0777);
    put_lines("MESSAGES.jsonl", 40, messages);
    put_lines("DATA/train.jsonl", 40, messages);
    put_lines("DATA/test.jsonl", 5, messages);
    put_lines("SHAREGPT.jsonl", 40, turns);
    put_lines("ALPACA.jsonl", 40, alpaca);
    put_lines("data/identity.json", 40, alpaca);
    put_lines("data/alpaca_en_demo.json", 40, alpaca);
    put_lines("TEXT.jsonl", 10, "{\"body\":\"some text #\"}\n");
    put_lines("PAIRS.jsonl", 10, "{\"prompt\":\"a#\",\"completion\":\"b#\"}\n");
    put_lines("DATA/tools.jsonl", 40,
              "{\"chat\":[{\"speaker\":\"human\",\"said\":\"Say #\"},{\"speaker\":\"gpt\",\"said\":\"It is #.\"}]}\n");
    put_lines("CUSTOM.jsonl", 40, "{\"instruction\":\"Say #\",\"context\":\"\",\"target\":\"#.\"}\n");
    put_lines("DATA/dialogs.jsonl", 40,
              "{\"turns\":[{\"who\":\"visitor\",\"said\":\"Say #\"},{\"who\":\"clerk\",\"said\":\"#.\"},"
              "{\"who\":\"visitor\",\"said\":\"Why?\"},{\"who\":\"clerk\",\"said\":\"So.\"}]}\n");
    put("data/dataset_info.json",
        "{\"identity\":{\"file_name\":\"identity.json\"},\"alpaca_en_demo\":{\"file_name\":\"alpaca_en_demo.json\"}}");
    put("DATA/dataset_info.json",
        "{\"desk\":{\"file_name\":\"dialogs.jsonl\",\"formatting\":\"sharegpt\",\"columns\":{\"messages\":\"turns\"},"
        "\"tags\":"
        "{\"role_tag\":\"who\",\"content_tag\":\"said\",\"user_tag\":\"visitor\",\"assistant_tag\":\"clerk\","
        "\"observation_tag\":\"result\",\"function_tag\":\"call\",\"system_tag\":\"system\"}},"
        "\"tool_demo\":{\"file_name\":\"tools.jsonl\",\"formatting\":\"sharegpt\",\"columns\":{\"messages\":\"chat\"},"
        "\"tags\":{\"role_tag\":\"speaker\",\"content_tag\":\"said\",\"user_tag\":\"human\",\"assistant_tag\":\"gpt\"}}"
        "}");
}

// The config with MODEL replaced by the tiny model's path.
static void put_config(const char *name) {
    AUTO_FREE char *path = mem_printf("%s/golden/tool_configs/%s", TEST_DIR, name), *text = NULL;
    StrBuf out = {0};
    size_t size;
    Err err;
    ASSERT_OK(file_read(&text, &size, path, 1 << 20, &err), &err);
    for (const char *p = text; *p; p++) {
        bool is_model = strncmp(p, "MODEL", 5) == 0;
        str_puts(&out, is_model ? "MODEL.gguf" : (char[]){*p, 0});
        p += is_model ? 4 : 0;
    }
    put(name, out.data);
    str_clear(&out);
}

static void test_tool_configs_train(void **state) {
    (void)state;
    put_data();
    for (size_t i = 0; i < CONFIGS; i++) {
        const ToolConfig *c = &configs[i];
        put_config(c->name);
        char *words = mem_printf("train %s --max_steps 2 --output_dir out-%zu", c->name, i), *out = run(words, 0);
        for (size_t k = 0; k < 8 && c->parts[k]; k++)
            if (!strstr(out, c->parts[k])) fail_msg("%s lacks \"%s\":\n%s", c->name, c->parts[k], out);
        mem_free(out);
        mem_free(words);
    }
}

// The text of a record by each type of data set, as Axolotl's own code makes it (make_axolotl_types_golden.py).
static void check_axolotl_type(const Json *line) {
    StrBuf record = {0}, config = {0}, shown = {0};
    const Json *type = json_get(line, "type"), *prompt = json_get(line, "prompt"), *answer = json_get(line, "answer");
    json_print(&record, json_get(line, "record"));
    put("d.jsonl", record.data);
    str_printf(&config, "adapter: lora\ndatasets: [{path: d.jsonl, type: '%s'}]\n", type->str.data);
    put("c.yml", config.data);
    str_printf(&shown, "\n%s[[%s<|im_end|>]]\n", prompt->str.data, answer->str.data);
    AUTO_FREE char *data = run("inspect c.yml -m MODEL.gguf --show 1 --max_seq_length 2048", 0);
    if (!strstr(data, shown.data)) fail_msg("type %s: \"%s\" lacks \"%s\"", type->str.data, data, shown.data);
    bool ignored = strstr(record.data, "not read") != NULL;
    if (ignored != (strstr(data, "  not used  ") != NULL)) fail_msg("type %s: \"%s\"", type->str.data, data);
    str_clear(&record);
    str_clear(&config);
    str_clear(&shown);
}

static void test_tool_configs_axolotl_types(void **state) {
    (void)state;
    TinyModel tiny = TINY_MODEL;
    tiny.context = 2048;
    tiny_model_write("MODEL.gguf", &tiny);
    AUTO_FREE char *text = NULL;
    size_t size;
    Err err;
    ASSERT_OK(file_read(&text, &size, TEST_DIR "/golden/axolotl_types.jsonl", 1 << 20, &err), &err);
    int n = 0;
    for (char *at = text, *end; (end = strchr(at, '\n')); at = end + 1, n++) {
        AUTO_JSON JsonDoc *doc = NULL;
        ASSERT_OK(json_parse(&doc, at, (size_t)(end - at), "axolotl_types.jsonl", 1, &err), &err);
        check_axolotl_type(json_root(doc));
    }
    assert_true(n > 40);
}

// Templates and end tokens that configs name, against those of the model, whose template is ChatML.
static void test_tool_configs_templates(void **state) {
    (void)state;
    static const char data[] = "inspect c.yaml --model_name_or_path MODEL.gguf --train_file MESSAGES.jsonl";
    static const struct {
        const char *text, *part;
        int status;
    } cases[] = {
        {"template: qwen3_nothink\neos_token: <|im_end|>", "5 samples", 0},
        {"template: llama3", "template: llama3 writes <|start_header_id|>; the model's chat template does not", 2},
        {"template: mine", "template: \"mine\" is not known; leave it out", 2},
        {"eos_token: </s>", "eos_token: \"</s>\"; expected a token of the model's vocabulary", 2},
        {"chat_template: zephyr", "5 samples", 0},
        {"chat_template: llama3", "chat template llama3: <|start_header_id|> is not a token of the model", 2},
        {"chat_template: mine", "chat_template: \"mine\" is neither a file nor one of chatml, qwen", 2},
    };
    TinyModel tiny = TINY_MODEL;
    tiny_model_write("MODEL.gguf", &tiny);
    put_lines("MESSAGES.jsonl", 5,
              "{\"messages\":[{\"role\":\"user\",\"content\":\"#\"},{\"role\":\"assistant\",\"content\":\"#\"}]}\n");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put("c.yaml", cases[i].text);
        check_has(data, cases[i].status, cases[i].part);
    }
}

// Raw texts and pairs end with the token that the config names, unless they do already, as in TRL.
static void test_tool_configs_end_of_texts(void **state) {
    (void)state;
    TinyModel tiny = TINY_MODEL;
    tiny_model_write("MODEL.gguf", &tiny);
    put("PAIRS.jsonl", "{\"prompt\":\"a\",\"completion\":\" b\"}\n");
    put("TEXT.jsonl", "{\"text\":\"c<|im_start|>\"}\n");
    put("c.yaml", "use_peft: true\nmodel_name_or_path: MODEL.gguf\neos_token: <|im_start|>\n");
    check_has("inspect c.yaml --train_file PAIRS.jsonl --show 1", 0, "\na[[ b<|im_start|>]]\n");
    check_has("inspect c.yaml --train_file TEXT.jsonl --show 1", 0, "\nc[[<|im_start|>]]\n");
    check_has("inspect c.yaml --train_file PAIRS.jsonl --eos_token null --show 1", 0, "\na[[ b<|im_end|>]]\n");
    mem_free(run("train c.yaml --train_file PAIRS.jsonl --output_dir o --max_steps 1", 0));
}

// Of a model without a template; the adapter's folder then has it, and generating uses it.
static void test_tool_configs_template_of_a_bare_model(void **state) {
    (void)state;
    static const char *const names[] = {"template: chatml", "adapter: lora\nchat_template: chatml"};
    TinyModel tiny = TINY_MODEL;
    tiny.no_template = true;
    tiny_model_write("BARE.gguf", &tiny);
    put_lines("MESSAGES.jsonl", 5,
              "{\"messages\":[{\"role\":\"user\",\"content\":\"#\"},{\"role\":\"assistant\",\"content\":\"#\"}]}\n");
    for (int i = 0; i < 2; i++) {
        put("c.yaml", names[i]);
        char *train =
                 mem_printf("train c.yaml --model_name_or_path BARE.gguf --train_file MESSAGES.jsonl --max_steps 1 "
                            "--output_dir bare-%d",
                            i),
             *folder = mem_printf("bare-%d/adapter/chat_template.jinja", i), *text;
        size_t size;
        Err err;
        mem_free(run(train, 0));
        ASSERT_OK(file_read(&text, &size, folder, 1 << 20, &err), &err);
        assert_non_null(strstr(text, "<|im_start|>assistant"));
        mem_free(text);
        mem_free(folder);
        mem_free(train);
    }
    put("m.json", "[{\"role\":\"user\",\"content\":\"a\"}]");
    check_has("generate --model BARE.gguf --messages m.json --max_new_tokens 1", 2, "the model has no chat template");
    mem_free(run(
        "generate --model BARE.gguf --messages m.json --max_new_tokens 1 --adapter_name_or_path bare-0/adapter", 0));
    mem_free(run("generate --model BARE.gguf --messages m.json --max_new_tokens 1 --chat_template alpaca", 0));
    put("c.yaml", "template: exaone");
    check_has("inspect c.yaml --model_name_or_path BARE.gguf --train_file MESSAGES.jsonl", 2,
              "template: exaone writes [|user|]; the model has no chat template");
}

// No config of the folder is left out.
static void test_tool_configs_are_all_run(void **state) {
    (void)state;
    DIR *dir = opendir(TEST_DIR "/golden/tool_configs");
    assert_non_null(dir);
    size_t found = 0;
    for (struct dirent *e; (e = readdir(dir));) found += strstr(e->d_name, ".y") != NULL;
    closedir(dir);
    assert_int_equal(found, CONFIGS);
}

TEST_MAIN(SCRATCH_TEST(test_tool_configs_train), SCRATCH_TEST(test_tool_configs_axolotl_types),
          SCRATCH_TEST(test_tool_configs_templates), SCRATCH_TEST(test_tool_configs_end_of_texts),
          SCRATCH_TEST(test_tool_configs_template_of_a_bare_model), TEST(test_tool_configs_are_all_run))

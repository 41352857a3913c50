// Config files: YAML next to JSON, and all problems of a config in one message.
#include <stdio.h>

#include "config.h"
#include "fileio.h"
#include "scratch.h"

// stderr goes to a file until capture_end, which takes its text.
static int capture_stderr = -1;
static char *capture_begin(void) {
    char *path = scratch_file("");
    fflush(stderr);
    capture_stderr = dup(2);
    int fd = open(path, O_WRONLY | O_TRUNC);
    assert_true(capture_stderr >= 0 && fd >= 0 && dup2(fd, 2) == 2);
    close(fd);
    return path;
}

static void capture_end(char *path, StrBuf *out) {
    char *text;
    size_t size;
    Err err;
    fflush(stderr);
    dup2(capture_stderr, 2);
    close(capture_stderr);
    ASSERT_OK(file_read(&text, &size, path, 1 << 20, &err), &err);
    str_add(out, text, size);
    unlink(path);
    mem_free(text);
    mem_free(path);
}

static int load(Config *c, const char *text, const char *word, Err *err) {
    char *path = scratch_file(text), *argv[] = {path, (char *)word};
    *c = (Config){0};
    int rc = config_load(c, 1 + (word != NULL), argv, CONFIG_FOR_TRAIN, err);
    unlink(path);
    mem_free(path);
    return rc;
}

static char *yaml_config(const char *text) {
    char *path = scratch_file(text), *yaml = mem_printf("%s.yaml", path);
    assert_int_equal(rename(path, yaml), 0);
    mem_free(path);
    return yaml;
}

// A config with several problems names them all, and no follow-ups of a value that is refused.
static void test_config_names_all_problems(void **state) {
    (void)state;
    StrBuf text = {0}, printed = {0};
    str_puts(&text, "{\"lora_r\": 0,\n\"seed\": \"x\",\n\"validation_file\": 3, \"eval_strategy\": \"epoch\",\n"
                    "\"train_file\": [5], \"save_steps\": 2.5, \"lorra\": 1}");
    Config c;
    Err err = {0};
    char *log = capture_begin();
    assert_int_equal(load(&c, text.data, "--packing=7", &err), -1);
    capture_end(log, &printed);
    static const char *const parts[] = {":1: lora_r: 0; expected 1 to",
                                        ":2: seed: \"x\"; expected an integer",
                                        ":3: validation_file: 3; expected a path",
                                        ":4: train_file: 5; expected a path",
                                        ":4: unknown key \"lorra\"",
                                        "command line: packing: \"7\"; expected true",
                                        "required key model_name_or_path is missing",
                                        "required key output_dir is missing",
                                        ":4: save_steps: 2.5"};
    size_t lines = 0, n = sizeof parts / sizeof *parts;
    const char *at = printed.data;
    for (size_t i = 0; i < n; i++) {
        at = strstr(at, parts[i]);
        if (!at) fail_msg("%s: not in, or not in this order: %s", parts[i], printed.data);
    }
    for (const char *p = printed.data; *p; p++) lines += *p == '\n';
    assert_int_equal(lines, n);
    assert_non_null(strstr(err.msg, ": 9 problems"));
    assert_int_equal(err.kind, ERR_INPUT);
    config_clear(&c);
    str_clear(&text);
    str_clear(&printed);
    for (int i = 0; i < 60; i++) str_printf(&text, "k%d: 1\n", i);
    log = capture_begin();
    char *yaml = yaml_config(text.data), *argv[] = {yaml};
    assert_int_equal(config_load(&c, 1, argv, CONFIG_FOR_BENCH, &err), -1);
    capture_end(log, &printed);
    assert_non_null(strstr(printed.data, ".yaml:50: unknown key \"k49\""));
    assert_null(strstr(printed.data, "k50"));
    assert_non_null(strstr(err.msg, ".yaml: 60 problems; the first 50 are listed"));
    unlink(yaml);
    config_clear(&c);
    str_clear(&text);
    str_clear(&printed);
    mem_free(yaml);
}

// Rules of files are saved and read back.
static void test_config_rules_of_files(void **state) {
    (void)state;
    Config c, again;
    Err err = {0};
    const char *text =
        "{\"model\": \"m\", \"output_dir\": \"o\", \"dataset\": [\"/a\", {\"path\": \"/b\", \"format\": "
        "\"alpaca_prompt\", \"max_samples\": 0.2, \"columns\": {\"output\": \"a.b\", \"input\": null}}],"
        "\"validation_file\": {\"path\": \"/v\", \"max_samples\": 3, \"roles\": {\"assistant\": \"bot\", "
        "\"user\": [\"x\", \"y\"]}, \"prompt_format\": {\"format\": \"{input}\"}}}";
    ASSERT_OK(load(&c, text, NULL, &err), &err);
    char *saved = config_json(&c);
    ASSERT_OK(load(&again, saved, NULL, &err), &err);
    const FileRule *plain = &again.train_file.rules[0], *rule = &again.train_file.rules[1];
    assert_true(plain->format == FORMAT_AUTO && plain->limit == 0 && !file_rule_has_columns(plain));
    assert_int_equal(rule->format, FORMAT_ALPACA_PROMPT);
    assert_true(rule->limit == 0.2 && again.validation_file.rules[0].limit == 3);
    assert_string_equal(rule->columns[COLUMN_OUTPUT], "a.b");
    assert_null(rule->columns[COLUMN_INPUT]);
    rule = &again.validation_file.rules[0];
    assert_int_equal(rule->n_role_names, 3);
    assert_string_equal(rule->role_names[2].name, "y");
    assert_int_equal(rule->role_names[2].target, TARGET_USER);
    assert_string_equal(rule->prompt.parts[PROMPT_WITH_INPUT], "{input}");
    assert_int_equal(rule->format, FORMAT_ALPACA_PROMPT);
    ASSERT_OK(config_check_same_run(&again, saved, "config.json", &err), &err);
    again.train_file.rules[1].limit = 0.3;
    ASSERT_REFUSED(config_check_same_run(&again, saved, "config.json", &err), &err, "train_file was");
    mem_free(saved);
    config_clear(&c);
    config_clear(&again);
}

// The same keys, values and rules; a word such as `no` is the key's word.
static void test_config_yaml(void **state) {
    (void)state;
    static const char *const json = "{\"model\": \"m\", \"output_dir\": \"/o\", \"dataset\": [\"/a\", {\"path\": "
                                    "\"/b\", \"weight\": 2}], \"learning_rate\": 1e-4, \"eval_strategy\": \"no\", "
                                    "\"packing\": false, \"max_memory\": \"6GiB\", \"run_name\": \"8\"}";
    static const char *const yaml = "model: m\noutput_dir: /o # comment\ndataset:\n  - /a\n  - {path: /b, weight: 2}\n"
                                    "learning_rate: 1e-4\neval_strategy: no\npacking: off\nmax_memory: 6GiB\n"
                                    "run_name: '8'\nseed:\n";
    Config a, b = {0};
    Err err = {0};
    char *path = yaml_config(yaml), *argv[] = {path};
    ASSERT_OK(load(&a, json, NULL, &err), &err);
    ASSERT_OK(config_load(&b, 1, argv, CONFIG_FOR_TRAIN, &err), &err);
    char *want = config_json(&a), *got = config_json(&b);
    assert_string_equal(got, want);
    assert_int_equal(b.line[CONFIG_packing], 8);
    assert_false(config_is_set(&b, CONFIG_seed));
    config_clear(&a);
    config_clear(&b);
    mem_free(want);
    mem_free(got);
    unlink(path);
    mem_free(path);
    static const struct {
        const char *text, *part;
    } bad[] = {{"a: [1\nb: 2", ".yaml:2: found ':' at column 2: did not find expected ',' or ']'"},
               {"- a\n", ".yaml:1: found an array; expected one mapping of keys to values"},
               {"seed: 1\nlora_r: x\n", ".yaml:2: lora_r: \"x\"; expected an integer"},
               {"seed: 1\nr: 2\nlora_r: 3\n", ".yaml:3: \"lora_r\" is another name of lora_r, which line 2 has set"},
               {"run_name: on\n", ".yaml:1: run_name: true; expected a string"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        argv[0] = path = yaml_config(bad[i].text);
        ASSERT_REFUSED(config_load(&b, 1, argv, CONFIG_FOR_BENCH, &err), &err, bad[i].part);
        config_clear(&b);
        unlink(path);
        mem_free(path);
    }
}

TEST_MAIN(TEST(test_config_names_all_problems), TEST(test_config_rules_of_files), TEST(test_config_yaml))

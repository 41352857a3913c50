// --json_schema, --regex and --grammar of generate, chat and eval: files and texts, answers with and without, refusals.
#include "cli_runner.h"
#include "tiny_model.h"

#define SCHEMA                                                                                                         \
    "{\"type\": \"object\", \"properties\": {\"ok\": {\"type\": \"boolean\"}}, \"required\": [\"ok\"], "               \
    "\"additionalProperties\": false}"

static void put_files(void) {
    TinyModel tiny = TINY_MODEL;
    tiny_model_write("m.gguf", &tiny);
    put("s.json", SCHEMA);
    put("g.gbnf", "root ::= \"one\" | \"two\"\n");
}

static void test_answer_form_of_generate_and_chat(void **state) {
    (void)state;
    put_files();
    char *file = run("generate -m m.gguf -p Hello --json_schema s.json", 0);
    AUTO_FREE char *words = mem_printf("generate -m m.gguf -p Hello --json_schema '%s'", SCHEMA);
    check_output(words, file);
    assert_true(strstr(file, "\"ok\"") && (strstr(file, "true") || strstr(file, "false")));
    mem_free(file);
    check_output("generate -m m.gguf -p Hello --regex 'x{3}'", "xxx\n");
    check_output("generate -m m.gguf -p Hello --temperature 2 --grammar 'root ::= \"é\"'", "é\n");
    AUTO_FREE char *word = run("generate -m m.gguf Hello --grammar g.gbnf", 0);
    assert_true(strcmp(word, "one\n") == 0 || strcmp(word, "two\n") == 0);
    check_has("generate -m m.gguf -p Hello --json_schema s.json -n 2", 0,
              "lorac: the answer is cut off after 2 tokens, before it fits --json_schema (--max_new_tokens)");
    AUTO_FREE char *chat =
        command_output("printf 'hello\\nagain\\n' | '" LORAC "' chat -m m.gguf --regex 'a{2}' 2>&1", 0);
    assert_string_equal(chat, "aa\naa\n");
}

static void test_answer_form_of_eval(void **state) {
    (void)state;
    put_files();
    put("d.jsonl", "{\"prompt\": \"a\", \"completion\": \"zz\"}\n{\"prompt\": \"b\", \"completion\": \"no\"}\n");
    char *out = run("eval -m m.gguf --validation_file d.jsonl --generate --max_new_tokens 8 --regex zz", 0);
    static const char *const lines[] = {"\nexact_match=0.00 (0/2), 0 fit --regex\n",
                                        "\nconstrained_exact_match=0.50 (1/2), 2 fit --regex\n"};
    CHECK_PARTS(out, lines);
    mem_free(out);
    out = run("eval -m m.gguf --validation_file d.jsonl --generate --max_new_tokens 8 --regex zz --json", 0);
    static const char *const parts[] = {
        "\"exact_match\": 0, \"correct\": 0, \"total\": 2, \"fitting\": 0",
        "\"constrained\": {\"exact_match\": 0.5, \"correct\": 1, \"total\": 2, \"fitting\": 2"};
    CHECK_PARTS(out, parts);
    mem_free(out);
    check_has("eval -m m.gguf --validation_file d.jsonl --regex zz", 2, "--regex: expected --generate with it");
}

static void test_answer_form_refusals(void **state) {
    (void)state;
    put_files();
    put("bad.json", "{\"type\": \"array\",\n \"uniqueItems\": true}");
    check_has("generate -m m.gguf -p a --json_schema bad.json", 2,
              "lorac: bad.json: schema:2: \"uniqueItems\" is not supported\n");
    check_has("generate -m m.gguf -p a --json_schema none.json", 2, "none.json");
    check_has("generate -m m.gguf -p a --json_schema '{\"not\": {}}'", 2, "--json_schema: schema:1: \"not\" is not");
    check_has("generate -m m.gguf -p a --regex '(a'", 2, "--regex: regular expression \"(a\": a group without an end");
    check_has("chat -m m.gguf --grammar 'root ::= root'", 2, "--grammar: rule root leads to itself");
    check_has("generate -m m.gguf -p a --regex a --grammar g.gbnf", 2, "expected one of --json_schema, --regex and");
}

TEST_MAIN(SCRATCH_TEST(test_answer_form_of_generate_and_chat), SCRATCH_TEST(test_answer_form_of_eval),
          SCRATCH_TEST(test_answer_form_refusals))

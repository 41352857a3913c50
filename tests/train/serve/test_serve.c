// test_serve: the answers of `lorac serve` are those of `lorac generate`, whatever else it computes with them.
#include "serve_process.h"

// ---- answers ----

static void test_serve_answers_as_generate_does(void **state) {
    (void)state;
    Server s = server_start("-m tiny.gguf --adapter one=out/a/adapter --adapter out/b/adapter.gguf");
    static const struct {
        const char *model, *options;
    } models[] = {{"tiny", ""}, {"one", "-a out/a/adapter"}, {"adapter.gguf", "-a out/b/adapter.gguf"}};
    char *texts[3];
    for (int i = 0; i < 3; i++) {
        AUTO_FREE char *body =
            mem_printf("{\"model\": \"%s\", \"prompt\": \"Hello there\", \"temperature\": 0, \"max_tokens\": 40}",
                       models[i].model);
        AUTO_FREE char *answer = ask(&s, COMPLETE, body);
        AUTO_FREE char *words = mem_printf("generate -m tiny.gguf %s -p 'Hello there' -n 40", models[i].options);
        AUTO_FREE char *want = run(words, 0);
        texts[i] = text_of(answer, NULL);
        want[strlen(want) - 1] = 0; // its line end
        assert_string_equal(texts[i], want);
    }
    assert_string_not_equal(texts[0], texts[1]);
    assert_string_not_equal(texts[1], texts[2]);
    for (int i = 0; i < 3; i++) mem_free(texts[i]);
    AUTO_FREE char *chat = ask(&s, CHAT,
                               "{\"model\": \"one\", \"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}], "
                               "\"temperature\": 0, \"max_tokens\": 16}");
    AUTO_FREE char *text = text_of(chat, NULL), *want = run("generate out/a Hello -n 16", 0);
    want[strlen(want) - 1] = 0;
    assert_string_equal(text, want);
    assert_int_equal(server_end(s, SIGTERM), 0);
}

// The ids of a prompt are those that `lorac tokenize` prints, and an answer is computed from.
static void test_serve_tokenizes(void **state) {
    (void)state;
    static const char MESSAGES[] =
        "[{\"role\": \"system\", \"content\": \"Be kind.\"}, {\"role\": \"user\", \"content\": "
        "[{\"type\": \"text\", \"text\": \"Hello\"}]}, {\"role\": \"assistant\", \"content\": "
        "\"Hi\", \"name\": null}, {\"role\": \"user\", \"content\": \"And now?\"}]";
    Server s = server_start("out/a");
    AUTO_FREE char *body = mem_printf("{\"messages\": %s}", MESSAGES), *answer = ask(&s, "/tokenize", body);
    AUTO_FREE char *words =
        mem_printf("tokenize -m tiny.gguf --messages '{\"messages\": %s, \"add_generation_prompt\": true}'", MESSAGES);
    AUTO_FREE char *want = run(words, 0);
    AUTO_JSON JsonDoc *got = NULL, *wanted = NULL;
    Err err;
    ASSERT_OK(json_parse(&got, body_of(answer), strlen(body_of(answer)), "answer", 0, &err), &err);
    ASSERT_OK(json_parse(&wanted, want, strlen(want), "tokens", 0, &err), &err);
    const Json *ids = json_get(json_root(got), "tokens"), *expected = json_get(json_root(wanted), "input_ids");
    assert_true(ids->count > 20 && ids->count == expected->count);
    assert_int_equal(json_get(json_root(got), "count")->integer, ids->count);
    assert_int_equal(json_get(json_root(got), "max_model_len")->integer, 600);
    for (size_t i = 0; i < ids->count; i++) assert_int_equal(ids->items[i].integer, expected->items[i].integer);
    AUTO_STR StrBuf list = {0};
    json_print(&list, ids);
    AUTO_FREE char *by_ids = mem_printf("{\"prompt\": %s, " GREEDY "}", list.data),
                   *by_text = mem_printf("{\"messages\": %s, " GREEDY "}", MESSAGES);
    AUTO_FREE char *first = ask(&s, COMPLETE, by_ids), *second = ask(&s, CHAT, by_text);
    AUTO_FREE char *first_text = text_of(first, NULL), *second_text = text_of(second, NULL);
    assert_string_equal(first_text, second_text);
    ASSERT_ANSWER(ask(&s, "/tokenize", "{\"prompt\": \"ab\"}"), 200, "\"count\":2");
    ASSERT_ANSWER(client_request(s.port, "GET /v1/models/tiny", "", NULL), 200, "\"id\":\"tiny\"");
    ASSERT_ANSWER(client_request(s.port, "GET /v1/models/a", "", NULL), 200, "\"parent\":\"tiny\"");
    assert_int_equal(server_end(s, SIGTERM), 0);
}

static void test_serve_streams_the_whole_answer(void **state) {
    (void)state;
    Server s = server_start("out/a");
    AUTO_FREE char *whole = complete(&s, "a", "Hello");
    AUTO_FREE char *answer = ask(&s, COMPLETE,
                                 "{\"model\": \"a\", \"prompt\": \"Hello\", " GREEDY
                                 ", \"stream\": true, \"stream_options\": {\"include_usage\": true}}");
    AUTO_FREE char *text = stream_text(answer);
    assert_string_equal(text, whole);
    static const char *const parts[] = {"text/event-stream", "\"finish_reason\":\"length\"", "\"completion_tokens\":24",
                                        "data: [DONE]\n\n"};
    CHECK_PARTS(answer, parts);
    // a stop text ends it, is left out, and no part of it is sent before
    const char *at = whole + 6, *end;
    while ((*at & 0xC0) == 0x80) at++; // to the beginning of a character
    for (end = at + 2; (*end & 0xC0) == 0x80;) end++;
    AUTO_FREE char *stop = mem_strndup(at, (size_t)(end - at));
    AUTO_STR StrBuf quoted = {0};
    json_quote(&quoted, stop, strlen(stop));
    for (int stream = 0; stream < 2; stream++) {
        AUTO_FREE char *body =
            mem_printf("{\"model\": \"a\", \"prompt\": \"Hello\", " GREEDY ", \"stop\": [\"no such text\", %s]%s}",
                       quoted.data, stream ? ", \"stream\": true" : "");
        AUTO_FREE char *cut = ask(&s, COMPLETE, body);
        AUTO_FREE char *short_text = stream ? stream_text(cut) : text_of(cut, NULL);
        const char *first = strstr(whole, stop);
        assert_int_equal(strlen(short_text), first - whole);
        assert_memory_equal(short_text, whole, (size_t)(first - whole));
        assert_non_null(strstr(cut, "\"finish_reason\":\"stop\""));
    }
    assert_int_equal(server_end(s, SIGINT), 0);
}

// Requests of the base and of two adapters that are computed at once have the texts that each has alone.
static void test_serve_mixes_no_adapters(void **state) {
    (void)state;
    enum { N = 24 };
    static const char *const models[] = {"tiny", "one", "two"};
    Server s = server_start("-m tiny.gguf --adapter one=out/a/adapter --adapter two=out/b/adapter --max_num_seqs 7");
    char *alone[N];
    int clients[N];
    for (int i = 0; i < N; i++) {
        AUTO_FREE char *prompt = mem_printf("prompt %d", i * 17 % 10);
        alone[i] = complete(&s, models[i % 3], prompt);
    }
    for (int i = 0; i < N; i++) {
        AUTO_FREE char *prompt = mem_printf("prompt %d", i * 17 % 10), *body = completion(models[i % 3], prompt);
        AUTO_FREE char *request = mem_printf("POST " COMPLETE " HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
                                             "%zu\r\nConnection: close\r\n\r\n%s",
                                             strlen(body), body);
        clients[i] = client_open(s.port);
        client_say(clients[i], request);
    }
    for (int i = 0; i < N; i++) {
        AUTO_FREE char *answer = client_read(clients[i], NULL), *text = text_of(answer, NULL);
        assert_string_equal(text, alone[i]);
        close(clients[i]);
        mem_free(alone[i]);
    }
    assert_int_equal(server_end(s, SIGTERM), 0);
}

// ---- adapters ----

static void test_serve_loads_and_unloads_while_it_answers(void **state) {
    (void)state;
    Server s = server_start("out/a --served_model_name base --max_adapters 2");
    AUTO_FREE char *before = complete(&s, "a", "Hello"), *base = complete(&s, "base", "Hello");
    // a long answer of adapter a runs meanwhile
    static const char body[] = "{\"model\": \"a\", \"prompt\": \"Hello\", \"temperature\": 0, \"max_tokens\": 500, "
                               "\"ignore_eos\": true, \"stream\": true}";
    AUTO_FREE char *alone = ask(&s, COMPLETE, body), *whole = stream_text(alone);
    AUTO_FREE char *request = mem_printf("POST " COMPLETE " HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n"
                                         "Connection: close\r\n\r\n%s",
                                         strlen(body), body);
    int client = client_open(s.port);
    client_say(client, request);
    AUTO_FREE char *start = client_read(client, "data: ");
    AUTO_FREE char *load = mem_printf("{\"lora_name\": \"new\", \"lora_path\": \"%s/out/b/adapter\"}", tiny_dir);
    ASSERT_STATUS(ask(&s, "/v1/load_lora_adapter", load), 200);
    ASSERT_ANSWER(ask(&s, "/v1/load_lora_adapter", load), 400, "the name new is taken");
    ASSERT_ANSWER(ask(&s, "/v1/load_lora_adapter", "{\"lora_name\": \"x\", \"lora_path\": \"out/b/adapter\"}"), 400,
                  "2 adapters are loaded");
    ASSERT_STATUS(ask(&s, "/v1/unload_lora_adapter", "{\"lora_name\": \"a\"}"), 200);
    ASSERT_ANSWER(ask(&s, "/v1/unload_lora_adapter", "{\"lora_name\": \"a\"}"), 404, "no adapter has the name a");
    ASSERT_ANSWER(ask(&s, "/v1/unload_lora_adapter", "{\"lora_name\": \"base\"}"), 404, "no adapter");
    ASSERT_ANSWER(ask(&s, COMPLETE, "{\"model\": \"a\", \"prompt\": \"x\"}"), 404, "`a` does not exist");
    AUTO_FREE char *models = client_request(s.port, "GET /v1/models", "", NULL);
    static const char *const parts[] = {"\"id\":\"base\"", "\"id\":\"new\"", "\"parent\":\"base\""};
    CHECK_PARTS(models, parts);
    assert_null(strstr(models, "\"id\":\"a\""));
    AUTO_FREE char *rest = client_read(client, NULL); // the answer that began with adapter a ends with it
    close(client);
    assert_non_null(strstr(rest, "data: [DONE]"));
    AUTO_FREE char *all = mem_printf("%s%s", start, rest), *streamed = stream_text(all);
    assert_string_equal(streamed, whole);
    AUTO_FREE char *after = complete(&s, "new", "Hello"), *base_after = complete(&s, "base", "Hello");
    assert_string_not_equal(after, before);
    assert_string_equal(base_after, base);
    AUTO_FREE char *again = mem_printf("{\"lora_name\": \"a\", \"lora_path\": \"%s/out/a/adapter\"}", tiny_dir);
    ASSERT_STATUS(ask(&s, "/v1/load_lora_adapter", again), 200); // in the room of the one that is gone
    AUTO_FREE char *same = complete(&s, "a", "Hello");
    assert_string_equal(same, before);
    ASSERT_ANSWER(ask(&s, "/v1/load_lora_adapter", "{\"lora_name\": \"y\", \"lora_path\": \"nowhere\"}"), 400, "");
    assert_int_equal(server_end(s, SIGTERM), 0);
}

// A run takes lorac serve for an engine of its own, and its adapter answers there.
static void test_serve_takes_the_adapters_of_a_run(void **state) {
    (void)state;
    AUTO_FREE char *module = path_parent(LORAC), *curl = path_join(module, "lorac-curl.so");
    if (!path_exists(curl)) skip();
    put("held_out.jsonl",
        "{\"prompt\": \"Hello\", \"completion\": \"Hi\"}\n{\"prompt\": \"And now?\", \"completion\": \"Bye\"}\n");
    Server s = server_start("-m tiny.gguf --served_model_name base");
    AUTO_FREE char *url = mem_printf("http://127.0.0.1:%d", s.port);
    AUTO_FREE char *train = mem_printf(
        TRAIN "--output_dir out/c --save_steps 2 --validation_file held_out.jsonl --run_name c --hot_swap_url %s", url);
    AUTO_FREE char *out = run(train, 0), *want = run("generate out/c Hello -n 16", 0);
    AUTO_FREE char *named = mem_printf("hot swap lorac %s at %s, as c-step...", LORAC_VERSION, url);
    const char *const parts[] = {named, "has c-step000004 ("};
    CHECK_PARTS(out, parts);
    AUTO_FREE char *answer = ask(&s, CHAT,
                                 "{\"model\": \"c-step000004\", \"messages\": [{\"role\": \"user\", \"content\": "
                                 "\"Hello\"}], \"temperature\": 0, \"max_tokens\": 16}");
    AUTO_FREE char *text = text_of(answer, NULL);
    want[strlen(want) - 1] = 0;
    assert_string_equal(text, want);
    AUTO_FREE char *check = mem_printf("swap out/c --url %s --check 2", url);
    check_has(check, 0, "2 of 2 answers");
    AUTO_FREE char *off = mem_printf("swap out/c --url %s --off", url);
    mem_free(run(off, 0));
    ASSERT_STATUS(client_request(s.port, "GET /v1/models/c-step000004", "", NULL), 404);
    assert_int_equal(server_end(s, SIGTERM), 0);
}

// The form that a request asks for, in the fields of three APIs; finish_reason tells whether the answer has it.
static void test_serve_gives_answers_a_form(void **state) {
    (void)state;
    static const struct {
        const char *field, *text, *option;
    } forms[] = {
        {"\"guided_regex\": \"(yes|no)!?\"", NULL, "--regex '(yes|no)!?'"},
        {"\"structured_outputs\": {\"choice\": [\"a|b (c)\"]}", "a|b (c)", NULL},
        {"\"guided_choice\": [\"a.\"]", "a.", NULL},
        {"\"structured_outputs\": {\"regex\": \"x{3}\"}", "xxx", NULL},
        {"\"grammar\": \"root ::= \\\"he\\\" [l]{2} .\"", NULL, "--grammar 'root ::= \"he\" [l]{2} .'"},
        {"\"json_schema\": {\"const\": \"\\u00e9\"}", NULL, "--json_schema '{\"const\": \"\\u00e9\"}'"},
        {"\"guided_json\": \"{\\\"const\\\": [1]}\"", NULL, "--json_schema '{\"const\": [1]}'"},
        {"\"response_format\": {\"type\": \"json_schema\", \"json_schema\": {\"name\": \"n\", \"strict\": true, "
         "\"schema\": {\"type\": \"integer\", \"minimum\": 5, \"maximum\": 7}}}",
         NULL, "--json_schema '{\"type\": \"integer\", \"minimum\": 5, \"maximum\": 7}'"},
    };
    Server s = server_start("-m tiny.gguf");
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        char reason[16];
        AUTO_FREE char *body =
            mem_printf("{\"prompt\": \"Hello\", \"temperature\": 0, \"max_tokens\": 300, %s}", forms[i].field);
        AUTO_FREE char *answer = ask(&s, COMPLETE, body), *text = text_of(answer, reason);
        assert_string_equal(reason, "stop");
        if (forms[i].text) assert_string_equal(text, forms[i].text);
        if (!forms[i].option) continue;
        AUTO_FREE char *words = mem_printf("generate -m tiny.gguf -p Hello -n 300 %s", forms[i].option);
        AUTO_FREE char *want = run(words, 0);
        want[strlen(want) - 1] = 0;
        assert_string_equal(text, want);
    }
    ASSERT_ANSWER(ask(&s, COMPLETE,
                      "{\"prompt\": \"a\", \"max_tokens\": 3, \"response_format\": {\"type\": \"json_object\", "
                      "\"schema\": {\"minLength\": 50, \"type\": \"string\"}}}"),
                  200, "\"finish_reason\":\"length\"");
    ASSERT_ANSWER(
        ask(&s, COMPLETE, "{\"prompt\": \"a\", \"max_tokens\": 9, \"ignore_eos\": true, \"guided_regex\": \"ab\"}"),
        200, "\"text\":\"ab\"");
    assert_int_equal(server_end(s, SIGTERM), 0);
}

TEST_MAIN_WITH(set_up, tear_down, TEST(test_serve_answers_as_generate_does), TEST(test_serve_tokenizes),
               TEST(test_serve_gives_answers_a_form), TEST(test_serve_streams_the_whole_answer),
               TEST(test_serve_mixes_no_adapters), TEST(test_serve_loads_and_unloads_while_it_answers),
               TEST(test_serve_takes_the_adapters_of_a_run))

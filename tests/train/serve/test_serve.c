// test_serve: `lorac serve` as a process: its answers are those of `lorac generate`, whatever else it computes with
// them.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "cli_runner.h"
#include "http_client.h"
#include "json.h"
#include "tiny_model.h"
#include "tiny_run.h"

typedef struct Server {
    pid_t pid;
    int port;
    int out; // its output
} Server;

#define TRAIN                                                                                                          \
    "train --model tiny.gguf --train_file data.jsonl --max_seq_length 48 --max_steps 4 --learning_rate 3e-2 "          \
    "--logging_steps 100 --lora_r 4 "

static int set_up(void **state) {
    static const char *const unset[] = {"LORAC_API_KEY", "LORAC_MODULES"};
    for (size_t i = 0; i < sizeof unset / sizeof *unset; i++) unsetenv(unset[i]);
    if (tiny_dir_setup(state) || chdir(tiny_dir)) return -1;
    TinyModel tiny = TINY_MODEL;
    tiny.context = 600;
    tiny_model_write("tiny.gguf", &tiny);
    mem_free(run(TRAIN "--output_dir out/a --seed 1", 0));
    mem_free(run(TRAIN "--output_dir out/b --seed 2 --lora_target_modules '[\"q_proj\", \"down_proj\"]'", 0));
    return 0;
}

static int tear_down(void **state) { return chdir("/") || tiny_dir_teardown(state); }

// `words`: options besides the port. Waits for the line that names the port.
static Server server_start(const char *words) {
    Server s;
    int out[2];
    AUTO_STR StrBuf line = {0};
    AUTO_FREE char *command = mem_printf("exec '%s' serve --port 0 %s", LORAC, words);
    assert_int_equal(pipe(out), 0);
    s.pid = fork();
    if (s.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); // of a test that fails
        dup2(out[1], STDOUT_FILENO);
        close(out[0]);
        close(out[1]);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    for (char c; read(out[0], &c, 1) == 1 && c != '\n';) str_add(&line, &c, 1);
    const char *port = line.data ? strstr(line.data, "127.0.0.1:") : NULL;
    if (!port) fail_msg("lorac serve printed \"%s\"; expected its address", line.data ? line.data : "");
    s.port = atoi(port + strlen("127.0.0.1:"));
    s.out = out[0];
    return s;
}

static int server_end(Server s, int signal) {
    int status;
    kill(s.pid, signal);
    assert_int_equal(waitpid(s.pid, &status, 0), s.pid);
    close(s.out);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static char *ask(const Server *s, const char *path, const char *body) {
    AUTO_FREE char *line = mem_printf("POST %s", path);
    return client_request(s->port, line, "Content-Type: application/json\r\n", body);
}

static const char *body_of(const char *answer) {
    const char *body = strstr(answer, "\r\n\r\n");
    assert_non_null(body);
    return body + 4;
}

// The text of a whole answer, and its finish_reason in reason[16]. Caller frees.
static char *text_of(const char *answer, char *reason) {
    JsonDoc *doc;
    Err err;
    const char *body = body_of(answer);
    if (status_of(answer) != 200) fail_msg("\"%s\"; expected status 200", answer);
    ASSERT_OK(json_parse(&doc, body, strlen(body), "answer", 0, &err), &err);
    const Json *choice = &json_get(json_root(doc), "choices")->items[0], *message = json_get(choice, "message");
    const Json *text = message ? json_get(message, "content") : json_get(choice, "text");
    if (reason) snprintf(reason, 16, "%s", json_get(choice, "finish_reason")->str.data);
    char *copy = mem_strdup(text->str.data);
    json_free(doc);
    return copy;
}

// The texts of the events of a stream, joined. Caller frees.
static char *stream_text(const char *answer) {
    StrBuf text = {0};
    str_puts(&text, "");
    for (const char *at = body_of(answer); (at = strstr(at, "data: {"));) {
        const char *end = strchr(at, '\n');
        JsonDoc *doc;
        Err err;
        at += strlen("data: ");
        ASSERT_OK(json_parse(&doc, at, (size_t)(end - at), "event", 0, &err), &err);
        const Json *choices = json_get(json_root(doc), "choices");
        const Json *choice = choices->count ? &choices->items[0] : NULL, *delta = json_get(choice, "delta");
        const Json *part = delta ? json_get(delta, "content") : json_get(choice, "text");
        if (part) str_add(&text, part->str.data, part->str.len);
        json_free(doc);
        at = end;
    }
    return text.data;
}

#define COMPLETE "/v1/completions"
#define CHAT "/v1/chat/completions"
#define GREEDY "\"temperature\": 0, \"max_tokens\": 24, \"ignore_eos\": true"

static char *completion(const char *model, const char *prompt) {
    return mem_printf("{\"model\": \"%s\", \"prompt\": \"%s\", " GREEDY "}", model, prompt);
}

static char *complete(const Server *s, const char *model, const char *prompt) {
    AUTO_FREE char *body = completion(model, prompt), *answer = ask(s, COMPLETE, body);
    return text_of(answer, NULL);
}

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
    AUTO_FREE char *body = mem_printf("{\"model\": \"a\", \"prompt\": \"Hello\", \"temperature\": 0, \"max_tokens\": "
                                      "500, \"ignore_eos\": true, \"stream\": true}");
    AUTO_FREE char *request = mem_printf("POST " COMPLETE " HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n"
                                         "Connection: close\r\n\r\n%s",
                                         strlen(body), body);
    int client = client_open(s.port);
    client_say(client, request);
    mem_free(client_read(client, "data: "));
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

// ---- what goes wrong ----

static void test_serve_refuses_by_name(void **state) {
    (void)state;
    static const struct {
        const char *path, *body;
        int status;
        const char *part;
    } cases[] = {
        {COMPLETE, "{\"prompt\": \"a\", \"nonsense\": 1}", 400, "unknown field \\\"nonsense\\\""},
        {COMPLETE, "{\"prompt\": \"a\", \"top_k\": 5}", 400, "\\\"top_k\\\" is 5"},
        {COMPLETE, "{\"prompt\": \"a\", \"presence_penalty\": 0.5}", 400, "\\\"presence_penalty\\\" is 0.5"},
        {COMPLETE, "{\"prompt\": \"a\", \"n\": 2}", 400, "\\\"n\\\" is 2"},
        {COMPLETE, "{\"prompt\": \"a\", \"temperature\": -1}", 400, "a number from 0 to 2"},
        {COMPLETE, "{\"prompt\": \"a\", \"temperature\": \"warm\"}", 400, "temperature"},
        {COMPLETE, "{\"prompt\": \"a\", \"max_tokens\": 0}", 400, "max_tokens"},
        {COMPLETE, "{\"prompt\": [5000]}", 400, "token id 5000"},
        {COMPLETE, "{\"prompt\": [1, \"x\"]}", 400, "no token id"},
        {COMPLETE, "{\"prompt\": \"\"}", 400, "0 tokens"},
        {COMPLETE, "{\"prompt\": [\"a\", \"b\"]}", 400, "one text"},
        {COMPLETE, "{}", 400, "\\\"prompt\\\""},
        {COMPLETE, "[]", 400, "expected an object"},
        {COMPLETE, "{\"prompt\": ", 400, "the body"},
        {COMPLETE, "{\"prompt\": \"a\", \"stop\": [\"\"]}", 400, "\\\"stop\\\""},
        {COMPLETE, "{\"prompt\": \"a\", \"response_format\": {\"type\": \"json_object\"}}", 400, "response_format"},
        {COMPLETE, "{\"prompt\": \"a\", \"model\": \"gpt-4\"}", 404, "`gpt-4` does not exist"},
        {CHAT, "{\"messages\": \"hello\"}", 400, "a list of messages"},
        {CHAT, "{\"messages\": [{\"role\": \"user\"}]}", 400, ""},
        {"/v1/embeddings", "{}", 404, "nothing at this path"},
        {"/v1/models", "{}", 405, "method"},
        {"/v1/load_lora_adapter", "{\"lora_name\": \"x\"}", 400, "lora_path"},
    };
    Server s = server_start("-m tiny.gguf");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        ASSERT_ANSWER(ask(&s, cases[i].path, cases[i].body), cases[i].status, cases[i].part);
    AUTO_STR StrBuf longer = {0};
    str_puts(&longer, "{\"prompt\": \"");
    for (int i = 0; i < 700; i++) str_puts(&longer, "a");
    str_puts(&longer, "\"}");
    ASSERT_ANSWER(ask(&s, COMPLETE, longer.data), 400, "the context of 600");
    ASSERT_STATUS(ask(&s, COMPLETE, "{\"prompt\": \"a\", \"user\": \"me\", \"n\": 1, \"stop\": null}"), 200);
    assert_int_equal(server_end(s, SIGTERM), 0);
}

// A client that leaves frees its slot: the next one is answered long before the other's tokens are.
static void test_serve_forgets_a_client_that_leaves(void **state) {
    (void)state;
    Server s = server_start("-m tiny.gguf --max_num_seqs 1 --max_queue 2");
    const char *body = "{\"prompt\": \"Hello\", \"temperature\": 0, \"max_tokens\": 590, \"ignore_eos\": true}";
    AUTO_FREE char *request = mem_printf("POST " COMPLETE " HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
                                         "%zu\r\n\r\n%s",
                                         strlen(body), body);
    for (int i = 0; i < 20; i++) {
        int client = client_open(s.port);
        client_say(client, request);
        struct timespec pause = {.tv_nsec = 2000000};
        nanosleep(&pause, NULL);
        close(client);
    }
    for (int busy = 0; busy < 500; busy++) {
        AUTO_FREE char *answer = ask(&s, COMPLETE, "{\"prompt\": \"Hi\", \"max_tokens\": 1}");
        if (status_of(answer) == 200) break;
        assert_int_equal(status_of(answer), 503); // while the queue is full
        assert_non_null(strstr(answer, "Retry-After: 1"));
        assert_true(busy < 499);
        struct timespec pause = {.tv_nsec = 10000000};
        nanosleep(&pause, NULL);
    }
    assert_int_equal(server_end(s, SIGTERM), 0);
}

static void test_serve_wants_its_key(void **state) {
    (void)state;
    AUTO_FREE char *open = run("serve -m tiny.gguf --port 0 --host 0.0.0.0", 2);
    assert_non_null(strstr(open, "LORAC_API_KEY"));
    setenv("LORAC_API_KEY", "secret", 1);
    Server s = server_start("-m tiny.gguf");
    unsetenv("LORAC_API_KEY");
    ASSERT_STATUS(client_request(s.port, "GET /v1/models", "", NULL), 401);
    ASSERT_STATUS(client_request(s.port, "GET /v1/models", "Authorization: Bearer wrong\r\n", NULL), 401);
    ASSERT_STATUS(client_request(s.port, "GET /v1/models", "Authorization: Bearer secret\r\n", NULL), 200);
    assert_int_equal(server_end(s, SIGTERM), 0);
    check_has("serve -m tiny.gguf --port 0 --max_seq_length 601", 2, "expected 1 to 600");
    check_has("serve -m tiny.gguf --port 0 --max_memory 1MiB", 3, "for each of 16 requests");
    check_has("serve --port 0", 2, "--model_name_or_path is missing");
    check_has("serve -m tiny.gguf --port 0 --adapter none=out/a/adapter", 2, "other than none");
}

TEST_MAIN_WITH(set_up, tear_down, TEST(test_serve_answers_as_generate_does), TEST(test_serve_streams_the_whole_answer),
               TEST(test_serve_mixes_no_adapters), TEST(test_serve_loads_and_unloads_while_it_answers),
               TEST(test_serve_refuses_by_name), TEST(test_serve_forgets_a_client_that_leaves),
               TEST(test_serve_wants_its_key))

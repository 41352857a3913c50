// test_serve_limits: what `lorac serve` refuses, and what requests and adapters may take of it.
#include "serve_process.h"
#include "served_models.h"

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
        {COMPLETE, "{\"prompt\": \"a\", \"suffix\": \"none\"}", 400, "\\\"suffix\\\" is"},
        {COMPLETE, "{\"prompt\": \"a\", \"messages\": []}", 400, "unknown field \\\"messages\\\""},
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
        {COMPLETE, "{\"prompt\": \"a\", \"response_format\": {\"type\": \"xml\"}}", 400, "response_format"},
        {COMPLETE, "{\"prompt\": \"a\", \"response_format\": {\"type\": \"json_schema\"}}", 400, "a schema with it"},
        {COMPLETE, "{\"prompt\": \"a\", \"response_format\": {\"type\": \"json_object\"}, \"grammar\": \"root ::= .\"}",
         400, "expected one of them"},
        {COMPLETE, "{\"prompt\": \"a\", \"json_schema\": {\"uniqueItems\": true}}", 400, "is not supported"},
        {COMPLETE, "{\"prompt\": \"a\", \"guided_json\": 5}", 400, "expected an object, true or false"},
        {COMPLETE, "{\"prompt\": \"a\", \"guided_regex\": \"(?=a)\"}", 400, "look-around"},
        {COMPLETE, "{\"prompt\": \"a\", \"guided_choice\": [1]}", 400, "a list of texts"},
        {COMPLETE, "{\"prompt\": \"a\", \"grammar\": \"root ::= root\"}", 400, "leads to itself"},
        {COMPLETE, "{\"prompt\": \"a\", \"guided_choice\": []}", 400, "guided_choice\\\": found an empty list"},
        {COMPLETE, "{\"prompt\": \"a\", \"structured_outputs\": {}}", 400, "expected one of json, regex"},
        {COMPLETE, "{\"prompt\": \"a\", \"structured_outputs\": {\"regex\": \"a\", \"choice\": [\"b\"]}}", 400,
         "structured_outputs.regex\\\" and \\\"structured_outputs.choice"},
        {COMPLETE, "{\"prompt\": \"a\", \"structured_outputs\": {\"structural_tag\": \"x\"}}", 400, "structural_tag"},
        {COMPLETE, "{\"prompt\": \"a\", \"model\": \"gpt-4\"}", 404, "`gpt-4` does not exist"},
        {CHAT, "{\"messages\": \"hello\"}", 400, "a list of messages"},
        {CHAT, "{\"messages\": []}", 400, "at least one"},
        {CHAT, "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}], \"prompt\": \"a\"}", 400, "unknown field"},
        {CHAT,
         "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"image_url\", \"image_url\": {\"url\": "
         "\"data:x\"}}]}]}",
         400, "image_url"},
        {CHAT,
         "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}], \"tools\": [{\"type\": \"function\", "
         "\"function\": {\"name\": \"f\"}}]}",
         400, "\"tools[0]"},
        {CHAT, "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}], \"reasoning_effort\": \"low\"}", 400,
         "unknown field"},
        {CHAT, "{\"messages\": [{\"role\": \"user\"}]}", 400, ""},
        {"/v1/embeddings", "{}", 404, "nothing at this path"},
        {"/v1/models", "{}", 405, "method"},
        {"/v1/load_lora_adapter", "{\"lora_name\": \"x\"}", 400, "lora_path"},
        {"/v1/load_lora_adapter", "{\"lora_name\": \"x\\n\", \"lora_path\": \"out/a/adapter\"}", 400, "is no name"},
        {"/v1/load_lora_adapter", "{\"lora_name\": \"\", \"lora_path\": \"out/a/adapter\"}", 400, "is no name"},
        {"/v1/load_lora_adapter", "{\"lora_name\": \"x\", \"lora_path\": \"out/a/adapter\", \"load_inplace\": true}",
         400, "load_inplace"},
        {"/tokenize", "{\"prompt\": \"a\", \"max_tokens\": 1}", 400, "unknown field"},
        {"/tokenize", "{\"prompt\": \"a\", \"model\": \"gpt-4\"}", 404, "does not exist"},
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
    ASSERT_STATUS(ask(&s, COMPLETE, "{\"prompt\": \"a\", \"top_p\": 1e-300}"), 200); // 0 as a float
    ASSERT_ANSWER(client_request(s.port, "GET /v1/models/none", "", NULL), 404, "`none` does not exist");
    assert_int_equal(server_end(s, SIGTERM), 0);
}

// ---- limits ----

// Opens a connection and sends a request; its answer is not waited for.
static int send_request(const Server *s, const char *body) {
    AUTO_FREE char *request = mem_printf("POST " COMPLETE " HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
                                         "%zu\r\nConnection: close\r\n\r\n%s",
                                         strlen(body), body);
    int client = client_open(s->port);
    client_say(client, request);
    return client;
}

// A server with one slot, which is taken until *client is closed, and all the time that these tests need.
static Server busy_server(const char *words, int *client) {
    AUTO_FREE char *all = mem_printf("-m long.gguf --max_seq_length 100000 --max_num_seqs 1 %s", words);
    Server s = server_start(all);
    *client =
        send_request(&s, "{\"prompt\": \"Hello\", \"temperature\": 0, \"max_tokens\": 99000, \"ignore_eos\": true, "
                         "\"stream\": true}");
    mem_free(client_read(*client, "data: "));
    return s;
}

static bool answers_within(int client, int milliseconds) {
    struct pollfd p = {.fd = client, .events = POLLIN};
    return poll(&p, 1, milliseconds) > 0;
}

// Clients that left while they waited take no room in the queue.
static void test_serve_forgets_who_leaves_the_queue(void **state) {
    (void)state;
    int running;
    Server s = busy_server("--max_queue 2", &running);
    for (int i = 0; i < 2; i++) close(send_request(&s, "{\"prompt\": \"a\"}"));
    bool waits = false;
    for (int i = 0; i < 40 && !waits; i++) {
        int client = send_request(&s, "{\"prompt\": \"a\", \"max_tokens\": 1}");
        waits = !answers_within(client, 500); // else it was refused: the server may not know yet that they have left
        if (waits) {
            close(running);
            AUTO_FREE char *answer = client_read(client, NULL);
            assert_int_equal(status_of(answer), 200);
        } else {
            nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
        }
        close(client);
    }
    assert_true(waits);
    assert_int_equal(server_end(s, SIGTERM), 0);
}

// As many wait as max_queue says, and the next one is told.
static void test_serve_queues_what_it_promises(void **state) {
    (void)state;
    enum { WAIT = 150 };
    int running, clients[WAIT + 1];
    Server s = busy_server("--max_queue 150", &running);
    for (int i = 0; i < WAIT; i++) clients[i] = send_request(&s, "{\"prompt\": \"a\", \"max_tokens\": 1}");
    int refused = 0;
    for (int i = 0; i < 20 && !refused; i++) { // the requests are read in any order
        clients[WAIT] = send_request(&s, "{\"prompt\": \"a\", \"max_tokens\": 1}");
        for (int k = 0; k <= WAIT && !refused; k++)
            refused = answers_within(clients[k], k == WAIT ? 500 : 0) ? k + 1 : 0;
        if (refused != WAIT + 1) close(clients[WAIT]);
    }
    assert_true(refused);
    AUTO_FREE char *answer = client_read(clients[refused - 1], NULL);
    assert_int_equal(status_of(answer), 503);
    close(running);
    for (int i = 0; i < WAIT; i++) {
        if (i == refused - 1) continue;
        AUTO_FREE char *other = client_read(clients[i], NULL);
        assert_int_equal(status_of(other), 200);
        close(clients[i]);
    }
    assert_int_equal(server_end(s, SIGTERM), 0);
}

static long resident_kilobytes(pid_t pid) {
    AUTO_FREE char *command = mem_printf("sed -n 's/^VmRSS: *//p' /proc/%d/status", (int)pid);
    AUTO_FREE char *out = command_output(command, 0);
    return atol(out);
}

// A document is up to 100 times as large as its text: requests that wait keep the text alone.
static void test_serve_holds_little_of_what_waits(void **state) {
    (void)state;
    enum { WAIT = 12 };
    if (SANITIZED) skip();
    int running, clients[WAIT];
    AUTO_STR StrBuf body = {0};
    str_puts(&body, "{\"prompt\": \"a\", \"max_tokens\": 1, \"metadata\": [1");
    for (int i = 0; i < 400000; i++) str_puts(&body, ",1");
    str_puts(&body, "]}");
    Server s = busy_server("", &running);
    ASSERT_STATUS(ask(&s, "/tokenize", body.data), 400); // read once
    long before = resident_kilobytes(s.pid);
    for (int i = 0; i < WAIT; i++) {
        clients[i] = send_request(&s, body.data);
        assert_false(answers_within(clients[i], 100));
    }
    ASSERT_STATUS(ask(&s, "/tokenize", "{\"prompt\": \"a\"}"), 200); // after them: they were read
    long grown = resident_kilobytes(s.pid) - before;
    if (grown > 100 * 1024) fail_msg("%d requests that wait take %ld kB; expected their texts", WAIT, grown);
    close(running);
    for (int i = 0; i < WAIT; i++) {
        AUTO_FREE char *answer = client_read(clients[i], NULL);
        assert_int_equal(status_of(answer), 200);
        close(clients[i]);
    }
    assert_int_equal(server_end(s, SIGTERM), 0);
}

static void test_serve_bounds_the_adapters(void **state) {
    (void)state;
    TinyRun r;
    Err err;
    tiny_run_open(&r, 1, NULL, 0);
    ServedModels *models = served_models_new(r.model, "base", (ServedLimits){.max_adapters = 64, .room = 1000});
    ASSERT_REFUSED(served_models_add(models, "a", "out/a/adapter", &err), &err, "expected at most 0.0 MB in all");
    assert_int_equal(err.kind, ERR_NO_FIT);
    served_models_free(models);
    tiny_run_close(&r);
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

TEST_MAIN_WITH(set_up, tear_down, TEST(test_serve_refuses_by_name), TEST(test_serve_forgets_who_leaves_the_queue),
               TEST(test_serve_queues_what_it_promises), TEST(test_serve_holds_little_of_what_waits),
               TEST(test_serve_bounds_the_adapters), TEST(test_serve_forgets_a_client_that_leaves),
               TEST(test_serve_wants_its_key))

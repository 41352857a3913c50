// test_live: lorac train --dashboard, asked by programs; browser.py asks with a browser.
#include <signal.h>
#include <sys/wait.h>

#include "cli_runner.h"
#include "fileio.h"
#include "http_client.h"
#include "path.h"
#include "tiny_run.h"

#define TRAIN                                                                                                          \
    "train --model_name_or_path " TEST_DIR                                                                             \
    "/golden/families/llama3/base.gguf --train_file data.jsonl --validation_file "                                     \
    "data.jsonl --max_seq_length 64 --save_steps 20 --eval_strategy steps --eval_steps 20 "
#define CONSTANT "--lr_scheduler_type constant_with_warmup --warmup_steps 2 "
#define NAME "--run_name 'a \"b\" <c>\\d' "

typedef struct Training {
    pid_t pid;
    int port;
    char token[64];
} Training;

static char *log_of(void) {
    char *text;
    size_t size;
    return file_read(&text, &size, "log", 1 << 24, NULL) == 0 ? text : mem_strdup("");
}

// Until it serves.
static Training start(const char *words) {
    unlink("log");
    Training t = {.pid = fork()};
    if (t.pid == 0) {
        AUTO_FREE char *command = mem_printf("exec '%s' " TRAIN "%s >log 2>&1", LORAC, words);
        setenv("XDG_CACHE_HOME", "cache", 1);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 1000; i++, usleep(20000)) {
        AUTO_FREE char *log = log_of();
        const char *at = strstr(log, "\ndashboard http://127.0.0.1:");
        if (at && strchr(at + 1, '\n') &&
            sscanf(at, "\ndashboard http://127.0.0.1:%d/?token=%63[0-9a-zA-Z._~-]\n", &t.port, t.token) == 2)
            return t;
    }
    AUTO_FREE char *log = log_of();
    fail_msg("no dashboard: %s", log);
    return t;
}

static void await(Training *t, int want) {
    int status;
    waitpid(t->pid, &status, 0);
    AUTO_FREE char *log = log_of();
    if (!WIFEXITED(status) || WEXITSTATUS(status) != want) fail_msg("status %d: %s", status, log);
}

// An open stream of events that has shown the run at its steps.
static int follow(const Training *t) {
    for (int i = 0; i < 500; i++, usleep(20000)) {
        int fd = client_open(t->port);
        client_say(fd, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n");
        AUTO_FREE char *all = client_read(fd, "\n\n");
        if (strstr(all, "\"state\":\"running\"")) return fd;
        close(fd);
    }
    fail_msg("the run does not get to its steps");
    return -1;
}

static char *post(const Training *t, const char *path, const char *more, const char *body) {
    AUTO_FREE char *line = mem_printf("POST %s?token=%s", path, t->token);
    return client_request(t->port, line, more, body);
}

static int set_up(void **state) {
    if (tiny_dir_setup(state) || chdir(tiny_dir)) return -1;
    unsetenv("LORAC_DASHBOARD_TOKEN");
    AUTO_STR StrBuf data = {0};
    for (int i = 0; i < 20; i++)
        str_printf(&data, "{\"prompt\": \"COUNT <script>alert(%d)</script>\", \"completion\": \"%d, %d\"}\n", i, i,
                   i + 1);
    put("data.jsonl", data.data);
    return 0;
}

static int tear_down(void **state) { return chdir("/") || tiny_dir_teardown(state); }

static void serves_page_events_and_metrics(void **state) {
    Training t = start("--max_steps 20000 " NAME "--output_dir out --dashboard 127.0.0.1:0");
    AUTO_FREE char *page = client_request(t.port, "GET /", "", NULL), *head = strstr(page, "\r\n\r\n");
    char nonce[33] = "";
    const char *policy = strstr(page, "Content-Security-Policy: default-src 'none'; script-src 'nonce-");
    assert_true(status_of(page) == 200 && policy && sscanf(strstr(policy, "nonce-"), "nonce-%32[0-9a-f]", nonce) == 1);
    AUTO_FREE char *script = mem_printf("<script nonce=\"%s\">", nonce);
    assert_non_null(strstr(head, script));
    assert_null(strstr(head, "NONCE"));
    assert_null(strstr(head, " src=")); // no external file
    assert_null(strstr(head, "<link"));
    assert_null(strstr(head, "https://"));
    head = NULL;
    int fd = follow(&t);
    AUTO_FREE char *events = client_read(fd, "event: steps\n");
    close(fd);
    static const char *const metrics[] = {
        "# TYPE lorac_train_loss gauge\nlorac_train_loss{run=\"a \\\"b\\\" <c>\\\\d\"} ",
        "lorac_planned_steps{run=\"a \\\"b\\\" <c>\\\\d\"} 20000\n",
        "# TYPE lorac_step_seconds histogram\n",
        ",le=\"+Inf\"} ",
        "lorac_peak_memory_bytes{run=\"a \\\"b\\\" <c>\\\\d\",rank=\"0\"} ",
        "# TYPE lorac_tokens_total counter\n"};
    AUTO_FREE char *text = client_request(t.port, "GET /metrics", "", NULL);
    CHECK_PARTS(text, metrics);
    assert_null(strstr(text, "lorac_gpu_")); // there is none
    assert_null(strstr(text, "lorac_reward_margin{"));
    ASSERT_STATUS(client_request(t.port, "GET /", "Host: evil.example\r\n", NULL), 403);
    ASSERT_STATUS(client_request(t.port, "GET /../../etc/passwd", "", NULL), 404);
    ASSERT_STATUS(client_request(t.port, "POST /stop", "", "{}"), 401);
    ASSERT_STATUS(post(&t, "/stop", "Origin: http://evil.example\r\n", "{}"), 403);
    ASSERT_STATUS(post(&t, "/ask", "", "{"), 400);
    ASSERT_STATUS(post(&t, "/ask", "", "{\"prompt\": \"\"}"), 400);
    ASSERT_STATUS(post(&t, "/ask", "", "{\"prompt\": \"x\", \"run\": 1}"), 400);
    ASSERT_STATUS(post(&t, "/ask", "", "{\"prompt\": 5}"), 400);
    ASSERT_ANSWER(post(&t, "/stop", "", "{}"), 200, "the same command resumes it");
    await(&t, EXIT_INTERRUPTED);
}

static void shows_the_margin_of_preferences(void **state) {
    AUTO_STR StrBuf data = {0};
    for (int i = 0; i < 20; i++)
        str_printf(&data, "{\"prompt\": \"COUNT %d\", \"chosen\": \" yes\", \"rejected\": \" no\"}\n", i);
    put("data.jsonl", data.data);
    Training t = start("--task preference --max_steps 20000 --output_dir pairs --dashboard 127.0.0.1:0");
    int fd = follow(&t);
    AUTO_FREE char *events = client_read(fd, "event: steps\n");
    close(fd);
    AUTO_FREE char *text = client_request(t.port, "GET /metrics", "", NULL);
    assert_non_null(strstr(text, "# TYPE lorac_reward_margin gauge\nlorac_reward_margin{run=\""));
    ASSERT_ANSWER(post(&t, "/stop", "", "{}"), 200, "the same command resumes it");
    await(&t, EXIT_INTERRUPTED);
}

static int64_t last_snapshot(void) {
    AUTO_FREE char *step = command_output("ls -d seen/checkpoint-* | sed 's/.*-0*//' | tail -n 1", 0);
    return strtol(step, NULL, 10);
}

// With questions, samples, a stop and a resume: the adapter is that of a run that nobody watches.
static void does_not_change_the_run(void **state) {
    static const char *const parts[] = {"\"before\":\"", "\"after\":\"", "\"step\":", "\"seconds\":"};
    for (int i = 0; i < 2; i++) { // the second one resumes, with the curves so far
        Training t = start(CONSTANT "--max_steps 100000 --output_dir seen --dashboard 0");
        int fd = follow(&t);
        AUTO_FREE char *answer = post(&t, "/ask", "", "{\"prompt\": \"COUNT <b>1</b>\"}");
        assert_int_equal(status_of(answer), 200);
        CHECK_PARTS(answer, parts);
        mem_free(client_read(fd, "event: samples\n"));
        ASSERT_STATUS(post(&t, "/stop", "", "{}"), 200);
        await(&t, EXIT_INTERRUPTED);
        close(fd);
    }
    AUTO_FREE char *words = mem_printf(TRAIN CONSTANT "--max_steps %ld --output_dir plain", last_snapshot());
    mem_free(run(words, 0));
    AUTO_FREE char *compare = mem_printf("cmp plain/adapter/adapter_model.safetensors "
                                         "seen/checkpoint-%06ld/adapter/adapter_model.safetensors",
                                         last_snapshot());
    mem_free(command_output(compare, 0));
}

static void says_what_is_wrong(void **state) {
    Training t = start("--max_steps 100000 --output_dir out2 --dashboard 127.0.0.1:0");
    AUTO_FREE char *taken = mem_printf(TRAIN "--output_dir out3 --dashboard %d", t.port),
                   *want =
                       mem_printf("lorac: dashboard: 127.0.0.1, port %d: in use by another program; expected a free "
                                  "port (0: any)\n",
                                  t.port);
    AUTO_FREE char *got = run(taken, 2);
    assert_true(ends_with(got, want));
    assert_null(strstr(got, "step 1"));
    kill(t.pid, SIGTERM);
    await(&t, EXIT_INTERRUPTED);
    check_has(TRAIN "--output_dir out3 --dashboard here", 2, "dashboard: \"here\"; expected a port, or an address");
    check_has(TRAIN "--output_dir out3 --dashboard 192.0.2.1:0", 2,
              "dashboard: 192.0.2.1: not an address of this machine");
    setenv("LORAC_MODULES", "/nowhere", 1);
    check_has(TRAIN "--output_dir out3 --dashboard 0", 1, "lorac-http.so not found");
    unsetenv("LORAC_MODULES");
    setenv("LORAC_DASHBOARD_TOKEN", "a b", 1);
    check_has(TRAIN "--output_dir out3 --dashboard 0", 2, "LORAC_DASHBOARD_TOKEN: found a character");
    unsetenv("LORAC_DASHBOARD_TOKEN");
}

static void wants_a_token_elsewhere(void **state) {
    setenv("LORAC_DASHBOARD_TOKEN", "mine", 1);
    Training t = start("--max_steps 100000 --output_dir out4 --dashboard 0.0.0.0:0");
    unsetenv("LORAC_DASHBOARD_TOKEN");
    assert_string_equal(t.token, "mine");
    ASSERT_STATUS(client_request(t.port, "GET /", "", NULL), 401);
    ASSERT_STATUS(client_request(t.port, "GET /metrics", "", NULL), 401);
    ASSERT_STATUS(client_request(t.port, "GET /?token=mine", "Host: any.example\r\n", NULL), 200);
    ASSERT_STATUS(client_request(t.port, "GET /metrics", "Authorization: Bearer mine\r\n", NULL), 200);
    ASSERT_STATUS(post(&t, "/stop", "", "{}"), 200);
    await(&t, EXIT_INTERRUPTED);
}

static void shows_several_runs(void **state) {
    Training t = start("--max_steps 20000 --learning_rate 1e-3,2e-3 --output_dir several --dashboard 0");
    int fd = follow(&t);
    AUTO_FREE char *steps = client_read(fd, "event: steps\ndata: {\"run\":1,");
    close(fd);
    ASSERT_STATUS(post(&t, "/ask", "", "{\"prompt\": \"COUNT\", \"run\": 1}"), 200);
    ASSERT_STATUS(post(&t, "/stop", "", "{}"), 200);
    await(&t, EXIT_INTERRUPTED);
}

TEST_MAIN_WITH(set_up, tear_down, TEST(serves_page_events_and_metrics), TEST(does_not_change_the_run),
               TEST(says_what_is_wrong), TEST(wants_a_token_elsewhere), TEST(shows_several_runs),
               TEST(shows_the_margin_of_preferences))

// serve_process: `lorac serve` as a process over the tiny model, with adapters of two runs, and clients of it.
#pragma once

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "cli_runner.h"
#include "http_client.h"
#include "json.h"
#include "path.h"
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

static inline int set_up(void **state) {
    static const char *const unset[] = {"LORAC_API_KEY", "LORAC_MODULES"};
    for (size_t i = 0; i < sizeof unset / sizeof *unset; i++) unsetenv(unset[i]);
    if (tiny_dir_setup(state) || chdir(tiny_dir)) return -1;
    TinyModel tiny = TINY_MODEL;
    tiny.context = 100000;
    tiny_model_write("long.gguf", &tiny);
    tiny.context = 600;
    tiny_model_write("tiny.gguf", &tiny);
    mem_free(run(TRAIN "--output_dir out/a --seed 1", 0));
    mem_free(run(TRAIN "--output_dir out/b --seed 2 --lora_target_modules '[\"q_proj\", \"down_proj\"]'", 0));
    return 0;
}

static inline int tear_down(void **state) { return chdir("/") || tiny_dir_teardown(state); }

// `words`: options besides the port. Waits for the line that names the port.
static inline Server server_start(const char *words) {
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

static inline int server_end(Server s, int signal) {
    int status;
    kill(s.pid, signal);
    assert_int_equal(waitpid(s.pid, &status, 0), s.pid);
    close(s.out);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static inline char *ask(const Server *s, const char *path, const char *body) {
    AUTO_FREE char *line = mem_printf("POST %s", path);
    return client_request(s->port, line, "Content-Type: application/json\r\n", body);
}

static const char *body_of(const char *answer) {
    const char *body = strstr(answer, "\r\n\r\n");
    assert_non_null(body);
    return body + 4;
}

// The text of a whole answer, and its finish_reason in reason[16]. Caller frees.
static inline char *text_of(const char *answer, char *reason) {
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
static inline char *stream_text(const char *answer) {
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

static inline char *completion(const char *model, const char *prompt) {
    return mem_printf("{\"model\": \"%s\", \"prompt\": \"%s\", " GREEDY "}", model, prompt);
}

static inline char *complete(const Server *s, const char *model, const char *prompt) {
    AUTO_FREE char *body = completion(model, prompt), *answer = ask(s, COMPLETE, body);
    return text_of(answer, NULL);
}

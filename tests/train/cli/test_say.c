// Nothing that a file brought along steers the terminal: what say.h lets through, and the binary's own output, on a
// pipe and on a terminal.
#include <pty.h>
#include <unistd.h>

#include "cli_runner.h"
#include "gguf.h"
#include "json.h"
#include "say.h"
#include "tiny_model.h"

// ---- the function ----

static char *said(const char *text, size_t len) {
    char *out = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&out, &size);
    assert_non_null(f);
    say_bytes(f, text, len);
    assert_int_equal(fclose(f), 0);
    return out;
}

static void test_say_escapes_what_steers_a_terminal(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"plain \xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80\n\tend", "plain \xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80\n\tend"},
        {"\x1B]0;title\x07", "\\x1B]0;title\\x07"},
        {"a\rb\bc\x7F\x0E", "a\\x0Db\\x08c\\x7F\\x0E"},
        {"\xC2\x9B"
         "31m \xC2\x80\xC2\x9F\xC2\xA0",
         "\\u009B31m \\u0080\\u009F\xC2\xA0"},
        {"\x9B"
         "31m",
         "\\x9B31m"},                                            // C1 as one byte
        {"\xC2", "\\xC2"},                                       // a character that is cut off
        {"\xC0\x9B \xE0\x82\x9B", "\\xC0\\x9B \\xE0\\x82\\x9B"}, // overlong forms of U+009B
        {"\xED\xA0\x80 \xF4\x90\x80\x80", "\\xED\\xA0\\x80 \\xF4\\x90\\x80\\x80"},
        {"\xE2\x80\xAEtxt \xE2\x81\xA6 \xD8\x9C", "\\u202Etxt \\u2066 \\u061C"},
        {"\xE2\x80\xA8", "\xE2\x80\xA8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *got = said(cases[i][0], strlen(cases[i][0]));
        assert_string_equal(got, cases[i][1]);
        free(got);
    }
    for (int c = 0; c < 256; c++) { // every byte alone
        char byte = (char)c, *got = said(&byte, 1);
        bool safe = (c >= 32 && c < 127) || c == '\n' || c == '\t';
        assert_int_equal(strlen(got), safe ? 1 : 4);
        free(got);
    }
}

static void test_say_errors_are_clean_lines(void **state) {
    (void)state;
    Err err;
    err_input(&err, "%s", "a\x1B[2J\n\xC2\x9B\x9B\xE2\x80\xAE\xC3\xA9");
    assert_string_equal(err.msg, "a?[2J??\?\?\?\?\?\xC3\xA9");
    err_context(&err, "%s", "\xC2\x85");
    assert_string_equal(err.msg, "??: a?[2J??\?\?\?\?\?\xC3\xA9");
}

static void test_say_json_stays_json(void **state) {
    (void)state;
    static const char text[] = "\x7F \xC2\x9B \xE2\x80\xAE \x1B \xC3\xA9";
    StrBuf quoted = {0};
    JsonDoc *doc;
    Err err;
    json_quote(&quoted, text, strlen(text));
    assert_string_equal(quoted.data, "\"\\u007f \\u009b \\u202e \\u001b \xC3\xA9\"");
    ASSERT_OK(json_parse(&doc, quoted.data, quoted.len, "quoted", 0, &err), &err);
    assert_string_equal(json_root(doc)->str.data, text);
    json_free(doc);
    str_clear(&quoted);
}

// ---- the binary ----

#define STEER                                                                                                          \
    "\x1B]0;PWNED\x07\x1B[2J\xC2\x9B"                                                                                  \
    "31m\r\b\x7F\xE2\x80\xAE"

static void refuse_control(const char *what, const char *text, bool terminal) {
    for (const char *at = text; *at;) {
        bool safe;
        size_t n = say_character(at, strlen(at), &safe);
        if (!safe && !(terminal && *at == '\r' && at[1] == '\n'))
            fail_msg("%s: byte %02X in \"%s\"", what, (uint8_t)*at, text);
        at += n;
    }
}

static void check_clean(const char *words, int status, const char *part) {
    char *got = run(words, status);
    if (!strstr(got, part)) fail_msg("%s: \"%s\" lacks \"%s\"", words, got, part);
    refuse_control(words, got, false);
    mem_free(got);
}

static void test_say_names_and_records_on_a_pipe(void **state) {
    (void)state;
    GgufWriter *w = gguf_writer_new();
    Err err;
    gguf_writer_string(w, "general.architecture", "llama" STEER);
    gguf_writer_string(w, "general.name", "name" STEER);
    gguf_writer_string(w, "key" STEER, "value" STEER);
    ASSERT_OK(gguf_writer_save(w, "steer.gguf", NULL, &err), &err);
    gguf_writer_free(w);
    check_clean("inspect steer.gguf", 0, "name\\u001b]0;PWNED");
    check_clean("generate --model steer.gguf --prompt a", 2, "llama?]0;PWNED");
    put("d.jsonl", "{\"text\": \"record \xC2\x9B"
                   "31m \xE2\x80\xAE \x7F\"}\n");
    check_clean("inspect d.jsonl --show 1", 0, "record \\u009B31m");
    put("bad.jsonl", "{\"text" STEER "\": 1}\n");
    check_clean("inspect bad.jsonl --show 1", 2, "bad.jsonl:1");
    put("dir" STEER ".json", "{}");
    check_clean("inspect dir*.json", 2, "dir");
    check_clean("inspect \"$(printf 'no\\033[2Jwhere')\"", 2, "no?[2Jwhere");
    tiny_model_write("m.gguf", &TINY_MODEL);
    check_clean("tokenize --model m.gguf --text \"$(printf 'a\\302\\233\\177')\"", 0, "a\\u009b\\u007f");
}

// What a command prints on a terminal of its own.
static char *on_terminal(const char *const *words, const char *typed) {
    StrBuf out = {0};
    char piece[4096];
    int fd;
    pid_t pid = forkpty(&fd, NULL, NULL, NULL);
    assert_true(pid >= 0);
    if (pid == 0) {
        execv(LORAC, (char *const *)words);
        _exit(127);
    }
    str_puts(&out, "");
    if (*typed) assert_int_equal(write(fd, typed, strlen(typed)), strlen(typed));
    for (ssize_t n; (n = read(fd, piece, sizeof piece)) > 0;) str_add(&out, piece, (size_t)n);
    int status;
    waitpid(pid, &status, 0);
    close(fd);
    if (!WIFEXITED(status) || WEXITSTATUS(status)) fail_msg("wait status %d: %s", status, out.data);
    return out.data;
}

static bool has_control(const char *text) {
    bool safe = true;
    for (size_t n; *text && safe; text += n) n = say_character(text, strlen(text), &safe);
    return !safe;
}

// A model of random weights whose tokens are the 256 bytes: ESC and the like come soon.
static void test_say_generated_text(void **state) {
    (void)state;
    tiny_model_write("m.gguf", &TINY_MODEL);
    const char *const words[] = {"lorac", "generate", "--model", "m.gguf",        "--prompt", "a", "--max_new_tokens",
                                 "200",   "--seed",   "3",       "--temperature", "1",        NULL};
    const char *const raw[] = {"lorac", "generate", "--model", "m.gguf",        "--prompt", "a",     "--max_new_tokens",
                               "200",   "--seed",   "3",       "--temperature", "1",        "--raw", NULL};
    const char *const chat[] = {"lorac", "chat",          "--model", "m.gguf", "--max_new_tokens", "60", "--seed",
                                "3",     "--temperature", "1",       NULL};
    char *pipe = run("generate --model m.gguf --prompt a --max_new_tokens 200 --seed 3 --temperature 1", 0);
    assert_true(has_control(pipe)); // as it is where nothing can be steered
    char *shown = on_terminal(words, "");
    refuse_control("generate", shown, true);
    assert_non_null(strstr(shown, "\\x"));
    char *as_it_is = on_terminal(raw, "");
    assert_true(has_control(as_it_is));
    char *talk = on_terminal(chat, "hello\n/exit\n");
    refuse_control("chat", talk, true);
    mem_free(talk);
    mem_free(as_it_is);
    mem_free(shown);
    mem_free(pipe);
}

TEST_MAIN(TEST(test_say_escapes_what_steers_a_terminal), TEST(test_say_errors_are_clean_lines),
          TEST(test_say_json_stays_json), SCRATCH_TEST(test_say_names_and_records_on_a_pipe),
          SCRATCH_TEST(test_say_generated_text))

// test_pull: lorac pull and train --pull against support/hub_server.py, whose repositories go wrong in every way that
// their owner's name says.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli_runner.h"
#include "fileio.h"
#include "python_server.h"
#include "tiny_run.h"

enum { WEIGHTS = 200000 };

typedef struct Server {
    PythonServer process;
    char endpoint[64];
} Server;
static Server g_server;

// ---- the server ----

// certificate NULL: http.
static int start_server(Server *s, const char *certificate) {
    char *argv[] = {"python3", TEST_DIR "/support/hub_server.py", "repos", "requests", (char *)certificate, NULL};
    if (python_server_start(&s->process, argv)) return -1;
    snprintf(s->endpoint, sizeof s->endpoint, "%s://127.0.0.1:%ld", certificate ? "https" : "http", s->process.port);
    return 0;
}

static void stop_server(Server *s) { python_server_stop(&s->process); }

static int set_up(void **state) {
    static const char *const unset[] = {
        "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN_PATH", "HF_HOME",   "HUGGING_FACE_HUB_TOKEN",
        "http_proxy",   "https_proxy",           "all_proxy",     "ALL_PROXY", "HTTPS_PROXY"};
    for (size_t i = 0; i < sizeof unset / sizeof *unset; i++) unsetenv(unset[i]);
    if (tiny_dir_setup(state) || chdir(tiny_dir)) return -1;
    AUTO_FREE char *home = path_join(tiny_dir, "hf");
    setenv("HF_HOME", home, 1);
    return start_server(&g_server, NULL);
}

static int tear_down(void **state) {
    stop_server(&g_server);
    return chdir("/") || tiny_dir_teardown(state);
}

// Each test has an empty cache and log.
static int begin(void **state) {
    setenv("HF_ENDPOINT", g_server.endpoint, 1);
    setenv("HF_TOKEN", "hf_secret", 1);
    unsetenv("SSL_CERT_FILE");
    unsetenv("LORAC_MODULES");
    unsetenv("HF_HUB_OFFLINE");
    return truncate("requests", 0) || dir_remove("hf", NULL) || dir_remove("repos", NULL);
}

// ---- repositories ----

static void put_file(const char *repository, const char *name, const void *data, size_t size) {
    AUTO_FREE char *path = mem_printf("repos/%s/%s", repository, name), *parent = path_parent(path);
    Err err;
    ASSERT_OK(dir_make_parents(parent, &err), &err);
    scratch_put(path, data, size);
}

static void put_text(const char *repository, const char *name, const char *text) {
    put_file(repository, name, text, strlen(text));
}

// A model of the form of a Hugging Face folder; its weights are no model's.
static void put_model(const char *repository) {
    AUTO_FREE char *weights = mem_alloc(WEIGHTS, 1);
    for (size_t i = 0; i < WEIGHTS; i++) weights[i] = (char)(i * 2654435761u >> 13);
    put_text(repository, "config.json", "{\"model_type\": \"llama\"}\n");
    put_text(repository, "tokenizer.json", "{}\n");
    put_text(repository, "pytorch_model.bin", "a pickle");
    put_text(repository, "onnx/config.json", "{}");
    put_text(repository, "empty.txt", "");
    put_file(repository, "model.safetensors", weights, WEIGHTS);
}

static void copy_into(const char *repository, const char *name, const char *from) {
    AUTO_FREE char *data = NULL;
    size_t size;
    Err err;
    ASSERT_OK(file_read(&data, &size, from, 1 << 24, &err), &err);
    put_file(repository, name, data, size);
}

static char *text_of(const char *path) {
    char *text;
    size_t size;
    Err err;
    ASSERT_OK(file_read(&text, &size, path, 1 << 24, &err), &err);
    return text;
}

// "hf/hub/models--owner--name/snapshots/COMMIT/FILE" by refs/main.
static char *in_snapshot(const char *folder, const char *file) {
    AUTO_FREE char *ref = mem_printf("hf/hub/%s/refs/main", folder), *commit = text_of(ref);
    return mem_printf("hf/hub/%s/snapshots/%s/%s", folder, commit, file);
}

static void check_snapshot(const char *folder, const char *repository, const char *file) {
    AUTO_FREE char *path = in_snapshot(folder, file), *want_path = mem_printf("repos/%s/%s", repository, file);
    AUTO_FREE char *command = mem_printf("cmp %s %s", path, want_path), *out = command_output(command, 0);
}

// No blob, no link and no ref: a failed pull leaves at most .incomplete files and the blobs that were complete.
static void check_nothing_visible(const char *folder) {
    AUTO_FREE char *refs = mem_printf("hf/hub/%s/refs", folder), *snapshots = mem_printf("hf/hub/%s/snapshots", folder);
    assert_false(path_exists(refs));
    assert_false(path_exists(snapshots));
}

static size_t count_of(const char *path, const char *part) {
    AUTO_FREE char *text = text_of(path);
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, part)); at++) n++;
    return n;
}

// ---- what is fetched ----

static void pull_writes_the_hubs_cache(void **state) {
    put_model("plain/tiny");
    AUTO_FREE char *out = run("pull plain/tiny", 0);
    static const char *const parts[] = {"model    plain/tiny, revision main, commit ",
                                        "files    4 of 6, 200.0 kB; 4 to fetch", "  model.safetensors ", "cache    "};
    CHECK_PARTS(out, parts);
    static const char *const files[] = {"config.json", "tokenizer.json", "empty.txt", "model.safetensors"};
    for (size_t i = 0; i < 4; i++) check_snapshot("models--plain--tiny", "plain/tiny", files[i]);
    AUTO_FREE char *link = in_snapshot("models--plain--tiny", "config.json"),
                   *other = in_snapshot("models--plain--tiny", "pytorch_model.bin");
    char target[256] = "";
    assert_true(readlink(link, target, sizeof target - 1) > 0);
    assert_string_equal(target, "../../blobs/9eddb62b076f586b2186445e7872e5a05f0dfe06");
    assert_false(path_exists(other));
    // again: nothing is fetched
    size_t requests = count_of("requests", "resolve");
    AUTO_FREE char *again = run("pull plain/tiny", 0);
    assert_true(strstr(again, "0 to fetch") && count_of("requests", "resolve") == requests);
}

static void pull_takes_patterns(void **state) {
    put_model("plain/tiny");
    AUTO_FREE char *list = run("pull plain/tiny --dry_run --include '*'", 0);
    assert_true(strstr(list, "pytorch_model.bin") && strstr(list, "onnx/config.json"));
    assert_false(path_exists("hf/hub/models--plain--tiny/blobs"));
    mem_free(run("pull plain/tiny --include 'onnx/' --include '*.bin' --exclude 'pytorch*' --revision v1", 0));
    AUTO_FREE char *commit = text_of("hf/hub/models--plain--tiny/refs/v1");
    AUTO_FREE char *below = mem_printf("hf/hub/models--plain--tiny/snapshots/%s/onnx/config.json", commit);
    char target[256] = "";
    assert_true(readlink(below, target, sizeof target - 1) > 0 && starts_with(target, "../../../blobs/"));
    assert_false(path_exists("hf/hub/models--plain--tiny/refs/main"));
    check_has("pull plain/tiny --include nothing", 2, "plain/tiny: has 6 files, of which none is wanted");
    put_text("plain/pickle", "pytorch_model.bin", "x");
    check_has("pull plain/pickle", 2,
              "found no weights that lorac reads among its 1 file; expected model.safetensors, its shards, or a .gguf "
              "file; it has pytorch_model.bin");
}

static void pull_chooses_a_gguf(void **state) {
    put_text("plain/quants", "m-Q4_K_M.gguf", "four");
    put_text("plain/quants", "m-Q8_0-00001-of-00002.gguf", "eight");
    put_text("plain/quants", "m-Q8_0-00002-of-00002.gguf", "eight, too");
    check_has("pull plain/quants", 2,
              "found several GGUF files; expected the choice of one, as in \"lorac pull plain/quants:Q4_K_M\"");
    check_has("pull plain/quants:q8_0", 0, "files    2 of 3");
    check_snapshot("models--plain--quants", "plain/quants", "m-Q8_0-00002-of-00002.gguf");
    check_has("pull plain/quants/m-Q4_K_M.gguf", 0, "files    1 of 3");
}

static void pull_reads_all_pages(void **state) {
    put_model("pages/tiny");
    check_has("pull pages/tiny --include '*'", 0, "files    6 of 6");
    put_model("elsewhere/tiny");
    check_has("pull elsewhere/tiny", 2, "the next page is http://127.0.0.1:");
}

// ---- connections ----

static void pull_resumes_cut_connections(void **state) {
    static const char *const owners[] = {"cut", "norange"};
    for (size_t i = 0; i < 2; i++) {
        AUTO_FREE char *name = mem_printf("%s/tiny", owners[i]), *folder = mem_printf("models--%s--tiny", owners[i]),
                       *command = mem_printf("pull %s", name);
        put_model(name);
        check_has(command, 0, "the connection was cut after");
        check_snapshot(folder, name, "model.safetensors");
    }
    assert_true(count_of("requests", "bytes=66666-") >= 1);
    put_model("otherrange/tiny");
    check_has("pull otherrange/tiny", 1, "the server sends byte 66665 and those after it; expected byte 66666");
    check_nothing_visible("models--otherrange--tiny");
}

static void pull_resumes_killed_processes(void **state) {
    put_model("slow/tiny");
    pid_t pid = fork();
    if (pid == 0) {
        execl(LORAC, "lorac", "pull", "slow/tiny", (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 500 && count_of("requests", "model.safetensors") == 0; i++) usleep(10000);
    usleep(200000);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    check_nothing_visible("models--slow--tiny");
    check_has("pull slow/tiny", 0, "(resumed)");
    check_snapshot("models--slow--tiny", "slow/tiny", "model.safetensors");
    assert_true(count_of("requests", "bytes=") == 1);
}

// What is left of a pull may be damaged, or longer than the file.
static void pull_checks_what_it_resumes(void **state) {
    put_model("plain/tiny");
    AUTO_FREE char *sum = command_output("sha256sum repos/plain/tiny/model.safetensors", 0);
    for (int i = 0; i < 3; i++) {
        static const size_t sizes[] = {100, WEIGHTS, WEIGHTS + 1};
        AUTO_FREE char *zeros = mem_calloc(WEIGHTS + 1, 1),
                       *path = mem_printf("hf/hub/models--plain--tiny/blobs/%.64s.incomplete", sum),
                       *parent = path_parent(path);
        dir_remove("hf", NULL);
        dir_make_parents(parent, NULL);
        scratch_put(path, zeros, sizes[i]);
        mem_free(run("pull plain/tiny", 0));
        check_snapshot("models--plain--tiny", "plain/tiny", "model.safetensors");
        assert_false(path_exists(path));
    }
    // a link in its place is not followed
    AUTO_FREE char *path = mem_printf("hf/hub/models--plain--tiny/blobs/%.64s.incomplete", sum),
                   *blob = mem_printf("hf/hub/models--plain--tiny/blobs/%.64s", sum);
    unlink(blob);
    put("victim", "mine");
    assert_int_equal(symlink("../../../../victim", path), 0);
    check_has("pull plain/tiny", 1, ".incomplete: cannot be opened");
    AUTO_FREE char *victim = text_of("victim");
    assert_string_equal(victim, "mine");
}

static void pull_gives_up_with_one_line(void **state) {
    static const struct {
        const char *owner;
        int status;
        const char *message;
    } cases[] = {
        {"cutting", 1, "the connection was cut after 10 of "},
        {"stalls", 1, "nothing came for 1 seconds"},
        {"fails", 1, "the server fails with 503; try again later"},
        {"busy", 1, "the hub answers 429, too many requests"},
        {"loop", 1, "more than 10 redirects; the last one is to http://127.0.0.1:"},
        {"ftp", 1, "a redirect to ftp://127.0.0.1/x; expected an http or https URL"},
        {"damaged", 1, "model.safetensors: its SHA-256 is "},
        {"longer", 1, "model.safetensors: the server offers 200004 bytes; expected 200000"},
        {"shorter", 1, "model.safetensors: the server offers 199993 bytes; expected 200000"},
        {"endless", 1, "the server sends more than 200000 bytes"},
        {"early", 1, "199993 bytes came; expected 200000"},
        {"page", 2, "found a page of HTML; expected the hub's JSON"},
        {"gated", 2,
         "the hub answers 403: Access to model gated/tiny is restricted.; expected access: accept the terms"},
        {"twice", 2, "the hub lists config.json twice"},
        {"badhash", 2, "oid is \"../../../evil\"; expected 40 hex digits"},
        {"badcommit", 2, "sha is \"../../x\"; expected a commit of 40 hex digits"},
        {"negative", 2, "size is -5; expected an integer from 0"},
        {"broken", 2, "broken/tiny, revision main"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO_FREE char *name = mem_printf("%s/tiny", cases[i].owner),
                       *folder = mem_printf("models--%s--tiny", cases[i].owner),
                       *command = mem_printf("pull %s --retries 0%s", name,
                                             strcmp(cases[i].owner, "stalls") == 0 ? " --timeout 1" : "");
        put_model(name);
        check_has(command, cases[i].status, cases[i].message);
        check_nothing_visible(folder);
    }
    check_has("pull plain/none", 2,
              "plain/none, revision main: the hub answers 404: Repository not found; expected a repository");
    put_model("plain/tiny");
    check_has("pull plain/tiny@v9", 2, "revision v9: the hub answers 404: Invalid rev id: v9");
    setenv("HF_ENDPOINT", "http://127.0.0.1:1", 1);
    check_has("pull plain/tiny --retries 1", 1, "trying again in 0.5 s");
    setenv("HF_HUB_OFFLINE", "1", 1);
    check_has("pull plain/tiny", 2, "HF_HUB_OFFLINE is 1: nothing is fetched");
    unsetenv("HF_HUB_OFFLINE");
    setenv("HF_ENDPOINT", "ftp://x", 1);
    check_has("pull plain/tiny", 2, "HF_ENDPOINT: \"ftp://x\"; expected a URL");
}

static void pull_waits_for_a_busy_hub(void **state) {
    put_text("busy/two", "model.safetensors", "x");
    check_has("pull busy/two", 0, "status 429; trying again in 0 s");
    check_snapshot("models--busy--two", "busy/two", "model.safetensors");
    put_text("stalls/two", "config.json", "{}");
    AUTO_FREE char *weights = mem_calloc(4000, 1);
    put_file("stalls/two", "model.safetensors", weights, 4000);
    check_has("pull stalls/two --timeout 1", 0, "nothing came for 1 seconds; trying again in 0.5 s");
    check_snapshot("models--stalls--two", "stalls/two", "model.safetensors");
}

// ---- the token ----

static void pull_keeps_the_token_from_other_hosts(void **state) {
    put_model("moved/tiny");
    put_model("relative/tiny");
    put_model("private/tiny");
    mem_free(run("pull moved/tiny", 0));
    check_snapshot("models--moved--tiny", "moved/tiny", "model.safetensors");
    AUTO_FREE char *log = text_of("requests");
    const char *other = strstr(log, "\n1 /moved");
    assert_true(other && strncmp(strchr(other + 1, '\n') - 5, " None", 5) == 0);
    assert_int_equal(count_of("requests", "\n1 "), 1);
    mem_free(run("pull relative/tiny", 0));
    AUTO_FREE char *relative = text_of("requests");
    const char *again = strstr(relative, "?again None Bearer hf_secret");
    assert_non_null(again);
    mem_free(run("pull private/tiny", 0));
    unsetenv("HF_TOKEN");
    check_has("pull private/tiny", 2,
              "the hub answers 401: Invalid username or password.; expected a repository that exists; a private or "
              "gated one needs a token in HF_TOKEN");
    put("hf/token", "hf_secret\n");
    check_has("pull private/tiny", 0, "0 to fetch");
    setenv("HF_TOKEN", "bad\ntoken", 1);
    check_has("pull private/tiny", 2, "HF_TOKEN: found a token with a character that no token has");
    setenv("HF_TOKEN", "hf_secret", 1);
}

static void pull_checks_certificates(void **state) {
    static const char make[] =
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=x "
        "-addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out ca.pem 2>/dev/null && cat ca.pem key.pem >both.pem";
    if (system(make)) skip(); // no openssl
    Server tls;
    put_model("plain/tiny");
    put_model("moved/tiny");
    assert_int_equal(start_server(&tls, "both.pem"), 0);
    setenv("HF_ENDPOINT", tls.endpoint, 1);
    check_has("pull plain/tiny", 1, "certificate");
    setenv("SSL_CERT_FILE", "ca.pem", 1);
    check_has("pull plain/tiny", 0, "cache    ");
    check_snapshot("models--plain--tiny", "plain/tiny", "model.safetensors");
    check_has("pull moved/tiny", 1, "; expected an https URL");
    stop_server(&tls);
}

// ---- hostile names ----

static void pull_refuses_hostile_names(void **state) {
    static const char *const names[] = {"../evil.jsonl",   "/tmp/evil.jsonl",      "a/../../evil.jsonl", "a//b.jsonl",
                                        "a/./b.jsonl",     "a\\\\u001b[2Jb.jsonl", "a\\\\nb.jsonl",      "x/..",
                                        "a\\\\\\\\b.jsonl"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        put_text("datasets/hostile/d", "names", names[i]);
        put_text("datasets/hostile/d", "a.jsonl", "{}");
        check_has("pull datasets/hostile/d --include '*'", 2, "hostile/d: found a file named ");
        check_nothing_visible("datasets--hostile--d");
    }
    check_has("pull ../x/y", 2, "../x/y: expected \"owner/name\"");
    check_has("pull plain/tiny --revision ../../x", 2, "--revision: \"../../x\"; expected a branch, tag or commit");
}

// ---- two processes ----

static void pull_twice_at_once(void **state) {
    put_model("slow/tiny");
    AUTO_FREE char *command =
        mem_printf("'%s' pull slow/tiny >one 2>&1 & '%s' pull slow/tiny >two 2>&1; first=$?; wait $! && exit $first",
                   LORAC, LORAC);
    mem_free(command_output(command, 0));
    check_snapshot("models--slow--tiny", "slow/tiny", "model.safetensors");
    assert_int_equal(count_of("requests", "model.safetensors"), 1);
    assert_int_equal(count_of("one", "model.safetensors: another process") +
                         count_of("two", "model.safetensors: another process"),
                     1);
}

// ---- training ----

static void train_pulls_only_when_asked(void **state) {
    copy_into("plain/gguf", "tiny.gguf", "tiny.gguf");
    copy_into("datasets/plain/rows", "data/train-00000-of-00001.jsonl", "data.jsonl");
    copy_into("datasets/plain/rows", "data/test-00000-of-00001.jsonl", "data.jsonl");
    static const char words[] = "train --model_name_or_path plain/gguf --train_file plain/rows --validation_file "
                                "plain/rows:test --output_dir out --max_steps 2 --report_to none";
    check_has(words, 2, "plain/gguf: no such file or folder, nor in the hub's cache ");
    check_has(words, 2, "\"lorac pull plain/gguf\" fetches it");
    assert_int_equal(count_of("requests", "\n"), 0);
    AUTO_FREE char *with = mem_printf("%s --pull", words), *bad = mem_printf("%s --lora_r 0", with);
    check_has(bad, 2, "lora_r: 0");
    assert_int_equal(count_of("requests", "\n"), 0); // nothing is fetched for a config that is wrong
    AUTO_FREE char *out = run(with, 0), *config = text_of("out/config.json");
    static const char *const parts[] = {"model    plain/gguf, revision main", "data set plain/rows, revision main"};
    CHECK_PARTS(out, parts);
    // the run's config names the files, with their suffixes
    assert_true(strstr(config, "/tiny.gguf\"") && strstr(config, "data/train-00000-of-00001.jsonl\""));
    size_t requests = count_of("requests", "\n");
    setenv("LORAC_MODULES", "/nowhere", 1); // from now on without libcurl
    mem_free(run("train out/config.json", 0));
    check_has("inspect plain/gguf", 0, "llama");
    check_has("inspect plain/rows", 0, "/data/train-00000-of-00001.jsonl: data, ");
    check_has("inspect datasets/plain/rows:test", 0, "/data/test-00000-of-00001.jsonl: data, ");
    check_has("inspect plain/rows:none", 2, "plain/rows: split none: no file of it in the hub's cache");
    mem_free(run("generate -m plain/gguf --prompt a -n 2 --raw", 0));
    check_has("pull plain/gguf", 1, "lorac-curl.so not found");
    AUTO_FREE char *sliced = run(
        "train --model_name_or_path plain/gguf --train_file '[{\"path\": \"plain/rows\", \"split\": \"test[:4]\"}]' "
        "--output_dir out2 --max_steps 1 --report_to none",
        0);
    static const char *const four[] = {"data/test-00000-of-00001.jsonl\",\"split\":\"train[:4]\"",
                                       "data     4 samples"};
    CHECK_PARTS(sliced, four);
    assert_int_equal(count_of("requests", "\n"), requests);
}

#define PULL_TEST(f) cmocka_unit_test_setup(f, begin)
TEST_MAIN_WITH(set_up, tear_down, PULL_TEST(pull_writes_the_hubs_cache), PULL_TEST(pull_takes_patterns),
               PULL_TEST(pull_chooses_a_gguf), PULL_TEST(pull_reads_all_pages), PULL_TEST(pull_resumes_cut_connections),
               PULL_TEST(pull_resumes_killed_processes), PULL_TEST(pull_checks_what_it_resumes),
               PULL_TEST(pull_gives_up_with_one_line), PULL_TEST(pull_waits_for_a_busy_hub),
               PULL_TEST(pull_keeps_the_token_from_other_hosts), PULL_TEST(pull_checks_certificates),
               PULL_TEST(pull_refuses_hostile_names), PULL_TEST(pull_twice_at_once),
               PULL_TEST(train_pulls_only_when_asked))

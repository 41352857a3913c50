// What lorac did not write, and what a command reads, stands where it would write: every verb that writes refuses with
// one line and leaves each byte as it was. What lorac wrote itself it replaces.
#include "adapter.h"
#include "cli_runner.h"
#include "fileio.h"
#include "hash.h"
#include "json.h"
#include "path.h"
#include "safetensors.h"
#include "tiny_model.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#define TRAIN_STEPS "train model=m.gguf train_file=d.jsonl output_dir=o max_seq_length=48 save_steps=1 max_steps="
#define TRAIN TRAIN_STEPS "2 "

static void put_data(void) {
    StrBuf text = {0};
    for (int s = 0; s < 8; s++) {
        str_puts(&text, "{\"input_ids\": [");
        for (int i = 0; i < 12; i++) str_printf(&text, "%s%d", i ? ", " : "", 97 + (s + 3 * i) % 26);
        str_puts(&text, "]}\n");
    }
    put("d.jsonl", text.data);
    str_clear(&text);
}

static void put_inputs(void) {
    Backend *b;
    Model *m;
    Adapter *a;
    Err err;
    tiny_model_write("m.gguf", &TINY_MODEL);
    ASSERT_OK(backend_open(&b, "cpu", 1, &err), &err);
    ASSERT_OK(model_load(&m, "m.gguf", b, NULL, &err), &err);
    AdapterConfig c = {.rank = 2, .alpha = 4, .projections = 1 << PROJ_Q};
    ASSERT_OK(adapter_new(&a, m, &c, 1, false, &err), &err);
    for (int64_t j = 0; j < a->count; j++) a->params[j] = 0.01f * (float)(j % 7);
    ASSERT_OK(adapter_save_peft(a, m, "a", NULL, &err), &err);
    ASSERT_OK(adapter_save_gguf(a, m, "a.gguf", "a", &err), &err);
    adapter_free(a);
    model_free(m);
    backend_close(b);
    put_data();
}

// Every byte, name and kind below a folder as one hash; lorac's own lock and cache apart.
static void add_tree(StrBuf *out, const char *dir) {
    struct dirent **entries;
    int n = scandir(dir, &entries, NULL, alphasort);
    assert_true(n >= 0);
    for (int i = 0; i < n; i++) {
        const char *name = entries[i]->d_name;
        char *path = path_join(dir, name), hash[33];
        struct stat st;
        assert_int_equal(lstat(path, &st), 0);
        bool skip = strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, "cache") == 0 ||
                    (strcmp(name, ".lock") == 0 && st.st_size < 10);
        if (!skip) str_printf(out, "%s %o", path, st.st_mode);
        if (!skip && S_ISREG(st.st_mode) && hash_file(hash, path, NULL) == 0) str_puts(out, hash);
        if (!skip && S_ISDIR(st.st_mode)) add_tree(out, path);
        mem_free(path);
        free(entries[i]);
    }
    free(entries);
}

// The command is refused with this status and text, and no byte changes.
static void refuse(const char *words, int status, const char *part) {
    StrBuf before = {0}, after = {0};
    add_tree(&before, ".");
    char *text = run(words, status);
    if (!strstr(text, part)) fail_msg("lorac %s printed \"%s\"; expected \"%s\"", words, text, part);
    if (strstr(text, "\nstep ")) fail_msg("lorac %s trained before it refused", words);
    add_tree(&after, ".");
    if (strcmp(before.data, after.data) != 0) fail_msg("lorac %s: %s\nbecame\n%s", words, before.data, after.data);
    str_clear(&before);
    str_clear(&after);
    mem_free(text);
}

static void make_dirs(const char *path) {
    Err err;
    ASSERT_OK(dir_make_parents(path, &err), &err);
}

// ---- train ----

static void test_foreign_train(void **state) {
    (void)state;
    static const struct {
        const char *dir, *file, *text, *words, *part;
    } cases[] = {
        {"o/adapter", "o/adapter/thesis.txt", "x", "", "o/adapter: holds thesis.txt, which lorac did not write"},
        {"o/adapter/sub", "o/adapter/sub/x", "x", "", "o/adapter: holds sub,"},
        {"o/adapter", "o/adapter/README.md", "# mine", "", "o/adapter: found what lorac did not write"},
        {"o/adapter", "o/adapter/adapter_config.json", "{\"r\": 8}", "", "o/adapter: found what lorac did not"},
        {"o", "o/adapter", "a file", "", "o/adapter: found a file"},
        {"o", "o/adapter.gguf", "GGUF", "", "o/adapter.gguf: found what lorac did not write"},
        {"o", "o/Modelfile", "FROM x\nADAPTER y\n", "", "o/Modelfile: found what"},
        {"o", "o/Modelfile", "FROM \"x\"\nADAPTER ./adapter.gguf\nSYSTEM be kind\n", "", "o/Modelfile: found what"},
        {"o", "o/report.html", "<html>mine</html>", "", "o/report.html: found what"},
        {"o", "o/train_log.jsonl", "{\"loss\": 1, \"step\": 3}\n", "", "o/train_log.jsonl: found what"},
        {"o", "o/config.json", "{}", "", "o/config.json: found what lorac did not write"},
        {"o", "o/config.json", "{\"seed\": 42}", "", "o/config.json: found what"},
        {"o", "o/.lock", "do not lose me", "", "o/.lock: found what lorac did not write; expected lorac's lock file"},
        {"o/adapter.gguf", "o/adapter.gguf/x", "x", "", "o/adapter.gguf: found a directory"},
        {"o", "o/Modelfile", "mine", "report_to=none", "o/Modelfile"},
    };
    put_inputs();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make_dirs(cases[i].dir);
        put(cases[i].file, cases[i].text);
        char *words = mem_printf(TRAIN "%s", cases[i].words);
        refuse(words, strstr(cases[i].part, "found a ") ? EXIT_RUNTIME : EXIT_INPUT, cases[i].part);
        mem_free(words);
        assert_int_equal(dir_remove("o", NULL), 0);
    }
}

static void test_foreign_train_inputs(void **state) {
    (void)state;
    put_inputs();
    make_dirs("o");
    assert_int_equal(link("m.gguf", "o/adapter.gguf"), 0); // the base by another name
    refuse(TRAIN, EXIT_INPUT, "o/adapter.gguf: is an input of this command");
    assert_int_equal(unlink("o/adapter.gguf"), 0);
    assert_int_equal(symlink("../m.gguf", "o/adapter.gguf"), 0);
    refuse(TRAIN, EXIT_INPUT, "o/adapter.gguf: is an input of this command");
    assert_int_equal(unlink("o/adapter.gguf"), 0);
    assert_int_equal(link("d.jsonl", "o/train_log.jsonl"), 0);
    refuse(TRAIN, EXIT_INPUT, "o/train_log.jsonl: is an input of this command");
    assert_int_equal(unlink("o/train_log.jsonl"), 0);
    assert_int_equal(rename("a", "o/adapter"), 0); // lorac's own, but read by this command
    refuse(TRAIN "adapter_name_or_path=o/adapter lora_r=2 lora_alpha=4 lora_target_modules=q_proj", EXIT_INPUT,
           "o/adapter: is an input of this command");
    refuse(TRAIN "teacher_adapter=o/adapter", EXIT_INPUT, "o/adapter: is an input of this command");
    refuse(TRAIN "teacher_model=o/adapter", EXIT_INPUT, "o/adapter: is an input of this command");
    put("runs.json", "{\"runs\": [{\"run_name\": \"x\", \"output_dir\": \"o\"},\n"
                     "{\"run_name\": \"y\", \"output_dir\": \"p\", \"teacher_adapter\": \"o/adapter\"}]}");
    refuse("train runs.json model=m.gguf train_file=d.jsonl max_seq_length=48 output_dir=q", EXIT_INPUT,
           "o/adapter: is an input of this command");
    assert_int_equal(rename("o/adapter", "a"), 0);
    assert_int_equal(unlink("o/.lock"), 0);
    assert_int_equal(symlink("../m.gguf", "o/.lock"), 0);
    refuse(TRAIN, EXIT_INPUT, "o/.lock: is an input");
    assert_int_equal(unlink("o/.lock"), 0);
    put("digits", "12345");
    assert_int_equal(symlink("../digits", "o/.lock"), 0);
    refuse(TRAIN, EXIT_INPUT, "o/.lock: found a link; expected lorac's lock file");
    assert_int_equal(unlink("o/.lock"), 0);
    assert_int_equal(symlink("nothing", "o/adapter"), 0);
    refuse(TRAIN, EXIT_INPUT, "o/adapter: found a broken link");
    assert_int_equal(unlink("o/adapter"), 0);
    assert_int_equal(unlink("o/.lock"), 0);
    make_dirs("o/.lock");
    refuse(TRAIN, EXIT_INPUT, "o/.lock: found a folder; expected lorac's lock file");
    assert_int_equal(rmdir("o/.lock"), 0);
    put("o/config.json", "{\"max_steps\": 2, \"save_steps\": 1}"); // a config of the user's in the run's own place
    refuse("train o/config.json model=m.gguf train_file=d.jsonl output_dir=o max_seq_length=48", EXIT_INPUT,
           "o/config.json: found what lorac did not write");
}

// A log that leads to a pipe: one that nobody reads would be waited for, deaf to every signal.
static void test_foreign_log_is_a_pipe(void **state) {
    (void)state;
    put_inputs();
    make_dirs("o");
    assert_int_equal(mkfifo("o/train_log.jsonl", 0600), 0);
    check_has(TRAIN, EXIT_INPUT, "o/train_log.jsonl: found a pipe without a reader");
    int reader = open("o/train_log.jsonl", O_RDONLY | O_NONBLOCK);
    assert_true(reader >= 0);
    mem_free(run(TRAIN, 0));
    char text[4096];
    ssize_t n = read(reader, text, sizeof text - 1);
    close(reader);
    assert_true(n > 0);
    text[n] = 0;
    assert_non_null(strstr(text, "{\"step\":2,"));
}

static void test_foreign_output_dir_is_no_folder(void **state) {
    (void)state;
    put_inputs();
    put("o", "mine");
    refuse(TRAIN, EXIT_RUNTIME, "o: found a file; expected a folder, or nothing there");
    assert_int_equal(unlink("o"), 0);
    assert_int_equal(symlink("nothing", "o"), 0);
    refuse(TRAIN, EXIT_RUNTIME, "o: found a broken link; expected a folder");
}

static void test_foreign_train_again(void **state) {
    (void)state;
    put_inputs();
    make_dirs("o/checkpoint-2"); // of Hugging Face's Trainer
    put("o/checkpoint-2/optimizer.pt", "x");
    mem_free(run(TRAIN, 0));
    assert_true(path_exists("o/checkpoint-2/optimizer.pt"));
    // A finished run writes nothing more: what has come into its folder stays.
    put("o/adapter/notes.txt", "mine");
    mem_free(run(TRAIN, 0));
    assert_true(path_exists("o/adapter/notes.txt"));
    assert_int_equal(unlink("o/adapter/notes.txt"), 0);
    // By the config that it wrote.
    mem_free(run("train o/config.json", 0));
    char *before, *text;
    size_t size;
    Err err;
    ASSERT_OK(file_read(&before, &size, "o/config.json", 1 << 20, &err), &err);
    check_has("train o/config.json logging_steps=7", 0, "o/config.json: is the config of this command and is kept");
    ASSERT_OK(file_read(&text, &size, "o/config.json", 1 << 20, &err), &err);
    assert_string_equal(before, text);
    mem_free(before);
    mem_free(text);
    // Its own files are replaced: another run in the same place, once its state is gone.
    mem_free(run("merge --model m.gguf --adapter_name_or_path o/adapter --out o/merged.gguf", 0));
    assert_int_equal(dir_remove("o/checkpoint-000001", NULL), 0);
    assert_int_equal(dir_remove("o/checkpoint-000002", NULL), 0);
    assert_int_equal(unlink("o/config.json"), 0);
    mem_free(run(TRAIN "seed=7", 0));
    assert_true(path_exists("o/merged.gguf"));
}

// A user's file in a snapshot that is due to be removed keeps it.
static void test_foreign_file_in_a_snapshot(void **state) {
    (void)state;
    put_inputs();
    mem_free(run(TRAIN_STEPS "4 save_total_limit=9", 0));
    put("o/checkpoint-000001/adapter/notes.txt", "mine");
    assert_int_equal(dir_remove("o/checkpoint-000003", NULL), 0);
    assert_int_equal(dir_remove("o/checkpoint-000004", NULL), 0);
    check_has(TRAIN_STEPS "4 save_total_limit=2", 0,
              "checkpoint-000001: holds adapter/notes.txt, which lorac did not write; the snapshot is kept");
    assert_true(path_exists("o/checkpoint-000001/adapter/notes.txt"));
    assert_true(path_exists("o/checkpoint-000001/optimizer.safetensors"));
    assert_false(path_exists("o/checkpoint-000002"));
}

// ---- export, logits, merge ----

static void test_foreign_export(void **state) {
    (void)state;
    static const struct {
        const char *dir, *file, *words, *part;
        int status;
    } cases[] = {
        {"e", "e/thesis.txt", "a.gguf --format peft --out e", "e: holds thesis.txt", 2},
        {"e", "e/thesis.txt", "a.gguf --format peft --out e/", "holds thesis.txt", 2},
        {"e/s", "e/s/y", "a.gguf --format peft --out e", "e: holds s,", 2},
        {"e", "e/README.md", "a.gguf --format peft --out e", "e: found what lorac did not write", 2},
        {"e", "e/x", "a.gguf --format peft --out .", ".: is the working directory", 2},
        {"e", "e/x", "a.gguf --format peft --out e/x", "e/x: found a file", 1},
        {"e", "e/x", "a.gguf --format peft --out m.gguf", "m.gguf: is an input of this command", 2},
        {"e", "e/x", "a --format peft --out a", "a: is an input of this command", 2},
        {"e", "e/x", "a --format peft --out ./e/../a/", "is an input of this command", 2},
        {"e", "e/x", "a --format gguf --out m.gguf", "m.gguf: is an input of this command", 2},
        {"e", "e/x", "a --format gguf --out hard.gguf", "hard.gguf: is an input of this command", 2},
        {"e", "e/x", "a --format gguf --out soft.gguf", "soft.gguf: is an input of this command", 2},
        {"e", "e/x", "a --format gguf --out a/adapter_model.safetensors", "is an input of this command", 2},
        {"e", "e/x", "a.gguf --format gguf --out a.gguf", "a.gguf: is an input of this command", 2},
        {"e", "e/x", "a --format gguf --out other.gguf", "other.gguf: found what lorac did not write", 2},
        {"e", "e/x", "a --format gguf --out e/x", "e/x: found what lorac did not write", 2},
        {"e", "e/x", "a --format gguf --out e", "e: found a directory", 1},
        {"e", "e/x", "a.gguf --format gguf --out a.gguf/", "\"a.gguf/\": names a folder", 2},
        {"e", "e/x", "a --format gguf --out new.gguf/", "\"new.gguf/\": names a folder", 2},
        {"e", "e/x", "a --format gguf --out dangling.gguf", "dangling.gguf: found a broken link", 2},
    };
    put_inputs();
    tiny_model_write("other.gguf", &TINY_MODEL); // a base model that this command does not read
    assert_int_equal(link("m.gguf", "hard.gguf"), 0);
    assert_int_equal(symlink("m.gguf", "soft.gguf"), 0);
    assert_int_equal(symlink("nothing", "dangling.gguf"), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make_dirs(cases[i].dir);
        put(cases[i].file, "x");
        char *words = mem_printf("export --model m.gguf %s", cases[i].words);
        refuse(words, cases[i].status, cases[i].part);
        mem_free(words);
        assert_int_equal(dir_remove("e", NULL), 0);
    }
}

static void test_foreign_own_exports_are_replaced(void **state) {
    (void)state;
    put_inputs();
    make_dirs("e");
    for (int i = 0; i < 3; i++) { // into an empty folder, then over what it wrote
        mem_free(run("export a.gguf --model m.gguf --format peft --out e", 0));
        mem_free(run("export a --model m.gguf --format gguf --out e.gguf", 0));
        mem_free(run("logits --model m.gguf --input_ids 1,2 --out l.safetensors", 0));
    }
    FILE *card = fopen("e/README.md", "a");
    fputs("\nMy own evaluation.\n", card);
    fclose(card);
    refuse("export a.gguf --model m.gguf --format peft --out e", EXIT_INPUT, "e/README.md: found what lorac did not");
}

static void test_foreign_logits_and_merge(void **state) {
    (void)state;
    put_inputs();
    const float x[4] = {0};
    SafetensorsEntry two[] = {{"logits", DTYPE_F32, 2, {2, 2}, x}, {"mine", DTYPE_F32, 1, {4}, x}};
    Err err;
    ASSERT_OK(safetensors_save("two.safetensors", two, 2, NULL, 0, NULL, &err), &err);
    ASSERT_OK(safetensors_save("hf.safetensors", two, 1, NULL, 0, NULL, &err), &err); // of another program
    put("x", "x");
#define LOGITS "logits --model m.gguf --adapter_name_or_path a --input_ids 1,2 --out "
    refuse(LOGITS "m.gguf", EXIT_INPUT, "m.gguf: is an input of this command");
    refuse(LOGITS "a/adapter_model.safetensors", EXIT_INPUT, "is an input of this command");
    refuse(LOGITS "two.safetensors", EXIT_INPUT, "two.safetensors: found what lorac did not write");
    refuse(LOGITS "x", EXIT_INPUT, "x: found what lorac did not write");
    refuse(LOGITS "hf.safetensors", EXIT_INPUT, "hf.safetensors: found what lorac did not write");
    refuse(LOGITS "a/adapter_model.safetensors/", EXIT_INPUT, "names a folder; expected the name of a file");
    refuse(LOGITS "new/", EXIT_INPUT, "\"new/\": names a folder");
    assert_int_equal(symlink("nothing", "link.gguf"), 0);
#define MERGE "merge --model m.gguf --adapter_name_or_path a --out "
    refuse(MERGE "m.gguf", EXIT_INPUT, "m.gguf: already exists");
    refuse(MERGE "a.gguf", EXIT_INPUT, "a.gguf: already exists");
    refuse(MERGE "link.gguf", EXIT_INPUT, "link.gguf: already exists");
}

// ---- what kills leave ----

static void test_foreign_leftovers_are_swept(void **state) {
    (void)state;
#define TMP ".tmp-00000001-0123456789abcde"
    static const char *const own[] = {"o/.probe" TMP "1", "o/config.json" TMP "7", "o/adapter.gguf" TMP "5",
                                      "o/report.html.tmp-00000000-0123456789abcdef",
                                      "o/train_log.jsonl.tmp-89abcdef-0123456789abcdef"};
    static const char *const mine[] = {"o/thesis.tmp-1",
                                       "o/config.json.tmp-x",
                                       "o/config.json.tmp-",
                                       "o/notes.old-1",
                                       "o/adapter.old-00000001-0123456789abcde6/thesis.txt",
                                       "o/checkpoint-000004.old-1/manifest.json"};
    put_inputs();
    make_dirs("o/adapter" TMP "5");
    make_dirs("o/adapter.old-00000001-0123456789abcde6");
    make_dirs("o/checkpoint-000004.old-1");
    make_dirs("o/checkpoint-000007" TMP "1/adapter");
    make_dirs("o/adapter.tmp-89abcdef-0123456789abcdef");
    put("o/adapter" TMP "5/README.md", "half");
    put("o/checkpoint-000007" TMP "1/adapter/README.md" TMP "1", "half");
    put("o/adapter.tmp-89abcdef-0123456789abcdef/adapter_config.json", "half");
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) put(own[i], "half");
    for (size_t i = 0; i < sizeof mine / sizeof *mine; i++) put(mine[i], "mine");
    mem_free(run(TRAIN, 0));
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (path_exists(own[i])) fail_msg("%s is still there", own[i]);
    for (size_t i = 0; i < sizeof mine / sizeof *mine; i++)
        if (!path_exists(mine[i])) fail_msg("%s was removed", mine[i]);
    assert_false(path_exists("o/adapter" TMP "5"));
    assert_false(path_exists("o/checkpoint-000007" TMP "1"));
    assert_false(path_exists("o/adapter.tmp-89abcdef-0123456789abcdef"));
}

// ---- token cache ----

static void test_foreign_cache_is_private(void **state) {
    (void)state;
    struct stat st;
    put_inputs();
    mem_free(run(TRAIN, 0));
    assert_int_equal(stat("cache/lorac", &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    struct dirent **entries;
    int n = scandir("cache/lorac", &entries, NULL, alphasort), files = 0;
    for (int i = 0; i < n; i++) {
        char *path = path_join("cache/lorac", entries[i]->d_name);
        if (stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
            assert_int_equal(st.st_mode & 0777, 0600);
            files++;
        }
        mem_free(path);
        free(entries[i]);
    }
    free(entries);
    assert_int_equal(files, 1);
}

TEST_MAIN(SCRATCH_TEST(test_foreign_train), SCRATCH_TEST(test_foreign_train_inputs),
          SCRATCH_TEST(test_foreign_log_is_a_pipe), SCRATCH_TEST(test_foreign_output_dir_is_no_folder),
          SCRATCH_TEST(test_foreign_train_again), SCRATCH_TEST(test_foreign_file_in_a_snapshot),
          SCRATCH_TEST(test_foreign_export), SCRATCH_TEST(test_foreign_own_exports_are_replaced),
          SCRATCH_TEST(test_foreign_logits_and_merge), SCRATCH_TEST(test_foreign_leftovers_are_swept),
          SCRATCH_TEST(test_foreign_cache_is_private))

// test_hub: names on the hub, and snapshots that are found in its cache, without any network.
#include "hub_cache.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli_runner.h"

#define COMMIT "0123456789abcdef0123456789abcdef01234567"

static void hub_names(void **state) {
    static const struct {
        const char *text;
        bool is_name;
        HubType type;
        const char *repository, *revision, *choice, *path;
    } cases[] = {
        {"owner/name", true, HUB_MODEL, "owner/name", NULL, NULL, NULL},
        {"datasets/owner/name", true, HUB_DATASET, "owner/name", NULL, NULL, NULL},
        {"hf://owner/name", true, HUB_MODEL, "owner/name", NULL, NULL, NULL},
        {"hf://datasets/o/n@v1/data/x.jsonl", true, HUB_DATASET, "o/n", "v1", NULL, "data/x.jsonl"},
        {"owner/name.v2-GGUF:Q4_K_M", true, HUB_MODEL, "owner/name.v2-GGUF", NULL, "Q4_K_M", NULL},
        {"o/n@main:test", true, HUB_MODEL, "o/n", "main", "test", NULL},
        {"models/x", true, HUB_MODEL, "models/x", NULL, NULL, NULL},
        {"models/x/y", true, HUB_MODEL, "x/y", NULL, NULL, NULL},
        {"o/n/m-Q4.gguf", true, HUB_MODEL, "o/n", NULL, NULL, "m-Q4.gguf"},
        {"data/train.jsonl", false, 0, NULL, NULL, NULL, NULL},
        {"models/M.gguf", false, 0, NULL, NULL, NULL, NULL},
        {"name", false, 0, NULL, NULL, NULL, NULL},
        {"./o/n", false, 0, NULL, NULL, NULL, NULL},
        {"/o/n", false, 0, NULL, NULL, NULL, NULL},
        {"o/n/", false, 0, NULL, NULL, NULL, NULL},
        {"o/../n", false, 0, NULL, NULL, NULL, NULL},
        {"o/n/../x", false, 0, NULL, NULL, NULL, NULL},
        {"o/n@../x", false, 0, NULL, NULL, NULL, NULL},
        {"o--p/n", false, 0, NULL, NULL, NULL, NULL},
        {"o/-n", false, 0, NULL, NULL, NULL, NULL},
        {"o/n.", false, 0, NULL, NULL, NULL, NULL},
        {"o/n m", false, 0, NULL, NULL, NULL, NULL},
        {"o/n@", false, 0, NULL, NULL, NULL, NULL},
        {"o/n-{1..3}.tar", false, 0, NULL, NULL, NULL, NULL},
        {"", false, 0, NULL, NULL, NULL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO_HUB_NAME HubName n = {0};
        if (hub_name_read(&n, cases[i].text, HUB_MODEL) != cases[i].is_name) fail_msg("%s", cases[i].text);
        if (!cases[i].is_name) continue;
        const char *got[] = {n.repository, n.revision, n.choice, n.path},
                   *want[] = {cases[i].repository, cases[i].revision, cases[i].choice, cases[i].path};
        assert_int_equal(n.type, cases[i].type);
        for (int k = 0; k < 4; k++) {
            assert_int_equal(!got[k], !want[k]);
            if (want[k]) assert_string_equal(got[k], want[k]);
        }
    }
}

// ---- the cache ----

static int cache_set_up(void **state) {
    if (scratch_set_up(state)) return -1;
    AUTO_FREE char *cache = path_join(*state, "cache");
    return setenv("HF_HUB_CACHE", cache, 1) || setenv("LORAC_MODULES", "/nowhere", 1);
}
#define CACHE_TEST(f) cmocka_unit_test_setup_teardown(f, cache_set_up, scratch_tear_down)

// A file of a snapshot as huggingface_hub writes it: a link to a blob.
static void put_snapshot(const char *folder, const char *file, const char *text) {
    AUTO_FREE char *blob = mem_printf("cache/%s/blobs/%08zx", folder, strlen(file) * 131 + (size_t)file[0]);
    AUTO_FREE char *link = mem_printf("cache/%s/snapshots/" COMMIT "/%s", folder, file), *parent = path_parent(link),
                   *blobs = path_parent(blob), *refs = mem_printf("cache/%s/refs", folder),
                   *ref = path_join(refs, "main"), *target = path_absolute(blob);
    Err err;
    ASSERT_OK(dir_make_parents(parent, &err) || dir_make_parents(blobs, &err) || dir_make_parents(refs, &err), &err);
    put(blob, text);
    put(ref, COMMIT);
    unlink(link);
    assert_int_equal(symlink(target, link), 0);
}

static void check_model(const char *name, const char *revision, const char *want) {
    char *path = mem_strdup(name);
    Err err;
    ASSERT_OK(hub_find_model(&path, revision, &err), &err);
    if (!ends_with(path, want)) fail_msg("%s is %s; expected %s", name, path, want);
    mem_free(path);
}

static void hub_finds_models(void **state) {
    put_snapshot("models--o--n", "config.json", "{}");
    check_model("o/n", NULL, "o/n"); // no weights yet
    put_snapshot("models--o--n", "model.safetensors", "x");
    check_model("o/n", NULL, "/models--o--n/snapshots/" COMMIT);
    check_model("o/n@" COMMIT, NULL, "/snapshots/" COMMIT);
    check_model("o/n", "v1", "o/n");
    check_model("o/n/config.json", NULL, COMMIT "/config.json");
    check_model("o/n/none", NULL, "o/n/none");
    check_model("datasets/o/n", NULL, "datasets/o/n");
    assert_int_equal(mkdir("o", 0777) || mkdir("o/n", 0777), 0); // a path that exists wins
    check_model("o/n", NULL, "o/n");
    put_snapshot("models--g--g", "a-Q4_K_M.gguf", "x");
    check_model("g/g", NULL, COMMIT "/a-Q4_K_M.gguf");
    put_snapshot("models--g--g", "sub/a-Q8_0-00001-of-00002.gguf", "xy");
    put_snapshot("models--g--g", "sub/a-Q8_0-00002-of-00002.gguf", "xyz");
    check_model("g/g:q8_0", NULL, COMMIT "/sub/a-Q8_0-00001-of-00002.gguf");
    check_model("g/g/a-Q4_K_M.gguf", NULL, COMMIT "/a-Q4_K_M.gguf");
    char *path = mem_strdup("g/g");
    Err err;
    ASSERT_REFUSED(hub_find_model(&path, NULL, &err), &err,
                   "found several GGUF files; expected the choice of one, as in \"g/g/a-Q4_K_M.gguf\"");
    mem_free(path);
    put("cache/models--o--n/refs/main", "../../../etc");
    check_model("g/g:q8_0", "../../x", "g/g:q8_0");
    check_has("inspect o/none", 2, "o/none: ");
}

static void check_data(const char *name, const char *split, const char *want) {
    AUTO_NAMES NameList files = {0};
    AUTO_STR StrBuf got = {0};
    bool found;
    Err err;
    ASSERT_OK(hub_find_data(&files, &found, name, split, &err), &err);
    str_puts(&got, "");
    for (size_t i = 0; i < files.count; i++) {
        const char *file = strstr(files.items[i], COMMIT);
        assert_non_null(file);
        str_printf(&got, "%s%s", i ? " " : "", file + sizeof COMMIT);
    }
    assert_string_equal(got.data, want);
    assert_int_equal(found, *want != 0);
}

static void refuse_data(const char *name, const char *split, const char *part) {
    AUTO_NAMES NameList files = {0};
    bool found;
    Err err;
    ASSERT_REFUSED(hub_find_data(&files, &found, name, split, &err), &err, part);
}

static void hub_finds_splits(void **state) {
    static const char *const files[] = {"README.md", "data/train-00001-of-00002.jsonl",
                                        "data/train-00000-of-00002.jsonl", "data/test-00000-of-00001.jsonl",
                                        "data/dev.jsonl"};
    for (size_t i = 0; i < 5; i++) put_snapshot("datasets--o--shards", files[i], "{}");
    check_data("o/shards", "train", "data/train-00000-of-00002.jsonl data/train-00001-of-00002.jsonl");
    check_data("o/shards", "validation", "data/dev.jsonl");
    check_data("datasets/o/shards:test", "train", "data/test-00000-of-00001.jsonl");
    check_data("o/shards/data/dev.jsonl", "train", "data/dev.jsonl");
    check_data("o/other", "train", "");
    refuse_data("o/shards:extra", "train", "o/shards: split extra: no file of it in the hub's cache");
    put_snapshot("datasets--o--one", "contest.json", "{}");
    check_data("o/one", "train", "contest.json");
    refuse_data("o/one", "validation", "split validation: no file of it");
    put_snapshot("datasets--o--mixed", "train.json", "{}");
    put_snapshot("datasets--o--mixed", "train.jsonl", "{}");
    refuse_data("o/mixed", "train",
                "found files of several kinds or folders; expected the name of one, as owner/name/train.jsonl: "
                "train.json, train.jsonl");
    put_snapshot("datasets--o--langs", "de/train.jsonl", "{}");
    put_snapshot("datasets--o--langs", "en/train.jsonl", "{}");
    refuse_data("o/langs", "train", "several kinds or folders");
}

static void hub_refuses_missing_parts(void **state) {
    put_snapshot("datasets--o--parts", "data/train-00001-of-00003.jsonl", "{}");
    put_snapshot("datasets--o--parts", "data/train-00000-of-00003.jsonl", "{}");
    put_snapshot("datasets--o--parts", "data/train_gen-00000-of-00001.jsonl", "{}");
    refuse_data("o/parts", "train", "o/parts: data/train-00000-of-00003.jsonl: found 2 of 3 parts; expected all");
    put_snapshot("datasets--o--parts", "data/train-00002-of-00003.jsonl", "{}");
    check_data("o/parts", "train",
               "data/train-00000-of-00003.jsonl data/train-00001-of-00003.jsonl data/train-00002-of-00003.jsonl");
    check_data("o/parts:train_gen", "train", "data/train_gen-00000-of-00001.jsonl");
    refuse_data("o/parts", "validation", "split validation: no file of it");
}

static void hub_reads_configs_of_the_readme(void **state) {
    static const char readme[] = "---\nlicense: mit\nconfigs:\n- config_name: default\n  data_files:\n  - split: "
                                 "train\n    path: [a/*.jsonl, 'b/**']\n"
                                 "  - split: held_out\n    path: train.jsonl\n- config_name: other\n  data_files: "
                                 "c.jsonl\n---\n# A data set\n---\n";
    static const char *const files[] = {"train.jsonl", "a/x.jsonl", "a/y.json", "a/sub/z.jsonl",
                                        "b/c/d.json",  "b/c/d.md",  "c.jsonl"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) put_snapshot("datasets--o--configs", files[i], "{}");
    put_snapshot("datasets--o--configs", "README.md", readme);
    check_data("o/configs", "train", "a/x.jsonl b/c/d.json");
    check_data("o/configs:held_out", "train", "train.jsonl");
    refuse_data("o/configs", "validation", "split validation: no file of it in the hub's cache");
    put_snapshot("datasets--o--configs", "README.md",
                 "---\nconfigs:\n- config_name: en\n  data_files: a/*.jsonl\n---\n");
    check_data("o/configs", "train", "a/x.jsonl");
    put_snapshot("datasets--o--configs", "README.md",
                 "---\nconfigs: [{config_name: de, data_files: x}, {config_name: en, data_files: y}]\n---\n");
    refuse_data("o/configs", "train", "o/configs: README.md has several configs; expected the name of a file");
    put_snapshot("datasets--o--configs", "README.md", "---\nconfigs: [\n---\n");
    check_data("o/configs", "train", "train.jsonl"); // by the names, with a warning
}

TEST_MAIN(TEST(hub_names), CACHE_TEST(hub_finds_models), CACHE_TEST(hub_finds_splits),
          CACHE_TEST(hub_refuses_missing_parts), CACHE_TEST(hub_reads_configs_of_the_readme))

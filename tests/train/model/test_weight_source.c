// weight_source: the same tensors from one file, from shards and from split GGUF files; and every way in which the
// files of a model do not belong together is refused by name.
#include "fileio.h"
#include "hash.h"
#include "model.h"
#include "overwrite.h"
#include "safetensors.h"
#include "scratch.h"
#include "weight_source.h"

#include <sys/stat.h>
#include <sys/wait.h>

// ---- building folders ----

static const float values[6] = {0, 1, 2, 3, 4, 5};

static void put_text(const char *path, const char *text) { scratch_put(path, text, strlen(text)); }

// A safetensors file of float32 tensors [2, 3]; names end with NULL.
static void put_tensors(const char *path, const char *const *names) {
    SafetensorsEntry entries[8];
    size_t n = 0;
    Err err;
    for (; names[n]; n++) entries[n] = (SafetensorsEntry){names[n], DTYPE_F32, 2, {2, 3}, values};
    ASSERT_OK(safetensors_save(path, entries, n, NULL, 0, replace_any, &err), &err);
}
#define TENSORS(...) ((const char *const[]){__VA_ARGS__, NULL})

#define INDEX "m/model.safetensors.index.json"
#define SHARD_1 "m/model-00001-of-00002.safetensors"
#define SHARD_2 "m/model-00002-of-00002.safetensors"
static const char good_index[] =
    "{\"metadata\":{\"total_size\":72},\"weight_map\":{"
    "\"b\":\"model-00001-of-00002.safetensors\",\"a\":\"model-00001-of-00002.safetensors\","
    "\"c\":\"model-00002-of-00002.safetensors\"}}";

static void put_shards(void) {
    mkdir("m", 0777);
    put_text("m/config.json", "{}");
    put_text(INDEX, good_index);
    put_tensors(SHARD_1, TENSORS("a", "b"));
    put_tensors(SHARD_2, TENSORS("c"));
}

static void put_part(const char *path, const char *tensor, int number, int count, int tensors) {
    GgufWriter *w = gguf_writer_new();
    Err err;
    if (count) gguf_writer_u32(w, "split.no", (uint32_t)number);
    if (count) gguf_writer_u32(w, "split.count", (uint32_t)count);
    if (count) gguf_writer_u32(w, "split.tensors.count", (uint32_t)tensors);
    if (number == 0) gguf_writer_string(w, "general.architecture", "llama");
    gguf_writer_tensor(w, tensor, DTYPE_F32, 2, (const int64_t[]){3, 2}, values);
    ASSERT_OK(gguf_writer_save(w, path, replace_any, &err), &err);
    gguf_writer_free(w);
}

static void put_parts(void) {
    put_part("g-00001-of-00003.gguf", "a", 0, 3, 3);
    put_part("g-00002-of-00003.gguf", "b", 1, 3, 3);
    put_part("g-00003-of-00003.gguf", "c", 2, 3, 3);
}

// ---- what must hold ----

static WeightSource *open_ok(const char *path, size_t tensors) {
    WeightSource *s;
    Err err;
    ASSERT_OK(weight_source_open(&s, path, &err), &err);
    assert_int_equal(s->n_tensors, tensors);
    return s;
}

static void refuse(const char *path, const char *part) {
    WeightSource *s;
    Err err;
    ASSERT_REFUSED(weight_source_open(&s, path, &err), &err, part);
    assert_null(s);
    assert_int_equal(err.kind, ERR_INPUT);
}

static void assert_tensor(const WeightSource *s, const char *name, const char *file) {
    const SourceTensor *t = weight_source_get(s, name);
    if (!t) fail_msg("tensor %s is absent", name);
    assert_string_equal(t->name, name);
    assert_string_equal(t->file, file);
    assert_string_equal(t->dtype_name, "F32");
    assert_true(t->dtype == DTYPE_F32 && t->n_dims == 2 && t->bytes == sizeof values);
    assert_true(t->shape[0] == 2 && t->shape[1] == 3 && t->shape[2] == 1 && t->shape[SOURCE_MAX_DIMS - 1] == 1);
    assert_memory_equal(t->data, values, sizeof values);
}

static void test_weight_source_opens_a_single_file(void **state) {
    (void)state;
    mkdir("m", 0777);
    put_text("m/config.json", "{}");
    put_tensors("m/model.safetensors", TENSORS("a", "b"));
    put_tensors("m/other.safetensors", TENSORS("x"));
    static const char *const paths[] = {"m", "m/", "m/model.safetensors"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        WeightSource *s = open_ok(paths[i], 2);
        assert_false(!s->dir);
        assert_null(s->gguf);
        assert_string_equal(s->tensors[1].name, "b");
        assert_null(weight_source_get(s, "c"));
        assert_non_null(weight_source_get(s, "a"));
        assert_non_null(strstr(s->dir, "m"));
        weight_source_close(s);
    }
    WeightSource *s = open_ok("m/other.safetensors", 1);
    assert_tensor(s, "x", "m/other.safetensors");
    weight_source_close(s);
    weight_source_close(NULL);
}

static void test_weight_source_opens_shards(void **state) {
    (void)state;
    put_shards();
    static const char *const paths[] = {"m", SHARD_1, SHARD_2};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        WeightSource *s = open_ok(paths[i], 3);
        assert_tensor(s, "a", SHARD_1);
        assert_tensor(s, "b", SHARD_1);
        assert_tensor(s, "c", SHARD_2);
        weight_source_close(s);
    }
    put_tensors("m/alone.safetensors", TENSORS("x"));
    weight_source_close(open_ok("m/alone.safetensors", 1));
    put_tensors("m/model.safetensors", TENSORS("y"));
    WeightSource *s = open_ok("m", 1); // as transformers: the single file comes before the index
    assert_tensor(s, "y", "m/model.safetensors");
    weight_source_close(s);
}

static void test_weight_source_opens_gguf_and_split_gguf(void **state) {
    (void)state;
    put_part("one.gguf", "a", 0, 0, 0);
    WeightSource *s = open_ok("one.gguf", 1);
    assert_tensor(s, "a", "one.gguf");
    assert_true(!s->dir && !s->dir);
    weight_source_close(s);
    put_part("renamed.gguf", "a", 0, 1, 1);
    weight_source_close(open_ok("renamed.gguf", 1));
    put_parts();
    static const char *const paths[] = {"g-00001-of-00003.gguf", "g-00002-of-00003.gguf", "g-00003-of-00003.gguf"};
    static const char *const names[] = {"a", "b", "c"};
    for (size_t i = 0; i < 3; i++) {
        s = open_ok(paths[i], 3);
        for (size_t k = 0; k < 3; k++) assert_tensor(s, names[k], paths[k]);
        assert_true(gguf_has(s->gguf, "general.architecture"));
        weight_source_close(s);
    }
}

// No more files are looked for than five digits name: a sign would make four thousand million of "-0003".
static void test_weight_source_inputs_of_split_gguf(void **state) {
    (void)state;
    static const char *const others[] = {"g-00001-of--0003.gguf", "g-00001-of-+0003.gguf", "g-00001-of-    3.gguf",
                                         "g-    1-of-00003.gguf"};
    put_parts();
    InputSet inputs = {0};
    weight_source_add_inputs(&inputs, "g-00002-of-00003.gguf");
    size_t all = inputs.count;
    input_set_clear(&inputs);
    weight_source_add_inputs(&inputs, "one.gguf");
    assert_int_equal(inputs.count, 0);
    put_text("one.gguf", "");
    weight_source_add_inputs(&inputs, "one.gguf");
    assert_int_equal(all, 4 * inputs.count); // of the file given and of the three parts
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        input_set_clear(&inputs);
        put_text(others[i], "");
        weight_source_add_inputs(&inputs, others[i]);
        assert_true(inputs.count > 0 && inputs.count < all);
    }
    input_set_clear(&inputs);
}

static void test_weight_source_finds_the_folder(void **state) {
    (void)state;
    static const char *const cases[][2] = {{".", "."},       {"x.safetensors", "."},   {"/x.safetensors", "/"},
                                           {"x.gguf", NULL}, {"a/x.safetensors", "a"}, {"missing", NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *dir = weight_source_folder(cases[i][0]);
        if (!cases[i][1]) assert_null(dir);
        if (cases[i][1]) assert_string_equal(dir, cases[i][1]);
        mem_free(dir);
    }
}

// ---- refusals ----

static void test_weight_source_says_what_it_looked_for(void **state) {
    (void)state;
    refuse("missing", "missing: no such file or folder");
    refuse("missing/model.safetensors", "missing/model.safetensors: no such file or folder");
    mkdir("m", 0777);
    refuse("m", "m: found no config.json; expected a Hugging Face model: config.json and model.safetensors or "
                "model.safetensors.index.json");
    put_text("m/adapter_config.json", "{}");
    refuse("m", "m: an adapter, no base model");
    put_text("m/config.json", "{}");
    refuse("m", "m: found config.json but no weights; expected model.safetensors or model.safetensors.index.json");
    put_text("m/pytorch_model.bin.index.json", "{}");
    refuse("m", "found pytorch_model.bin.index.json; expected model.safetensors: convert it with python -c");
    put_text("m/model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n");
    refuse("m", "m/model.safetensors: a Git LFS pointer");
    put_text("x.gguf", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n");
    refuse("x.gguf", "x.gguf: a Git LFS pointer");
    put_text("x.gguf", "GG");
    refuse("x.gguf", "x.gguf: the file ends inside the magic");
}

static void test_weight_source_refuses_shards_that_do_not_fit(void **state) {
    (void)state;
    put_shards();
    unlink(SHARD_2);
    refuse("m", INDEX ": " SHARD_2 ": cannot be opened: No such file");
    refuse(SHARD_1, INDEX ": " SHARD_2 ": cannot be opened");
    put_tensors(SHARD_2, TENSORS("c"));
    struct stat st;
    assert_int_equal(stat(SHARD_2, &st), 0);
    for (off_t n = st.st_size - 1; n >= 0; n -= 7) {
        assert_int_equal(truncate(SHARD_2, n), 0);
        refuse("m", INDEX ": " SHARD_2 ": ");
    }
    put_tensors(SHARD_2, TENSORS("d"));
    weight_source_close(open_ok("m", 3)); // an entry for a tensor that no file has: c
    put_tensors(SHARD_2, TENSORS("a", "c"));
    refuse("m", SHARD_2 ": tensor \"a\" is in " SHARD_1 " too; expected it in one file");
}

static void test_weight_source_refuses_bad_indexes(void **state) {
    (void)state;
    static const struct {
        const char *index, *part;
    } cases[] = {
        {"", "found the end"},
        {"[]", "weight_map is nothing; expected an object"},
        {"{}", "weight_map is nothing"},
        {"{\"weight_map\":[]}", "weight_map is an array"},
        {"{\"weight_map\":{}}", "weight_map is empty"},
        {"{\"weight_map\":{\"a\":1}}", "weight_map: \"a\" is an integer; expected the name of a file"},
        {"{\"weight_map\":{\"a\":\"../x.safetensors\"}}",
         "\"a\" is in \"../x.safetensors\"; expected a plain file name"},
        {"{\"weight_map\":{\"a\":\"..\"}}", "is in \"..\""},
        {"{\"weight_map\":{\"a\":\".\"}}", "is in \".\""},
        {"{\"weight_map\":{\"a\":\"\"}}", "is in \"\""},
        {"{\"weight_map\":{\"a\":\"/etc/passwd\"}}", "is in \"/etc/passwd\""},
        {"{\"weight_map\":{\"a\":\"b/c.safetensors\"}}", "is in \"b/c.safetensors\""},
        {"{\"weight_map\":{\"a\":\"b\\\\c.safetensors\"}}", "expected a plain file name"},
        {"{\"weight_map\":{\"a\":\"b\\u0000c\"}}", "expected a plain file name"},
        {"{\"weight_map\":{\"a\\u0000b\":\"b\"}}", "holds a NUL character"},
        {"{\"weight_map\":{\"a\":\"b\",\"a\":\"b\"}}", "key \"a\" twice"},
        {"{\"weight_map\":{\"a\":\"model.safetensors.index.json\"}}", "a header of"},
    };
    put_shards();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put_text(INDEX, cases[i].index);
        refuse("m", cases[i].part);
        refuse("m", INDEX);
    }
}

static void test_weight_source_refuses_parts_that_do_not_fit(void **state) {
    (void)state;
    put_parts();
    unlink("g-00003-of-00003.gguf");
    refuse("g-00001-of-00003.gguf", "g-00003-of-00003.gguf: cannot be opened: No such file");
    put_part("g-00003-of-00003.gguf", "c", 1, 3, 3);
    refuse("g-00001-of-00003.gguf", "g-00003-of-00003.gguf: part 2 of 3, 3 tensors; expected part 3 of 3, 3 tensors");
    refuse("g-00003-of-00003.gguf", "a name that ends in -00002-of-00003.gguf");
    put_part("g-00003-of-00003.gguf", "c", 2, 3, 4);
    refuse("g-00001-of-00003.gguf", "3 of 3, 4 tensors; expected");
    put_part("g-00003-of-00003.gguf", "c", 0, 0, 0);
    refuse("g-00001-of-00003.gguf", "g-00003-of-00003.gguf: part 1 of 0, 0 tensors; expected part 3 of 3");
    put_part("g-00003-of-00003.gguf", "b", 2, 3, 3);
    refuse("g-00001-of-00003.gguf", "tensor \"b\" is in g-00002-of-00003.gguf too");
    put_part("h.gguf", "c", 0, 2, 2);
    refuse("h.gguf", "h.gguf: part 1 of 2 of a split model; expected a name that ends in -00001-of-00002.gguf");
    put_part("h.gguf", "c", 5, 2, 2);
    refuse("h.gguf", "split.no is 5 and split.count 2");
    put_part("i-00001-of-00002.gguf", "a", 0, 2, 9);
    put_part("i-00002-of-00002.gguf", "b", 1, 2, 9);
    refuse("i-00002-of-00002.gguf", "2 tensors in all its parts; split.tensors.count is 9");
}

// F8 and F4 are no fault of the folder: whoever needs such a tensor refuses it by name.
static void test_weight_source_names_dtypes_it_does_not_compute_with(void **state) {
    (void)state;
    static const char header[] = "{\"x\":{\"dtype\":\"F8_E4M3\",\"shape\":[2],\"data_offsets\":[0,2]},"
                                 "\"y\":{\"dtype\":\"F4\",\"shape\":[4],\"data_offsets\":[2,4]}}";
    uint64_t n = strlen(header);
    StrBuf b = {0};
    str_add(&b, (const char *)&n, sizeof n);
    str_puts(&b, header);
    str_add(&b, "1234", 4);
    mkdir("m", 0777);
    put_text("m/config.json", "{}");
    scratch_put("m/model.safetensors", b.data, b.len);
    str_clear(&b);
    WeightSource *s = open_ok("m", 2);
    assert_int_equal(weight_source_get(s, "x")->dtype, DTYPE_COUNT);
    assert_string_equal(weight_source_get(s, "x")->dtype_name, "F8_E4M3");
    assert_string_equal(weight_source_get(s, "y")->dtype_name, "F4");
    weight_source_close(s);
}

static void test_weight_source_aligns_old_files(void **state) {
    (void)state;
    static const char header[] = "{\"x\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}}";
    mkdir("m", 0777);
    put_text("m/config.json", "{}");
    for (int spaces = 0; spaces < 4; spaces++) {
        uint64_t n = strlen(header) + (size_t)spaces;
        StrBuf b = {0};
        str_add(&b, (const char *)&n, sizeof n);
        str_puts(&b, header);
        str_add(&b, "   ", (size_t)spaces);
        str_add(&b, (const char *)values, sizeof values);
        scratch_put("m/model.safetensors", b.data, b.len);
        str_clear(&b);
        WeightSource *s = open_ok("m", 1);
        const SourceTensor *t = &s->tensors[0];
        const void *data = weight_source_aligned(s, t);
        assert_int_equal((uintptr_t)data % sizeof(float), 0);
        assert_true(data == t->data || (n + 8) % sizeof(float));
        assert_memory_equal(data, values, sizeof values);
        weight_source_close(s);
    }
}

// ---- fingerprint and faults ----

static void assert_fingerprint_changes(char last[33], const char *path, const char *what) {
    char now[33];
    Err err;
    WeightSource *s;
    ASSERT_OK(weight_source_open(&s, path, &err), &err);
    ASSERT_OK(weight_source_fingerprint(now, s, &err), &err);
    assert_int_equal(strlen(now), 32);
    if (strcmp(last, now) == 0) fail_msg("%s did not change the fingerprint", what);
    strcpy(last, now);
    ASSERT_OK(weight_source_fingerprint(now, s, &err), &err);
    assert_string_equal(last, now);
    weight_source_close(s);
}

static void flip_last_byte(const char *path) {
    char *data;
    size_t n;
    Err err;
    ASSERT_OK(file_read(&data, &n, path, 1 << 20, &err), &err);
    data[n - 1] ^= 1;
    scratch_put(path, data, n);
    mem_free(data);
}

static void test_weight_source_fingerprint_covers_every_file(void **state) {
    (void)state;
    char print[33] = "", file[33];
    Err err;
    put_shards();
    assert_fingerprint_changes(print, "m", "the first");
    put_text("m/config.json", "{ }");
    assert_fingerprint_changes(print, "m", "config.json");
    flip_last_byte(SHARD_1);
    assert_fingerprint_changes(print, "m", "the first shard");
    flip_last_byte(SHARD_2);
    assert_fingerprint_changes(print, "m", "the last shard");
    put_parts();
    assert_fingerprint_changes(print, "g-00001-of-00003.gguf", "another model");
    char whole[33];
    strcpy(whole, print);
    WeightSource *s = open_ok("g-00003-of-00003.gguf", 3); // whichever part is named
    ASSERT_OK(weight_source_fingerprint(print, s, &err), &err);
    weight_source_close(s);
    assert_string_equal(print, whole);
    flip_last_byte("g-00003-of-00003.gguf");
    assert_fingerprint_changes(print, "g-00001-of-00003.gguf", "the last part");
    put_part("one.gguf", "a", 0, 0, 0);
    assert_fingerprint_changes(print, "one.gguf", "a single file"); // snapshots of earlier versions hold this one
    ASSERT_OK(hash_file_sampled(file, "one.gguf", &err), &err);
    assert_string_equal(print, file);
}

// A program of its own (this one again): cmocka has a handler of its own for the signal.
static int read_after_truncation(void) {
    WeightSource *s;
    Err err;
    if (weight_source_open(&s, "m", &err) || truncate(SHARD_2, 0)) return 98;
    volatile uint8_t sink = *(const uint8_t *)weight_source_get(s, "c")->data;
    return 99 + (sink & 0);
}

static void test_weight_source_survives_a_shard_that_shrinks(void **state) {
    (void)state;
    put_shards();
    pid_t child = fork();
    if (child == 0) {
        int fd = open("stderr.txt", O_WRONLY | O_CREAT, 0666);
        dup2(fd, STDERR_FILENO);
        execl("/proc/self/exe", "test_weight_source", "read-after-truncation", (char *)NULL);
        _exit(97);
    }
    int status;
    char *text;
    size_t n;
    Err err;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), EXIT_RUNTIME);
    ASSERT_OK(file_read(&text, &n, "stderr.txt", 4096, &err), &err);
    assert_string_equal(text, "lorac: " SHARD_2 ": the file became shorter while it was in use, or its disk failed\n");
    mem_free(text);
}

static int run_all(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "read-after-truncation") == 0) return read_after_truncation();
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(test_weight_source_opens_a_single_file),
        SCRATCH_TEST(test_weight_source_opens_shards),
        SCRATCH_TEST(test_weight_source_opens_gguf_and_split_gguf),
        SCRATCH_TEST(test_weight_source_inputs_of_split_gguf),
        SCRATCH_TEST(test_weight_source_finds_the_folder),
        SCRATCH_TEST(test_weight_source_says_what_it_looked_for),
        SCRATCH_TEST(test_weight_source_refuses_shards_that_do_not_fit),
        SCRATCH_TEST(test_weight_source_refuses_bad_indexes),
        SCRATCH_TEST(test_weight_source_refuses_parts_that_do_not_fit),
        SCRATCH_TEST(test_weight_source_names_dtypes_it_does_not_compute_with),
        SCRATCH_TEST(test_weight_source_aligns_old_files),
        SCRATCH_TEST(test_weight_source_fingerprint_covers_every_file),
        SCRATCH_TEST(test_weight_source_survives_a_shard_that_shrinks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

TEST_FILE(run_all)

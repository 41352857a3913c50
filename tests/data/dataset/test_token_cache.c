// token_cache: a hit equals a miss, every damaged byte is noticed, what decides the tokens decides the key, and a cache
// that cannot be written costs nothing but the time.
#include "token_cache.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "dataset_fixture.h"
#include "fileio.h"
#include "path.h"

static const char DATA[] = "{\"prompt\":\"pq\",\"completion\":\"c\"}\n{\"prompt\":\"2+2=\",\"completion\":\" 4\"}\n";

static Dataset *open_data(Bench *b, bool want_cached) {
    Dataset *d;
    Err err;
    ASSERT_OK(bench_open(&d, b, false, &err), &err);
    assert_int_equal(d->from_cache, want_cached);
    return d;
}

static void check_same(const Dataset *a, const Dataset *b) {
    assert_memory_equal(&a->stats, &b->stats, sizeof a->stats);
    assert_string_equal(a->fingerprint, b->fingerprint);
    assert_int_equal(a->count, b->count);
    for (int64_t i = 0; i < a->count; i++) {
        Sample x = dataset_sample(a, i), y = dataset_sample(b, i);
        assert_int_equal(x.count, y.count);
        assert_int_equal(x.supervised_count, y.supervised_count);
        assert_int_equal(x.record, y.record);
        assert_memory_equal(x.ids, y.ids, (size_t)x.count * sizeof *x.ids);
        assert_memory_equal(x.supervised, y.supervised, (size_t)x.count);
    }
}

// The one file in the cache.
static char *only_cache_file(void) {
    DIR *dir = opendir("cache");
    char *found = NULL;
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir));) {
        if (e->d_name[0] == '.') continue;
        if (found) fail_msg("found %s and %s in the cache", found, e->d_name);
        found = mem_printf("cache/%s", e->d_name);
    }
    closedir(dir);
    assert_non_null(found);
    return found;
}

static void test_token_cache_hit_equals_miss(void **state) {
    (void)state;
    Bench b = bench_new(true);
    put_text("d.jsonl", DATA);
    Dataset *miss = open_data(&b, false), *hit = open_data(&b, true);
    check_same(miss, hit);
    dataset_close(hit);
    b.o.cache_dir = "d.jsonl/not-a-directory";
    Dataset *memory = open_data(&b, false); // with a warning
    check_same(miss, memory);
    dataset_close(memory);
    dataset_close(miss);
    bench_free(&b);
}

static void test_token_cache_any_wrong_byte_is_noticed(void **state) {
    (void)state;
    Bench b = bench_new(true);
    char *bytes;
    size_t size;
    Err err;
    put_text("d.jsonl", DATA);
    Dataset *good = open_data(&b, false);
    char *file = only_cache_file();
    ASSERT_OK(file_read(&bytes, &size, file, 1 << 20, &err), &err);
    Dataset *image;
    for (size_t i = 0; i < size; i++) {
        bytes[i] ^= 1 << i % 8;
        scratch_put(file, bytes, size);
        bytes[i] ^= 1 << i % 8;
        if (token_image_open(&image, file, good->fingerprint, BYTE_VOCAB, &err) == 0)
            fail_msg("byte %zu of %zu was changed and not noticed", i, size);
    }
    for (size_t n = 0; n < size; n++) {
        scratch_put(file, bytes, n);
        assert_int_equal(token_image_open(&image, file, good->fingerprint, BYTE_VOCAB, &err), -1);
    }
    Dataset *rebuilt = open_data(&b, false), *hit = open_data(&b, true);
    check_same(good, rebuilt);
    check_same(good, hit);
    dataset_close(rebuilt);
    dataset_close(hit);
    dataset_close(good);
    mem_free(bytes);
    mem_free(file);
    bench_free(&b);
}

// An image with a correct hash and an invalid sample, as an attacker would write it.
static void test_token_cache_believes_no_impossible_sample(void **state) {
    (void)state;
    static const char key[] = "0123456789abcdef0123456789abcdef";
    static const struct {
        int32_t ids[2];
        uint8_t supervised[2];
        int64_t record;
    } bad[] = {{{1, BYTE_VOCAB}, {0, 1}, 0},
               {{-1, 1}, {0, 1}, 0},
               {{1, 2}, {1, 1}, 0},
               {{1, 2}, {0, 2}, 0},
               {{1, 2}, {0, 1}, -1}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        DatasetStats stats = {.samples = 1, .tokens = 2, .supervised = bad[i].supervised[0] + bad[i].supervised[1]};
        TokenTables tables = {.stats = &stats, .unread = &(KeyCounts){0}, .labels = &(LabelList){0}};
        unlink("image");
        TokenSink *s = token_sink_new("image", key);
        Dataset *image;
        Err err;
        token_sink_add(
            s,
            &(Sample){
                .ids = bad[i].ids, .supervised = bad[i].supervised, .count = 2, .record = bad[i].record, .label = -1});
        token_sink_end_file(s);
        ASSERT_REFUSED(token_sink_finish(&image, s, &tables, BYTE_VOCAB, &err), &err, "token cache: invalid sample");
        token_sink_free(s);
    }
}

static void expect_miss(Bench *b) {
    dataset_close(open_data(b, false));
    dataset_close(open_data(b, true));
}

static void test_token_cache_key_has_all_that_decides(void **state) {
    (void)state;
    Bench b = bench_new(true), other = bench_new(false);
    put_text("d.jsonl", DATA);
    expect_miss(&b);
    b.o.max_seq_length--;
    expect_miss(&b);
    b.o.train_on_inputs = true;
    expect_miss(&b);
    b.o.truncation = TRUNCATION_TRUNCATE;
    expect_miss(&b);
    b.o.format = FORMAT_PROMPT_COMPLETION;
    expect_miss(&b);
    put_text("d.jsonl", "{\"prompt\":\"pq\",\"completion\":\"d\"}\n");
    expect_miss(&b);
    other.o = b.o;
    expect_miss(&other); // a tokenizer that adds no BOS
    put_text("e.jsonl", DATA);
    b.files[1] = "e.jsonl";
    b.o.n_files = 2;
    expect_miss(&b);
    bench_free(&other);
    bench_free(&b);
}

// Renaming a file changes nothing; the content counts.
static void test_token_cache_knows_content_not_names(void **state) {
    (void)state;
    Bench b = bench_new(true);
    put_text("d.jsonl", DATA);
    expect_miss(&b);
    assert_int_equal(rename("d.jsonl", "e.jsonl"), 0);
    b.files[0] = "e.jsonl";
    dataset_close(open_data(&b, true));
    bench_free(&b);
}

// A full disk, played by a limit on file sizes: the tokens are kept in memory, and no temporary file stays.
static void test_token_cache_survives_a_full_disk(void **state) {
    (void)state;
    Bench b = bench_new(true);
    struct rlimit before, small = {.rlim_cur = 100};
    put_text("d.jsonl", DATA);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small.rlim_max = before.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    Dataset *memory = open_data(&b, false);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_DFL);
    Dataset *file = open_data(&b, false);
    check_same(memory, file);
    char *only = only_cache_file();
    mem_free(only);
    dataset_close(memory);
    dataset_close(file);
    bench_free(&b);
}

static bool is_cached(Bench *b, int i) {
    char *text = mem_printf("{\"prompt\":\"number %d\",\"completion\":\"c\"}\n", i);
    put_text("d.jsonl", text);
    mem_free(text);
    Dataset *d;
    Err err;
    ASSERT_OK(bench_open(&d, b, false, &err), &err);
    bool hit = d->from_cache;
    dataset_close(d);
    usleep(10000); // times of files are not finer than this
    return hit;
}

// The least recently used go first; the newest stays even where it alone is larger than the limit.
static void test_token_cache_is_bounded(void **state) {
    (void)state;
    Bench b = bench_new(true);
    struct stat st;
    assert_false(is_cached(&b, 1));
    char *first = only_cache_file();
    assert_int_equal(stat(first, &st), 0);
    b.o.cache_limit = 3 * st.st_size;
    put_text("cache/other", "no cache of tokens");
    for (int i = 2; i <= 3; i++) assert_false(is_cached(&b, i));
    assert_true(is_cached(&b, 1)); // used again: 2 is now the oldest
    assert_false(is_cached(&b, 4));
    assert_true(is_cached(&b, 1));
    assert_true(is_cached(&b, 3));
    assert_false(is_cached(&b, 2));
    b.o.cache_limit = 1;
    assert_false(is_cached(&b, 5));
    assert_true(is_cached(&b, 5));
    assert_false(path_exists(first));
    assert_true(path_exists("cache/other"));
    mem_free(first);
    bench_free(&b);
}

static void test_token_cache_removes_what_killed_processes_left(void **state) {
    (void)state;
    Bench b = bench_new(true);
    struct timespec old[2] = {{.tv_sec = time(NULL) - 3 * 24 * 60 * 60}, {.tv_sec = time(NULL) - 3 * 24 * 60 * 60}};
    assert_false(is_cached(&b, 1));
#define KEY "0123456789abcdef0123456789abcdef"
    put_text("cache/" KEY ".tokens.tmp-00000001-0000000000000123", "old");
    put_text("cache/" KEY ".tokens.tmp-00000001-0000000000000124", "in use");
    put_text("cache/thesis.tokens.tmp-00000001-0000000000000123", "someone's");
    assert_int_equal(utimensat(AT_FDCWD, "cache/" KEY ".tokens.tmp-00000001-0000000000000123", old, 0), 0);
    assert_int_equal(utimensat(AT_FDCWD, "cache/thesis.tokens.tmp-00000001-0000000000000123", old, 0), 0);
    assert_false(is_cached(&b, 2));
    assert_false(path_exists("cache/" KEY ".tokens.tmp-00000001-0000000000000123"));
    assert_true(path_exists("cache/" KEY ".tokens.tmp-00000001-0000000000000124"));
    assert_true(path_exists("cache/thesis.tokens.tmp-00000001-0000000000000123"));
    bench_free(&b);
}

// No cache entry is left by data that is refused.
static void test_token_cache_keeps_nothing_of_bad_data(void **state) {
    (void)state;
    Bench b = bench_new(true);
    Dataset *d;
    Err err;
    put_text("d.jsonl", "{\"prompt\":\"pq\",\"completion\":\"c\"}\n{");
    ASSERT_REFUSED(bench_open(&d, &b, false, &err), &err, "d.jsonl:2:");
    put_text("d.jsonl", DATA);
    dataset_close(open_data(&b, false));
    char *only = only_cache_file();
    mem_free(only);
    bench_free(&b);
}

TEST_MAIN(SCRATCH_TEST(test_token_cache_hit_equals_miss), SCRATCH_TEST(test_token_cache_any_wrong_byte_is_noticed),
          SCRATCH_TEST(test_token_cache_believes_no_impossible_sample),
          SCRATCH_TEST(test_token_cache_key_has_all_that_decides),
          SCRATCH_TEST(test_token_cache_knows_content_not_names), SCRATCH_TEST(test_token_cache_survives_a_full_disk),
          SCRATCH_TEST(test_token_cache_is_bounded), SCRATCH_TEST(test_token_cache_removes_what_killed_processes_left),
          SCRATCH_TEST(test_token_cache_keeps_nothing_of_bad_data))

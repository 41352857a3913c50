// Parquet files through lorac-parquet.so: the records and samples of the same data as JSON lines (made by pyarrow),
// types that are not read, damaged files. Built where the module is.
#include "dataset_fixture.h"
#include "fileio.h"
#include "records.h"

#include <sys/resource.h>

#define FILES TEST_DIR "/golden/parquet/"

// All records, printed again, with a line end after each.
static int read_all(StrBuf *out, const char *path, Err *err) {
    RecordReader *r;
    RecordSpan s;
    int more;
    if (records_open(&r, path, err)) return -1;
    while ((more = records_next(r, &s, err)) == 1) {
        JsonDoc *doc;
        if (record_parse(&doc, s, err)) {
            more = -1;
            break;
        }
        json_print(out, json_root(doc));
        str_puts(out, "\n");
        json_free(doc);
        records_release(r);
    }
    records_close(r);
    return more;
}

static void test_parquet_has_the_records_of_json_lines(void **state) {
    (void)state;
    static const char *const names[] = {"chat", "alpaca", "labels", "nested"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        StrBuf got = {0}, want = {0};
        Err err;
        char *path = mem_printf(FILES "%s.parquet", names[i]), *lines = mem_printf(FILES "%s.jsonl", names[i]);
        ASSERT_OK(read_all(&got, path, &err), &err);
        ASSERT_OK(read_all(&want, lines, &err), &err);
        assert_string_equal(got.data, want.data);
        mem_free(path);
        mem_free(lines);
        str_clear(&got);
        str_clear(&want);
    }
}

static char *samples_of(Bench *b, const char *path) {
    Dataset *d;
    Err err;
    StrBuf all = {0}, unread = {0};
    b->files[0] = path;
    if (bench_open(&d, b, !b->o.classification, &err)) fail_msg("%s", err.msg);
    char *text = shown(d, b->t);
    key_counts_show(&unread, &d->unread);
    str_printf(&all, "%s %s %s", text, dataset_format_name(d->stats.format), unread.data ? unread.data : "");
    for (size_t i = 0; d->labels && i < d->labels->count; i++)
        str_printf(&all, " %s=%ld", d->labels->names[i], d->label_counts[i]);
    mem_free(text);
    str_clear(&unread);
    dataset_close(d);
    return all.data;
}

static void check_same(const char *parquet, const char *jsonl, bool classification, const FileRule *rule) {
    Bench b = bench_new(false);
    b.o.classification = classification;
    b.o.rules = rule;
    char *got = samples_of(&b, parquet), *want = samples_of(&b, jsonl);
    assert_string_equal(got, want);
    mem_free(got);
    mem_free(want);
    bench_free(&b);
}

static void test_parquet_gives_the_samples_of_json_lines(void **state) {
    (void)state;
    check_same(FILES "chat.parquet", FILES "chat.jsonl", false, NULL);
    check_same(FILES "alpaca.parquet", FILES "alpaca.jsonl", false, NULL);
    check_same(FILES "labels.parquet", FILES "labels.jsonl", true, NULL);
    check_same(FILES "nested.parquet", FILES "nested.jsonl", false,
               &(FileRule){.columns = {[COLUMN_PROMPT] = "in.q", [COLUMN_COMPLETION] = "in.out.best"}});
}

static void test_parquet_types_that_are_not_read(void **state) {
    (void)state;
    Bench b = bench_new(false);
    char *text = samples_of(&b, FILES "unread.parquet");
    assert_non_null(strstr(text, " prompt_completion when (2 records), image (2)"));
    mem_free(text);
    Dataset *d;
    Err err;
    b.files[0] = FILES "bytes.parquet";
    ASSERT_REFUSED(bench_open(&d, &b, true, &err), &err,
                   "bytes.parquet:1: text: found a value of the Parquet type binary; expected a string");
    FileRule rule = {.columns = {[COLUMN_SYSTEM] = "when"}};
    b.o.rules = &rule;
    b.files[0] = FILES "unread.parquet";
    ASSERT_REFUSED(bench_open(&d, &b, true, &err), &err,
                   "unread.parquet:1: when: found a value of the Parquet type timestamp[us]; expected a string");
    bench_free(&b);
}

static long peak_megabytes(void) {
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return use.ru_maxrss / 1024;
}

// Cut anywhere, and with changed bytes: refused by name, or (a byte that nothing reads or checks) read; never more, and
// without the memory that a damaged length claims.
static void test_parquet_damaged_files_are_refused(void **state) {
    (void)state;
    char *good;
    size_t size;
    Err err;
    ASSERT_OK(file_read(&good, &size, FILES "chat.parquet", 1 << 20, &err), &err);
    long before = peak_megabytes();
    for (size_t n = 0; n < size; n += 3) {
        StrBuf got = {0};
        scratch_put("d.parquet", good, n);
        ASSERT_REFUSED(read_all(&got, "d.parquet", &err), &err,
                       "d.parquet: found a Parquet file that cannot be read: ");
        assert_null(strchr(err.msg, '\n'));
        str_clear(&got);
    }
    int refused = 0;
    uint64_t seed = 3;
    for (int i = 0; i < 4000; i++) {
        StrBuf got = {0};
        char *copy = mem_strndup(good, size);
        for (int k = 0; k < 1 + i % 3; k++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            copy[(seed >> 33) % size] ^= (char)(1 << (seed >> 20) % 8);
        }
        scratch_put("d.parquet", copy, size);
        err.msg[0] = 0;
        if (read_all(&got, "d.parquet", &err)) assert_non_null(strstr(err.msg, "d.parquet"));
        refused += err.msg[0] != 0;
        str_clear(&got);
        mem_free(copy);
    }
    mem_free(good);
    assert_true(refused > 1000);
    if (!SANITIZED) assert_true(peak_megabytes() - before < 512);
    StrBuf got = {0};
    ASSERT_REFUSED(read_all(&got, "missing.parquet", &err), &err, "missing.parquet: cannot be opened: No such file");
    str_clear(&got);
}

// Arrow would take gigabytes for it.
static void test_parquet_long_metadata_is_refused(void **state) {
    (void)state;
    enum { BYTES = 9000000 };
    char *file = mem_calloc(BYTES + 8, 1);
    memcpy(file, "PAR1", 4);
    for (int i = 0; i < 4; i++) file[BYTES + i] = (char)(BYTES >> 8 * i);
    memcpy(file + BYTES + 4, "PAR1", 4);
    scratch_put("d.parquet", file, BYTES + 8);
    mem_free(file);
    StrBuf got = {0};
    Err err;
    ASSERT_REFUSED(read_all(&got, "d.parquet", &err), &err,
                   "d.parquet: found a Parquet file that cannot be read: metadata of 9000000 bytes");
    str_clear(&got);
}

TEST_MAIN(SCRATCH_TEST(test_parquet_has_the_records_of_json_lines),
          SCRATCH_TEST(test_parquet_gives_the_samples_of_json_lines),
          SCRATCH_TEST(test_parquet_types_that_are_not_read), SCRATCH_TEST(test_parquet_damaged_files_are_refused),
          SCRATCH_TEST(test_parquet_long_metadata_is_refused))

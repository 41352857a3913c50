// records: every kind of file gives the same records, compressed or not; damaged, hostile and cut-off files are
// refused.
#include "records.h"

#include <sys/resource.h>

#include "path.h"
#include "scratch.h"
#include "shards.h"

enum { RELEASE_EVERY = 3 };

// All records with a '|' after each; checks that records stay readable until the release.
static int read_all(StrBuf *out, const char *path, int64_t *ignored, Err *err) {
    RecordReader *r;
    RecordSpan spans[RELEASE_EVERY];
    int n = 0, more;
    if (records_open(&r, path, err)) return -1;
    do {
        more = records_next(r, &spans[n], err);
        n += more == 1;
        if (n < RELEASE_EVERY && more == 1) continue;
        for (int i = 0; i < n; i++) {
            str_add(out, spans[i].text, spans[i].len);
            str_puts(out, "|");
        }
        n = 0;
        records_release(r);
    } while (more == 1);
    if (ignored) *ignored = records_ignored(r);
    records_close(r);
    return more;
}

static void check_records(const char *path, const char *want) {
    StrBuf got = {0};
    Err err;
    ASSERT_OK(read_all(&got, path, NULL, &err), &err);
    assert_string_equal(got.data, want);
    str_clear(&got);
}

static void check_refused(const char *path, const char *message) {
    StrBuf got = {0};
    Err err;
    ASSERT_REFUSED(read_all(&got, path, NULL, &err), &err, message);
    str_clear(&got);
}

static void put_string(const char *path, const StrBuf *s) { scratch_put(path, s->data, s->len); }

// As name, name.gz and name.zst.
static void put_all_ways(const char *name, const char *data, size_t n) {
    StrBuf gz = {0}, zst = {0};
    char path[64];
    scratch_put(name, data, n);
    gzip_bytes(&gz, data, n);
    snprintf(path, sizeof path, "%s.gz", name);
    put_string(path, &gz);
    zstd_bytes(&zst, data, n);
    snprintf(path, sizeof path, "%s.zst", name);
    put_string(path, &zst);
    str_clear(&gz);
    str_clear(&zst);
}

static void check_all_ways(const char *name, const char *data, const char *want) {
    char path[64];
    put_all_ways(name, data, strlen(data));
    check_records(name, want);
    snprintf(path, sizeof path, "%s.gz", name);
    check_records(path, want);
    snprintf(path, sizeof path, "%s.zst", name);
    check_records(path, want);
}

static void test_records_are_the_same_compressed(void **state) {
    (void)state;
    check_all_ways("a.jsonl", "\xEF\xBB\xBF{\"a\":1}\r\n\n {\"b\":\"\\n\"}\n7", "{\"a\":1}\r|{\"b\":\"\\n\"}|7|");
    check_all_ways("a.json", " [{\"a\":\"],\\\"\"},\n[1,[2]] , 3]\n", "{\"a\":\"],\\\"\"}|[1,[2]] |3|");
    check_all_ways("b.json", "{\"a\":1}\n{\"b\":2}\n", "{\"a\":1}|{\"b\":2}|");
    check_all_ways("a.txt", "one\ntwo", "one\ntwo|");
}

// Records that cross every border of a block, some longer than one, with releases between.
static void test_records_cross_blocks(void **state) {
    (void)state;
    StrBuf lines = {0}, array = {0}, want = {0};
    for (int i = 0; i < 300; i++) {
        int n = i % 50 == 7 ? 3000000 : i * 97 % 20000;
        char *text = mem_printf("\"%0*d\"", n + 1, i);
        str_printf(&lines, "%s\n", text);
        str_printf(&array, "%s%s", i ? ",\n" : "[", text);
        str_printf(&want, "%s|", text);
        mem_free(text);
    }
    str_puts(&array, "]");
    check_all_ways("a.jsonl", lines.data, want.data);
    check_all_ways("a.json", array.data, want.data);
    str_clear(&lines);
    str_clear(&array);
    str_clear(&want);
}

static void test_records_concatenated_streams(void **state) {
    (void)state;
    StrBuf gz = {0}, zst = {0};
    gzip_bytes(&gz, "{\"a\":1}\n{\"b\"", 12);
    gzip_bytes(&gz, "", 0);
    gzip_bytes(&gz, ":2}\n", 4);
    zstd_bytes(&zst, "{\"a\":1}\n{\"b\"", 12);
    zstd_bytes(&zst, ":2}\n", 4);
    put_string("a.jsonl.gz", &gz);
    put_string("a.jsonl.zst", &zst);
    check_records("a.jsonl.gz", "{\"a\":1}|{\"b\":2}|");
    check_records("a.jsonl.zst", "{\"a\":1}|{\"b\":2}|");
    str_add(&gz, "tail", 4);
    str_add(&zst, "tail", 4);
    put_string("a.jsonl.gz", &gz);
    put_string("a.jsonl.zst", &zst);
    check_refused("a.jsonl.gz", "a.jsonl.gz: found damaged compressed data");
    check_refused("a.jsonl.zst", "a.jsonl.zst: found damaged compressed data");
    str_clear(&gz);
    str_clear(&zst);
}

// Every shorter file and every changed byte: refused, or (where the format cannot see it) the same records.
static void check_damage(const char *path, const StrBuf *good, const char *want) {
    for (size_t n = 0; n < good->len; n++) {
        StrBuf got = {0};
        Err err;
        scratch_put(path, good->data, n);
        if (read_all(&got, path, NULL, &err) == 0) fail_msg("%s: cut to %zu bytes and read", path, n);
        assert_non_null(strstr(err.msg, path));
        str_clear(&got);
    }
    for (size_t i = 0; i < good->len * 8; i++) {
        StrBuf got = {0};
        Err err;
        good->data[i / 8] ^= (char)(1 << i % 8);
        scratch_put(path, good->data, good->len);
        good->data[i / 8] ^= (char)(1 << i % 8);
        if (read_all(&got, path, NULL, &err) == 0) assert_string_equal(got.data, want);
        str_clear(&got);
    }
}

static void test_records_damaged_gzip_is_refused(void **state) {
    (void)state;
    StrBuf gz = {0};
    gzip_bytes(&gz, "{\"a\":1}\n{\"b\":2}\n", 16);
    check_damage("a.jsonl.gz", &gz, "{\"a\":1}|{\"b\":2}|");
    str_clear(&gz);
}

static void test_records_damaged_zstd_is_refused(void **state) {
    (void)state;
    StrBuf zst = {0};
    ZSTD_CCtx *c = ZSTD_createCCtx();
    char buf[256];
    ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
    size_t n = ZSTD_compress2(c, buf, sizeof buf, "{\"a\":1}\n{\"b\":2}\n", 16);
    ZSTD_freeCCtx(c);
    str_add(&zst, buf, n);
    check_damage("a.jsonl.zst", &zst, "{\"a\":1}|{\"b\":2}|");
    str_clear(&zst);
}

static void test_records_parquet_needs_a_module(void **state) {
    (void)state;
    setenv("LORAC_MODULES", "/", 1);
    scratch_put("d.parquet", "PAR1", 4);
    check_refused("d.parquet", "d.parquet: lorac-parquet.so not found (searched: //lorac-parquet.so); it is built if "
                               "cmake finds Arrow's C++ library (make parquet)");
    unsetenv("LORAC_MODULES");
}

// ---- bombs ----

// Gigabytes of one byte in a few hundred kilobytes, refused without taking memory.
static void put_bomb(const char *path, const char *head, int byte, size_t megabytes) {
    enum { MEGA = 1 << 20 };
    ZSTD_CCtx *c = ZSTD_createCCtx();
    StrBuf out = {0};
    char *block = mem_alloc(MEGA, 1), *buf = mem_alloc(MEGA, 1);
    memset(block, byte, MEGA);
    memcpy(block, head, strlen(head));
    for (size_t i = 0; i < megabytes; i++) {
        ZSTD_inBuffer in = {block, MEGA, 0};
        while (in.pos < in.size) {
            ZSTD_outBuffer o = {buf, MEGA, 0};
            ZSTD_compressStream2(c, &o, &in, ZSTD_e_continue);
            str_add(&out, buf, o.pos);
        }
        memset(block, byte, strlen(head));
    }
    ZSTD_inBuffer none = {NULL, 0, 0};
    ZSTD_outBuffer o = {buf, MEGA, 0};
    assert_int_equal(ZSTD_compressStream2(c, &o, &none, ZSTD_e_end), 0);
    str_add(&out, buf, o.pos);
    put_string(path, &out);
    str_clear(&out);
    mem_free(block);
    mem_free(buf);
    ZSTD_freeCCtx(c);
}

static long peak_megabytes(void) {
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return use.ru_maxrss / 1024;
}

static void test_records_bombs_take_no_memory(void **state) {
    (void)state;
    long before = peak_megabytes();
    put_bomb("zero.jsonl.zst", "", 0, 600);
    put_bomb("space.jsonl.zst", "", ' ', 600);
    put_bomb("zero.txt.zst", "", 0, 600);
    put_bomb("array.json.zst", "[\"", 0, 600);
    check_refused("zero.jsonl.zst", "zero.jsonl.zst:1: found byte 0x00");
    check_refused("zero.txt.zst", "zero.txt.zst:1: found byte 0x00");
    check_refused("array.json.zst", "array.json.zst:1: found byte 0x00");
    check_refused("space.jsonl.zst", "space.jsonl.zst: found an empty file");
    assert_true(peak_megabytes() - before < 64);
    put_bomb("long.jsonl.zst", "{\"a\":\"", 'x', 300);
    check_refused("long.jsonl.zst", "long.jsonl.zst:1: found a record of more than 268435456 bytes");
}

// ---- .tar ----

static void check_tar(const StrBuf *tar, const char *want, int64_t want_ignored) {
    StrBuf got = {0};
    Err err;
    int64_t ignored;
    put_all_ways("s.tar", tar->data, tar->len);
    static const char *const names[] = {"s.tar", "s.tar.gz", "s.tar.zst"};
    for (int i = 0; i < 3; i++) {
        ASSERT_OK(read_all(&got, names[i], &ignored, &err), &err);
        assert_string_equal(got.data, want);
        assert_int_equal(ignored, want_ignored);
        str_clear(&got);
    }
}

static void test_tar_groups_members_by_key(void **state) {
    (void)state;
    StrBuf tar = {0};
    tar_header(&tar, "train/", '5', "", 0);
    tar_file(&tar, "train/000.json", " {\"prompt\": \"p\"}\n");
    tar_file(&tar, "train/001.txt", "a \"b\"\n");
    tar_file(&tar, "train/002.cls", "3\n");
    tar_file(&tar, "train/002.txt", "x");
    tar_file(&tar, "train/003.jpg", "\xFF\xD8");
    tar_file(&tar, "train/003.JSON", "{ }");
    tar_file(&tar, "train/003.txt", "t");
    tar_file(&tar, "train/003.cls", "good");
    tar_file(&tar, "004.json", "{\"text\": \"own\", \"label\": 1}");
    tar_file(&tar, "004.txt", "other");
    tar_file(&tar, "004.cls", " 2 \n");
    tar_file(&tar, "005.json", "{\"a\":{}}");
    tar_file(&tar, "005.cls", "-1");
    tar_file(&tar, "006.meta.json", "{}");
    tar_file(&tar, "007.json", "{\"text\": null, \"id\": [1.50, NaN, {\"a\": \"\\u0000\\\"\"}], \"label\": null}");
    tar_file(&tar, "007.txt", "t");
    tar_file(&tar, "007.cls", "4");
    tar_file(&tar, ".hidden", "x");
    tar_file(&tar, "no_dot", "x");
    tar_end(&tar);
    check_tar(&tar,
              " {\"prompt\": \"p\"}\n|{\"text\": \"a \\\"b\\\"\\n\"}|{\"text\": \"x\", \"label\": 3}|"
              "{\"text\": \"t\", \"label\": \"good\"}|{\"text\": \"own\", \"label\": 1}|{\"a\": {}, \"label\": -1}|"
              "{\"text\": \"t\", \"id\": [1.50, NaN, {\"a\": \"\\u0000\\\"\"}], \"label\": 4}|",
              6);
    str_clear(&tar);
}

static void test_tar_hostile_members_are_left_alone(void **state) {
    (void)state;
    StrBuf tar = {0};
    tar_file(&tar, "../../etc/x.json", "{\"a\":1}");
    tar_file(&tar, "/etc/passwd.txt", "t");
    tar_header(&tar, "l.json", '2', "/etc/passwd", 0);      // symbolic link
    tar_header(&tar, "h.json", '1', "../../etc/x.json", 0); // hard link
    tar_header(&tar, "d.json", '3', "", 0);                 // device
    tar_header(&tar, "f.json", '6', "", 0);                 // pipe
    tar_file(&tar, "z.json", "{}");
    tar_end(&tar);
    check_tar(&tar, "{\"a\":1}|{\"text\": \"t\"}|{}|", 4);
    assert_false(path_exists("l.json") || path_exists("d.json") || path_exists("z.json"));
    str_clear(&tar);
}

// Made by `cat a.tar b.tar`.
static void test_tar_concatenated_archives_are_one(void **state) {
    (void)state;
    StrBuf tar = {0};
    tar_file(&tar, "0.json", "{}");
    tar_end(&tar);
    tar_file(&tar, "1.txt", "b");
    tar_end(&tar);
    tar_end(&tar);
    check_tar(&tar, "{}|{\"text\": \"b\"}|", 0);
    str_clear(&tar);
}

// Sparse files (old GNU format): 8 GiB of which nothing is stored.
static void test_tar_sparse_members_are_bounded(void **state) {
    (void)state;
    StrBuf tar = {0};
    tar_header(&tar, "s.json", 'S', "", 0);
    char *h = tar.data;
    memcpy(h + 257, "ustar  ", 8);
    memcpy(h + 386,
           "00000000000\0"
           "00000000000\0",
           24);
    memcpy(h + 483, "77777777777", 12);
    memset(h + 148, ' ', 8);
    unsigned sum = 0;
    for (int i = 0; i < 512; i++) sum += (unsigned char)h[i];
    snprintf(h + 148, 8, "%06o", sum);
    tar_end(&tar);
    put_string("s.tar", &tar);
    check_refused("s.tar", "s.tar/s.json: found a sparse member; expected an archive that was written without");
    str_clear(&tar);
}

static void test_tar_bad_groups_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *name[3], *content[3], *message;
    } cases[] = {
        {{"a.json", "a.json"}, {"{}", "{}"}, "s.tar/a.json: found the member twice in its group"},
        {{"a.json", "b.json", "a.txt"},
         {"{}", "{}", "x"},
         "s.tar/a: found members of this group again after those of another"},
        {{"a.cls", "b.json"}, {"1", "{}"}, "s.tar/a.cls: found a label without a text"},
        {{"a.json", "a.txt"}, {"[1]", "x"}, "s.tar/a.json:1: found an array; expected a record"},
        {{"a.json", "a.txt"}, {"{", "x"}, "s.tar/a.json:1: found the end"},
        {{"d/a.txt"}, {"x\n\xFF"}, "s.tar/d/a.txt:2: found byte 0xFF"},
        {{"a.txt", "a.cls"}, {"x", "\xFF"}, "s.tar/a.cls:1: found byte 0xFF"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        StrBuf tar = {0};
        for (int k = 0; k < 3 && cases[i].name[k]; k++) tar_file(&tar, cases[i].name[k], cases[i].content[k]);
        tar_end(&tar);
        put_string("s.tar", &tar);
        check_refused("s.tar", cases[i].message);
        str_clear(&tar);
    }
    StrBuf tar = {0}; // a NUL byte after a label is no blank
    tar_file(&tar, "a.txt", "x");
    tar_header(&tar, "a.cls", '0', "", 2);
    tar_bytes(&tar, "3\0", 2);
    tar_end(&tar);
    put_string("s.tar", &tar);
    check_refused("s.tar", "s.tar/a.cls:1: found");
    str_clear(&tar);
    scratch_put("s.tar", "", 0);
    check_refused("s.tar", "s.tar: found");
    scratch_put("s.tar", "{\"a\":1}\n", 8);
    check_refused("s.tar", "s.tar: found a damaged .tar archive");
}

// A shard that was cut off anywhere, or whose bytes were changed, is never read as if it were whole and other.
static void test_tar_cut_off_is_refused(void **state) {
    (void)state;
    StrBuf tar = {0};
    tar_file(&tar, "a.json", "{\"a\":1}");
    tar_file(&tar, "b.json", "{\"b\":2}");
    for (size_t n = 0; n <= tar.len; n += 256) {
        scratch_put("s.tar", tar.data, n);
        check_refused("s.tar", "s.tar: found");
    }
    tar_header(&tar, "c.json", '0', "", UINT64_C(1) << 32); // claims 4 GiB
    put_string("s.tar", &tar);
    check_refused("s.tar", "s.tar/c.json: found 4294967296 bytes; expected at most 268435456");
    tar.len -= 512;
    tar_header(&tar, "c.json", '0', "", 100 << 20); // claims 100 MB, and has two blocks of zeros
    tar_end(&tar);
    put_string("s.tar", &tar);
    check_refused("s.tar", "s.tar: found a damaged .tar archive: ");
    str_clear(&tar);
}

static void test_tar_survives_changed_bytes(void **state) {
    (void)state;
    StrBuf tar = {0};
    Err err;
    uint64_t seed = 11;
    tar_file(&tar, "a.json", "{\"a\":1}");
    tar_file(&tar, "a.txt", "text");
    tar_file(&tar, "b.txt", "text");
    tar_end(&tar);
    for (int i = 0; i < 3000; i++) {
        StrBuf got = {0};
        char *copy = mem_strndup(tar.data, tar.len);
        for (int k = 0; k < 2; k++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            copy[(seed >> 33) % tar.len] = (char)(seed >> 20);
        }
        scratch_put("s.tar", copy, tar.len);
        err.msg[0] = 0;
        if (read_all(&got, "s.tar", NULL, &err)) assert_true(err.msg[0] != 0);
        str_clear(&got);
        mem_free(copy);
    }
    str_clear(&tar);
}

TEST_MAIN(SCRATCH_TEST(test_records_are_the_same_compressed), SCRATCH_TEST(test_records_cross_blocks),
          SCRATCH_TEST(test_records_concatenated_streams), SCRATCH_TEST(test_records_damaged_gzip_is_refused),
          SCRATCH_TEST(test_records_damaged_zstd_is_refused), SCRATCH_TEST(test_records_parquet_needs_a_module),
          SCRATCH_TEST(test_records_bombs_take_no_memory), SCRATCH_TEST(test_tar_groups_members_by_key),
          SCRATCH_TEST(test_tar_hostile_members_are_left_alone), SCRATCH_TEST(test_tar_concatenated_archives_are_one),
          SCRATCH_TEST(test_tar_sparse_members_are_bounded), SCRATCH_TEST(test_tar_bad_groups_are_refused),
          SCRATCH_TEST(test_tar_cut_off_is_refused), SCRATCH_TEST(test_tar_survives_changed_bytes))

// tar_stream: what tarfile (Python) and tar (GNU) write in each format is read as they read it; fields and headers that
// are wrong are refused.
#include "tar_stream.h"

#include <stdlib.h>

#include "fileio.h"
#include "scratch.h"
#include "shards.h"

// A line "NAME SIZE KIND SUM" for each member.
static int list(StrBuf *out, const char *path, Err *err) {
    TarStream *t;
    TarMember m;
    int rc = tar_stream_open(&t, path, err);
    while (!rc && (rc = tar_stream_next(t, &m, err)) == 1) {
        char buf[100];
        size_t n = 1;
        int64_t sum = 0, size = 0;
        for (rc = 0; n && !rc; size += (int64_t)n) {
            rc = tar_stream_read(t, buf, sizeof buf, &n, err);
            for (size_t i = 0; i < n && !rc; i++) sum += (uint8_t)buf[i];
        }
        if (!rc) assert_int_equal(size, m.size);
        str_printf(out, "%s %ld %d %ld\n", m.name, m.size, (int)m.kind, sum);
    }
    tar_stream_close(t);
    return rc;
}

static void check_list(const char *path, const char *want) {
    AUTO_STR StrBuf got = {0};
    Err err;
    ASSERT_OK(list(&got, path, &err), &err);
    assert_string_equal(got.data, want);
}

static void check_refused(const StrBuf *tar, const char *message) {
    AUTO_STR StrBuf got = {0};
    Err err;
    scratch_put("s.tar", tar->data, tar->len);
    ASSERT_REFUSED(list(&got, "s.tar", &err), &err, message);
    assert_int_equal(err.kind, ERR_INPUT);
}

static void test_tar_stream_agrees_with_tarfile(void **state) {
    (void)state;
    if (system("python3 " TEST_DIR "/data/io/tar_formats.py .")) skip();
    static const char *const formats[] = {"ustar", "gnu", "pax"};
    for (int i = 0; i < 3; i++) {
        char path[32];
        snprintf(path, sizeof path, "%s.list", formats[i]);
        AUTO_STR StrBuf want = {0};
        FileMap map;
        Err err;
        ASSERT_OK(file_map(&map, path, &err), &err);
        str_add(&want, (const char *)map.data, map.size);
        file_unmap(&map);
        snprintf(path, sizeof path, "%s.tar", formats[i]);
        check_list(path, want.data);
    }
}

static void test_tar_stream_reads_formats_of_tar(void **state) {
    (void)state;
    static const char *const formats[] = {"v7", "oldgnu", "gnu", "ustar", "pax"};
    if (system("mkdir -p d && printf 123 >d/a.json && printf 4 >d/b.txt && ln -s a.json d/l")) skip();
    for (int i = 0; i < 5; i++) {
        char command[200];
        snprintf(command, sizeof command, "tar --format=%s -cf t.tar d/a.json d/b.txt d/l 2>/dev/null", formats[i]);
        if (system(command)) skip();
        check_list("t.tar", "d/a.json 3 0 150\nd/b.txt 1 0 52\nd/l 0 2 0\n");
    }
}

// ---- written by hand ----

static void set_checksum(char *h) {
    unsigned sum = 0;
    memset(h + 148, ' ', 8);
    for (int i = 0; i < 512; i++) sum += (unsigned char)h[i];
    snprintf(h + 148, 8, "%06o", sum);
}

static char *last_header(StrBuf *tar) { return tar->data + tar->len - 512; }

static void tar_extension(StrBuf *tar, char type, const char *content) {
    tar_header(tar, "extension", type, "", strlen(content));
    tar_bytes(tar, content, strlen(content));
}

static void test_tar_stream_numbers(void **state) {
    (void)state;
    static const struct {
        const char field[12];
        const char *refused; // NULL: 3 bytes
    } cases[] = {
        {"          3", NULL},
        {"3", NULL},
        {"000000000003", NULL},
        {"\x80\0\0\0\0\0\0\0\0\0\0\3", NULL},
        {"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", "a header whose size is no number"}, // -1
        {"\x80\0\0\0\x80\0\0\0\0\0\0\0", "a header whose size is no number"},                     // 2^63
        {"\x80\0\0\0\x3F\xFF\xFF\xFF\xFF\xFF\xFF\xFF", "the end of the file inside a member"},    // 2^62 - 1
        {"\x81\0\0\0\0\0\0\0\0\0\0\3", "a header whose size is no number"},
        {"3x", "a header whose size is no number"},
        {"-3", "a header whose size is no number"},
        {"8", "a header whose size is no number"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO_STR StrBuf tar = {0};
        tar_header(&tar, "a", '0', "", 3);
        memcpy(last_header(&tar) + 124, cases[i].field, 12);
        set_checksum(last_header(&tar));
        tar_bytes(&tar, "abc", 3);
        tar_end(&tar);
        if (cases[i].refused) {
            check_refused(&tar, cases[i].refused);
        } else {
            scratch_put("s.tar", tar.data, tar.len);
            check_list("s.tar", "a 3 0 294\n");
        }
    }
}

static void test_tar_stream_extensions(void **state) {
    (void)state;
    AUTO_STR StrBuf tar = {0};
    tar_extension(&tar, 'g', "24 comment=of a commit\n"); // 23 bytes: wrong
    check_refused(&tar, "a malformed pax header");
    tar.len = 0;
    tar_extension(&tar, 'g', "23 comment=of a commit\n");
    tar_extension(&tar, 'V', "");
    tar_extension(&tar, 'x', "12 path=b/c\n9 size=2\n");
    tar_file(&tar, "a", "xyz"); // of which the pax header takes two bytes
    tar_extension(&tar, 'K', "a target");
    tar_extension(&tar, 'L', "long");
    tar_file(&tar, "a", "x");
    tar_file(&tar, "folder/", "");
    tar_header(&tar, "a", '0', "", 1);
    memcpy(last_header(&tar) + 345, "prefix", 6);
    set_checksum(last_header(&tar));
    tar_bytes(&tar, "x", 1);
    tar_header(&tar, "l", '1', "a", 512); // stored without content
    tar_extension(&tar, 'x', "12 path=b/c\n");
    tar_header(&tar, "l", '1', "a", 1); // with content
    tar_bytes(&tar, "x", 1);
    tar_end(&tar);
    scratch_put("s.tar", tar.data, tar.len);
    check_list("s.tar", "b/c 2 0 241\nlong 1 0 120\nfolder/ 0 1 0\nprefix/a 1 0 120\nl 0 2 0\nb/c 1 2 120\n");
}

static void test_tar_stream_refuses_extensions(void **state) {
    (void)state;
    static const struct {
        char type;
        const char *content, *message;
    } cases[] = {
        {'x', "path=b\n", "a malformed pax header"},
        {'x', "99 path=b\n", "a malformed pax header"},
        {'x', "3 \n", "a malformed pax header"},
        {'x', "2 \n", "a malformed pax header"},
        {'x', "0 path=b\n", "a malformed pax header"},
        {'x', "99999999999999999999999 path=b\n", "a malformed pax header"},
        {'x', "10 path=b\n\n", "a malformed pax header"},
        {'x', "9 path=b\nx", "a malformed pax header"},
        {'x', "10 size=-1\n", "a malformed pax header"},
        {'x', "11 size=-1\n", "a pax header whose size is no number"},
        {'x', "8 size=\n", "a pax header whose size is no number"},
        {'x', "28 size=9223372036854775808\n", "a pax header whose size is no number"},
        {'x', "27 size=123456789012345678\n", "the end of the file inside a member"},
        {'x', "22 GNU.sparse.major=1\n", "s.tar: found a sparse member"},
        {'g', "9 path=b\n", "a global pax header"},
        {'g', "9 size=1\n", "a global pax header"},
        {'M', "x", "s.tar/extension: found a part of a member"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO_STR StrBuf tar = {0};
        tar_extension(&tar, cases[i].type, cases[i].content);
        tar_file(&tar, "a", "x");
        tar_end(&tar);
        check_refused(&tar, cases[i].message);
    }
    AUTO_STR StrBuf tar = {0};
    tar_extension(&tar, 'L', "long");
    tar_end(&tar);
    check_refused(&tar, "an extension without a member");
    tar.len = 0;
    tar_header(&tar, "a", 'x', "", (1 << 20) + 1);
    check_refused(&tar, "an extension of more than 1 MiB");
    tar.len = 0;
    tar_file(&tar, "a", "x");
    tar.data[0]++; // one byte of the header, not of its checksum
    tar_end(&tar);
    check_refused(&tar, "a header with a wrong checksum");
}

TEST_MAIN(SCRATCH_TEST(test_tar_stream_agrees_with_tarfile), SCRATCH_TEST(test_tar_stream_reads_formats_of_tar),
          SCRATCH_TEST(test_tar_stream_numbers), SCRATCH_TEST(test_tar_stream_extensions),
          SCRATCH_TEST(test_tar_stream_refuses_extensions))

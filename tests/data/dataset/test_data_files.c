// The files that a path of a config names: folders, patterns; what is left out, and what is refused.
#include "data_files.h"

#include <sys/stat.h>

#include "scratch.h"

static void touch(const char *path) { scratch_put(path, "x", 1); }

static int expand_name(StrBuf *got, DataName name, StrBuf *left, Err *err) {
    NameList names = {0};
    int rc = data_files_expand(&names, name, left, err);
    for (size_t i = 0; i < names.count; i++) str_printf(got, "%s%s", i ? " " : "", names.items[i]);
    name_list_clear(&names);
    return rc;
}

static int expand(StrBuf *got, const char *given, StrBuf *left, Err *err) {
    return expand_name(got, (DataName){.given = given}, left, err);
}

static void check(const char *given, const char *want, const char *want_left) {
    StrBuf got = {0}, left = {0};
    Err err;
    ASSERT_OK(expand(&got, given, &left, &err), &err);
    assert_string_equal(got.data, want);
    assert_string_equal(left.data ? left.data : "", want_left);
    str_clear(&got);
    str_clear(&left);
}

static void check_refused(const char *given, const char *message) {
    StrBuf got = {0};
    Err err;
    ASSERT_REFUSED(expand(&got, given, NULL, &err), &err, message);
    assert_int_equal(err.kind, ERR_INPUT);
    str_clear(&got);
}

static void make_folders(void) {
    mkdir("d", 0777);
    mkdir("d/sub", 0777);
    mkdir("d/sub/deep", 0777);
}

static void check_split(const char *given, const char *split, const char *want) {
    StrBuf got = {0};
    Err err;
    ASSERT_OK(expand_name(&got, (DataName){given, split, strlen(split)}, NULL, &err), &err);
    assert_string_equal(got.data, want);
    str_clear(&got);
}

static void test_folder_with_a_split(void **state) {
    (void)state;
    StrBuf got = {0};
    Err err;
    mkdir("s", 0777);
    touch("s/train-00001-of-00002.jsonl");
    touch("s/train-00000-of-00002.jsonl");
    touch("s/Test.jsonl");
    touch("s/latest.jsonl");
    check_refused("s", "found files of several splits");
    check_split("s", "train", "s/train-00000-of-00002.jsonl s/train-00001-of-00002.jsonl");
    check_split("s", "test", "s/Test.jsonl");
    ASSERT_REFUSED(expand_name(&got, (DataName){"s", "dev", 3}, NULL, &err), &err,
                   "s: found no data file of the split dev in the folder");
    mkdir("t", 0777);
    touch("t/a.jsonl");
    check_split("t", "train", "t/a.jsonl"); // no name has a split
    ASSERT_REFUSED(expand_name(&got, (DataName){"t", "test", 4}, NULL, &err), &err, "t: found no data file");
    str_clear(&got);
}

static void test_folder_names_its_data_files(void **state) {
    (void)state;
    make_folders();
    static const char *const files[] = {"d/b.jsonl",    "d/a.jsonl",       "d/B.jsonl",
                                        "d/z.jsonl.gz", "d/.hidden.jsonl", "d/a.jsonl.tmp",
                                        "d/c.jsonl~",   "d/README.md",     "d/x.jsonl.tmp-01234567-0123456789abcdef",
                                        "d/sub/q.jsonl"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) touch(files[i]);
    check("d", "d/B.jsonl d/a.jsonl d/b.jsonl d/z.jsonl.gz",
          "README.md, a.jsonl.tmp, c.jsonl~, sub/, x.jsonl.tmp-01234567-0123456789abcdef");
    check("d/", "d/B.jsonl d/a.jsonl d/b.jsonl d/z.jsonl.gz",
          "README.md, a.jsonl.tmp, c.jsonl~, sub/, x.jsonl.tmp-01234567-0123456789abcdef");
    touch("d/zz.md");
    StrBuf text = {0};
    data_files_show(&text, (DataName){.given = "d/"});
    assert_string_equal(text.data, "d/: 4 files: d/B.jsonl, d/a.jsonl, d/b.jsonl, d/z.jsonl.gz; not read: README.md, "
                                   "a.jsonl.tmp, c.jsonl~, sub/, x.jsonl.tmp-01234567-0123456789abcdef and 1 more");
    text.len = 0;
    data_files_show(&text, (DataName){.given = "d/a.jsonl"});
    assert_int_equal(text.len, 0);
    str_clear(&text);
}

static void test_folder_is_refused(void **state) {
    (void)state;
    make_folders();
    check_refused("d", "d: found no data file in the folder (sub/); expected .jsonl, .json,");
    touch("d/train-0.csv");
    touch("d/a.jsonl");
    check_refused("d/", "d/: found .jsonl and .csv files in the folder; expected one kind, or a pattern: d/*.jsonl");
    check("d/*.csv", "d/train-0.csv", "");
    unlink("d/a.jsonl");
    touch("d/my_test.csv");
    check_refused("d", "d: found files of several splits in the folder, train-0.csv and my_test.csv; expected one");
    unlink("d/my_test.csv");
    touch("d/latest.csv");
    check("d", "d/latest.csv d/train-0.csv", "sub/");
}

static void test_pattern_leaves_out_what_is_no_data(void **state) {
    (void)state;
    make_folders();
    static const char *const files[] = {"d/a.csv", "d/b.csv.part", "d/.c.csv", "d/sub/d.csv", "d/sub/deep/e.csv"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) touch(files[i]);
    check("d/*", "d/a.csv", "b.csv.part, sub/");
    check("d/**/*.csv", "d/a.csv d/sub/d.csv d/sub/deep/e.csv", "");
    check("**/e.csv", "d/sub/deep/e.csv", "");
    check("d/**/deep/*.csv", "d/sub/deep/e.csv", "");
    check("missing.csv", "missing.csv", "");
    check("d/b.csv.part", "d/b.csv.part", "");
    check_refused("d/*.tsv", "d/*.tsv: found no file of that pattern");
    check_refused("d/**/*.tsv", "d/**/*.tsv: found no file of that pattern");
    check_refused("d/*.part", "d/*.part: found only folders and temporary files of that pattern");
    assert_int_equal(symlink("..", "d/sub/loop"), 0);
    assert_int_equal(symlink("../../a.csv", "d/sub/deep/link.csv"), 0);
    mkdir("d/.git", 0777);
    touch("d/.git/a.csv");
    check("d/**/a.csv", "d/a.csv", "");
    check("**/*.csv", "d/a.csv d/sub/d.csv d/sub/deep/e.csv d/sub/deep/link.csv", "");
}

TEST_MAIN(SCRATCH_TEST(test_folder_with_a_split), SCRATCH_TEST(test_folder_names_its_data_files),
          SCRATCH_TEST(test_folder_is_refused), SCRATCH_TEST(test_pattern_leaves_out_what_is_no_data))

// Temporary names: random, never followed, held by a lock while their writer lives; what kills leave is swept and
// nothing else; what appears at the final name meanwhile is not replaced.
#include "fileio.h"
#include "path.h"
#include "scratch.h"
#include "temporary.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

static int count(const char *dir, const char *part) {
    DIR *d = opendir(dir);
    int n = 0;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) n += strstr(e->d_name, part) != NULL;
    closedir(d);
    return n;
}

static void put(const char *path, const char *text) { scratch_put(path, text, strlen(text)); }

static void write_file(const char *path, const char *text) {
    Err err;
    ASSERT_OK(file_write_whole(path, text, strlen(text), replace_any, &err), &err);
}

static void test_temporary_names(void **state) {
    (void)state;
    char *a = temporary_name("dir/x", "tmp"), *b = temporary_name("dir/x", "tmp");
    assert_string_not_equal(a, b);
    assert_int_equal(temporary_stem(a), strlen("dir/x"));
    static const struct {
        const char *name;
        size_t stem;
    } cases[] = {{"x.tmp-89abcdef-0123456789abcdef", 1},
                 {"x.old-89abcdef-0123456789abcdef", 1},
                 {"config.json.tmp-1", 0},
                 {"config.json.old-1", 0}, // may be a backup of someone's
                 {"x.tmp-", 0},
                 {"x.tmp-1x", 0},
                 {"x.tmp-12345678901", 0},
                 {".tmp-1", 0},
                 {".tmp-89abcdef-0123456789abcdef", 0},
                 {"x.tmp-89abcdeg-0123456789abcdef", 0},
                 {"x.tmp-89abcdef-0123456789abcde", 0},
                 {"x.bak-89abcdef-0123456789abcdef", 0},
                 {"0123456789abcdef", 0},
                 {"-1", 0},
                 {"", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (temporary_stem(cases[i].name) != cases[i].stem) fail_msg("\"%s\"", cases[i].name);
    mem_free(a);
    mem_free(b);
}

// Two writers of one name at the same time: each has its own half, the later commit stays.
static void test_temporary_two_writers(void **state) {
    (void)state;
    FileWriter *a, *b;
    Err err;
    ASSERT_OK(file_create(&a, "f", replace_any, &err), &err);
    ASSERT_OK(file_write(a, "one", 3, &err), &err);
    ASSERT_OK(file_create(&b, "f", replace_any, &err), &err); // sweeps, and leaves the one in use
    assert_int_equal(count(".", ".tmp-"), 2);
    ASSERT_OK(file_write(b, "two", 3, &err), &err);
    ASSERT_OK(file_commit(b, &err), &err);
    ASSERT_OK(file_commit(a, &err), &err);
    assert_int_equal(count(".", "f"), 1);
}

static bool is_f(const char *stem, const void *user) {
    (void)user;
    return strcmp(stem, "f") == 0;
}

// A child that is killed in the middle of a file and a folder.
static void kill_a_writer(void) {
    int ends[2];
    char ready;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        FileWriter *w;
        DirWriter *d;
        alarm(20); // where the parent fails, no child is left
        bool ok = file_create(&w, "f", NULL, NULL) == 0 && dir_create(&d, "d", NULL, NULL) == 0;
        char *inner = path_join(dir_path(d), "half");
        ok = ok && file_create(&w, inner, NULL, NULL) == 0 && write(ends[1], "x", 1) == 1;
        pause();
        _exit(ok);
    }
    assert_int_equal(read(ends[0], &ready, 1), 1);
    write_file("f", "while it lives"); // nothing of the living writer is swept
    assert_int_equal(count(".", "f.tmp-"), 1);
    assert_int_equal(unlink("f"), 0);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(ends[0]);
    close(ends[1]);
}

static void test_temporary_leftovers_of_a_kill_are_swept(void **state) {
    (void)state;
    kill_a_writer();
    assert_int_equal(count(".", ".tmp-"), 2);
    write_file("other", "x"); // another name: another's business
    assert_int_equal(count(".", ".tmp-"), 2);
    DirWriter *d;
    Err err;
    write_file("f", "again");
    ASSERT_OK(dir_create(&d, "d", NULL, &err), &err);
    ASSERT_OK(dir_commit(d, &err), &err);
    assert_int_equal(count(".", ".tmp-"), 0);
}

// Of another machine, which this kernel's locks say nothing about: after an hour.
static void test_temporary_of_another_machine(void **state) {
    (void)state;
#define OTHER "f.tmp-00000001-0123456789abcdef"
#define THIRD "f.tmp-00000002-0123456789abcdef"
    struct timespec old[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    put(OTHER, "half");
    put(THIRD, "half");
    assert_int_equal(symlink("target", "f.tmp-00000001-0123456789abcde0"), 0);
    put("target", "mine");
    temporary_sweep(&(Sweep){.dir = ".", .wants = is_f});
    assert_true(path_exists(OTHER) && path_exists(THIRD));
    assert_int_equal(utimensat(AT_FDCWD, OTHER, old, 0), 0);
    assert_int_equal(utimensat(AT_FDCWD, THIRD, old, 0), 0);
    int fd = open(OTHER, O_RDWR);
    assert_int_equal(flock(fd, LOCK_EX), 0); // in use all the same
    temporary_sweep(&(Sweep){.dir = ".", .wants = is_f});
    assert_true(path_exists(OTHER));
    assert_false(path_exists(THIRD));
    close(fd);
    temporary_sweep(&(Sweep){.dir = ".", .wants = is_f, .alone = true});
    assert_false(path_exists(OTHER));
    struct stat st;
    assert_int_equal(lstat("f.tmp-00000001-0123456789abcde0", &st), 0); // a link is none of ours
    assert_true(path_exists("target"));
}

// Between create and commit someone puts a file there.
static void test_temporary_does_not_replace_what_appears(void **state) {
    (void)state;
    FileWriter *w;
    DirWriter *d;
    Err err;
    static const char *const names[] = {"x", NULL};
    static const OwnFolder own = {replace_any, names};
    ASSERT_OK(file_create(&w, "f", NULL, &err), &err);
    put("f", "mine");
    ASSERT_REFUSED(file_commit(w, &err), &err, "f: already exists");
    ASSERT_OK(dir_create(&d, "d", &own, &err), &err);
    ASSERT_OK(dir_make_parents("d", &err), &err);
    put("d/mine", "mine");
    ASSERT_REFUSED(dir_commit(d, &err), &err, "d: holds mine, which lorac did not write");
    ASSERT_OK(dir_create(&d, "e", NULL, &err), &err);
    ASSERT_OK(dir_make_parents("e", &err), &err);
    ASSERT_REFUSED(dir_commit(d, &err), &err, "e: already exists");
    assert_true(path_exists("d/mine"));
    assert_int_equal(count(".", ".tmp-"), 0);
}

static void test_temporary_private_files_and_probe(void **state) {
    (void)state;
    FileWriter *w;
    Err err;
    struct stat st;
    mode_t mask = umask(0);
    ASSERT_OK(file_create_private(&w, "f", NULL, &err), &err);
    ASSERT_OK(file_commit(w, &err), &err);
    umask(mask);
    assert_int_equal(stat("f", &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    put(".probe", "mine"); // no name is taken from anyone
    ASSERT_OK(dir_probe(".", &err), &err);
    assert_true(path_exists(".probe"));
    assert_int_equal(count(".", ".probe"), 1);
    ASSERT_REFUSED(dir_probe("missing", &err), &err, "No such file or directory");
}

// A folder that another program put there by a known name is removed by its names, never deeper.
static void test_temporary_folder_remove_known(void **state) {
    (void)state;
    static const char *const names[] = {"a", "in/", "in/b", NULL};
    Err err;
    char *foreign = NULL;
    ASSERT_OK(dir_make_parents("d/in", &err), &err);
    put("d/a", "x");
    put("d/in/b", "x");
    put("d/in/b.tmp-00000001-0123456789abcdef", "x");
    assert_int_equal(symlink("b", "d/in/link"), 0);
    assert_int_equal(folder_remove_known("d", names, &foreign, &err), 1);
    assert_string_equal(foreign, "in/link");
    mem_free(foreign);
    assert_true(path_exists("d/a") && path_exists("d/in/b"));
    assert_int_equal(unlink("d/in/link"), 0);
    assert_int_equal(mkdir("d/in/b.d", 0777), 0);
    assert_int_equal(folder_remove_known("d", names, NULL, &err), 1);
    assert_int_equal(rmdir("d/in/b.d"), 0);
    assert_int_equal(folder_remove_known("d", names, NULL, &err), 0);
    assert_false(path_exists("d"));
}

TEST_MAIN(SCRATCH_TEST(test_temporary_names), SCRATCH_TEST(test_temporary_two_writers),
          SCRATCH_TEST(test_temporary_leftovers_of_a_kill_are_swept), SCRATCH_TEST(test_temporary_of_another_machine),
          SCRATCH_TEST(test_temporary_does_not_replace_what_appears),
          SCRATCH_TEST(test_temporary_private_files_and_probe), SCRATCH_TEST(test_temporary_folder_remove_known))

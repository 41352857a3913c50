// fileio: files and directories appear whole or not at all, whichever system call fails; bad paths are refused.
//
// The system calls that matter are wrapped by the linker (CMakeLists.txt): each counts, and one or all from the n-th on
// can be made to fail, so every failure point is visited in turn.
#include "fileio.h"
#include "hash.h"
#include "path.h"
#include "scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

// ---- fault injection ----

static struct {
    int calls;        // wrapped calls so far
    int fail_at;      // 0: never; n: the n-th call fails
    bool persistent;  // and all after it
    int error;        // with this errno
    bool short_write; // writes take half of what they are given
    bool interrupt;   // every other call fails with EINTR
    bool no_exchange; // renameat2 is not supported
} io;

static bool io_fails(void) {
    io.calls++;
    if (io.interrupt && io.calls % 2) {
        errno = EINTR;
        return true;
    }
    if (!io.fail_at || (io.persistent ? io.calls < io.fail_at : io.calls != io.fail_at)) return false;
    errno = io.error;
    return true;
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...) {
    va_list ap;
    va_start(ap, flags);
    mode_t mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    return io_fails() ? -1 : __real_open(path, flags, mode);
}

ssize_t __real_write(int fd, const void *data, size_t size);
ssize_t __wrap_write(int fd, const void *data, size_t size);
ssize_t __wrap_write(int fd, const void *data, size_t size) {
    if (io_fails()) return -1;
    return __real_write(fd, data, io.short_write && size > 1 ? size / 2 : size);
}

int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd) { // a failing close still closes, as on Linux
    bool fails = io_fails();
    int error = errno, rc = __real_close(fd);
    if (fails) errno = error;
    return fails ? -1 : rc;
}

#define WRAP(name, parameters, arguments)                                                                              \
    int __real_##name parameters;                                                                                      \
    int __wrap_##name parameters;                                                                                      \
    int __wrap_##name parameters { return io_fails() ? -1 : __real_##name arguments; }
WRAP(fsync, (int fd), (fd))
WRAP(mkdir, (const char *path, mode_t mode), (path, mode))
WRAP(rename, (const char *from, const char *to), (from, to))

int __real_renameat2(int fd, const char *from, int to_fd, const char *to, unsigned flags);
int __wrap_renameat2(int fd, const char *from, int to_fd, const char *to, unsigned flags);
int __wrap_renameat2(int fd, const char *from, int to_fd, const char *to, unsigned flags) {
    if (io.no_exchange) {
        errno = EINVAL;
        return -1;
    }
    return io_fails() ? -1 : __real_renameat2(fd, from, to_fd, to, flags);
}

static int set_up(void **state) {
    memset(&io, 0, sizeof io);
    return scratch_set_up(state);
}

static int tear_down(void **state) {
    memset(&io, 0, sizeof io);
    return scratch_tear_down(state);
}

static int entry_count(const char *path) {
    DIR *d = opendir(path);
    assert_non_null(d);
    int n = 0;
    for (struct dirent *e; (e = readdir(d));) n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(d);
    return n;
}

static bool holds(const char *path, const char *text) {
    char *data;
    size_t size;
    if (file_read(&data, &size, path, 1 << 20, NULL)) return false;
    bool same = size == strlen(text) && memcmp(data, text, size) == 0;
    mem_free(data);
    return same;
}

static void put(const char *path, const char *text) {
    Err err;
    ASSERT_OK(file_write_whole(path, text, strlen(text), replace_any, &err), &err);
}

// ---- files ----

// More than the writer's buffer, in pieces below and above its size.
static int write_big(const char *path, const uint8_t *big, size_t size, Err *err) {
    FileWriter *w;
    if (file_create(&w, path, replace_any, err)) return -1;
    size_t done = 0;
    for (size_t piece = 1; done < size; done += piece, piece = piece * 3 + 1) {
        if (piece > size - done) piece = size - done;
        if (file_write(w, big + done, piece, err)) {
            Err again;
            ASSERT_REFUSED(file_write(w, "x", 1, &again), &again, err->msg); // the first error stays
            return file_commit(w, err);
        }
    }
    return file_commit(w, err);
}

enum { BIG = 200001 };

static uint8_t *new_big(void) {
    uint8_t *big = mem_alloc(BIG + 1, 1);
    for (size_t i = 0; i < BIG; i++) big[i] = (uint8_t)('a' + i * i % 25);
    big[BIG] = 0;
    return big;
}

static void test_fileio_write_and_read_back(void **state) {
    (void)state;
    uint8_t *big = new_big();
    Err err;
    ASSERT_OK(write_big("f", big, BIG, &err), &err);
    assert_true(holds("f", (char *)big));
    ASSERT_OK(file_write_whole("f", "", 0, replace_any, &err), &err);
    assert_true(holds("f", ""));
    assert_int_equal(entry_count("."), 1);
    mem_free(big);
}

static void test_fileio_short_and_interrupted_calls_are_repeated(void **state) {
    (void)state;
    uint8_t *big = new_big();
    Err err;
    io.short_write = io.interrupt = true;
    ASSERT_OK(write_big("f", big, BIG, &err), &err);
    io.short_write = io.interrupt = false;
    assert_true(holds("f", (char *)big));
    mem_free(big);
}

// Each call in turn fails, once or for good. The file is the old one (or the new one, when only the last fsync of the
// directory failed), the temporary is gone, the message names file and reason.
static void sweep_file_failures(int error, bool persistent) {
    uint8_t *big = new_big();
    int n = 1;
    for (bool done = false; !done; n++) {
        Err err = {0};
        put("f", "old");
        io.calls = 0, io.fail_at = n, io.persistent = persistent, io.error = error;
        int rc = write_big("f", big, BIG, &err);
        done = io.calls < n;
        io.fail_at = 0;
        if (rc == 0) { // the wrapped calls that may fail without harm: closing a directory
            assert_true(holds("f", (char *)big));
        } else {
            assert_true(holds("f", "old") || holds("f", (char *)big));
            assert_int_equal(err.kind, ERR_RUNTIME);
            if (!strstr(err.msg, strerror(error))) fail_msg("call %d: \"%s\"", n, err.msg);
        }
        assert_int_equal(entry_count("."), 1);
    }
    assert_true(n > 8);
    mem_free(big);
}

static void test_fileio_every_failing_call_leaves_the_old_file(void **state) {
    (void)state;
    sweep_file_failures(EIO, false);
    sweep_file_failures(ENOSPC, true);
}

static void test_fileio_abandon_leaves_nothing(void **state) {
    (void)state;
    FileWriter *w;
    Err err;
    put("f", "old");
    ASSERT_OK(file_create(&w, "f", replace_any, &err), &err);
    ASSERT_OK(file_write(w, "new", 3, &err), &err);
    file_abandon(w);
    file_abandon(NULL);
    assert_true(holds("f", "old"));
    assert_int_equal(entry_count("."), 1);
}

static void test_fileio_writes_through_links(void **state) {
    (void)state;
    put("f", "old");
    assert_int_equal(symlink("f", "link"), 0);
    put("link", "new");
    assert_true(holds("f", "new"));
}

static void test_fileio_bad_targets_are_refused(void **state) {
    (void)state;
    FileWriter *w;
    Err err;
    assert_int_equal(mkdir("d", 0777), 0);
    assert_int_equal(mkfifo("fifo", 0666), 0);
    ASSERT_REFUSED(file_create(&w, "d", replace_any, &err), &err, "d: found a directory");
    ASSERT_REFUSED(file_create(&w, "fifo", replace_any, &err), &err, "fifo: found a pipe, socket or device");
    ASSERT_REFUSED(file_create(&w, "/dev/null", replace_any, &err), &err, "found a pipe, socket or device");
    ASSERT_REFUSED(file_create(&w, "missing/f", replace_any, &err), &err, "missing/f: cannot be created: No such file");
    ASSERT_REFUSED(file_create(&w, "d/../fifo/f", replace_any, &err), &err, "Not a directory");
    assert_int_equal(entry_count("."), 2);
}

static void test_fileio_bad_sources_are_refused(void **state) {
    (void)state;
    FileMap map;
    char *data;
    size_t size;
    Err err;
    assert_int_equal(mkdir("d", 0777), 0);
    assert_int_equal(mkfifo("fifo", 0666), 0);
    put("f", "12345");
    ASSERT_REFUSED(file_map(&map, "missing", &err), &err, "missing: cannot be opened: No such file");
    assert_int_equal(err.kind, ERR_INPUT);
    ASSERT_REFUSED(file_map(&map, "d", &err), &err, "d: found a directory; expected a regular file");
    ASSERT_REFUSED(file_map(&map, "fifo", &err), &err, "fifo: found a pipe");
    ASSERT_REFUSED(file_read(&data, &size, "fifo", 10, &err), &err, "fifo: found a pipe");
    ASSERT_REFUSED(file_read(&data, &size, "f", 4, &err), &err, "f: 5 bytes long; expected at most 4");
    ASSERT_REFUSED(file_read(&data, &size, "/proc/self/status", 10, &err), &err, "larger than 10 bytes");
    ASSERT_OK(file_read(&data, &size, "f", 5, &err), &err);
    assert_int_equal(size, 5);
    assert_string_equal(data, "12345");
    mem_free(data);
}

// ---- maps ----

static void test_fileio_map_shows_the_file(void **state) {
    (void)state;
    FileMap map, empty;
    Err err;
    uint8_t *big = new_big();
    ASSERT_OK(write_big("f", big, BIG, &err), &err);
    put("empty", "");
    ASSERT_OK(file_map(&map, "f", &err), &err);
    ASSERT_OK(file_map(&empty, "empty", &err), &err);
    assert_int_equal(map.size, BIG);
    assert_string_equal(map.path, "f");
    assert_non_null(empty.data);
    assert_int_equal(empty.size, 0);
    assert_memory_equal(map.data, big, BIG);
    file_map_drop(&map, 5000, 10000);
    file_map_drop(&map, 5000, SIZE_MAX);
    file_map_drop(&map, SIZE_MAX, 1);
    assert_memory_equal(map.data, big, BIG);
    file_unmap(&map);
    file_unmap(&map);
    file_unmap(&empty);
    mem_free(big);
}

// Maps, truncates, reads: the handler must end the process with one line and status 1. A program of its own (this one
// with an argument), because cmocka replaces signal handlers.
static int read_truncated_map(void) {
    FileMap first, map;
    file_map(&first, "first", NULL); // the handler must name the right one of several
    file_map(&map, "big\n", NULL);
    file_unmap(&first);
    if (truncate("big\n", 0) != 0) return 99;
    volatile uint8_t sink = map.data[100000];
    (void)sink;
    return 98;
}

static void test_fileio_truncation_under_a_map_ends_with_one_line(void **state) {
    (void)state;
    int ends[2], status;
    char text[256] = {0};
    Err err;
    uint8_t *big = new_big();
    put("first", "1");
    ASSERT_OK(write_big("big\n", big, BIG, &err), &err);
    mem_free(big);
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        execl("/proc/self/exe", "test_fileio", "read-truncated-map", (char *)NULL);
        _exit(97);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), EXIT_RUNTIME);
    assert_true(read(ends[0], text, sizeof text - 1) > 0);
    assert_string_equal(text, "lorac: big?: the file became shorter while it was in use, or its disk failed\n");
    close(ends[0]);
    close(ends[1]);
}

// ---- directories ----

static const char *const names[] = {"file", NULL};
static const OwnFolder own = {replace_any, names};

static int write_dir(const char *path, const char *text, Err *err) {
    DirWriter *w;
    if (dir_create(&w, path, &own, err)) return -1;
    char *file = path_join(dir_path(w), "file");
    int rc = file_write_whole(file, text, strlen(text), NULL, err);
    mem_free(file);
    if (rc == 0) return dir_commit(w, err);
    dir_abandon(w);
    return -1;
}

static void test_fileio_directory_is_replaced_whole(void **state) {
    (void)state;
    Err err;
    for (int i = 0; i < 2; i++) {
        io.no_exchange = i;
        ASSERT_OK(write_dir("d/", "one", &err), &err);
        assert_true(holds("d/file", "one"));
        put("d/mine", "x");
        ASSERT_REFUSED(write_dir("d", "two", &err), &err, "d: holds mine, which lorac did not write");
        assert_true(holds("d/file", "one") && holds("d/mine", "x"));
        assert_int_equal(unlink("d/mine"), 0);
        ASSERT_OK(write_dir("d", "two", &err), &err);
        assert_true(holds("d/file", "two"));
        assert_int_equal(entry_count("d"), 1);
        assert_int_equal(entry_count("."), 1);
    }
    assert_int_equal(symlink("d", "link"), 0);
    ASSERT_OK(write_dir("link", "three", &err), &err);
    assert_true(holds("d/file", "three"));
    assert_int_equal(entry_count("."), 2);
    put("plain", "x");
    ASSERT_REFUSED(write_dir("plain", "y", &err), &err, "plain: found a file; expected a directory");
}

static void sweep_dir_failures(bool no_exchange) {
    Err err;
    int n = 1;
    io.no_exchange = no_exchange;
    for (bool done = false; !done; n++) {
        ASSERT_OK(write_dir("d", "old", &err), &err);
        io.calls = 0, io.fail_at = n, io.error = EIO;
        int rc = write_dir("d", "new", &err);
        done = io.calls < n;
        io.fail_at = 0;
        assert_true(holds("d/file", "new") || (rc && holds("d/file", "old")));
        assert_int_equal(entry_count("."), 1);
    }
    assert_true(n > 12);
}

static void test_fileio_every_failing_call_leaves_a_whole_directory(void **state) {
    (void)state;
    sweep_dir_failures(false);
    sweep_dir_failures(true);
}

static void test_fileio_make_parents_and_remove(void **state) {
    (void)state;
    Err err;
    ASSERT_OK(dir_make_parents("a//b/c/", &err), &err);
    ASSERT_OK(dir_make_parents("a/b/c", &err), &err);
    assert_true(path_is_dir("a/b/c"));
    put("a/b/f", "x");
    put("kept", "x");
    assert_int_equal(symlink("../../kept", "a/b/link"), 0);
    ASSERT_REFUSED(dir_make_parents("a/b/f/g", &err), &err, "a/b/f: found a file; expected a folder");
    ASSERT_REFUSED(dir_remove("kept", &err), &err, "kept: found no directory");
    ASSERT_OK(dir_remove("a", &err), &err);
    ASSERT_OK(dir_remove("a", &err), &err);
    assert_false(path_exists("a"));
    assert_true(path_exists("kept"));
}

// The error of the call that failed, not of the question asked after it.
static void test_fileio_make_parents_says_why(void **state) {
    (void)state;
    Err err;
    io.fail_at = 1, io.persistent = true, io.error = EROFS;
    ASSERT_REFUSED(dir_make_parents("home/.cache", &err), &err, "home: cannot be created: Read-only file system");
}

static void assert_path(char *got, const char *want) {
    assert_string_equal(got, want);
    mem_free(got);
}

static void test_fileio_paths(void **state) {
    char want[256];
    assert_path(path_join("a", "b"), "a/b");
    assert_path(path_join("a/", "b"), "a/b");
    assert_path(path_join("", "b"), "b");
    assert_path(path_join("a", "/b"), "/b");
    assert_path(path_absolute("/no/such/file"), "/no/such/file");
    snprintf(want, sizeof want, "%s/none", (char *)*state);
    assert_path(path_absolute("none"), want);
    put("f", "");
    assert_int_equal(symlink("f", "link"), 0);
    snprintf(want, sizeof want, "%s/f", (char *)*state);
    assert_path(path_absolute("./link"), want);
    assert_int_equal(mkdir("folder", 0755), 0);
    assert_int_equal(symlink("folder", "way"), 0);
    snprintf(want, sizeof want, "%s/folder/a/c", (char *)*state);
    static const char *const same[] = {"folder/a/c", "./folder//a/./c/", "way/a/c", "none/../way/a/b/../c",
                                       "folder/a/b/../../../way/a/c"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) assert_path(path_absolute(same[i]), want);
    assert_path(path_absolute("/../../no/../such/"), "/such");
    assert_path(path_absolute("/"), "/");
}

// ---- hashes ----

static void test_fileio_hashes(void **state) {
    (void)state;
    char hex[33], of_file[33], sampled[33], before[33];
    Err err;
    hash_bytes(hex, "", 0);
    assert_string_equal(hex, "99aa06d3014798d86001c324468d497f"); // xxhsum -H2 of nothing
    hash_bytes(hex, "lorac", 5);
    put("f", "lorac");
    ASSERT_OK(hash_file(of_file, "f", &err), &err);
    assert_string_equal(of_file, hex);
    size_t size = 6 << 20;
    uint8_t *big = mem_calloc(size, 1);
    ASSERT_OK(file_write_whole("f", big, size, replace_any, &err), &err);
    ASSERT_OK(hash_file_sampled(before, "f", &err), &err);
    size_t seen[] = {0, 65535, 65536, size / 2, size - 65537, size - 1};
    for (size_t i = 0; i < sizeof seen / sizeof *seen; i++) {
        big[seen[i]] ^= 1;
        ASSERT_OK(file_write_whole("f", big, size, replace_any, &err), &err);
        ASSERT_OK(hash_file(of_file, "f", &err), &err);
        hash_bytes(hex, big, size);
        assert_string_equal(of_file, hex);
        ASSERT_OK(hash_file_sampled(sampled, "f", &err), &err);
        if (i != 3) assert_string_not_equal(sampled, before); // the middle may fall between two blocks
        big[seen[i]] ^= 1;
    }
    ASSERT_OK(file_write_whole("f", big, size - 1, replace_any, &err), &err);
    ASSERT_OK(hash_file_sampled(sampled, "f", &err), &err);
    assert_string_not_equal(sampled, before);
    ASSERT_REFUSED(hash_file(hex, "missing", &err), &err, "missing: cannot be opened");
    mem_free(big);
}

#define FILE_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
static int run_all(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "read-truncated-map") == 0) return read_truncated_map();
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {FILE_TEST(test_fileio_write_and_read_back),
                                       FILE_TEST(test_fileio_short_and_interrupted_calls_are_repeated),
                                       FILE_TEST(test_fileio_every_failing_call_leaves_the_old_file),
                                       FILE_TEST(test_fileio_abandon_leaves_nothing),
                                       FILE_TEST(test_fileio_writes_through_links),
                                       FILE_TEST(test_fileio_bad_targets_are_refused),
                                       FILE_TEST(test_fileio_bad_sources_are_refused),
                                       FILE_TEST(test_fileio_map_shows_the_file),
                                       FILE_TEST(test_fileio_truncation_under_a_map_ends_with_one_line),
                                       FILE_TEST(test_fileio_directory_is_replaced_whole),
                                       FILE_TEST(test_fileio_every_failing_call_leaves_a_whole_directory),
                                       FILE_TEST(test_fileio_make_parents_and_remove),
                                       FILE_TEST(test_fileio_make_parents_says_why),
                                       FILE_TEST(test_fileio_paths),
                                       FILE_TEST(test_fileio_hashes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

TEST_FILE(run_all)

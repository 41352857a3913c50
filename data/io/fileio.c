// fileio: reading. Maps of whole files, guarded against truncation, and files read into memory.
#include "fileio.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

// ---- SIGBUS: a mapped file that shrinks ----

// One entry per live map, for the signal handler. The handler may run at any moment, so entries are only appended,
// never freed; the entry of an unmapped file (begin 0) is reused. The only mutable global of data/: a signal handler
// has no other way to find its data.
typedef struct Guard {
    struct Guard *next;
    _Atomic uintptr_t begin, end; // 0, 0: free
    char *_Atomic line;           // what to print
} Guard;

static Guard *_Atomic g_guards;
static pthread_mutex_t g_guards_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t g_sigbus_once = PTHREAD_ONCE_INIT;
static struct sigaction g_sigbus_before;

// Several threads may read the missing part at once: the first one ends the process.
static void end_with_line(const char *line) {
    static atomic_flag ending = ATOMIC_FLAG_INIT;
    while (atomic_flag_test_and_set(&ending)) pause();
    ssize_t ignored = write(STDERR_FILENO, line, strlen(line));
    (void)ignored;
    _exit(EXIT_RUNTIME);
}

static void on_sigbus(int signal, siginfo_t *info, void *context) {
    uintptr_t at = (uintptr_t)info->si_addr;
    for (Guard *g = atomic_load(&g_guards); g; g = g->next) {
        if (at < atomic_load(&g->begin) || at >= atomic_load(&g->end)) continue;
        end_with_line(atomic_load(&g->line));
    }
    sigaction(signal, &g_sigbus_before, NULL); // no map of ours: the access repeats and reaches the former handler
}

static void install_sigbus_handler(void) {
    struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    CHECK(sigaction(SIGBUS, &action, &g_sigbus_before) == 0);
}

static Guard *free_guard(void) {
    for (Guard *g = atomic_load(&g_guards); g; g = g->next)
        if (!atomic_load(&g->begin)) return g;
    Guard *g = mem_calloc(1, sizeof *g);
    g->next = atomic_load(&g_guards);
    atomic_store(&g_guards, g);
    return g;
}

static void guard_map(const FileMap *map) {
    pthread_once(&g_sigbus_once, install_sigbus_handler);
    Err line; // formatted through Err, which replaces control characters
    err_runtime(&line, "lorac: %s: the file became shorter while it was in use, or its disk failed", map->path);
    pthread_mutex_lock(&g_guards_lock);
    Guard *g = free_guard();
    atomic_store(&g->line, mem_printf("%s\n", line.msg));
    atomic_store(&g->end, (uintptr_t)map->data + map->size);
    atomic_store(&g->begin, (uintptr_t)map->data);
    pthread_mutex_unlock(&g_guards_lock);
}

static void unguard_map(const FileMap *map) {
    pthread_mutex_lock(&g_guards_lock);
    for (Guard *g = atomic_load(&g_guards); g; g = g->next) {
        if (atomic_load(&g->begin) != (uintptr_t)map->data) continue;
        atomic_store(&g->begin, 0);
        atomic_store(&g->end, 0);
        mem_free(atomic_load(&g->line));
        atomic_store(&g->line, NULL);
    }
    pthread_mutex_unlock(&g_guards_lock);
}

// ---- opening ----

// A FIFO without a writer would block open() forever, hence O_NONBLOCK; it has no effect on regular files.
static int open_regular(const char *path, struct stat *st, Err *err) {
    int fd = TEMP_FAILURE_RETRY(open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (fd < 0) return err_input(err, "%s: cannot be opened: %s", path, strerror(errno));
    if (fstat(fd, st) != 0)
        err_runtime(err, "%s: cannot be examined: %s", path, strerror(errno));
    else if (!S_ISREG(st->st_mode))
        err_input(err, "%s: found %s; expected a regular file", path,
                  S_ISDIR(st->st_mode) ? "a directory" : "a pipe, socket or device");
    else
        return fd;
    close(fd);
    return -1;
}

static int64_t nanoseconds(struct timespec t) { return t.tv_sec * INT64_C(1000000000) + t.tv_nsec; }

int file_map(FileMap *map, const char *path, Err *err) {
    struct stat st;
    *map = (FileMap){0};
    int fd = open_regular(path, &st, err);
    if (fd < 0) return -1;
    const void *data = "";
    if (st.st_size > 0) data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    int why = errno;
    close(fd);
    if (data == MAP_FAILED) return err_runtime(err, "%s: cannot be mapped: %s", path, strerror(why));
    *map = (FileMap){
        .data = data, .size = (size_t)st.st_size, .path = mem_strdup(path), .mtime_ns = nanoseconds(st.st_mtim)};
    if (map->size) guard_map(map);
    return 0;
}

void file_unmap(FileMap *map) {
    if (map->size) {
        unguard_map(map);
        CHECK(munmap((void *)map->data, map->size) == 0);
    }
    mem_free(map->path);
    *map = (FileMap){0};
}

void file_map_drop(const FileMap *map, size_t offset, size_t size) {
    if (offset >= map->size) return;
    if (size > map->size - offset) size = map->size - offset;
    file_pages_drop(map->data + offset, size);
}

void file_pages_drop(const void *data, size_t size) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), before = (uintptr_t)data & (page - 1);
    madvise((char *)data - before, size + before, MADV_DONTNEED); // advice: a failure costs only memory
}

int file_read(char **data, size_t *size, const char *path, size_t max_size, Err *err) {
    enum { STEP = 1 << 16 };
    struct stat st = {0};
    AUTO_STR StrBuf text = {0};
    *data = NULL;
    *size = 0;
    AUTO_FD int fd = open_regular(path, &st, err);
    if (fd < 0) return -1;
    if ((size_t)st.st_size > max_size)
        return err_input(err, "%s: %ld bytes long; expected at most %zu", path, st.st_size, max_size);
    for (ssize_t n = 1; n; text.len += (size_t)n) { // to the end: files under /proc and /sys have an st_size of 0
        MEM_GROW(text.data, text.capacity, text.len + STEP + 1);
        n = TEMP_FAILURE_RETRY(read(fd, text.data + text.len, text.capacity - text.len - 1));
        if (n < 0) return err_runtime(err, "%s: cannot be read: %s", path, strerror(errno));
        if (text.len + (size_t)n > max_size)
            return err_input(err, "%s: larger than %zu bytes; expected at most that", path, max_size);
    }
    text.data[text.len] = 0;
    *size = text.len;
    *data = mem_take(&text.data);
    return 0;
}

// ---- stamps ----

bool file_stamp_read(FileStamp *s, const char *path) {
    struct stat st;
    *s = (FileStamp){0};
    if (stat(path, &st) != 0) return false;
    *s = (FileStamp){st.st_dev, st.st_ino, st.st_size, nanoseconds(st.st_mtim), nanoseconds(st.st_ctim)};
    return true;
}

static int changed(const char *path, const char *what, Err *err) {
    return err_runtime(err,
                       "%s: the file was changed while it was in use (%s); nothing is written from it; expected it to "
                       "stay as it is until the end",
                       path, what);
}

int file_stamp_check(const FileStamp *s, const char *path, Err *err) {
    FileStamp now;
    if (!file_stamp_read(&now, path) && !file_stamp_read(&now, path)) return changed(path, strerror(errno), err);
    if (now.device != s->device || now.inode != s->inode) return changed(path, "another file is there now", err);
    if (now.size != s->size) {
        char what[80];
        snprintf(what, sizeof what, "%ld bytes, was %ld", now.size, s->size);
        return changed(path, what, err);
    }
    if (now.mtime_ns != s->mtime_ns) return changed(path, "it has another time of modification", err);
    if (now.ctime_ns != s->ctime_ns) return changed(path, "it has another time of change", err);
    return 0;
}

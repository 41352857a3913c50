// inject: faults for a program under test, loaded by LD_PRELOAD. The INJECT_AT-th call (from 1) of the functions that
// INJECT_CALLS names goes wrong:
//   INJECT_CALLS=open,read,...   functions by their names below; "io": all but malloc
//   INJECT_ERROR=number          it fails with this errno (default EIO)
//   INJECT_KEEP=1                and so do all later ones
//   INJECT_SHORT=1               read, pread and write do half, other calls do all
//   INJECT_SIGNAL=number         the process gets this signal there, before the call is made (9: kill -9)
//   INJECT_PATH=part             only calls whose path, or whose descriptor's path, has this part
//   INJECT_COUNT=file            the number of such calls is written there at the end
// Standard input, output and error are left alone unless INJECT_PATH names them.
// openat, fopen, opendir and the like count as open; fflush and dprintf as write, fclose as close, remove as unlink,
// lstat, fstat and readlink as stat; calloc, realloc, aligned allocations and mmap without a file as
// malloc.
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *g_calls, *g_path, *g_count;
static bool g_keep, g_short, g_ready;
static int g_error, g_signal;
static long g_at;
static atomic_long g_seen;

static long number(const char *name, long otherwise) {
    const char *s = getenv(name);
    return s ? atol(s) : otherwise;
}

__attribute__((constructor)) static void start(void) {
    g_calls = getenv("INJECT_CALLS");
    g_path = getenv("INJECT_PATH");
    g_count = getenv("INJECT_COUNT");
    g_at = number("INJECT_AT", 0);
    g_keep = number("INJECT_KEEP", 0);
    g_short = number("INJECT_SHORT", 0);
    g_error = (int)number("INJECT_ERROR", EIO);
    g_signal = (int)number("INJECT_SIGNAL", 0);
    g_ready = g_calls != NULL;
}

// By system calls, so that nothing of this is counted.
__attribute__((destructor)) static void finish(void) {
    char text[32];
    if (!g_count) return;
    long fd = syscall(SYS_openat, AT_FDCWD, g_count, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    syscall(SYS_write, fd, text, snprintf(text, sizeof text, "%ld\n", atomic_load(&g_seen)));
    syscall(SYS_close, fd);
}

static bool is_named(const char *name) {
    size_t n = strlen(name);
    if (strcmp(g_calls, "io") == 0) return strcmp(name, "malloc") != 0;
    for (const char *at = g_calls; (at = strstr(at, name)); at += n)
        if ((at == g_calls || at[-1] == ',') && (at[n] == ',' || at[n] == 0)) return true;
    return false;
}

// Whether this call is the one. A signal that the program survives lets the call be made.
static bool is_hit(const char *name) {
    if (!g_ready || !is_named(name)) return false;
    long n = atomic_fetch_add(&g_seen, 1) + 1;
    if (!g_at || !(n == g_at || (g_keep && n > g_at))) return false;
    if (!g_signal) return true;
    kill(getpid(), g_signal);
    return false;
}

static bool on_path(const char *name, const char *path) { return (!g_path || strstr(path, g_path)) && is_hit(name); }

static bool on_file(const char *name, int fd) {
    char link[64], path[4096];
    if (!g_ready || fd < 0 || (!g_path && fd <= 2)) return false;
    if (!g_path) return is_hit(name);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    long n = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    if (n < 0) return false;
    path[n] = 0;
    return on_path(name, path);
}

// Each library's own symbol is looked up once; a race finds the same one twice.
#define NEXT(function)                                                                                                 \
    static __typeof__(&function) next;                                                                                 \
    if (!next) *(void **)&next = dlsym(RTLD_NEXT, #function)
#define FAIL(value)                                                                                                    \
    do {                                                                                                               \
        errno = g_error;                                                                                               \
        return value;                                                                                                  \
    } while (0)

static size_t half(size_t n) { return n > 1 ? n / 2 : n; }

static bool no_memory(void) {
    if (!is_hit("malloc") || g_short) return false;
    errno = ENOMEM;
    return true;
}

// ---- descriptors ----

ssize_t write(int fd, const void *data, size_t n) {
    NEXT(write);
    if (!on_file("write", fd)) return next(fd, data, n);
    if (g_short) return next(fd, data, half(n));
    FAIL(-1);
}

ssize_t read(int fd, void *data, size_t n) {
    NEXT(read);
    if (!on_file("read", fd)) return next(fd, data, n);
    if (g_short) return next(fd, data, half(n));
    FAIL(-1);
}

ssize_t pread(int fd, void *data, size_t n, off_t offset) {
    NEXT(pread);
    if (!on_file("pread", fd)) return next(fd, data, n, offset);
    if (g_short) return next(fd, data, half(n), offset);
    FAIL(-1);
}

// What a program built with _FORTIFY_SOURCE calls in their place.
ssize_t __read_chk(int fd, void *data, size_t n, size_t size);
ssize_t __read_chk(int fd, void *data, size_t n, size_t size) {
    if (n > size) abort();
    return read(fd, data, n);
}

ssize_t __pread_chk(int fd, void *data, size_t n, off_t offset, size_t size);
ssize_t __pread_chk(int fd, void *data, size_t n, off_t offset, size_t size) {
    if (n > size) abort();
    return pread(fd, data, n, offset);
}

int fsync(int fd) {
    NEXT(fsync);
    if (on_file("fsync", fd) && !g_short) FAIL(-1);
    return next(fd);
}

int close(int fd) {
    NEXT(close);
    bool fails = on_file("close", fd) && !g_short;
    int rc = next(fd);
    if (fails) FAIL(-1);
    return rc;
}

int ftruncate(int fd, off_t size) {
    NEXT(ftruncate);
    if (on_file("ftruncate", fd) && !g_short) FAIL(-1);
    return next(fd, size);
}

int flock(int fd, int operation) {
    NEXT(flock);
    if (on_file("flock", fd) && !g_short) FAIL(-1);
    return next(fd, operation);
}

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset) {
    NEXT(mmap);
    if (fd < 0 && no_memory()) return MAP_FAILED;
    if (fd >= 0 && on_file("mmap", fd) && !g_short) FAIL(MAP_FAILED);
    return next(at, size, protection, flags, fd, offset);
}

int fflush(FILE *file) {
    NEXT(fflush);
    if (file && on_file("write", fileno(file)) && !g_short) FAIL(EOF);
    return next(file);
}

int dprintf(int fd, const char *format, ...) {
    if (on_file("write", fd) && !g_short) FAIL(-1);
    va_list args;
    va_start(args, format);
    int n = vdprintf(fd, format, args);
    va_end(args);
    return n;
}

int __dprintf_chk(int fd, int flag, const char *format, ...);
int __dprintf_chk(int fd, int flag, const char *format, ...) {
    (void)flag;
    if (on_file("write", fd) && !g_short) FAIL(-1);
    va_list args;
    va_start(args, format);
    int n = vdprintf(fd, format, args);
    va_end(args);
    return n;
}

int fclose(FILE *file) {
    NEXT(fclose);
    bool fails = on_file("close", fileno(file)) && !g_short;
    int rc = next(file);
    if (fails) FAIL(EOF);
    return rc;
}

int fstat(int fd, struct stat *st) {
    NEXT(fstat);
    if (on_file("stat", fd) && !g_short) FAIL(-1);
    return next(fd, st);
}

// ---- paths ----

static mode_t mode_of(int flags, va_list args) { return flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0; }

int open(const char *path, int flags, ...) {
    NEXT(open);
    va_list args;
    va_start(args, flags);
    mode_t mode = mode_of(flags, args);
    va_end(args);
    if (on_path("open", path) && !g_short) FAIL(-1);
    return next(path, flags, mode);
}

int openat(int dir, const char *path, int flags, ...) {
    NEXT(openat);
    va_list args;
    va_start(args, flags);
    mode_t mode = mode_of(flags, args);
    va_end(args);
    if (on_path("open", path) && !g_short) FAIL(-1);
    return next(dir, path, flags, mode);
}

int __open_2(const char *path, int flags);
int __open_2(const char *path, int flags) { return open(path, flags); }

int __openat_2(int dir, const char *path, int flags);
int __openat_2(int dir, const char *path, int flags) { return openat(dir, path, flags); }

FILE *fopen(const char *path, const char *mode) {
    NEXT(fopen);
    if (on_path("open", path) && !g_short) FAIL(NULL);
    return next(path, mode);
}

DIR *opendir(const char *path) {
    NEXT(opendir);
    if (on_path("open", path) && !g_short) FAIL(NULL);
    return next(path);
}

int scandir(const char *path, struct dirent ***list, int (*keep)(const struct dirent *),
            int (*compare)(const struct dirent **, const struct dirent **)) {
    NEXT(scandir);
    if (on_path("open", path) && !g_short) FAIL(-1);
    return next(path, list, keep, compare);
}

int stat(const char *path, struct stat *st) {
    NEXT(stat);
    if (on_path("stat", path) && !g_short) FAIL(-1);
    return next(path, st);
}

int lstat(const char *path, struct stat *st) {
    NEXT(lstat);
    if (on_path("stat", path) && !g_short) FAIL(-1);
    return next(path, st);
}

ssize_t readlink(const char *path, char *to, size_t size) {
    NEXT(readlink);
    if (on_path("stat", path) && !g_short) FAIL(-1);
    return next(path, to, size);
}

int rename(const char *from, const char *to) {
    NEXT(rename);
    if (on_path("rename", to) && !g_short) FAIL(-1);
    return next(from, to);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
    NEXT(renameat2);
    if (on_path("renameat2", to) && !g_short) FAIL(-1);
    return next(from_dir, from, to_dir, to, flags);
}

int mkdir(const char *path, mode_t mode) {
    NEXT(mkdir);
    if (on_path("mkdir", path) && !g_short) FAIL(-1);
    return next(path, mode);
}

int unlink(const char *path) {
    NEXT(unlink);
    if (on_path("unlink", path) && !g_short) FAIL(-1);
    return next(path);
}

int unlinkat(int dir, const char *path, int flags) {
    NEXT(unlinkat);
    if (on_path("unlink", path) && !g_short) FAIL(-1);
    return next(dir, path, flags);
}

int remove(const char *path) {
    NEXT(remove);
    if (on_path("unlink", path) && !g_short) FAIL(-1);
    return next(path);
}

int rmdir(const char *path) {
    NEXT(rmdir);
    if (on_path("rmdir", path) && !g_short) FAIL(-1);
    return next(path);
}

// A program built for large files calls these names for the same functions.
int open64(const char *path, int flags, ...) __attribute__((alias("open")));
int openat64(int dir, const char *path, int flags, ...) __attribute__((alias("openat")));
FILE *fopen64(const char *path, const char *mode) __attribute__((alias("fopen")));
void *mmap64(void *at, size_t n, int prot, int flags, int fd, off_t offset) __attribute__((alias("mmap")));
ssize_t pread64(int fd, void *data, size_t n, off_t offset) __attribute__((alias("pread")));
int ftruncate64(int fd, off_t size) __attribute__((alias("ftruncate")));
int __open64_2(const char *path, int flags) __attribute__((alias("__open_2")));
int __openat64_2(int dir, const char *path, int flags) __attribute__((alias("__openat_2")));

// ---- memory: glibc's own allocator under its other names, which needs no look-up ----

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *old, size_t n);
extern void *__libc_memalign(size_t alignment, size_t n);

void *malloc(size_t n) { return no_memory() ? NULL : __libc_malloc(n); }

void *calloc(size_t n, size_t size) { return no_memory() ? NULL : __libc_calloc(n, size); }

void *realloc(void *old, size_t n) { return no_memory() ? NULL : __libc_realloc(old, n); }

void *aligned_alloc(size_t alignment, size_t n) { return no_memory() ? NULL : __libc_memalign(alignment, n); }

void *memalign(size_t alignment, size_t n) { return no_memory() ? NULL : __libc_memalign(alignment, n); }

int posix_memalign(void **out, size_t alignment, size_t n) {
    if (no_memory()) return ENOMEM;
    *out = __libc_memalign(alignment, n);
    return *out ? 0 : ENOMEM;
}

// base: errors, checks, counted memory, byte strings, clock.
#include "base.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "say.h"

void clean_line(char *s) {
    size_t n;
    bool safe;
    for (size_t at = 0, len = strlen(s); at < len; at += n) {
        n = say_character(s + at, len - at, &safe);
        if (!safe || s[at] == '\n' || s[at] == '\t') memset(s + at, '?', n);
    }
}

static int err_fill(Err *err, ErrKind kind, const char *fmt, va_list ap) {
    if (!err) return -1;
    err->kind = kind;
    vsnprintf(err->msg, sizeof err->msg, fmt, ap);
    clean_line(err->msg);
    return -1;
}

#define ERR_FUNCTION(name, kind)                                                                                       \
    int name(Err *err, const char *fmt, ...) {                                                                         \
        va_list ap;                                                                                                    \
        va_start(ap, fmt);                                                                                             \
        err_fill(err, kind, fmt, ap);                                                                                  \
        va_end(ap);                                                                                                    \
        return -1;                                                                                                     \
    }
ERR_FUNCTION(err_input, ERR_INPUT)
ERR_FUNCTION(err_runtime, ERR_RUNTIME)
ERR_FUNCTION(err_no_fit, ERR_NO_FIT)

int err_exit_status(ErrKind kind) {
    static const int statuses[ERR_KINDS] = {0, EXIT_RUNTIME, EXIT_INPUT, EXIT_NO_FIT, EXIT_RUNTIME};
    CHECK(kind < ERR_KINDS, "error kind %d", (int)kind);
    return statuses[kind];
}

ErrKind err_kind_of_status(int status) {
    return status == EXIT_INPUT ? ERR_INPUT : status == EXIT_NO_FIT ? ERR_NO_FIT : ERR_RUNTIME;
}

int err_context(Err *err, const char *fmt, ...) {
    if (!err) return -1;
    char prefix[sizeof err->msg], old[sizeof err->msg];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(prefix, sizeof prefix, fmt, ap);
    va_end(ap);
    memcpy(old, err->msg, sizeof old);
    clean_line(prefix);
    if (*prefix && starts_with(old, prefix) && starts_with(old + strlen(prefix), ": ")) return -1; // already in front
    int n = snprintf(err->msg, sizeof err->msg, "%s: ", prefix);
    if (n >= 0 && (size_t)n < sizeof err->msg) {
        size_t room = sizeof err->msg - (size_t)n - 1, len = strlen(old);
        if (len > room) len = room;
        memcpy(err->msg + n, old, len);
        err->msg[(size_t)n + len] = 0;
    }
    clean_line(err->msg);
    return -1;
}

// Set while there are no other threads that print.
static char g_prefix[80]; // "[rank 2] "
static bool g_quiet;

void log_as(const char *prefix, bool quiet) {
    snprintf(g_prefix, sizeof g_prefix, "%s", prefix);
    clean_line(g_prefix);
    g_quiet = quiet;
}

void check_failed(const char *file, int line, const char *cond, const char *fmt, ...) {
    fprintf(stderr, "%slorac: internal fault at %s:%d: %s", g_prefix, file, line, cond);
    va_list ap;
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    abort();
}

static atomic_uint_fast64_t g_mem_calls; // a statistic only; nothing depends on its value

static size_t checked_bytes(size_t count, size_t size) {
    size_t bytes;
    CHECK(size_mul(count, size, &bytes), "allocation of %zu elements of %zu bytes", count, size);
    atomic_fetch_add_explicit(&g_mem_calls, 1, memory_order_relaxed);
    return bytes ? bytes : 1;
}

void fatal(const char *fmt, ...) {
    static atomic_flag ending = ATOMIC_FLAG_INIT;
    while (atomic_flag_test_and_set(&ending)) pause(); // another thread prints its line and ends the process
    char line[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    fprintf(stderr, "%slorac: %s\n", g_prefix, line);
    _Exit(EXIT_RUNTIME);
}

void mem_exhausted(size_t bytes) {
    if (bytes) fatal("out of memory: %zu more bytes were asked for", bytes);
    fatal("out of memory");
}

static void *or_out_of_memory(void *p, size_t bytes) {
    if (!p) mem_exhausted(bytes);
    return p;
}

void *mem_checked(void *p) { return or_out_of_memory(p, 0); }

void *mem_alloc(size_t count, size_t size) {
    size_t bytes = checked_bytes(count, size);
    return or_out_of_memory(malloc(bytes), bytes);
}

void *mem_calloc(size_t count, size_t size) {
    size_t bytes = checked_bytes(count, size);
    return or_out_of_memory(calloc(1, bytes), bytes);
}

void *mem_realloc(void *p, size_t count, size_t size) {
    size_t bytes = checked_bytes(count, size);
    return or_out_of_memory(realloc(p, bytes), bytes);
}

void mem_free(void *p) { free(p); }

char *mem_strndup(const char *s, size_t n) {
    CHECK(n < SIZE_MAX);
    char *copy = mem_alloc(n + 1, 1);
    if (n) memcpy(copy, s, n);
    copy[n] = 0;
    return copy;
}

char *mem_strdup(const char *s) { return mem_strndup(s, strlen(s)); }

uint64_t mem_call_count(void) { return atomic_load_explicit(&g_mem_calls, memory_order_relaxed); }

size_t mem_grown_capacity(size_t capacity, size_t need) {
    size_t grown = capacity < 16 ? 16 : capacity;
    while (grown < need) {
        CHECK(grown <= SIZE_MAX / 2, "array of %zu elements", need);
        grown *= 2;
    }
    return grown;
}

bool starts_with(const char *s, const char *start) { return strncmp(s, start, strlen(start)) == 0; }

bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), m = strlen(end);
    return n >= m && memcmp(s + n - m, end, m) == 0;
}

bool ends_with_nocase(const char *s, size_t n, const char *end) {
    size_t m = strlen(end);
    return n >= m && strncasecmp(s + n - m, end, m) == 0;
}

static bool among(const char *s, size_t n, const char *words, int (*compare)(const char *, const char *, size_t)) {
    for (; *words; words += strspn(words, " ")) {
        size_t len = strcspn(words, " ");
        if (len == n && compare(words, s, n) == 0) return true;
        words += len;
    }
    return false;
}

bool is_among(const char *s, size_t n, const char *words) { return among(s, n, words, strncmp); }

bool is_among_nocase(const char *s, size_t n, const char *words) { return among(s, n, words, strncasecmp); }

void str_add(StrBuf *s, const char *bytes, size_t n) {
    CHECK(n < SIZE_MAX - s->len, "string of %zu bytes", n);
    MEM_GROW(s->data, s->capacity, s->len + n + 1);
    if (n) memcpy(s->data + s->len, bytes, n);
    s->len += n;
    s->data[s->len] = 0;
}

void str_puts(StrBuf *s, const char *cstr) { str_add(s, cstr, strlen(cstr)); }

static void str_list(StrBuf *s, const char *fmt, va_list ap) {
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    CHECK(n >= 0);
    MEM_GROW(s->data, s->capacity, s->len + (size_t)n + 1);
    vsnprintf(s->data + s->len, (size_t)n + 1, fmt, again);
    va_end(again);
    s->len += (size_t)n;
}

void str_printf(StrBuf *s, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    str_list(s, fmt, ap);
    va_end(ap);
}

char *mem_printf(const char *fmt, ...) {
    StrBuf s = {0};
    va_list ap;
    va_start(ap, fmt);
    str_list(&s, fmt, ap);
    va_end(ap);
    return s.data;
}

void str_clear(StrBuf *s) {
    mem_free(s->data);
    *s = (StrBuf){0};
}

void log_warn(const char *fmt, ...) {
    char line[1024];
    va_list ap;
    if (g_quiet) return;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    clean_line(line);
    fprintf(stderr, "%slorac: %s\n", g_prefix, line);
}

void *mem_take(void *p) {
    void *taken;
    memcpy(&taken, p, sizeof taken);
    memset(p, 0, sizeof taken);
    return taken;
}

void mem_free_auto(void *p) { mem_free(mem_take(p)); }

void file_auto_close(void *p) {
    FILE *file = mem_take(p);
    if (file) (void)fclose(file);
}

void fd_auto_close(int *fd) {
    if (*fd >= 0) (void)close(*fd);
}

double time_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

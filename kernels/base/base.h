// base: what every folder needs. Errors, invariant checks, memory with checked sizes, logging.
//
// Two kinds of error and never a third:
//  - input or environment (file, JSON, config, disk): the function returns -1 (or NULL) and fills its last parameter
//    `Err *err`; the message is one line naming the thing, what was found and what was expected. Only main() prints it.
//  - a bug of lorac: CHECK aborts with file and line, in release builds too.
// Running out of memory is neither: mem_* never return NULL, they end the process with one line and status 1 (snapshots
// are committed by rename, so nothing that was saved is lost). So does what libraries allocate (train/cli/hooks.c).
#pragma once

#include <assert.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static_assert(sizeof(long) == 8, "int64_t is printed with %ld, uint64_t with %lu, without casts");

// HOST_DEVICE, given by CMake, is in front of inline functions that CUDA kernels call, too: `__host__ __device__` for
// nvcc, else nothing.

// Around the declarations of a header that C++ (CUDA) includes too.
#ifdef __cplusplus
#define C_BEGIN extern "C" {
#define C_END }
#else
#define C_BEGIN
#define C_END
#endif

C_BEGIN

// Exit statuses of the binary.
enum { EXIT_RUNTIME = 1, EXIT_INPUT = 2, EXIT_NO_FIT = 3, EXIT_INTERRUPTED = 75 };

typedef enum {
    ERR_NONE,
    ERR_RUNTIME, // failed while running
    ERR_INPUT,   // bad command line, config or input file
    ERR_NO_FIT,  // does not fit memory, found before anything is trained
    ERR_MEMORY,  // a device ran out of memory while running
    ERR_KINDS
} ErrKind;

typedef struct Err {
    ErrKind kind;
    char msg[1024]; // one line, no newline at the end
} Err;

int err_exit_status(ErrKind kind);      // 0 for ERR_NONE
ErrKind err_kind_of_status(int status); // of another process of this binary; a status that is not listed: ERR_RUNTIME

#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))

// Each fills *err (err may be NULL) and returns -1, so that callers can write `return err_input(err, ...)`.
// Control characters in the message are replaced by '?', so hostile names cannot forge output.
int err_input(Err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
int err_runtime(Err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
int err_no_fit(Err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
// Puts "prefix: " in front of the message; keeps the kind; returns -1.
int err_context(Err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

#define CHECK(cond, ...)                                                                                               \
    do {                                                                                                               \
        if (__builtin_expect(!(cond), 0)) check_failed(__FILE__, __LINE__, #cond, " " __VA_ARGS__);                    \
    } while (0)
__attribute__((noreturn)) void check_failed(const char *file, int line, const char *cond, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

// Memory. Sizes are count * size, multiplied with overflow check. mem_free(NULL) is allowed.
void *mem_alloc(size_t count, size_t size);  // uninitialised
void *mem_calloc(size_t count, size_t size); // zeroed
void *mem_realloc(void *p, size_t count, size_t size);
void mem_free(void *p);
char *mem_strdup(const char *s);
char *mem_strndup(const char *s, size_t n); // copies n bytes (NUL bytes too) and adds a NUL
char *mem_printf(const char *fmt, ...) PRINTF_LIKE(1, 2);
void *mem_checked(void *p); // p, which a library has allocated; NULL: ends the process as above
// "lorac: out of memory" and status 1; bytes: how many were asked for, 0: unknown.
__attribute__((noreturn)) void mem_exhausted(size_t bytes);
// The same with another line, for a library that fails where no caller can return an error.
__attribute__((noreturn)) void fatal(const char *fmt, ...) PRINTF_LIKE(1, 2);
uint64_t mem_call_count(void); // allocations so far; a test asserts that a training step makes none

// Grows an array so that it can hold `need` elements: doubles, starts at 16.
#define MEM_GROW(ptr, capacity, need)                                                                                  \
    do {                                                                                                               \
        if ((need) > (capacity)) {                                                                                     \
            (capacity) = mem_grown_capacity((capacity), (need));                                                       \
            (ptr) = mem_realloc((ptr), (capacity), sizeof *(ptr));                                                     \
        }                                                                                                              \
    } while (0)
size_t mem_grown_capacity(size_t capacity, size_t need);

// Checked arithmetic on sizes that come from files: false when the result does not fit.
static inline bool size_mul(size_t a, size_t b, size_t *out) { return !__builtin_mul_overflow(a, b, out); }
static inline bool size_add(size_t a, size_t b, size_t *out) { return !__builtin_add_overflow(a, b, out); }

// The end of a word after its number: "1 record", "2 records".
static inline const char *plural(int64_t n) { return n == 1 ? "" : "s"; }

static inline int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }

bool starts_with(const char *s, const char *start);
bool ends_with(const char *s, const char *end);
bool ends_with_nocase(const char *s, size_t n, const char *end); // of the first n bytes; ASCII letters of either case
bool is_among(const char *s, size_t n, const char *words);       // s[0, n) is one of the words, which spaces separate
bool is_among_nocase(const char *s, size_t n, const char *words);

// A byte string that grows; data is always NUL-terminated once something was added. Plain data: init with {0}.
typedef struct StrBuf {
    char *data;
    size_t len, capacity;
} StrBuf;
void str_add(StrBuf *s, const char *bytes, size_t n);
void str_puts(StrBuf *s, const char *cstr);
void str_printf(StrBuf *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
void str_clear(StrBuf *s); // frees, back to {0}

// A local that is freed at the end of its scope, on every path out of it: `AUTO_FREE char *path = path_join(...)`.
// Initialise it where it is declared. mem_take(&p) moves the pointer out of the scope: returns p and sets p to NULL.
// A type T with a function void T_free(T *) has DEFINE_AUTO(T, T_free) after it, and a macro for AUTO(T_free).
#define AUTO_CALL(fn) __attribute__((cleanup(fn)))
#define AUTO(fn) AUTO_CALL(fn##_auto)
#define DEFINE_AUTO(type, fn)                                                                                          \
    /* NOLINTNEXTLINE(bugprone-macro-parentheses): a type */                                                           \
    static inline void fn##_auto(type **p) { fn(*p); }
#define AUTO_FREE AUTO_CALL(mem_free_auto)
#define AUTO_STR AUTO_CALL(str_clear)
#define AUTO_FILE AUTO_CALL(file_auto_close) // FILE *, may be NULL
#define AUTO_FD AUTO_CALL(fd_auto_close)     // int; -1: none
void *mem_take(void *p);                     // p: the address of a pointer
void mem_free_auto(void *p);
void file_auto_close(void *p);
void fd_auto_close(int *fd);

// Warnings go to stderr as "lorac: ..."; nothing else writes there directly.
void log_warn(const char *fmt, ...) PRINTF_LIKE(1, 2);
// Warnings, CHECK messages and fatal lines begin with `prefix` from now on: "[rank 2] ". quiet: warnings are suppressed
// (another rank prints the same). Not while other threads print.
void log_as(const char *prefix, bool quiet);

void clean_line(char *s); // control characters and the like (say.h) become '?'

double time_now(void); // seconds, monotonic clock

C_END

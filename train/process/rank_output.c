#include "rank_output.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void drop_stdout(void) {
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (null < 0) return; // then this rank repeats the output of rank 0
    fflush(stdout);
    dup2(null, STDOUT_FILENO);
    close(null);
}

typedef struct Prefixed {
    char text[24];
    bool inside_line;
} Prefixed;

static bool write_all(const char *bytes, size_t n) {
    for (ssize_t done; n > 0; bytes += done, n -= (size_t)done)
        if ((done = write(STDOUT_FILENO, bytes, n)) <= 0) return false;
    return true;
}

// One write per line, so that lines of two ranks do not mix.
static ssize_t write_prefixed(void *cookie, const char *bytes, size_t n) {
    Prefixed *p = cookie;
    for (const char *at = bytes, *end = bytes + n; at < end;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t length = stop ? (size_t)(stop + 1 - at) : (size_t)(end - at);
        AUTO_STR StrBuf line = {0};
        if (!p->inside_line) str_puts(&line, p->text);
        str_add(&line, at, length);
        if (!write_all(line.data, line.len)) return 0;
        p->inside_line = !stop;
        at += length;
    }
    return (ssize_t)n;
}

static int close_prefixed(void *cookie) {
    mem_free(cookie);
    return 0;
}

static void prefix_stdout(int rank) {
    Prefixed *p = mem_calloc(1, sizeof *p);
    snprintf(p->text, sizeof p->text, "[rank %d] ", rank);
    fflush(stdout);
    FILE *file = fopencookie(p, "w", (cookie_io_functions_t){.write = write_prefixed, .close = close_prefixed});
    mem_checked(file);
    (void)setvbuf(file, NULL, _IOLBF, BUFSIZ); // on failure lines are only delayed
    stdout = file;
}

void rank_output(const Group *g, bool each_rank_logs) {
    if (g->rank == 0) return;
    log_as_rank(g->rank, !each_rank_logs);
    if (each_rank_logs)
        prefix_stdout(g->rank);
    else
        drop_stdout();
}

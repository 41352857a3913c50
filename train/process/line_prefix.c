#include "line_prefix.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct LinePrefix {
    FILE *before; // the standard output without prefixes
    char *text;
    bool inside_line;
};

static bool write_all(const char *bytes, size_t n) {
    for (ssize_t done; n > 0; bytes += done, n -= (size_t)done)
        if ((done = write(STDOUT_FILENO, bytes, n)) <= 0) return false;
    return true;
}

// One write per line, so that lines of two processes do not mix.
static ssize_t write_prefixed(void *cookie, const char *bytes, size_t n) {
    LinePrefix *p = cookie;
    for (const char *at = bytes, *end = bytes + n; at < end;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t length = stop ? (size_t)(stop + 1 - at) : (size_t)(end - at);
        AUTO_STR StrBuf line = {0};
        if (!p->inside_line && p->text) str_puts(&line, p->text);
        str_add(&line, at, length);
        if (!write_all(line.data, line.len)) return 0;
        p->inside_line = !stop;
        at += length;
    }
    return (ssize_t)n;
}

static int close_prefixed(void *cookie) {
    LinePrefix *p = cookie;
    mem_free(p->text);
    mem_free(p);
    return 0;
}

LinePrefix *line_prefix_open(void) {
    LinePrefix *p = mem_calloc(1, sizeof *p);
    fflush(stdout);
    FILE *file = fopencookie(p, "w", (cookie_io_functions_t){.write = write_prefixed, .close = close_prefixed});
    mem_checked(file);
    (void)setvbuf(file, NULL, _IOLBF, BUFSIZ); // on failure lines are only delayed
    p->before = stdout;
    stdout = file;
    return p;
}

void line_prefix_close(LinePrefix *p) {
    if (!p) return;
    FILE *file = stdout;
    stdout = p->before;
    (void)fclose(file); // frees p; its lines are written already
}

void line_prefix_set(LinePrefix *p, const char *text) {
    fflush(stdout);
    mem_free(p->text);
    p->text = mem_strdup(text);
}

#include "problem_list.h"

#include <stdio.h>

enum { SPELLED_OUT = 5 };

void problem_add(ProblemList *l, const char *fmt, ...) {
    if (l->count++ >= SPELLED_OUT) return;
    char text[160]; // five of them fit an Err
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    str_printf(&l->text, "%s%s", l->text.len ? "; " : "", text);
}

int problem_end(ProblemList *l, const char *path, const char *what, Err *err) {
    int rc = 0;
    if (l->count)
        rc = err_input(err, "%s: %d %s: %s%s", path, l->count, what, l->text.data,
                       l->count > SPELLED_OUT ? "; ..." : "");
    str_clear(&l->text);
    return rc;
}

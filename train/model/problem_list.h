// problem_list: several problems of one file in one line. The first five are spelled out, the rest are counted.
#pragma once

#include "base.h"

typedef struct ProblemList { // init with {0}; problem_end frees
    StrBuf text;
    int count;
} ProblemList;
void problem_add(ProblemList *l, const char *fmt, ...) PRINTF_LIKE(2, 3);
// 0 when nothing was added, else ERR_INPUT "path: 7 WHAT: first; second; ...".
int problem_end(ProblemList *l, const char *path, const char *what, Err *err);

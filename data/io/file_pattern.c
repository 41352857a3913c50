// file_pattern: names of files by ranges of numbers and wildcards (see path.h).
#include "path.h"

#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>

typedef struct Names {
    char **items;
    size_t count, first; // first: of this pattern
} Names;

static int add_name(Names *n, const char *name, Err *err) {
    if (n->count - n->first == PATTERN_MAX_FILES)
        return err_input(err, "%s: found a pattern for more than %d files; expected at most that", name,
                         PATTERN_MAX_FILES);
    n->items = mem_realloc(n->items, n->count + 1, sizeof *n->items);
    n->items[n->count++] = mem_strdup(name);
    return 0;
}

typedef struct Brace {
    size_t begin, end; // of "{A..B}" in the text
    long from, to;
    int digits;
} Brace;

// Reads 1 to 9 digits; returns their count, 0 for anything else.
static size_t read_number(const char *p, long *out) {
    size_t n = strspn(p, "0123456789");
    *out = n && n <= 9 ? strtol(p, NULL, 10) : 0;
    return n <= 9 ? n : 0;
}

// The first {A..B} with A <= B; braces around anything else are part of the name.
static bool find_brace(Brace *b, const char *text) {
    for (const char *open = text; (open = strchr(open, '{')); open++) {
        size_t n = read_number(open + 1, &b->from), m;
        const char *p = open + 1 + n;
        if (!n || strncmp(p, "..", 2) != 0 || !(m = read_number(p + 2, &b->to)) || p[2 + m] != '}') continue;
        if (b->from > b->to) continue;
        b->begin = (size_t)(open - text);
        b->end = (size_t)(p - text) + 2 + m + 1;
        b->digits = (int)n;
        return true;
    }
    return false;
}

static int expand_glob(Names *n, const char *pattern, Err *err) {
    glob_t found;
    if (path_exists(pattern) || !strpbrk(pattern, "*?[")) return add_name(n, pattern, err);
    int rc = glob(pattern, GLOB_ERR, NULL, &found); // GLOB_ERR: an unreadable folder may hold matches
    if (rc == GLOB_NOMATCH) return err_input(err, "%s: found no file of that pattern; expected at least one", pattern);
    if (rc) return err_runtime(err, "%s: a folder of the pattern cannot be read: %s", pattern, strerror(errno));
    for (size_t i = 0; i < found.gl_pathc && !rc; i++) rc = add_name(n, found.gl_pathv[i], err);
    globfree(&found);
    return rc;
}

static int expand(Names *n, const char *pattern, Err *err) {
    Brace b;
    int rc = 0;
    if (path_exists(pattern) || !find_brace(&b, pattern)) return expand_glob(n, pattern, err);
    for (long k = b.from; k <= b.to && !rc; k++) {
        AUTO_FREE char *name = mem_printf("%.*s%0*ld%s", (int)b.begin, pattern, b.digits, k, pattern + b.end);
        rc = expand(n, name, err);
    }
    return rc;
}

int file_pattern_expand(char ***names, size_t *count, const char *pattern, Err *err) {
    Names n = {.items = *names, .count = *count, .first = *count};
    int rc = expand(&n, pattern, err);
    *names = n.items;
    *count = n.count;
    return rc;
}

#include "words.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "key_notes.h"

static bool is_name(const char *s, size_t n) {
    if (n == 0 || !isalpha((unsigned char)s[0])) return false;
    for (size_t i = 0; i < n; i++) {
        if (!isalnum((unsigned char)s[i]) && s[i] != '_' && s[i] != '-') return false;
    }
    return true;
}

Word word_split(const char *word) {
    bool letter = word[0] == '-' && isalpha((unsigned char)word[1]) && !word[2];
    Word w = {.is_key = letter || starts_with(word, "--"), .is_letter = letter};
    const char *name = letter ? word + 1 : w.is_key ? word + 2 : word;
    const char *equals = strchr(name, '=');
    size_t n = equals ? (size_t)(equals - name) : strlen(name);
    // A path such as ./a=b/c.json is no key: without dashes a key must look like a name.
    if (!w.is_key && (!equals || !is_name(name, n))) return w;
    w.is_key = true;
    if (n >= WORD_MAX_KEY) n = WORD_MAX_KEY - 1;
    for (size_t i = 0; i < n; i++) w.key[i] = name[i] == '-' ? '_' : name[i];
    w.value = equals ? equals + 1 : NULL;
    return w;
}

Nearest nearest_start(const char *wanted) { return (Nearest){.wanted = wanted, .distance = 1 + strlen(wanted) / 3}; }

void nearest_try(Nearest *n, const char *name) {
    size_t d = edit_distance(n->wanted, strlen(n->wanted), name, strlen(name));
    if (d > n->distance || (n->name && d == n->distance)) return;
    n->distance = d;
    n->name = name;
}

bool word_bytes(const char *text, int64_t *bytes) {
    static const struct {
        const char *suffix;
        double factor;
    } units[] = {{"", 1},         {"B", 1},      {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30},
                 {"TiB", 0x1p40}, {"KB", 1e3},   {"MB", 1e6},     {"GB", 1e9},     {"TB", 1e12},
                 {"K", 0x1p10},   {"M", 0x1p20}, {"G", 0x1p30}};
    char *rest;
    double x = strtod(text, &rest), factor = 0;
    rest += strspn(rest, " ");
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcmp(rest, units[i].suffix) == 0) factor = units[i].factor;
    }
    x *= factor;
    if (!(x >= 0x1p20 && x <= 0x1p60)) return false;
    *bytes = (int64_t)x;
    return true;
}

bool word_bool(const char *text, bool *value) {
    *value = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
    return *value || strcmp(text, "false") == 0 || strcmp(text, "0") == 0;
}

const char *word_value(const Word *w, bool flag, int argc, char **argv, int *i) {
    if (w->value) return w->value;
    bool next = *i + 1 < argc && !starts_with(argv[*i + 1], "--"), value;
    if (flag) return next && word_bool(argv[*i + 1], &value) ? argv[++*i] : "true";
    return next ? argv[++*i] : NULL;
}

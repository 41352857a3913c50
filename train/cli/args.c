// args: words of a command line to declared variables. run/words.h cuts the words, for the config too.
#include "cli.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "words.h"

static const ArgSpec *find_spec(const ArgSpec *specs, size_t n, const char *key) {
    for (size_t i = 0; i < n; i++) {
        if (strcmp(specs[i].key, key) == 0) return &specs[i];
    }
    return NULL;
}

static int bad_value(const ArgSpec *s, const char *value, const char *expected, Err *err) {
    return err_input(err, "--%s: \"%s\"; expected %s", s->key, value, expected);
}

static int set_int(const ArgSpec *s, const char *value, Err *err) {
    char *end;
    errno = 0;
    long long v = strtoll(value, &end, 10);
    if (*value == 0 || *end || errno) return bad_value(s, value, "an integer", err);
    *(int64_t *)s->out = v;
    return 0;
}

static int set_float(const ArgSpec *s, const char *value, Err *err) {
    char *end;
    double v = strtod(value, &end);
    if (*value == 0 || *end || !isfinite(v)) return bad_value(s, value, "a finite number", err);
    *(double *)s->out = v;
    return 0;
}

static int set_bool(const ArgSpec *s, const char *value, Err *err) {
    return word_bool(value, s->out) ? 0 : bad_value(s, value, "true or false", err);
}

static int set_bytes(const ArgSpec *s, const char *value, Err *err) {
    return word_bytes(value, s->out) ? 0 : bad_value(s, value, WORD_BYTES_EXPECTED, err);
}

static int add_string(const ArgSpec *s, const char *value, Err *err) {
    ArgStrings *list = s->out;
    if (list->count == ARG_MAX_STRINGS)
        return err_input(err, "--%s: given more than %d times", s->key, ARG_MAX_STRINGS);
    list->items[list->count++] = value;
    return 0;
}

static int set_value(const ArgSpec *s, const char *value, Err *err) {
    if (s->seen) *s->seen = true;
    switch (s->kind) {
    case ARG_INT:
        return set_int(s, value, err);
    case ARG_FLOAT:
        return set_float(s, value, err);
    case ARG_BOOL:
        return set_bool(s, value, err);
    case ARG_STRING:
        *(const char **)s->out = value;
        return 0;
    case ARG_BYTES:
        return set_bytes(s, value, err);
    case ARG_STRINGS:
        return add_string(s, value, err);
    }
    return 0;
}

// The value of word i: behind '=', or the next word (*i moves), or "true" for a bare flag.
static const char *arg_value(const Word *w, const ArgSpec *s, int argc, char **argv, int *i, Err *err) {
    if (w->value) return w->value;
    bool next = *i + 1 < argc && !starts_with(argv[*i + 1], "--"), value;
    if (s->kind == ARG_BOOL) return next && word_bool(argv[*i + 1], &value) ? argv[++*i] : "true";
    if (next) return argv[++*i];
    err_input(err, "--%s: has no value", s->key);
    return NULL;
}

static int unknown_key(const char *key, const ArgSpec *specs, size_t n, Err *err) {
    Nearest near = nearest_start(key);
    for (size_t i = 0; i < n; i++) nearest_try(&near, specs[i].key);
    return err_input(err, "--%s: unknown option%s%s", key, near.name ? "; the nearest known one is --" : "",
                     near.name ? near.name : "");
}

int args_parse(int argc, char **argv, const ArgSpec *specs, size_t n_specs, const char **words, size_t max_words,
               size_t *n_words, Err *err) {
    size_t n = 0;
    for (int i = 0; i < argc; i++) {
        Word w = word_split(argv[i]);
        if (!w.is_key) {
            if (n == max_words) return err_input(err, "unexpected argument \"%s\"", argv[i]);
            words[n++] = argv[i];
            continue;
        }
        const ArgSpec *s = find_spec(specs, n_specs, w.key);
        if (!s) return unknown_key(w.key, specs, n_specs, err);
        const char *value = arg_value(&w, s, argc, argv, &i, err);
        if (!value || set_value(s, value, err)) return -1;
    }
    if (n_words) *n_words = n;
    return 0;
}

int args_take(int *argc, char **argv, const ArgSpec *specs, size_t n_specs, Err *err) {
    int kept = 0;
    for (int i = 0; i < *argc; i++) {
        Word w = word_split(argv[i]);
        const ArgSpec *s = w.is_key ? find_spec(specs, n_specs, w.key) : NULL;
        if (!s) {
            argv[kept++] = argv[i];
            continue;
        }
        const char *value = arg_value(&w, s, *argc, argv, &i, err);
        if (!value || set_value(s, value, err)) return -1;
    }
    *argc = kept;
    return 0;
}

// options: the arguments of a verb into the struct that its table describes.
#include "cli.h"

#include <string.h>

#include "hub_cache.h"
#include "words.h"

static int unknown_option(const Verb *v, const Word *w, Err *err) {
    const char *near = w->is_letter ? NULL : keys_nearest(&v->options, w->key);
    return err_input(err, "%s%s: unknown option%s%s", w->is_letter ? "-" : "--", w->key,
                     near ? "; the nearest known one is --" : "", near ? near : "");
}

static int check_required(const Verb *v, const bool *given, int operands, Err *err) {
    int usage = (int)strcspn(v->usage, "\n"); // its first line
    if (v->operand && *v->operand != '[' && !operands)
        return err_input(err, "%s: %s is missing; expected %.*s", v->name, v->operand, usage, v->usage);
    for (size_t i = 0; i < v->options.count; i++)
        if (v->options.keys[i].flags & OPTION_REQUIRED && !given[i])
            return err_input(err, "%s: --%s is missing; expected %.*s", v->name, v->options.keys[i].name, usage,
                             v->usage);
    return 0;
}

// null means absent, as in a config; where any text is allowed it is text. *given: there is a value.
static int set_option(void *options, const Key *k, const char *text, bool *given, Err *err) {
    if (!text) return err_input(err, "--%s has no value", k->name);
    *given = k->type == KEY_TEXT || k->type == KEY_TEXTS || strcmp(text, "null") != 0;
    if (*given) return key_read_text(options, k, text, "--", err);
    key_set_default(options, k);
    return 0;
}

static int read_all(const Verb *v, void *options, bool *given, int *argc, char **argv, Err *err) {
    int kept = 0, most = v->operands ? v->operands : v->operand != NULL;
    const char *implied;
    for (int i = 0; i < *argc; i++) {
        Word w = word_split(argv[i]);
        const Key *k = w.is_key ? keys_find(&v->options, w.key, &implied) : NULL;
        if (k) {
            const char *text = word_value(&w, k->type == KEY_BOOL, *argc, argv, &i);
            if (set_option(options, k, text, &given[k - v->options.keys], err)) return -1;
            continue;
        }
        if (w.is_key && !v->takes_config) return unknown_option(v, &w, err);
        if (!v->takes_config && kept == most) return err_input(err, "unexpected argument \"%s\"", argv[i]);
        argv[kept++] = argv[i];
    }
    *argc = kept;
    return 0;
}

static int find_hub_names(const Verb *v, void *options, Err *err) {
    for (size_t i = 0; i < v->options.count; i++) {
        const Key *k = &v->options.keys[i];
        char **path = (char **)((char *)options + k->offset);
        if (k->flags & OPTION_HUB && *path && hub_find_model(path, NULL, err)) return -1;
    }
    return 0;
}

int options_read(const Verb *v, void *options, int *argc, char **argv, Err *err) {
    AUTO_FREE bool *given = mem_calloc(v->options.count + 1, sizeof *given);
    keys_set_defaults(&v->options, options);
    return read_all(v, options, given, argc, argv, err) || check_required(v, given, *argc, err) ||
                   find_hub_names(v, options, err)
               ? -1
               : 0;
}

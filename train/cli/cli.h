// cli: the verbs of the command line. One file a verb (cmd_<verb>.c); main.c finds the verb, runs it, prints the error.
#pragma once

#include "base.h"

typedef struct Verb {
    const char *name;
    const char *usage;   // "lorac tokenize --model_name_or_path M (--text S / --file F / --messages F.json)"
    const char *summary; // one line for `lorac help`
    const char *help;    // what `lorac help VERB` prints below the usage: keys, defaults, an example
    // argv[0] is the first argument after the verb. Returns 0, -1 with err (an empty message: another rank prints it),
    // or EXIT_INTERRUPTED.
    int (*run)(int argc, char **argv, Err *err);
} Verb;

extern const Verb verb_train, verb_plan, verb_eval, verb_generate, verb_chat, verb_tokenize, verb_inspect, verb_logits,
    verb_verify, verb_export, verb_merge, verb_doctor, verb_help, verb_version;

// The verbs of this binary, in the order of `lorac help`; the list ends with NULL (main.c).
extern const Verb *const verbs[];
const Verb *verb_find(const char *name); // NULL when unknown

// Words of a command line whose verb takes no config: `--key value`, `--key=value`, `key=value`, plus plain words.
// A key is declared once with its kind; unknown keys are refused with the nearest known one. `--max-new-tokens` is the
// same as `--max_new_tokens`.
typedef enum {
    ARG_STRING,
    ARG_INT,
    ARG_FLOAT,
    ARG_BOOL,   // a bare `--flag` at the end or before another -- is true
    ARG_BYTES,  // an amount of memory (words.h)
    ARG_STRINGS // may be given several times
} ArgKind;
enum { ARG_MAX_STRINGS = 64 };
typedef struct ArgStrings { // init with {0}
    const char *items[ARG_MAX_STRINGS];
    size_t count;
} ArgStrings;
typedef struct ArgSpec {
    const char *key;
    ArgKind kind;
    void *out; // const char **, int64_t * (also bytes), double *, bool *, ArgStrings *; keeps its value when the key is
               // absent
    bool *seen; // may be NULL
} ArgSpec;
// words: up to max_words plain words are stored, more are refused. Aliases are further ArgSpecs with the same out.
int args_parse(int argc, char **argv, const ArgSpec *specs, size_t n_specs, const char **words, size_t max_words,
               size_t *n_words, Err *err);
// For verbs that also take a config: removes the words of these keys from argv and leaves the rest, in order, for
// config_load.
int args_take(int *argc, char **argv, const ArgSpec *specs, size_t n_specs, Err *err);

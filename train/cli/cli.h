// cli: the verbs of the command line. One file a verb (cmd_<verb>.c); main.c finds the verb, runs it, prints the error.
#pragma once

#include "base.h"

typedef struct Verb {
    const char *name;
    const char *usage;   // "lorac tokenize --model_name_or_path M (--text S / --file F / --messages F.json)"
    const char *summary; // one line for `lorac help`
    const char *help;    // what `lorac help VERB` prints below the usage: keys, defaults, an example
    // argv[0] is the first word behind the verb. Returns the process's exit status; on anything but 0 and
    // EXIT_INTERRUPTED err holds the line to print.
    int (*run)(int argc, char **argv, Err *err);
} Verb;

extern const Verb verb_train, verb_eval, verb_generate, verb_chat, verb_tokenize, verb_inspect, verb_logits,
    verb_verify, verb_export;

// Words of a command line whose verb takes no config: `--key value`, `--key=value`, `key=value`, plus plain words.
// A key is declared once with its kind; unknown keys are refused with the nearest known one.
typedef enum {
    ARG_STRING,
    ARG_INT,
    ARG_FLOAT,
    ARG_BOOL
} ArgKind; // a bare `--flag` at the end or before another -- is true
typedef struct ArgSpec {
    const char *key;
    ArgKind kind;
    void *out;  // const char **, int64_t *, double *, bool *; keeps its value when the key is absent
    bool *seen; // may be NULL
} ArgSpec;
// words: up to max_words plain words are stored, more are refused. Aliases are further ArgSpecs with the same out.
int args_parse(int argc, char **argv, const ArgSpec *specs, size_t n_specs, const char **words, size_t max_words,
               size_t *n_words, Err *err);

// cli: the verbs of the command line. One file a verb (cmd_<verb>.c); main.c finds the verb, reads its options, runs it
// and prints the error.
#pragma once

#include <cjson/cJSON.h>

#include "keys.h"

typedef struct Verb {
    const char *name;
    const char *usage;   // "lorac tokenize --model_name_or_path M (--text S / --file F / --messages F.json)"
    const char *summary; // one line for `lorac help`
    const char *help;    // `lorac help VERB` prints it between the usage and the options; NULL: none
    const char *example; // and this after the options; NULL: none
    KeyTable options;    // parsing, defaults and help of --key value; flags: OPTION_REQUIRED
    size_t size;         // of the struct that the options fill
    const char *operand; // the argument that is no option: "ADAPTER"; "[VERB]" may be absent; NULL: none
    int operands;        // how many there may be; 0: one, if there is an `operand`
    bool takes_config;   // all arguments that are no options are for config_load
    // options: the struct. argv: the arguments that are no options. Returns 0, -1 with err (an empty message: another
    // rank prints it), or EXIT_INTERRUPTED.
    int (*run)(const void *options, int argc, char **argv, Err *err);
} Verb;

extern const Verb verb_train, verb_pull, verb_plan, verb_bench, verb_eval, verb_predict, verb_embed, verb_generate,
    verb_chat, verb_serve, verb_tokenize, verb_inspect, verb_logits, verb_verify, verb_export, verb_merge, verb_report,
    verb_swap, verb_doctor, verb_help, verb_version;

// The verbs of this binary, in the order of `lorac help`; the list ends with NULL (main.c).
extern const Verb *const verbs[];
const Verb *verb_find(const char *name); // NULL when unknown

// Rows of a verb's table of options. `Options` is the struct of that verb.
// OPTION_HUB: a PATH that may be the name of a model on the hub, which becomes its path in the hub's cache.
enum { OPTION_REQUIRED = 1, OPTION_HUB = 2 };
#define OPTION(type_, name_, ...)                                                                                      \
    { .name = #name_, .type = KEY_##type_, .offset = offsetof(Options, name_), __VA_ARGS__ }
#define OPTION_CHOICE(name_, LIST, ...) OPTION(CHOICE, name_, .words = ENUM_WORDS(LIST), __VA_ARGS__)
#define OPTIONS(rows) .options = {(rows), sizeof(rows) / sizeof *(rows)}, .size = sizeof(Options)

// Fills the zeroed *options from the defaults and from argv: `--key value`, `--key=value`, `key=value`;
// `--max-new-tokens` is `--max_new_tokens`. Arguments that are no options stay in argv, in order. The caller frees the
// options with keys_clear, after a failure too.
int options_read(const Verb *v, void *options, int *argc, char **argv, Err *err);
// Allocations of cJSON and of C++ code that fail, and uncaught exceptions, end the process with one line and status 1.
// For PCRE2, zlib and others the callers check.
void hooks_install(void);
void print_json(cJSON *root); // one line on stdout; frees root

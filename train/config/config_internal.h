// config_internal: private to config*.c and foreign*.c.
#pragma once

#include "config.h"

// Flags of a key. AT_RESUME: may change when a run resumes. BY_RANK: may differ between ranks (of data and model paths
// the contents are compared instead). OF_ADAPTER: if not set, taken from the adapter of adapter_name_or_path. OF_BASE:
// of the base model and the process, the same for all `runs`.
enum { AT_RESUME = 1, BY_RANK = 2, OF_ADAPTER = 4, OF_BASE = 8 };

// Where a value comes from, and how messages about it begin: "FILE:LINE: ", "command line: ".
typedef struct Origin {
    const char *where;
    ConfigSource source;
    int line;
} Origin;

// The value of a key that is used after all others are read; source SOURCE_DEFAULT: not given.
typedef enum { SAVE_BY_STEPS, SAVE_NEVER, SAVE_BY_EPOCH } SaveStrategy;
typedef struct Given {
    ConfigSource source;
    int line;
    double value; // or a SaveStrategy
} Given;

// Of other tools' configs (foreign.h).
typedef struct GivenKeys {
    Given qlora, evals_per_epoch, saves_per_epoch, save_strategy, target_linear, total_batch, min_lr_ratio, max_samples;
    Given packing, neat_packing, pretraining; // LLaMA-Factory
    char *text_field;
    Given probabilities;
    double *interleave_probs; // [n_probs]
    size_t n_probs;
} GivenKeys;

// A config that is being loaded. Everything wrong with it is collected, a line each, and reported together.
enum { PROBLEMS_KEPT = 50 };
typedef struct Loading {
    Config *c;
    char *problems[PROBLEMS_KEPT];
    size_t n_problems;            // may be more than are kept
    bool overridden[CONFIG_KEYS]; // the command line sets the key
    bool wrong[CONFIG_KEYS];      // the key has a value that is refused
    Err failed;                   // fetching from the hub; kind ERR_NONE: nothing has
    const char *run;              // of `runs`, named in the following problems; NULL: none
    // of other tools' configs (foreign.h)
    const Json *root; // of the file, while it is read
    GivenKeys given;
} Loading;
void loading_clear(Loading *l);
void problem(Loading *l, const char *fmt, ...) PRINTF_LIKE(2, 3);
void loading_set(Loading *l, ConfigKey key, const Json *v, Origin from);
// 0: none. One is the error; several are printed, and the error is their number.
int problems_report(const Loading *l, Err *err);
// Names on the hub become paths of its cache (config_hub.c).
void find_hub_names(Loading *l);
void check_rules(Loading *l, ConfigPurpose purpose);
// "FILE:LINE: key: what", "command line: key: what" or "key: what". A key with a refused value has its message already.
void refuse_key(Loading *l, ConfigKey key, const char *what);
// Sets one key by any of its names.
void set_named(Loading *l, const char *name, const Json *v, Origin from);
// `runs` of a list of learning rates, "1e-4,3e-4".
void set_sweep(Loading *l, const char *list, Origin from);

// Sets the keys of the one object in `text`, JSON or YAML by the name of the file. *c has its defaults. With several
// problems the error is the first.
int config_read(Config *c, const char *text, size_t size, const char *name, Err *err);

// config: the settings of a run. YAML or one flat JSON object with `//` comments, then overrides from the command line.
//
// config_keys.def is the one table of keys: fields, rules, help, schema and what a resume may change come from it.
// Files: config.c (loading), config_rules.c (rules between keys), config_hub.c (names on the hub), config_runs.c (the
// runs of one command), config_show.c (printed, saved, compared); foreign.h has the keys of other tools, keys.h the
// machinery of tables.
#pragma once

#include <stdio.h>

#include "base_memory.h"
#include "config_choices.h"
#include "dataset.h"
#include "keys.h"
#include "labels.h"
#include "named_templates.h"
#include "overwrite.h"
#include "quantize.h"
#include "run_device.h"
#include "subset.h"

typedef enum {
#define KEY(type, name, ...) CONFIG_##name,
#define CHOICE(Enum, name, ...) CONFIG_##name,
#include "config_keys.def"
#undef KEY
#undef CHOICE
    CONFIG_KEYS
} ConfigKey;

// SOURCE_TOOL: the default of the tool that the config was written for (foreign.h).
typedef enum { SOURCE_DEFAULT, SOURCE_TOOL, SOURCE_FILE, SOURCE_COMMAND_LINE, SOURCE_RUN } ConfigSource;
typedef enum { NO_TOOL = 0, AXOLOTL = 1, LLAMA_FACTORY = 2, TRL = 4 } Tool;

#define FIELD_STRING char *
#define FIELD_PATH char *
#define FIELD_INT int64_t
#define FIELD_FLOAT double
#define FIELD_BOOL bool
#define FIELD_BYTES int64_t
#define FIELD_STRINGS StrList
#define FIELD_FILES FileList
#define FIELD_COLUMNS FileRule
#define FIELD_INTS IntList
#define FIELD_FLOATS FloatList
#define FIELD_OBJECTS ObjectList
#define FIELD_OBJECT ObjectList
// A field for each key. Strings are owned; NULL: not set. Paths are as the user wrote them. num_gpus may be
// NUM_GPUS_ALL (spawn.h); steps below 1 are fractions of the run; 0 where a number without default is not set.
typedef struct Config {
#define KEY(type, name, ...) FIELD_##type name;
#define CHOICE(Enum, name, ...) Enum name;
#include "config_keys.def"
#undef KEY
#undef CHOICE
    char *file; // the config file, or NULL
    ConfigSource source[CONFIG_KEYS];
    int line[CONFIG_KEYS]; // in file, 0 elsewhere
    bool pull;             // fetch what the hub's cache lacks; set before config_load
    Tool tool;             // that the config was written for
    StrBuf notes;          // for the log, a line for each key of a tool that changes nothing here, and others
} Config;

extern const KeyTable config_table;

// What a verb needs beyond the table's own checks.
typedef enum {
    CONFIG_FOR_TRAIN, // model, output_dir, train_file
    CONFIG_FOR_PLAN,  // model
    CONFIG_FOR_EVAL,  // model, validation data
    CONFIG_FOR_DATA,  // model, train_file
    CONFIG_FOR_BENCH, // nothing
} ConfigPurpose;

// argv: the arguments after the verb: at most one CONFIG.json, and overrides. Everything wrong is ERR_INPUT, naming
// file, line and key. *c must be zeroed (but `pull`); config_clear frees it in any case.
int config_load(Config *c, int argc, char **argv, ConfigPurpose purpose, Err *err);
void config_clear(Config *c);
// Index of the first argument that is neither an option nor its value; -1: none.
int config_operand(int argc, char **argv);

// The configs of the runs that `runs` describes, each complete, with run_name, output_dir and without `runs`; else c
// alone. Refuses two runs with one output_dir, and keys of the base model and of the process (OF_BASE) that differ.
// *runs must be zeroed; config_list_clear frees it in any case.
typedef struct ConfigList {
    Config *items;
    size_t count;
} ConfigList;
int config_runs(ConfigList *runs, const Config *c, Err *err);
void config_list_clear(ConfigList *l);

void config_print(const Config *c, FILE *out); // every key, its value and where that came from
const char *config_tool_name(Tool tool);
void config_print_help(FILE *out);   // the reference page of all keys
void foreign_print_help(FILE *out);  // of the keys of other tools (foreign.c)
void config_print_schema(FILE *out); // both as JSON Schema
// The resolved config as JSON text with absolute paths, without the keys that are read from the adapter to start from;
// the caller frees.
char *config_json(const Config *c);

OwnCheck config_own; // of such a file (overwrite.h)

// True when the key was given in the file or on the command line.
static inline bool config_is_set(const Config *c, ConfigKey key) { return c->source[key] > SOURCE_TOOL; }
// dtype with float32_matmul_precision.
DtypeWord config_dtype(const Config *c);
LearntTurns config_learnt(const Config *c); // roles_to_train, train_on_eos
// "http://host:8000/base" or https. A user and a password have no place there: the URL is logged.
bool config_is_server_url(const char *url);
bool config_is_address(const char *text); // http_address_parse
// Rows per optimizer step of one rank.
int64_t config_global_batch(const Config *c);
// Compares with the config of an earlier run in the same directory (JSON text, read as hostile input). A difference
// that changes the result is refused, all differing keys named; an empty `text` is refused too. The rows of a step may
// be split differently; snapshots check their number, which depends on the ranks.
int config_check_same_run(const Config *now, const char *text, const char *name, Err *err);
// Every key that must be the same on all ranks of a run, with its value as JSON text.
void config_each_shared(const Config *c, void (*take)(void *user, const char *name, const char *value), void *user);

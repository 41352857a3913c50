// config: what a run is asked to do. One flat JSON object with `//` comments, then overrides from the command line.
//
// config_keys.c has the one table of keys; everything else (parsing, aliases, ranges, help, printing, saving, what a
// resume may change) is driven by it. Adding a key = one field here and one row there.
// Files: config_scan.c (text to cJSON, with lines), config_value.c (one value), config.c (the whole).
#pragma once

#include <stdio.h>

#include "overwrite.h"

typedef struct StrList {
    char **items;
    size_t count;
} StrList;

typedef struct FileList { // of data
    char **items;
    double *weights; // how often a file's samples are in an epoch (data/dataset/subset.h)
    size_t count;
} FileList;

typedef struct IntList {
    int64_t *items;
    size_t count;
} IntList;

// Choices, in the order of their names in the table.
typedef enum { EVAL_NO, EVAL_STEPS, EVAL_EPOCH } EvalStrategy;
typedef enum {
    CHECKPOINT_AUTO,
    CHECKPOINT_TRUE, // as BLOCKS
    CHECKPOINT_FALSE,
    CHECKPOINT_FFN,
    CHECKPOINT_BLOCKS,
    CHECKPOINT_OFFLOAD
} CheckpointChoice;
typedef enum { ROPE_OF_MODEL, ROPE_BY_LINEAR, ROPE_BY_YARN } RopeChoice;
typedef enum { TASK_CAUSAL_LM, TASK_CLASSIFICATION } Task;

enum { CONFIG_MAX_KEYS = 80 };
typedef enum { SOURCE_DEFAULT, SOURCE_FILE, SOURCE_COMMAND_LINE } ConfigSource;

// Strings are owned; NULL: not set. Paths are as the user wrote them.
typedef struct Config {
    char *model_name_or_path, *adapter_name_or_path, *output_dir;
    FileList train_file;
    char *validation_file;
    double val_set_size; // below 1: fraction, else count
    int dataset_format;  // DatasetFormat
    char *chat_template;
    bool train_on_inputs;
    int parse_special, unrendered; // ParseSpecial, Unrendered
    int64_t max_seq_length;
    int truncation; // Truncation
    bool packing, shuffle;

    int64_t lora_r;
    double lora_alpha, lora_dropout;
    StrList lora_target_modules;
    bool use_rslora;
    double loraplus_lr_ratio;
    IntList layers_to_transform;

    int64_t per_device_train_batch_size, per_device_eval_batch_size, gradient_accumulation_steps;
    double num_train_epochs;
    int64_t max_steps;
    double learning_rate;
    int lr_scheduler_type; // LrKind
    double min_lr_ratio;
    double warmup_steps; // below 1: fraction of the run
    double warmup_ratio;
    double adam_beta1, adam_beta2, adam_epsilon, weight_decay, max_grad_norm;
    double neftune_noise_alpha, label_smoothing_factor;

    int gradient_checkpointing; // CheckpointChoice
    int64_t max_memory;         // bytes; 0: not set
    char *device;               // "auto", "cpu", "cuda", "cuda:N"
    int dtype;                  // DtypeWord of run_device.h

    int64_t logging_steps;
    int eval_strategy; // EvalStrategy
    double eval_steps; // 0: as save_steps; below 1: fraction of the run
    double save_steps;
    int64_t save_total_limit;
    char *resume_from_checkpoint; // "auto", "false" or a path
    int64_t early_stopping_patience;
    bool load_best_model_at_end;
    int64_t seed;
    StrList report_to;
    char *run_name;

    int quantize_base;     // QuantizeKind of quantize.h
    int rope_scaling_type; // RopeChoice
    double rope_scaling_factor;

    // Keys of later versions; only their defaults are accepted.
    int task;
    char *dashboard, *hot_swap_url, *runs;
    int64_t num_gpus; // NUM_GPUS_ALL (spawn.h)
    int64_t ddp_timeout;
    bool log_on_each_rank;

    char *file; // the config file, or NULL
    ConfigSource source[CONFIG_MAX_KEYS];
    int line[CONFIG_MAX_KEYS]; // in file, 0 elsewhere
} Config;

// What a verb needs beyond the table's own checks.
typedef enum {
    CONFIG_FOR_TRAIN, // model, output_dir, train_file
    CONFIG_FOR_EVAL,  // model, validation data
    CONFIG_FOR_DATA,  // model, train_file
} ConfigPurpose;

// argv: words behind the verb: at most one CONFIG.json, and overrides. Everything wrong is EXIT_INPUT, naming file,
// line and key. *c must be zeroed; config_clear frees it in any case.
int config_load(Config *c, int argc, char **argv, ConfigPurpose purpose, Err *err);
void config_clear(Config *c);
void file_list_clear(FileList *l);

void config_print(const Config *c, FILE *out); // every key, its value and where that came from
void config_print_help(FILE *out);             // every key, its default and what it does
// The resolved config as JSON text with absolute paths, without the keys that an adapter to train on answers; the
// caller frees.
char *config_json(const Config *c);

OwnCheck config_own; // of such a file (overwrite.h)

// True when the key was given in the file or on the command line.
bool config_is_set(const Config *c, const char *key);
// Rows per optimizer step of one rank.
int64_t config_global_batch(const Config *c);
// Compares with the config of an earlier run in the same directory (JSON text, read as hostile input). A difference
// that changes the result is refused, all differing keys named; "" in `text` is refused too. The rows of a
// step may be split otherwise: how many there are, which depends on the ranks, is for the snapshots to know.
int config_check_same_run(const Config *now, const char *text, const char *name, Err *err);
// Every key that must be the same on all ranks of a run, with its value as JSON text.
void config_each_shared(const Config *c, void (*take)(void *user, const char *name, const char *value), void *user);

// foreign: configs written for Axolotl, LLaMA-Factory and TRL (or transformers' TrainingArguments).
//
// Their keys (foreign_keys.def) are mapped to lorac's, accepted because they change nothing here, with a line in the
// log, or refused with what to do. A config that has keys of one tool only reads as that tool's: keys with another
// meaning there are read as that tool does, and keys that are not given have that tool's defaults, which are printed.
//
// Files: foreign.c (the table, the tool, its defaults); mapping functions: foreign_values.c, and of data sets
// foreign_entry.c, foreign_data.c, foreign_llama_factory.c and foreign_trl.c.
#pragma once

#include "config_internal.h"

// The tool of a config: that with the most keys that only it has; NO_TOOL where there are none. As many of two tools
// are a problem: their defaults differ.
void foreign_detect(Loading *l, const Json *root);
// Takes the key if it is another tool's; false: it is not.
bool foreign_take(Loading *l, const char *name, const Json *v, Origin from);
bool foreign_knows(const char *name); // on the command line
// After the last key: keys that depend on others, the tool's defaults, the lines for the log.
void foreign_finish(Loading *l);
struct cJSON;
void foreign_add_schema(struct cJSON *properties);

// ---- for mapping functions ----

typedef struct Foreign { // a key that is being mapped
    Loading *l;
    const char *name;
    Origin from;
    const char *help; // of its row
} Foreign;
typedef void MapFunction(const Foreign *f, const Json *v);
extern MapFunction map_adapter, map_assistant_only, map_dataset_name, map_dataset_names, map_datasets, map_deepspeed,
    map_device_cpu, map_early_stopping, map_eos_token, map_finetuning_type, map_init_lora, map_interleave_probs,
    map_kd_trainer, map_logging_steps, map_lora_target, map_max_samples, map_min_lr, map_neat_packing, map_no_shuffle,
    map_nothing, map_num_gpus, map_loss_type, map_optimizer, map_packing, map_per_epoch, map_pissa_convert,
    map_pissa_init, map_plugins, map_pref_loss, map_quantization_bit, map_report_to, map_rl, map_save_strategy,
    map_scheduler_kwargs, map_special_tokens, map_stage, map_target_linear, map_template, map_template_file,
    map_test_datasets, map_test_split, map_text_field, map_total_batch, map_use_peft, map_warmup_ratio;

// The defaults of preference training in that tool, after its keys (foreign_preference.c).
void foreign_preference_defaults(Loading *l);
void foreign_set_default(Loading *l, ConfigKey key, const char *json); // unless the config has set it
bool foreign_is_pretraining(const Loading *l);                         // LLaMA-Factory's stage: pt
void foreign_set(const Foreign *f, ConfigKey key, const Json *v);
void foreign_set_text(const Foreign *f, ConfigKey key, const char *json); // JSON text
void foreign_refuse(const Foreign *f, const Json *v, const char *expected);
void foreign_note(const Foreign *f, const char *fmt, ...) PRINTF_LIKE(2, 3);
bool foreign_is_off(const Json *v); // null, false, "", [], {} or 0

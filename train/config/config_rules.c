// config_rules: what keys require of each other.
#include "config_internal.h"

// "FILE:LINE: key", "command line: key" or "key": the start of a message about a key.
static int refuse_key(const Config *c, ConfigKey key, const char *what, Err *err) {
    const char *name = config_table.keys[key].name;
    if (c->source[key] == SOURCE_FILE) return err_input(err, "%s:%d: %s: %s", c->file, c->line[key], name, what);
    return err_input(err, "%s%s: %s", c->source[key] == SOURCE_COMMAND_LINE ? "command line: " : "", name, what);
}

static int check_required(const Config *c, ConfigPurpose purpose, Err *err) {
    const char *missing = NULL;
    if (purpose == CONFIG_FOR_BENCH) return 0;
    if (purpose == CONFIG_FOR_TRAIN && !c->output_dir) missing = "output_dir";
    if (purpose == CONFIG_FOR_EVAL && !c->validation_file && !c->val_set_size) missing = "validation_file";
    if (purpose != CONFIG_FOR_EVAL && c->train_file.count == 0) missing = "train_file";
    if (!c->model_name_or_path) missing = "model_name_or_path";
    if (!missing) return 0;
    return err_input(err, "%s: required key %s is missing", c->file ? c->file : "command line", missing);
}

static int check_evaluation(const Config *c, Err *err) {
    bool data = c->validation_file || c->val_set_size > 0;
    if (c->validation_file && c->val_set_size > 0)
        return refuse_key(c, CONFIG_val_set_size, "validation_file is set too; expected one of them", err);
    if (c->val_set_size >= 1 && c->val_set_size != (double)(int64_t)c->val_set_size)
        return refuse_key(c, CONFIG_val_set_size, "expected a fraction below 1 or a whole number of samples", err);
    if (c->eval_strategy != EVAL_NO && !data)
        return refuse_key(c, CONFIG_eval_strategy, "needs validation_file or val_set_size", err);
    if (c->eval_strategy == EVAL_NO && c->early_stopping_patience > 0)
        return refuse_key(c, CONFIG_early_stopping_patience, "needs eval_strategy \"steps\" or \"epoch\"", err);
    if (c->eval_strategy == EVAL_NO && c->load_best_model_at_end)
        return refuse_key(c, CONFIG_load_best_model_at_end, "needs eval_strategy \"steps\" or \"epoch\"", err);
    return 0;
}

static int check_whole_steps(const Config *c, ConfigKey key, double steps, Err *err) {
    if (steps < 1 || steps == (double)(int64_t)steps) return 0;
    char what[128];
    snprintf(what, sizeof what, "%g; expected a whole number of steps or a fraction of the run below 1", steps);
    return refuse_key(c, key, what, err);
}

static int check_layers(const Config *c, Err *err) {
    for (size_t i = 1; i < c->layers_to_transform.count; i++) {
        if (c->layers_to_transform.items[i - 1] >= c->layers_to_transform.items[i])
            return refuse_key(c, CONFIG_layers_to_transform, "expected layer numbers in ascending order, each once",
                              err);
    }
    return 0;
}

static int check_rope(const Config *c, Err *err) {
    bool scaled = c->rope_scaling_type != ROPE_OF_MODEL;
    if (scaled && c->rope_scaling_factor == 1)
        return refuse_key(c, CONFIG_rope_scaling_type, "needs rope_scaling_factor above 1", err);
    if (!scaled && c->rope_scaling_factor != 1)
        return refuse_key(c, CONFIG_rope_scaling_factor, "needs rope_scaling_type \"linear\" or \"yarn\"", err);
    return 0;
}

int config_check(const Config *c, ConfigPurpose purpose, Err *err) {
    if (check_required(c, purpose, err) || check_layers(c, err) || check_rope(c, err)) return -1;
    if (c->max_steps == 0)
        return refuse_key(c, CONFIG_max_steps, "0 steps; expected -1 (by epochs) or more than 0", err);
    if (c->lora_target_modules.count == 0) return refuse_key(c, CONFIG_lora_target_modules, "an empty list", err);
    if (config_global_batch(c) >= 1 << 24)
        return refuse_key(c, CONFIG_gradient_accumulation_steps, "more than 2^24 rows per optimizer step", err);
    if (check_whole_steps(c, CONFIG_save_steps, c->save_steps, err)) return -1;
    if (check_whole_steps(c, CONFIG_eval_steps, c->eval_steps, err)) return -1;
    if (check_whole_steps(c, CONFIG_warmup_steps, c->warmup_steps, err)) return -1;
    return purpose == CONFIG_FOR_TRAIN ? check_evaluation(c, err) : 0;
}

// config_rules: rules that span keys, and the list of everything that is wrong with a config.
#include <stdio.h>

#include "config_internal.h"
#include "http_server.h"

// ---- problems ----

void problem(Loading *l, const char *fmt, ...) {
    va_list args;
    char line[sizeof((Err *)NULL)->msg];
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    if (l->n_problems++ >= PROBLEMS_KEPT) return;
    l->problems[l->n_problems - 1] = l->run ? mem_printf("run %s: %s", l->run, line) : mem_strdup(line);
}

int problems_report(const Loading *l, Err *err) {
    const char *name = l->c->file ? l->c->file : "command line";
    if (l->failed.kind && !l->n_problems) {
        if (err) *err = l->failed;
        return -1;
    }
    size_t n = l->n_problems, shown = n < PROBLEMS_KEPT ? n : PROBLEMS_KEPT;
    if (n <= 1) return n ? err_input(err, "%s", l->problems[0]) : 0;
    for (size_t i = 0; i < shown; i++) log_warn("%s", l->problems[i]);
    if (n > shown) return err_input(err, "%s: %zu problems; the first %zu are listed", name, n, shown);
    return err_input(err, "%s: %zu problems", name, n);
}

void loading_clear(Loading *l) {
    for (size_t i = 0; i < l->n_problems && i < PROBLEMS_KEPT; i++) mem_free(l->problems[i]);
    mem_free(l->given.text_field);
    mem_free(l->given.interleave_probs);
}

// ---- rules ----

void refuse_key(Loading *l, ConfigKey key, const char *what) {
    const Config *c = l->c;
    const char *name = config_table.keys[key].name;
    if (l->wrong[key]) return;
    if (c->line[key])
        problem(l, "%s:%d: %s: %s", c->file, c->line[key], name, what);
    else
        problem(l, "%s%s: %s", config_is_set(c, key) ? "command line: " : "", name, what);
}

static void require(Loading *l, ConfigKey key, bool given) {
    if (given || l->wrong[key]) return;
    problem(l, "%s: required key %s is missing", l->c->file ? l->c->file : "command line", config_table.keys[key].name);
}

static void check_required(Loading *l, ConfigPurpose purpose) {
    const Config *c = l->c;
    if (purpose == CONFIG_FOR_BENCH) return;
    require(l, CONFIG_model_name_or_path, c->model_name_or_path);
    if (purpose != CONFIG_FOR_EVAL && purpose != CONFIG_FOR_PLAN) require(l, CONFIG_train_file, c->train_file.count);
    bool validation = c->validation_file.count || c->val_set_size || l->wrong[CONFIG_validation_file];
    if (purpose == CONFIG_FOR_EVAL && !validation)
        problem(l, "%s: found no validation data; expected --validation_file FILE", c->file ? c->file : "command line");
    if (purpose == CONFIG_FOR_TRAIN) require(l, CONFIG_output_dir, c->output_dir);
}

static void check_evaluation(Loading *l) {
    const Config *c = l->c;
    bool data = c->validation_file.count || c->val_set_size > 0 || l->wrong[CONFIG_validation_file] ||
                l->wrong[CONFIG_val_set_size];
    bool evaluates = c->eval_strategy != EVAL_NO || l->wrong[CONFIG_eval_strategy];
    if (c->validation_file.count && c->val_set_size > 0)
        refuse_key(l, CONFIG_val_set_size, "validation_file is set too; expected one of them");
    if (c->val_set_size >= 1 && c->val_set_size != (double)(int64_t)c->val_set_size)
        refuse_key(l, CONFIG_val_set_size, "expected a fraction below 1 or a whole number of samples");
    if (c->eval_strategy != EVAL_NO && !data)
        refuse_key(l, CONFIG_eval_strategy, "needs validation_file or val_set_size");
    if (!evaluates && c->early_stopping_patience > 0)
        refuse_key(l, CONFIG_early_stopping_patience, "needs eval_strategy \"steps\" or \"epoch\"");
    if (!evaluates && c->load_best_model_at_end)
        refuse_key(l, CONFIG_load_best_model_at_end, "needs eval_strategy \"steps\" or \"epoch\"");
}

// With train_on_inputs every turn is learnt as a whole.
static void check_learnt(Loading *l) {
    const Config *c = l->c;
    bool differs = learnt_turns_differ(config_learnt(c));
    for (size_t i = 0; i < c->train_file.count; i++)
        differs |= learnt_turns_differ(file_rule_learnt(&c->train_file.rules[i], (LearntTurns){0}));
    if (c->train_on_inputs && differs)
        refuse_key(l, CONFIG_train_on_inputs, "learns every turn; leave it out, or roles_to_train and train_on_eos");
    if (c->train_on_inputs && c->mask_history)
        refuse_key(l, CONFIG_mask_history, "learns the last answer only; expected no train_on_inputs");
}

static void check_mix(Loading *l) {
    const Config *c = l->c;
    bool weighted = false, probable = false;
    for (size_t i = 0; i < c->train_file.count; i++) {
        weighted |= c->train_file.weights[i] != 1;
        probable |= c->train_file.rules[i].probability > 0;
    }
    if (c->mix_strategy == MIX_CONCAT && probable)
        refuse_key(l, CONFIG_mix_strategy, "concat has no probabilities; expected interleave_under or interleave_over");
    if (c->mix_strategy != MIX_CONCAT && weighted)
        refuse_key(l, CONFIG_mix_strategy, "interleaved files have no weights; expected probabilities, or concat");
}

static void check_whole_steps(Loading *l, ConfigKey key, double steps) {
    if (steps < 1 || steps == (double)(int64_t)steps) return;
    char what[128];
    snprintf(what, sizeof what, "%g; expected a whole number of steps or a fraction of the run below 1", steps);
    refuse_key(l, key, what);
}

static void check_layers(Loading *l) {
    const IntList *layers = &l->c->layers_to_transform;
    for (size_t i = 1; i < layers->count; i++) {
        if (layers->items[i - 1] < layers->items[i]) continue;
        refuse_key(l, CONFIG_layers_to_transform, "expected layer numbers in ascending order, each once");
        return;
    }
}

// PEFT refuses a pattern without layers, too.
static void check_layers_pattern(Loading *l) {
    if (l->c->layers_pattern.count && !l->c->layers_to_transform.count && !l->wrong[CONFIG_layers_to_transform])
        refuse_key(l, CONFIG_layers_pattern, "needs layers_to_transform");
}

static void check_saved_modules(Loading *l) {
    const StrList *names = &l->c->modules_to_save;
    for (size_t i = 0; i < names->count; i++) {
        const char *name = names->items[i];
        if (task_classifies(l->c->task) && (strcmp(name, "score") == 0 || strcmp(name, "classifier") == 0)) continue;
        char what[192];
        snprintf(what, sizeof what,
                 "\"%.64s\": only the head of a classifier (score, classifier; task classification) is trained whole; "
                 "leave it out",
                 name);
        refuse_key(l, CONFIG_modules_to_save, what);
        return;
    }
}

static void check_rope(Loading *l) {
    const Config *c = l->c;
    bool scaled = c->rope_scaling_type != ROPE_OF_MODEL;
    if (scaled && c->rope_scaling_factor == 1 && !l->wrong[CONFIG_rope_scaling_factor])
        refuse_key(l, CONFIG_rope_scaling_type, "needs rope_scaling_factor above 1");
    if (!scaled && c->rope_scaling_factor != 1 && !l->wrong[CONFIG_rope_scaling_type])
        refuse_key(l, CONFIG_rope_scaling_factor, "needs rope_scaling_type linear, dynamic, yarn or llama3");
}

static void check_precision(Loading *l) {
    const Config *c = l->c;
    DtypeWord dtype = c->dtype;
    Err err = {0};
    if (l->wrong[CONFIG_dtype]) return;
    if (dtype == DTYPE_WORD_TF32 && c->float32_matmul_precision == PRECISION_HIGHEST)
        refuse_key(l, CONFIG_float32_matmul_precision, "\"highest\" with dtype tf32; expected high, or dtype f32");
    else if (run_device_set_precision(&dtype, c->float32_matmul_precision, &err))
        refuse_key(l, CONFIG_float32_matmul_precision, err.msg);
}

bool config_is_server_url(const char *url) {
    const char *host = starts_with(url, "http://") ? url + 7 : starts_with(url, "https://") ? url + 8 : "";
    size_t n = strcspn(host, "/");
    for (const char *c = url; *c; c++)
        if ((unsigned char)*c <= 32 || *c == 127 || strchr("?#\\\"'<>", *c)) return false;
    return n && n < 256 && strlen(url) < 1024 && !memchr(host, '@', n) && *host != ':';
}

bool config_is_address(const char *text) {
    char *address;
    int port, rc = http_address_parse(&address, &port, text, NULL);
    mem_free(address);
    return rc == 0;
}

static void check_hot_swap(Loading *l) {
    const StrList *urls = &l->c->hot_swap_url;
    for (size_t i = 0; i < urls->count; i++) {
        bool twice = false;
        for (size_t k = 0; k < i; k++) twice |= strcmp(urls->items[i], urls->items[k]) == 0;
        if (twice) refuse_key(l, CONFIG_hot_swap_url, "the same URL twice; expected each once");
        if (config_is_server_url(urls->items[i])) continue;
        refuse_key(l, CONFIG_hot_swap_url,
                   "expected \"http://host:port\" or \"https://host\", without user, query and fragment");
        return;
    }
    if (urls->count > 64) refuse_key(l, CONFIG_hot_swap_url, "more than 64 servers");
    if (urls->count && l->c->task == TASK_CLASSIFICATION)
        refuse_key(l, CONFIG_hot_swap_url, "with task classification; engines load adapters of causal_lm");
    if (urls->count && l->c->task == TASK_TOKEN_CLASSIFICATION)
        refuse_key(l, CONFIG_hot_swap_url, "with task token_classification; engines load adapters of causal_lm");
    if (urls->count && l->c->task == TASK_EMBEDDING)
        refuse_key(l, CONFIG_hot_swap_url, "with task embedding; engines load adapters of causal_lm");
}

// given: with another value than the default, which the config of a run has too.
static void refuse_given(Loading *l, ConfigKey key, bool given, const char *what) {
    if (given && !l->wrong[CONFIG_task] && !l->wrong[CONFIG_preference_loss]) refuse_key(l, key, what);
}

static void check_preference(Loading *l) {
    static const char no_task[] = "needs task \"preference\"", other_task[] = "not with task \"preference\"";
    const Config *c = l->c;
    PreferenceLossWord loss = c->preference_loss;
    bool preference = c->task == TASK_PREFERENCE, smoothed = loss == LOSS_DPO || loss == LOSS_SIMPO,
         compared = loss == LOSS_DPO || loss == LOSS_IPO || loss == LOSS_KTO;
    refuse_given(l, CONFIG_preference_loss, !preference && loss != LOSS_DPO, no_task);
    refuse_given(l, CONFIG_beta, !preference && c->beta != 0.1, no_task);
    refuse_given(l, CONFIG_label_smoothing, c->label_smoothing > 0 && !(preference && smoothed),
                 "needs task \"preference\" with preference_loss dpo or simpo");
    refuse_given(l, CONFIG_simpo_gamma, c->simpo_gamma != 0.5 && !(preference && loss == LOSS_SIMPO),
                 "needs task \"preference\" with preference_loss simpo");
    refuse_given(l, CONFIG_rpo_alpha, c->rpo_alpha > 0 && !preference, no_task);
    refuse_given(l, CONFIG_rpo_alpha, c->rpo_alpha > 0 && preference && loss == LOSS_ORPO,
                 "orpo learns the chosen text already; expected another loss");
    refuse_given(l, CONFIG_rpo_alpha, c->rpo_alpha > 0 && preference && loss == LOSS_KTO, "kto has no pairs");
    refuse_given(l, CONFIG_desirable_weight, c->desirable_weight != 1 && !(preference && loss == LOSS_KTO),
                 "needs task \"preference\" with preference_loss kto");
    refuse_given(l, CONFIG_undesirable_weight, c->undesirable_weight != 1 && !(preference && loss == LOSS_KTO),
                 "needs task \"preference\" with preference_loss kto");
    refuse_given(l, CONFIG_reference, c->reference != REFERENCE_START && !(preference && compared),
                 "needs task \"preference\" with preference_loss dpo, ipo or kto");
    refuse_given(l, CONFIG_label_smoothing_factor, preference && c->label_smoothing_factor > 0, other_task);
    refuse_given(l, CONFIG_train_on_inputs, preference && c->train_on_inputs, other_task);
}

static void check_mlm(Loading *l) {
    static const char no_task[] = "needs task \"mlm\"", other_task[] = "not with task \"mlm\"";
    const Config *c = l->c;
    bool mlm = c->task == TASK_MLM, shares = c->mask_replace_prob != 0.8 || c->random_replace_prob != 0.1;
    refuse_given(l, CONFIG_mlm_probability, !mlm && c->mlm_probability != 0.15, no_task);
    refuse_given(l, CONFIG_mask_replace_prob, !mlm && c->mask_replace_prob != 0.8, no_task);
    refuse_given(l, CONFIG_random_replace_prob, !mlm && c->random_replace_prob != 0.1, no_task);
    refuse_given(l, CONFIG_whole_word_mask, !mlm && c->whole_word_mask, no_task);
    refuse_given(l, CONFIG_mask_replace_prob, mlm && c->mask_replace_prob + c->random_replace_prob > 1 + 1e-9,
                 "more than 1 together with random_replace_prob");
    refuse_given(l, CONFIG_whole_word_mask, mlm && c->whole_word_mask && shares,
                 "whole words are replaced by the mask token alone; expected no mask_replace_prob and "
                 "random_replace_prob");
    refuse_given(l, CONFIG_train_on_inputs, mlm && c->train_on_inputs, other_task);
    if (mlm && l->c->hot_swap_url.count)
        refuse_key(l, CONFIG_hot_swap_url, "with task mlm; engines load adapters of causal_lm");
}

static void check_labels(Loading *l) {
    const Config *c = l->c;
    const LabelList names = {c->label_list.items, c->label_list.count, c->label_list.count};
    const char *twice = label_list_repeated(&names), *other = "needs task \"classification\"";
    refuse_given(l, CONFIG_problem_type, c->problem_type && c->task != TASK_CLASSIFICATION, other);
    refuse_given(l, CONFIG_label_list, names.count && !task_classifies(c->task),
                 "needs task \"classification\" or \"token_classification\"");
    refuse_given(l, CONFIG_label_smoothing_factor, problem_is_each(c->problem_type) && c->label_smoothing_factor > 0,
                 "of one label of several; expected 0 with this problem_type");
    if (twice) refuse_key(l, CONFIG_label_list, "a name twice; expected different ones");
}

static void check_matryoshka(Loading *l) {
    const IntList *dims = &l->c->matryoshka_dims;
    for (size_t i = 0; i < dims->count; i++)
        for (size_t k = 0; k < i; k++)
            if (dims->items[i] == dims->items[k]) {
                refuse_key(l, CONFIG_matryoshka_dims, "the same number twice; expected each once");
                return;
            }
    if (l->c->matryoshka_weights.count && l->c->matryoshka_weights.count != dims->count &&
        !l->wrong[CONFIG_matryoshka_dims])
        refuse_key(l, CONFIG_matryoshka_weights, "expected as many numbers as matryoshka_dims has");
}

static void check_embedding(Loading *l) {
    static const char no_task[] = "needs task \"embedding\"", other_task[] = "not with task \"embedding\"";
    const Config *c = l->c;
    bool embedding = c->task == TASK_EMBEDDING, cosine = c->embedding_loss == LOSS_COSINE;
    refuse_given(l, CONFIG_embedding_loss, !embedding && c->embedding_loss != LOSS_RANKING, no_task);
    refuse_given(l, CONFIG_pooling, !embedding && c->pooling != POOLING_AUTO, no_task);
    refuse_given(l, CONFIG_normalize_embeddings, !embedding && c->normalize_embeddings != NORMALIZE_AUTO, no_task);
    refuse_given(l, CONFIG_similarity_fct, !embedding && c->similarity_fct != SIMILARITY_COSINE, no_task);
    refuse_given(l, CONFIG_similarity_fct, embedding && cosine && c->similarity_fct != SIMILARITY_COSINE,
                 "cosine_similarity compares cosines; expected cos_sim, or another embedding_loss");
    refuse_given(l, CONFIG_scale, !embedding && c->scale != 20, no_task);
    refuse_given(l, CONFIG_scale, embedding && cosine && c->scale != 20,
                 "cosine_similarity has no scale; expected another embedding_loss");
    refuse_given(l, CONFIG_contrastive_batch_size, !embedding && c->contrastive_batch_size, no_task);
    refuse_given(l, CONFIG_matryoshka_dims, !embedding && c->matryoshka_dims.count, no_task);
    refuse_given(l, CONFIG_matryoshka_weights, !embedding && c->matryoshka_weights.count, no_task);
    refuse_given(l, CONFIG_label_smoothing_factor, embedding && c->label_smoothing_factor > 0, other_task);
    refuse_given(l, CONFIG_train_on_inputs, embedding && c->train_on_inputs, other_task);
    check_matryoshka(l);
}

static void check_distillation(Loading *l) {
    static const char no_teacher[] = "needs teacher_model, teacher_adapter or teacher_logits";
    const Config *c = l->c;
    bool any = c->teacher_model || c->teacher_adapter || c->teacher_logits;
    ConfigKey named = c->teacher_logits    ? CONFIG_teacher_logits
                      : c->teacher_adapter ? CONFIG_teacher_adapter
                                           : CONFIG_teacher_model;
    refuse_given(l, named, any && c->task != TASK_CAUSAL_LM, "needs task \"causal_lm\"");
    refuse_given(l, CONFIG_label_smoothing_factor, any && c->label_smoothing_factor > 0, "not with a teacher");
    refuse_given(l, CONFIG_kd_alpha, any && c->kd_alpha == 0 && c->kd_ce_alpha == 0, "0, as kd_ce_alpha is");
    refuse_given(l, CONFIG_quantize_teacher, c->quantize_teacher && !c->teacher_model, "needs teacher_model");
    refuse_given(l, CONFIG_kd_alpha, !any && c->kd_alpha != 0.5, no_teacher);
    refuse_given(l, CONFIG_kd_ce_alpha, !any && c->kd_ce_alpha != 0.5, no_teacher);
    refuse_given(l, CONFIG_kd_temperature, !any && c->kd_temperature != 1, no_teacher);
}

// What a run in stages does not compute yet. (The ranks, the device and the model are checked where they are known.)
static void check_pipeline(Loading *l, ConfigPurpose purpose) {
    const Config *c = l->c;
    static const char other[] = "not with pipeline_parallel_size above 1";
    if (c->pipeline_parallel_size < 2 || (purpose != CONFIG_FOR_TRAIN && purpose != CONFIG_FOR_PLAN)) return;
    if (c->task != TASK_CAUSAL_LM && !l->wrong[CONFIG_task])
        refuse_key(l, CONFIG_pipeline_parallel_size, "above 1 needs task \"causal_lm\"");
    if (c->use_dora) refuse_key(l, CONFIG_use_dora, other);
    if (c->init_lora_weights == INIT_LORA_PISSA || c->init_lora_weights == INIT_LORA_OLORA)
        refuse_key(l, CONFIG_init_lora_weights, "pissa and olora are not for pipeline_parallel_size above 1");
    if (c->teacher_model) refuse_key(l, CONFIG_teacher_model, other);
    if (c->teacher_adapter) refuse_key(l, CONFIG_teacher_adapter, other);
    if (c->teacher_logits) refuse_key(l, CONFIG_teacher_logits, other);
    if (c->dashboard) refuse_key(l, CONFIG_dashboard, "asks the whole model; not with pipeline_parallel_size above 1");
    if (c->hot_swap_url.count) refuse_key(l, CONFIG_hot_swap_url, other);
    if (c->base_memory != BASE_MEMORY_AUTO && c->base_memory != BASE_MEMORY_DEVICE)
        refuse_key(l, CONFIG_base_memory, "with pipeline_parallel_size above 1; expected device or auto");
}

void check_rules(Loading *l, ConfigPurpose purpose) {
    const Config *c = l->c;
    if (c->runs.count && purpose <= CONFIG_FOR_PLAN) return; // each run is checked (config_runs)
    if (c->runs.count)
        refuse_key(l, CONFIG_runs,
                   "several runs are trained or planned together; expected the config of one, as it is "
                   "in its output_dir");
    check_required(l, purpose);
    check_layers(l);
    check_layers_pattern(l);
    check_saved_modules(l);
    check_learnt(l);
    check_mix(l);
    check_rope(l);
    check_pipeline(l, purpose);
    check_precision(l);
    check_hot_swap(l);
    check_preference(l);
    check_mlm(l);
    check_labels(l);
    check_embedding(l);
    check_distillation(l);
    refuse_given(l, CONFIG_pissa_iter, c->pissa_iter >= 0 && c->init_lora_weights != INIT_LORA_PISSA,
                 "needs init_lora_weights \"pissa\"");
    if (c->max_steps == 0) refuse_key(l, CONFIG_max_steps, "0 steps; expected -1 (by epochs) or more than 0");
    if (c->lora_target_modules.count == 0) refuse_key(l, CONFIG_lora_target_modules, "an empty list");
    if (config_global_batch(c) >= 1 << 24)
        refuse_key(l, CONFIG_gradient_accumulation_steps, "more than 2^24 rows per optimizer step");
    check_whole_steps(l, CONFIG_save_steps, c->save_steps);
    check_whole_steps(l, CONFIG_eval_steps, c->eval_steps);
    check_whole_steps(l, CONFIG_warmup_steps, c->warmup_steps);
    if (purpose <= CONFIG_FOR_PLAN) check_evaluation(l);
    find_hub_names(l);
}

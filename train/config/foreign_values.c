// foreign_values: mapping functions of single values (foreign_keys.def names them).
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "foreign.h"
#include "json_pool.h"
#include "path.h"

static bool is_one_of(const Json *v, const char *words) {
    return json_is_text(v) && is_among(v->str.data, v->str.len, words);
}

// Kept until all keys are read. The command line comes later than the file.
static void keep(const Foreign *f, Given *to, double value) { *to = (Given){f->from.source, f->from.line, value}; }

static void keep_number(const Foreign *f, Given *to, const Json *v, double min) {
    if (json_is_number(v) && isfinite(v->number) && v->number >= min)
        keep(f, to, v->number);
    else
        foreign_refuse(f, v, "expected a number");
}

void map_nothing(const Foreign *f, const Json *v) { (void)f, (void)v; }

// ---- what is trained ----

void map_adapter(const Foreign *f, const Json *v) {
    if (is_one_of(v, "qlora")) keep(f, &f->l->given.qlora, 1);
    if (!is_one_of(v, "lora qlora")) foreign_refuse(f, v, "expected lora or qlora");
}

void map_finetuning_type(const Foreign *f, const Json *v) {
    if (!is_one_of(v, "lora")) foreign_refuse(f, v, "only LoRA adapters are trained; expected lora");
}

void map_stage(const Foreign *f, const Json *v) {
    if (is_one_of(v, "pt"))
        keep(f, &f->l->given.pretraining, 1);
    else if (is_one_of(v, "dpo kto"))
        foreign_set_text(f, CONFIG_task, "\"preference\"");
    else if (!is_one_of(v, "sft"))
        foreign_refuse(f, v, "expected sft, pt, dpo or kto");
    if (is_one_of(v, "kto")) foreign_set_text(f, CONFIG_preference_loss, "\"kto\"");
}

void map_use_peft(const Foreign *f, const Json *v) {
    if (v->type != JSON_TRUE) foreign_refuse(f, v, "only adapters are trained; expected true");
}

void map_lora_target(const Foreign *f, const Json *v) {
    AUTO_STR StrBuf list = {0};
    if (!json_is_text(v)) {
        foreign_set(f, CONFIG_lora_target_modules, v);
        return;
    }
    str_puts(&list, "[");
    for (const char *p = v->str.data, *comma = ""; *p; comma = ",") {
        size_t n = strcspn(p, ","), begin = strspn(p, " ");
        size_t end = n;
        while (end > begin && p[end - 1] == ' ') end--;
        bool all = end - begin == 3 && strncmp(p + begin, "all", 3) == 0;
        str_puts(&list, comma);
        json_quote(&list, all ? "all-linear" : p + begin, all ? 10 : end > begin ? end - begin : 0);
        p += n + (p[n] == ',');
    }
    str_puts(&list, "]");
    foreign_set_text(f, CONFIG_lora_target_modules, list.data);
}

void map_target_linear(const Foreign *f, const Json *v) {
    if (v->type == JSON_TRUE)
        keep(f, &f->l->given.target_linear, 1);
    else if (v->type != JSON_FALSE)
        foreign_refuse(f, v, "expected true or false");
}

void map_quantization_bit(const Foreign *f, const Json *v) {
    if (json_is_number(v) && (v->number == 4 || v->number == 8))
        foreign_set_text(f, CONFIG_quantize_base, v->number == 4 ? "\"nf4\"" : "\"int8\"");
    else
        foreign_refuse(f, v, "expected 4 (nf4) or 8 (int8)");
}

// PEFT's "pissa_niter_4".
void map_init_lora(const Foreign *f, const Json *v) {
    static const char pissa[] = "pissa_niter_";
    const char *n = json_is_text(v) && starts_with(v->str.data, pissa) ? v->str.data + strlen(pissa) : NULL;
    if (!n || !*n || n[strspn(n, "0123456789")]) {
        foreign_set(f, CONFIG_init_lora_weights, v);
        return;
    }
    foreign_set_text(f, CONFIG_init_lora_weights, "\"pissa\"");
    foreign_set_text(f, CONFIG_pissa_iter, n + strspn(n, "0") - (n[strspn(n, "0")] == 0));
}

void map_pissa_init(const Foreign *f, const Json *v) {
    if (v->type == JSON_TRUE)
        foreign_set_text(f, CONFIG_init_lora_weights, "\"pissa\"");
    else if (v->type != JSON_FALSE)
        foreign_refuse(f, v, "expected true or false");
}

void map_pissa_convert(const Foreign *f, const Json *v) {
    if (v->type == JSON_TRUE)
        foreign_note(f, "what is exported is plain LoRA of twice the rank, for the unchanged base");
}

// ---- steps ----

void map_per_epoch(const Foreign *f, const Json *v) {
    keep_number(f, *f->name == 'e' ? &f->l->given.evals_per_epoch : &f->l->given.saves_per_epoch, v, 0);
}

void map_total_batch(const Foreign *f, const Json *v) { keep_number(f, &f->l->given.total_batch, v, 1); }

void map_min_lr(const Foreign *f, const Json *v) { keep_number(f, &f->l->given.min_lr_ratio, v, 0); }

void map_scheduler_kwargs(const Foreign *f, const Json *v) {
    if (foreign_is_off(v)) return;
    const Json *ratio = json_given(v, "min_lr_rate");
    if (ratio && v->count == 1)
        foreign_set(f, CONFIG_min_lr_ratio, ratio);
    else
        foreign_refuse(f, v, "expected min_lr_rate only");
}

void map_warmup_ratio(const Foreign *f, const Json *v) {
    foreign_set(f, json_is_number(v) && v->number > 1 ? CONFIG_warmup_steps : CONFIG_warmup_ratio, v);
}

void map_save_strategy(const Foreign *f, const Json *v) {
    if (v->type == JSON_FALSE || is_one_of(v, "no"))
        keep(f, &f->l->given.save_strategy, SAVE_NEVER);
    else if (is_one_of(v, "steps epoch"))
        keep(f, &f->l->given.save_strategy, is_one_of(v, "epoch") ? SAVE_BY_EPOCH : SAVE_BY_STEPS);
    else
        foreign_refuse(f, v, "expected no, steps or epoch; the best snapshot is kept with load_best_model_at_end");
}

void map_early_stopping(const Foreign *f, const Json *v) { foreign_set(f, CONFIG_early_stopping_patience, v); }

void map_optimizer(const Foreign *f, const Json *v) {
    static const char others[] = "adamw_anyprecision"; // with another rounding
    bool adamw = json_is_text(v) && (starts_with(v->str.data, "adamw_") || starts_with(v->str.data, "paged_adamw")) &&
                 strcmp(v->str.data, others) != 0;
    if (!adamw && !is_one_of(v, "adamw flash_adamw optimi_adamw ao_adamw_8bit ao_adamw_4bit"))
        foreign_refuse(f, v, "AdamW is the optimizer; expected adamw_torch or another adamw");
    else if (!is_one_of(v, "adamw_torch adamw_torch_fused adamw adamw_hf"))
        foreign_note(f, "%s: AdamW, with its state in float32", v->str.data);
}

void map_no_shuffle(const Foreign *f, const Json *v) {
    if (v->type == JSON_TRUE) foreign_set_text(f, CONFIG_shuffle, "false");
}

void map_packing(const Foreign *f, const Json *v) {
    if (v->type == JSON_TRUE) keep(f, &f->l->given.packing, 1);
    foreign_set(f, CONFIG_packing, v);
}

void map_neat_packing(const Foreign *f, const Json *v) {
    if (v->type != JSON_TRUE) return;
    keep(f, &f->l->given.neat_packing, 1);
    if (!config_is_set(f->l->c, CONFIG_packing)) foreign_set(f, CONFIG_packing, v);
}

void map_assistant_only(const Foreign *f, const Json *v) {
    if (v->type == JSON_TRUE)
        foreign_set_text(f, CONFIG_train_on_inputs, "false");
    else if (v->type == JSON_FALSE)
        foreign_set_text(f, CONFIG_train_on_inputs, "true");
    else
        foreign_refuse(f, v, "expected true or false");
}

// A list, or text with commas.
void map_interleave_probs(const Foreign *f, const Json *v) {
    GivenKeys *given = &f->l->given;
    AUTO_FREE char *text = json_is_text(v) ? mem_printf("[%s]", v->str.data) : NULL;
    AUTO_JSON JsonDoc *doc = NULL;
    if (text && json_parse(&doc, text, strlen(text), "", 0, NULL) == 0) v = json_root(doc);
    mem_free(given->interleave_probs);
    given->interleave_probs = mem_calloc(v->count + 1, sizeof(double));
    given->n_probs = v->type == JSON_ARRAY ? v->count : 0;
    given->probabilities = (Given){f->from.source, f->from.line, 0};
    for (size_t i = 0; i < given->n_probs; i++) {
        const Json *p = &v->items[i];
        double x = p->type == JSON_FLOAT ? p->number : 0;
        if (!(x > 0 && x < 1)) {
            foreign_refuse(f, v, "expected probabilities above 0 and below 1, with commas");
            return;
        }
        given->interleave_probs[i] = x;
    }
    if (!given->n_probs) foreign_refuse(f, v, "expected probabilities above 0 and below 1, with commas");
}

// ---- machine and log ----

void map_device_cpu(const Foreign *f, const Json *v) {
    if (v->type == JSON_TRUE) foreign_set_text(f, CONFIG_device, "\"cpu\"");
}

void map_num_gpus(const Foreign *f, const Json *v) {
    if (!(json_is_number(v) && v->number == 1)) foreign_set(f, CONFIG_num_gpus, v);
}

// ZeRO divides the state of data-parallel training: the result is the same.
void map_deepspeed(const Foreign *f, const Json *v) {
    static const char *const names[] = {"zero", "_z0", "_z1", "_z2", "_z3"};
    bool zero = v->type == JSON_OBJECT && json_get(v, "zero_optimization");
    for (size_t i = 0; json_is_text(v) && i < sizeof names / sizeof *names; i++)
        zero |= strstr(v->str.data, names[i]) != NULL;
    if (zero)
        foreign_note(f, "ZeRO is data parallelism, which gives the same result; torchrun, mpirun, srun or num_gpus "
                        "start the ranks");
    else if (!foreign_is_off(v))
        foreign_refuse(f, v, "only data parallelism is in this version; expected a ZeRO configuration, or none");
}

void map_kd_trainer(const Foreign *f, const Json *v) {
    static const char *const teachers[] = {"teacher_model", "teacher_adapter", "teacher_logits"};
    bool any = foreign_is_off(v);
    for (size_t i = 0; i < sizeof teachers / sizeof *teachers; i++)
        any |= f->l->root && json_given(f->l->root, teachers[i]) != NULL;
    if (!any)
        foreign_refuse(f, v, "expected teacher_model, or teacher_logits: a file that \"lorac logits\" has written");
}

// Kernels, loggers and what keys of their own switch on; others may change the model.
void map_plugins(const Foreign *f, const Json *v) {
    static const char *const known[] = {"CutCrossEntropyPlugin", "LigerPlugin", "SwanLabPlugin", "KernelsPlugin",
                                        "KDPlugin"};
    for (size_t i = 0; i < v->count; i++) {
        bool found = false;
        const Json *e = &v->items[i];
        for (size_t k = 0; json_is_text(e) && k < sizeof known / sizeof *known; k++)
            found |= ends_with(e->str.data, known[k]);
        if (!found) foreign_refuse(f, e, "the plugin may change the result; leave it out");
    }
    foreign_note(f, "changes nothing here: kernels and logs of another tool");
}

void map_report_to(const Foreign *f, const Json *v) {
    bool list = v->type == JSON_ARRAY;
    for (size_t i = 0; i < (list ? v->count : 1); i++) {
        const Json *e = list ? &v->items[i] : v;
        if (is_one_of(e, "none html")) {
            foreign_set(f, CONFIG_report_to, e);
        } else if (is_one_of(e, "tensorboard")) {
            foreign_set_text(f, CONFIG_report_to, "[\"html\", \"tensorboard\"]");
        } else if (is_one_of(e, "all wandb mlflow comet_ml swanlab trackio azure_ml neptune clearml dagshub "
                                "dvclive flyte codecarbon")) {
            foreign_note(f, "%s: report.html and train_log.jsonl are written instead", e->str.data);
        } else {
            foreign_refuse(f, e, "expected none, html or a logger of transformers");
        }
    }
}

void map_logging_steps(const Foreign *f, const Json *v) {
    if (json_is_number(v) && v->number >= 0 && v->number < 1)
        foreign_note(f, "%s: every step is logged", v->str.data);
    else
        foreign_set(f, CONFIG_logging_steps, v);
}

// ---- templates and tokens ----

static bool is_template_file(const char *path) {
    size_t n = strlen(path);
    return ends_with_nocase(path, n, ".jinja") || ends_with_nocase(path, n, ".jinja2") ||
           ends_with_nocase(path, n, ".j2");
}

void map_template(const Foreign *f, const Json *v) {
    bool own = is_one_of(v, "tokenizer_default") || (json_is_text(v) && starts_with(v->str.data, "tokenizer_default_"));
    if (is_one_of(v, "jinja") || own) return; // the file: chat_template_jinja
    if (json_is_text(v) && is_template_file(v->str.data))
        foreign_set(f, CONFIG_chat_template, v);
    else
        foreign_set(f, CONFIG_template, v);
}

void map_template_file(const Foreign *f, const Json *v) {
    if (json_is_text(v) && is_template_file(v->str.data))
        foreign_set(f, CONFIG_chat_template, v);
    else
        foreign_refuse(f, v, "expected a .jinja file");
}

void map_eos_token(const Foreign *f, const Json *v) { foreign_set(f, CONFIG_eos_token, v); }

void map_special_tokens(const Foreign *f, const Json *v) {
    if (foreign_is_off(v)) return;
    const Json *eos = json_given(v, "eos_token"), *added = json_given(v, "additional_special_tokens");
    if (v->type != JSON_OBJECT || !foreign_is_off(added ? added : &(Json){0})) {
        foreign_refuse(f, v,
                       "the vocabulary of the base is fixed; expected bos_token, eos_token, unk_token, pad_token");
        return;
    }
    if (eos) foreign_set(f, CONFIG_eos_token, eos);
    foreign_note(f, "%s",
                 eos ? "eos_token ends texts; nothing is padded, and the other tokens are the model's own"
                     : "changes nothing here: nothing is padded, and the tokens are the model's own");
}

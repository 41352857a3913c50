#include "teacher.h"

#include <stdio.h>

#include "hash.h"
#include "pass_runner.h"

bool teacher_is_asked(const Config *c) { return c->teacher_model || c->teacher_adapter || c->teacher_logits; }

SoftTargets teacher_loss(const Config *c) {
    return (SoftTargets){.k = c->kd_top_k,
                         .temperature = (float)c->kd_temperature,
                         .hard_weight = (float)c->kd_ce_alpha,
                         .soft_weight = (float)c->kd_alpha};
}

size_t teacher_bytes(const Teacher *t) { return t->model ? model_memory_bytes(t->model) : 0; }

SoftInputs teacher_inputs(const Teacher *t) { return (SoftInputs){t->pass.loss.k, t->file != NULL}; }

void teacher_free(Teacher *t) {
    if (!t) return;
    adapter_free(t->adapter);
    model_free(t->model);
    teacher_logits_close(t->file);
    mem_free(t);
}

int teacher_check_unchanged(const Teacher *t, Err *err) {
    if (t && t->model && model_check_unchanged(t->model, err)) return -1;
    return t && t->file ? teacher_logits_unchanged(t->file, err) : 0;
}

TeacherReport teacher_report(const Teacher *t, const HeadTally *sums, int64_t tokens) {
    if (!t) return (TeacherReport){0};
    double n = tokens ? (double)tokens : 1;
    return (TeacherReport){true, pass_runner_sum(sums, &sums->sums[SUM_HARD]) / n,
                           pass_runner_sum(sums, &sums->sums[SUM_SOFT]) / n};
}

void teacher_identity(char text[128], const Teacher *t, const Model *base) {
    char hash[33] = "no adapter";
    if (t->file) {
        snprintf(text, 128, "logits %s", teacher_logits_hash(t->file));
        return;
    }
    if (t->adapter) {
        AUTO_FREE float *copy = NULL;
        const Adapter *a = t->adapter;
        hash_bytes(hash, adapter_on_host(a, a->params, &copy), (size_t)a->count * sizeof(float));
    }
    snprintf(text, 128, "%s with %s", t->model ? t->model->fingerprint : base->fingerprint, hash);
}

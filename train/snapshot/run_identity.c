// run_identity: the values of a run (see snapshot.h).
#include "snapshot.h"

#include <stdio.h>
#include <string.h>

#include "hash.h"
#include "run_device.h"

#define IDENTITY_NAME(key, name) name,
const char *const identity_names[IDENTITY_KEYS] = {IDENTITY_LIST(IDENTITY_NAME)};

static void identify(RunIdentity *id, IdentityKey key, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void identify(RunIdentity *id, IdentityKey key, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    vsnprintf(id->values[key], sizeof id->values[key], fmt, args);
    va_end(args);
}

// r and lora_alpha; where modules have ranks of their own, also a hash of these.
static void identify_ranks(RunIdentity *id, const AdapterConfig *a) {
    char hash[33] = "", each[64] = "";
    if (a->each) {
        AUTO_STR StrBuf text = {0};
        for (int64_t i = 0; i < a->n_each; i++)
            str_printf(&text, "%ld %.9g,", a->each[i].rank, a->each[i].rank ? (double)a->each[i].alpha : 0.0);
        hash_bytes(hash, text.data, text.len);
        snprintf(each, sizeof each, ", by module %s", hash);
    }
    identify(id, IDENTITY_RANK, "%ld%s", a->rank, each);
    static const char *const starts[] = {[ADAPTER_PISSA] = ", pissa", [ADAPTER_OLORA] = ", olora"};
    identify(id, IDENTITY_ALPHA, "%.9g%s%s%s", (double)a->alpha, a->rslora ? " / sqrt(r)" : "",
             a->dora ? ", use_dora" : "", adapter_takes_part(a) ? starts[a->init] : "");
}

// As a hash: the list may be longer than a value.
static void identify_layers(RunIdentity *id, const AdapterConfig *a) {
    char hash[33] = "all";
    if (a->layers) hash_bytes(hash, a->layers, (size_t)a->n_layers * sizeof *a->layers);
    identify(id, IDENTITY_LAYERS, "%s", hash);
}

static void identify_targets(RunIdentity *id, const AdapterConfig *a) {
    AUTO_STR StrBuf names = {0};
    for (int p = 0; p < PROJ_COUNT; p++) {
        if (a->projections >> p & 1) str_printf(&names, "%s%s", names.len ? "," : "", projection_name((Projection)p));
    }
    identify(id, IDENTITY_TARGETS, "%s", names.data);
}

// The loss and, where an adapter is the reference, its hash.
static void identify_preference(RunIdentity *id, const TrainerInputs *in) {
    char hash[33] = "the base";
    if (in->config->task != TASK_PREFERENCE) return;
    if (in->reference) {
        AUTO_FREE float *copy = NULL;
        const Adapter *a = in->reference;
        hash_bytes(hash, adapter_on_host(a, a->params, &copy), (size_t)a->count * sizeof(float));
    }
    identify(id, IDENTITY_PREFERENCE, "%s against %s", ENUM_WORDS(PREFERENCE_LOSSES)[in->config->preference_loss].word,
             hash);
}

static void identify_teacher(RunIdentity *id, const TrainerInputs *in) {
    char text[128];
    if (!in->teacher) return;
    teacher_identity(text, in->teacher, in->model);
    identify(id, IDENTITY_TEACHER, "%s", text);
}

RunIdentity run_identity(const Trainer *t) {
    RunIdentity id = {0};
    const TrainerInputs *in = trainer_inputs(t);
    const TrainerPlan *p = trainer_plan(t);
    const AdapterConfig *a = &in->adapter->config;
    identify(&id, IDENTITY_BASE, "%s", in->model->fingerprint);
    identify(&id, IDENTITY_DATA, "%s", in->data->fingerprint);
    identify_ranks(&id, a);
    identify_targets(&id, a);
    identify_layers(&id, a);
    if (a->labels) identify(&id, IDENTITY_LABELS, "%ld", a->labels);
    identify_preference(&id, in);
    identify_teacher(&id, in);
    identify(&id, IDENTITY_DEVICE, "%s", in->model->backend->k->name); // with the CPU's instruction set
    identify(&id, IDENTITY_DTYPE, "%s", run_device_dtype(in->model->backend));
    identify(&id, IDENTITY_ROWS_PER_STEP, "%ld", p->rows_per_step);
    identify(&id, IDENTITY_ROWS, "%ld", in->data->rows->count);
    identify(&id, IDENTITY_TOTAL_STEPS, "%ld", p->total_steps);
    identify(&id, IDENTITY_SEED, "%ld", in->config->seed);
    return id;
}

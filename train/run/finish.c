// finish: takes the best snapshot, exports the adapter, verifies it, writes the report (train_run_internal.h).
#include "train_run_internal.h"

#include <stdio.h>
#include <string.h>

#include "export.h"
#include "path.h"
#include "report.h"
#include "say.h"
#include "snapshot.h"
#include "verify.h"

const char *run_display_name(const Config *c) {
    if (c->run_name) return c->run_name;
    const char *path = c->output_dir, *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

// The adapter in output_dir; NULL: none that can be read. Caller frees.
static Adapter *exported_adapter(const TrainerInputs *in, const char *output_dir) {
    AUTO_FREE char *path = path_join(output_dir, "adapter");
    Adapter *exported = NULL;
    if (adapter_load(&exported, in->model, path, false, NULL)) return NULL;
    adapter_narrow(&exported, in->model, in->adapter->config.projections);
    return exported;
}

static bool take_exported(const TrainerInputs *in, const char *output_dir) {
    AUTO(adapter_free) Adapter *exported = exported_adapter(in, output_dir);
    Adapter *a = in->adapter;
    if (exported && a->start) return adapter_take_plain(a, exported);
    if (!exported || exported->count != a->count) return false;
    a->backend->k->copy(a->backend, a->params, exported->params, (size_t)a->count * sizeof *a->params);
    a->backend->k->sync(a->backend);
    adapter_update_norms(a);
    return true;
}

static bool is_exported(const TrainerInputs *in, const char *output_dir) {
    AUTO(adapter_free) Adapter *exported = exported_adapter(in, output_dir), *plain = NULL;
    Err ignored;
    if (!exported || adapter_plain(&plain, in->model, in->adapter, &ignored)) return false;
    const Adapter *written = plain ? plain : in->adapter;
    if (exported->count != written->count) return false;
    AUTO_FREE float *now = adapter_download(written), *host = adapter_download(exported);
    return memcmp(host, now, (size_t)written->count * sizeof *now) == 0;
}

// load_best_model_at_end: takes the adapter of the best evaluation; the rest of the state stays. If its snapshot is
// lost: the adapter that a finished run has exported, else that of the last step.
static void take_best(Trainer *t, const char *output_dir, bool did_steps) {
    const TrainerInputs *in = trainer_inputs(t);
    TrainerState state = *trainer_state(t);
    if (!in->config->load_best_model_at_end || state.best_step < 0 || state.best_step == state.step) return;
    AUTO_FREE char *path = snapshot_path(output_dir, state.best_step);
    Err err;
    bool lost = snapshot_restore(t, path, NULL, &err) != 0;
    if (lost && !did_steps && take_exported(in, output_dir)) {
        log_warn("the best snapshot, of step %ld, cannot be read: %s; the adapter in %s/adapter stays", state.best_step,
                 err.msg, output_dir);
    } else if (lost) {
        log_warn("the best snapshot, of step %ld, cannot be read: %s; the adapter is that of the last step, %ld",
                 state.best_step, err.msg, state.step);
        state.best_step = -1; // the model card shows the last evaluation
    }
    trainer_set_state(t, &state);
}

// An encoder, a classifier and an adapter of embeddings have only the folder.
static bool all_exist(const char *output_dir, const Adapter *a) {
    return dir_has(output_dir, "adapter/adapter_model.safetensors") &&
           dir_has(output_dir, "adapter/adapter_config.json") &&
           (!adapter_has_gguf(a) || dir_has(output_dir, "adapter.gguf")) &&
           (!adapter_generates(a) || dir_has(output_dir, "Modelfile"));
}

static RunFacts facts_of(const Trainer *t) {
    const Config *c = trainer_inputs(t)->config;
    const TrainerState *s = trainer_state(t);
    double eval_loss = s->best_step >= 0 && c->load_best_model_at_end ? s->best_loss : s->last_eval_loss;
    return (RunFacts){(const char *const *)c->train_file.items,
                      c->train_file.count,
                      s->step,
                      s->tokens,
                      s->supervised,
                      c->learning_rate,
                      s->last_loss,
                      eval_loss};
}

char *finish_card(const Trainer *t) {
    const TrainerInputs *in = trainer_inputs(t);
    RunFacts facts = facts_of(t);
    AUTO(adapter_free) Adapter *plain = NULL;
    const Adapter *a = adapter_plain(&plain, in->model, in->adapter, NULL) == 0 && plain ? plain : in->adapter;
    return model_card_text(in->model, a, run_display_name(in->config), &facts);
}

static int export_adapter(const Trainer *t, const char *output_dir, Err *err) {
    const TrainerInputs *in = trainer_inputs(t);
    const Config *c = in->config;
    RunFacts facts = facts_of(t);
    return adapter_export(in->adapter, in->model, output_dir, run_display_name(c), &facts, err);
}

// A failure to write a report is a warning: the adapter is good.
static void write_reports(const Trainer *t, const char *output_dir, bool did_steps, EventFile *events) {
    const Config *c = trainer_inputs(t)->config;
    AUTO_CALL(answers_clear) Answers answers = {0};
    bool page = report_wanted(c) && (did_steps || !report_is_at_end(t, output_dir));
    bool end = events && !event_file_has_end(events);
    Err err = {0};
    if (!page && !end) return;
    int rc = answers_make(&answers, t, false, &err);
    if (!rc && page) rc = report_write(t, output_dir, run_display_name(c), NULL, &answers, &err);
    if (rc) log_warn("%s", err.msg);
    if (!rc && page) say("report: %s/report.html\n", output_dir);
    if (end) event_file_end(events, trainer_state(t)->step, &answers);
}

// Only the whole model has logits.
static int verify(const TrainerInputs *in, const char *output_dir, Err *err) {
    if (model_is_whole(in->model)) return adapter_verify(in->model, output_dir, stdout, err);
    return adapter_verify_files(in->model, output_dir, in->adapter, stdout, err);
}

// A finished run is verified; what is missing or damaged is exported again.
static int export_and_verify(const Trainer *t, const char *output_dir, bool did_steps, Err *err) {
    const TrainerInputs *in = trainer_inputs(t);
    if (!did_steps && all_exist(output_dir, in->adapter)) {
        Err damage;
        int rc = verify(in, output_dir, &damage);
        if (!rc && is_exported(in, output_dir)) return 0;
        if (!rc) err_runtime(&damage, "%s/adapter is not that of the newest snapshot", output_dir);
        log_warn("%s; exporting it again", damage.msg);
    }
    if (export_adapter(t, output_dir, err)) return -1;
    return verify(in, output_dir, err);
}

// The commands that fit what was written.
static void print_next(const TrainerInputs *in, const char *output_dir) {
    bool classifier = in->adapter->config.labels > 0, masked = in->config->task == TASK_MLM;
    int64_t format = in->data->train->stats.format;
    bool preference = in->config->task == TASK_PREFERENCE, embedding = in->config->task == TASK_EMBEDDING;
    bool answers =
        !classifier && !preference && !masked && !embedding && format != FORMAT_TEXT && format != FORMAT_INPUT_IDS;
    say("next:   ");
    if (!masked)
        say(classifier  ? " lorac predict %s TEXT;"
            : embedding ? " lorac embed %s TEXTS;"
                        : " lorac chat %s;",
            output_dir);
    if (in->data->eval_rows) say(" lorac eval %s%s;", output_dir, answers ? " --generate" : "");
    if (classifier || in->model->config.arch->encoder)
        say(" lorac verify %s\n", output_dir);
    else
        say(" lorac merge %s --out MODEL\n", output_dir);
}

int finish_adapter(Trainer *t, const char *output_dir, bool did_steps, Err *err) {
    const TrainerInputs *in = trainer_inputs(t);
    Backend *b = in->model->backend;
    take_best(t, output_dir, did_steps);
    if (b->k->status(b, err)) return -1;
    trainer_end(t);
    return export_and_verify(t, output_dir, did_steps, err);
}

void finish_report(const Trainer *t, const char *output_dir, bool did_steps, EventFile *events) {
    const TrainerInputs *in = trainer_inputs(t);
    write_reports(t, output_dir, did_steps, events);
    print_next(in, output_dir);
    if (in->adapter->config.labels)
        say("adapter: %s/adapter (PEFT with the classifier's head, which llama.cpp does not support)\n", output_dir);
    else if (in->adapter->config.embedding)
        say("adapter: %s/adapter (PEFT, of the model without a head: for PEFT and sentence-transformers)\n",
            output_dir);
    else if (!adapter_generates(in->adapter))
        say("adapter: %s/adapter (PEFT; llama.cpp loads no adapters of encoders)\n", output_dir);
    else if (in->adapter->config.dora)
        say("adapter: %s/adapter (PEFT with DoRA: for PEFT and lorac serve; vLLM, SGLang and llama.cpp do not compute "
            "it: merge it for them)\n",
            output_dir);
    else if (!adapter_has_gguf(in->adapter))
        say("adapter: %s/adapter (PEFT; this kind of folder has no form in llama.cpp)\n", output_dir);
    else
        say("adapter: %s/adapter (PEFT), %s/adapter.gguf (llama.cpp)\n", output_dir, output_dir);
    if (in->adapter->start)
        say("         %s was converted to plain LoRA of twice the rank, for the unchanged base\n",
            in->adapter->config.init == ADAPTER_PISSA ? "PiSSA" : "OLoRA");
    if (in->model->config.rope.of_run)
        say("         An adapter cannot hold rope_scaling_type and rope_scaling_factor: what the programs that load it "
            "need is in %s/adapter/README.md\n",
            output_dir);
}

#include "finish.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "export.h"
#include "path.h"
#include "report.h"
#include "say.h"
#include "snapshot.h"
#include "verify.h"

static const char *run_name(const Config *c) {
    if (c->run_name) return c->run_name;
    const char *path = c->output_dir, *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

// Parameters of the adapter that the run has left before; NULL: none that can be read. Caller frees.
static float *exported_params(const Trainer *t, const char *output_dir) {
    char *path = path_join(output_dir, "adapter");
    Adapter *exported = NULL;
    float *host = NULL;
    if (adapter_load(&exported, t->model, path, false, NULL) == 0) {
        adapter_narrow(&exported, t->model, t->adapter->config.projections);
        if (exported->count == t->adapter->count) host = adapter_download(exported);
        adapter_free(exported);
    }
    mem_free(path);
    return host;
}

static bool take_exported(Trainer *t, const char *output_dir) {
    float *host = exported_params(t, output_dir);
    Backend *b = t->adapter->backend;
    bool found = host != NULL;
    if (found) b->k->upload(b, t->adapter->params, host, (size_t)t->adapter->count * sizeof *host);
    mem_free(host);
    return found;
}

static bool is_exported(const Trainer *t, const char *output_dir) {
    float *now = adapter_download(t->adapter), *host = exported_params(t, output_dir);
    bool same = host && memcmp(host, now, (size_t)t->adapter->count * sizeof *now) == 0;
    mem_free(now);
    mem_free(host);
    return same;
}

// load_best_model_at_end: the adapter of the best evaluation; what the run has seen stays what it was. Where the disk
// has lost it: the one that a finished run has left, else that of the last step.
static void take_best(Trainer *t, const char *output_dir, bool fresh) {
    RunState state = t->state;
    if (!t->config->load_best_model_at_end || state.best_step < 0 || state.best_step == state.step) return;
    char *path = snapshot_path(output_dir, state.best_step);
    RunIdentity id = run_identity(t);
    Err err;
    bool lost = snapshot_load(t, path, &id, NULL, &err) != 0;
    t->state = state;
    mem_free(path);
    if (!lost) return;
    if (!fresh && take_exported(t, output_dir)) {
        log_warn("the best snapshot, of step %" PRId64 ", cannot be read: %s; the adapter in %s/adapter stays",
                 state.best_step, err.msg, output_dir);
        return;
    }
    log_warn("the best snapshot, of step %" PRId64
             ", cannot be read: %s; the adapter is that of the last step, %" PRId64,
             state.best_step, err.msg, state.step);
    t->state.best_step = -1; // the model card has the last evaluation
}

// The forms that only language models have come last.
static bool all_there(const Model *m, const char *output_dir, bool classifier) {
    static const char *const names[] = {"adapter/adapter_model.safetensors", "adapter/adapter_config.json",
                                        "adapter.gguf", "Modelfile"};
    bool there = true;
    size_t n = classifier ? 2 : export_has_modelfile(m) ? 4 : 3;
    for (size_t i = 0; i < n; i++) {
        char *path = path_join(output_dir, names[i]);
        there = there && path_exists(path);
        mem_free(path);
    }
    return there;
}

static int export_adapter(const Trainer *t, const char *output_dir, Err *err) {
    const Config *c = t->config;
    const RunState *s = &t->state;
    RunFacts facts = {.data_files = (const char *const *)c->train_file.items,
                      .n_data_files = c->train_file.count,
                      .steps = s->step,
                      .tokens = s->tokens,
                      .supervised_tokens = s->supervised,
                      .learning_rate = c->learning_rate,
                      .loss = s->last_loss,
                      .eval_loss = s->best_step >= 0 && c->load_best_model_at_end ? s->best_loss : s->last_eval_loss};
    return adapter_export(t->adapter, t->model, output_dir, run_name(c), &facts, err);
}

// A report that cannot be made is no reason to fail a run whose adapter is good.
static void write_report(const Trainer *t, const char *output_dir, bool fresh) {
    char *path = path_join(output_dir, "report.html");
    Err err = {0};
    if (report_wanted(t->config) && (fresh || !path_exists(path))) {
        if (report_write(t, output_dir, run_name(t->config), &err)) {
            log_warn("%s", err.msg);
        } else {
            say("report: %s\n", path);
        }
    }
    mem_free(path);
}

// What a finished run has left is verified; what is missing or damaged is written again.
static int export_and_verify(Trainer *t, const char *output_dir, bool fresh, bool classifier, Err *err) {
    if (!fresh && all_there(t->model, output_dir, classifier)) {
        Err damage;
        int bad = adapter_verify(t->model, output_dir, stdout, &damage);
        if (!bad && is_exported(t, output_dir)) return 0;
        if (!bad) err_runtime(&damage, "%s/adapter is not the one of the newest snapshot", output_dir);
        log_warn("%s; it is written again", damage.msg);
    }
    if (export_adapter(t, output_dir, err)) return -1;
    return adapter_verify(t->model, output_dir, stdout, err);
}

int finish_run(Trainer *t, const char *output_dir, bool fresh, Err *err) {
    bool classifier = t->adapter->config.labels > 0;
    Backend *b = t->model->backend;
    take_best(t, output_dir, fresh);
    if (b->k->status(b, err)) return -1;
    trainer_end(t);
    if (export_and_verify(t, output_dir, fresh, classifier, err)) return -1;
    write_report(t, output_dir, fresh);
    if (classifier)
        say("adapter: %s/adapter (PEFT, with the classifier's head; llama.cpp and Ollama have no form for it)\n",
            output_dir);
    else
        say("adapter: %s/adapter (PEFT), %s/adapter.gguf (llama.cpp, Ollama)\n", output_dir, output_dir);
    return 0;
}

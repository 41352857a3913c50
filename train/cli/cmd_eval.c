// lorac eval: loss, perplexity and token accuracy; with --generate, exact match against the reference answers.
#include "cli.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "eval.h"
#include "generate.h"
#include "json.h"
#include "path.h"
#include "prompt_cases.h"
#include "run_data.h"
#include "run_device.h"
#include "run_model.h"
#include "say.h"

typedef struct EvalArgs {
    bool generate, json, raw;
    int64_t limit, show, max_new_tokens; // limit: prompts, 0: all; show: how many are printed
} EvalArgs;

typedef struct MatchResult {
    int64_t correct, total, tokens; // tokens: generated, stop tokens not counted
    double seconds;
} MatchResult;

typedef struct EvalRun {
    Config config;
    Backend *backend;
    Model *model;
    Adapter *adapter; // NULL: the base alone
    RunData data;
} EvalRun;

enum { DEFAULT_BATCH = 16, DEFAULT_NEW_TOKENS = 256 };

static int take_args(EvalArgs *a, int *argc, char **argv, Err *err) {
    const ArgSpec specs[] = {
        {"generate", ARG_BOOL, &a->generate, NULL}, {"json", ARG_BOOL, &a->json, NULL},
        {"raw", ARG_BOOL, &a->raw, NULL},           {"limit", ARG_INT, &a->limit, NULL},
        {"show", ARG_INT, &a->show, NULL},          {"max_new_tokens", ARG_INT, &a->max_new_tokens, NULL}};
    if (args_take(argc, argv, specs, sizeof specs / sizeof *specs, err)) return -1;
    if (a->limit < 0) return err_input(err, "--limit: %" PRId64 "; expected 0 (all) or more", a->limit);
    if (a->show < 0) return err_input(err, "--show: %" PRId64 "; expected 0 (none) or more", a->show);
    if (a->max_new_tokens < 1) return err_input(err, "--max_new_tokens: expected at least 1");
    return 0;
}

// A run's config without an adapter key means the adapter that the run has written.
static int load_adapter(EvalRun *r, Err *err) {
    const Config *c = &r->config;
    char *path = NULL;
    if (c->adapter_name_or_path) {
        path = mem_strdup(c->adapter_name_or_path);
    } else if (c->output_dir) {
        path = path_join(c->output_dir, "adapter");
    }
    int status = path && strcmp(path, "none") != 0 ? adapter_load(&r->adapter, r->model, path, false, err) : 0;
    mem_free(path);
    return status;
}

// What the adapter is decides the task, whether the config says it or not.
static int check_task(EvalRun *r, Err *err) {
    Config *c = &r->config;
    if (r->adapter && r->adapter->config.labels)
        c->task = TASK_CLASSIFICATION;
    else if (c->task == TASK_CLASSIFICATION)
        return err_input(err, "task: classification; expected an adapter with a classifier");
    else if (!r->model->head.rows)
        return err_input(err, "%s: no language-model head; expected an adapter with a classifier", r->model->path);
    return 0;
}

static int open_run(EvalRun *r, Err *err) {
    ModelOptions o;
    int64_t max_tokens;
    const Config *c = &r->config;
    if (run_model_options(&o, c, &max_tokens, err) ||
        run_device_open(&r->backend, c->device, (DtypeWord)c->dtype, NULL, err))
        return -1;
    o.classifier = true;
    if (model_load(&r->model, r->config.model_name_or_path, r->backend, &o, err)) return -1;
    if (load_adapter(r, err) || check_task(r, err) || run_device_check(r->backend, err)) return -1;
    const LabelList *labels = r->config.task == TASK_CLASSIFICATION ? &r->adapter->labels : NULL;
    return run_data_open(&r->data, &r->config, r->model, labels, false, err);
}

static void close_run(EvalRun *r) {
    run_data_close(&r->data);
    adapter_free(r->adapter);
    model_free(r->model);
    backend_close(r->backend);
    config_clear(&r->config);
}

// ---- generation against references ----

static void strip(const StrBuf *s, const char **begin, size_t *length) {
    const char *b = s->data ? s->data : "", *e = b + s->len;
    while (b < e && isspace((unsigned char)*b)) b++;
    while (e > b && isspace((unsigned char)e[-1])) e--;
    *begin = b;
    *length = (size_t)(e - b);
}

// Decodes an answer, compares it with the reference, and prints all three where asked to.
static bool check_answer(const EvalRun *r, const EvalArgs *a, const PromptCase *c, const Generation *g, bool show) {
    StrBuf text = {0};
    const char *begin;
    size_t length;
    tokenizer_decode(r->model->tokenizer, g->ids, (size_t)g->count, false, &text);
    strip(&text, &begin, &length);
    bool same = length == strlen(c->reference) && memcmp(begin, c->reference, length) == 0;
    if (show) {
        say("prompt    %s\nreference %s\nanswer    ", c->prompt, c->reference);
        say_generated(begin, length, a->raw);
        say("\n\n");
    }
    str_clear(&text);
    return same;
}

static int answer(const EvalRun *r, const EvalArgs *a, const PromptCase *cases, int64_t n, Generation *answers,
                  Err *err) {
    GeneratePrompt *prompts = mem_calloc((size_t)n + 1, sizeof *prompts);
    for (int64_t i = 0; i < n; i++) prompts[i] = (GeneratePrompt){cases[i].ids, cases[i].count};
    int64_t batch = r->config.per_device_eval_batch_size > 0 ? r->config.per_device_eval_batch_size : DEFAULT_BATCH;
    GenerateOptions o = {.max_new_tokens = a->max_new_tokens, .top_p = 1, .batch = batch};
    int32_t end = r->data.chat ? chat_template_end_of_turn(r->data.chat) : -1;
    int32_t *stop = generate_stop_ids(r->model, end, &o.n_stop);
    o.stop = stop;
    int status = generate(r->model, r->adapter, prompts, n, &o, answers, err);
    mem_free(stop);
    mem_free(prompts);
    return status;
}

static int exact_match(const EvalRun *r, const EvalArgs *a, MatchResult *m, Err *err) {
    const Config *c = &r->config;
    if (!c->validation_file) return err_input(err, "eval --generate: needs validation_file");
    int64_t max_tokens, n;
    PromptCase *cases;
    if (run_max_tokens(c, &r->model->config, &max_tokens, err)) return -1;
    FileList files;
    int rc = run_validation_files(&files, c, err);
    DatasetOptions o = run_dataset_options(c, &files, max_tokens);
    if (!rc) rc = prompt_cases_load(&cases, &n, a->limit, &o, r->model->tokenizer, r->data.chat, err);
    file_list_clear(&files);
    if (rc) return -1;
    m->total = n;
    Generation *answers = mem_calloc((size_t)m->total + 1, sizeof *answers);
    double start = time_now();
    int status = answer(r, a, cases, m->total, answers, err);
    m->seconds = time_now() - start;
    for (int64_t i = 0; i < m->total; i++) {
        if (!status) m->correct += check_answer(r, a, &cases[i], &answers[i], i < a->show && !a->json);
        m->tokens += answers[i].count;
        generation_clear(&answers[i]);
    }
    mem_free(answers);
    prompt_cases_free(cases, n);
    return status;
}

static double ratio(int64_t correct, int64_t total) {
    return total ? (double)correct / (double)total : 0;
}

static void print_classifier(const EvalRun *r, const EvalArgs *a, const EvalResult *e) {
    const LabelList *labels = &r->adapter->labels;
    if (!a->json) {
        say("eval_loss=%.4f accuracy=%.4f macro_f1=%.4f (%" PRId64 " samples, %zu classes)\n", e->loss, e->accuracy,
            e->macro_f1, e->tokens, labels->count);
        return;
    }
    StrBuf names = {0};
    for (size_t i = 0; i < labels->count; i++) {
        str_printf(&names, "%s\"%zu\": ", i ? ", " : "", i);
        json_quote(&names, labels->names[i], strlen(labels->names[i]));
    }
    say("{\"eval_loss\": %.9g, \"eval_accuracy\": %.9g, \"eval_macro_f1\": %.9g, \"samples\": %" PRId64
        ", \"id2label\": {%s}}\n",
        e->loss, e->accuracy, e->macro_f1, e->tokens, names.data);
    str_clear(&names);
}

static void print_result(const EvalArgs *a, const EvalResult *e, const MatchResult *m) {
    if (a->json) {
        say("{\"eval_loss\": %.9g, \"eval_perplexity\": %.9g, \"eval_token_accuracy\": %.9g, \"tokens\": %" PRId64,
            e->loss, e->perplexity, e->accuracy, e->tokens);
        if (a->generate)
            say(", \"exact_match\": %.9g, \"correct\": %" PRId64 ", \"total\": %" PRId64
                ", \"generated_tokens\": %" PRId64 ", \"generated_tokens_per_second\": %.1f",
                ratio(m->correct, m->total), m->correct, m->total, m->tokens,
                m->seconds > 0 ? (double)m->tokens / m->seconds : 0);
        say("}\n");
        return;
    }
    say("eval_loss=%.4f perplexity=%.4g token_accuracy=%.4f (%" PRId64 " tokens)\n", e->loss, e->perplexity,
        e->accuracy, e->tokens);
    if (a->generate)
        say("exact_match=%.2f (%" PRId64 "/%" PRId64 ")\n", ratio(m->correct, m->total), m->correct, m->total);
}

static int64_t rows_per_pass(const Config *c) {
    return c->per_device_eval_batch_size > 0 ? c->per_device_eval_batch_size : c->per_device_train_batch_size;
}

static int run_eval(int argc, char **argv, Err *err) {
    EvalArgs a = {.max_new_tokens = DEFAULT_NEW_TOKENS};
    EvalRun r = {0};
    MatchResult match = {0};
    int status = take_args(&a, &argc, argv, err);
    if (!status) status = config_load(&r.config, argc, argv, CONFIG_FOR_EVAL, err);
    if (!status) status = open_run(&r, err);
    if (!status) {
        bool classifier = r.config.task == TASK_CLASSIFICATION;
        if (a.generate && classifier) status = err_input(err, "eval --generate: a classifier does not generate text");
        EvalResult e = status ? (EvalResult){0} : evaluate_model(r.model, r.adapter, &r.data, rows_per_pass(&r.config));
        if (a.generate && !status) status = exact_match(&r, &a, &match, err);
        if (!status) status = r.backend->k->status(r.backend, err);
        if (!status && classifier) print_classifier(&r, &a, &e);
        if (!status && !classifier) print_result(&a, &e, &match);
    }
    close_run(&r);
    return status;
}

const Verb verb_eval = {
    .name = "eval",
    .usage = "lorac eval (CONFIG.json | --model_name_or_path M [--adapter_name_or_path A] --validation_file F)\n"
             "             [--generate] [--limit N] [--show N] [--raw] [--max_new_tokens N] [--json]",
    .summary = "Loss, perplexity and accuracy of a model with an adapter",
    .help = "With a run's config the adapter is output_dir/adapter unless adapter_name_or_path names another one\n"
            "(\"none\": the base model alone).\n"
            "--generate answers the last assistant turn of each sample and compares it with the reference, white\n"
            "space at both ends aside; --limit N takes the first N samples for that, --show N prints the first N with\n"
            "their answers (--raw: control characters in them too). per_device_eval_batch_size (16 unless set) answers "
            "are generated at once.\n"
            "An adapter with a classifier gives loss, accuracy and macro-F1 over the samples.\n",
    .run = run_eval,
};

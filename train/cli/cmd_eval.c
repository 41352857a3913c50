// lorac eval: loss, perplexity and token accuracy; with --generate, exact match against the reference answers.
#include <ctype.h>
#include <math.h>
#include <string.h>

#include "answer_form.h"
#include "cli.h"
#include "config.h"
#include "eval.h"
#include "generate.h"
#include "path.h"
#include "prompt_cases.h"
#include "run_data.h"
#include "run_device.h"
#include "run_folder.h"
#include "run_model.h"
#include "run_teacher.h"
#include "say.h"

typedef struct Options {
    bool generate, json, raw;
    int64_t limit, show, max_new_tokens;
    FormOptions form;
} Options;

static const Key options[] = {
    OPTION(BOOL, generate, .help = "Answer the last assistant turn of each sample and compare with the reference."),
    OPTION(INT, limit, .max = 0x1p53, .help = "With --generate: only the first N samples; 0: all."),
    OPTION(INT, show, .max = 0x1p53, .help = "With --generate: print the first N samples and their answers."),
    OPTION(BOOL, raw, .help = "Print control characters of answers to a terminal as they are, not as \\x1B."),
    OPTION(INT, max_new_tokens, .standard = "256", .min = 1, .max = 0x1p53, .help = "Longest answer, in tokens."),
    FORM_OPTIONS,
    OPTION(BOOL, json, .help = "Print one JSON object."),
};

typedef struct MatchResult {
    int64_t correct, total, tokens; // tokens: generated, stop tokens not counted
    int64_t fitting;                // answers that have the form which was asked for
    double seconds;
} MatchResult;

typedef struct EvalRun {
    Config config;
    Backend *backend;
    Model *model;
    Adapter *adapter;   // NULL: the base alone
    Adapter *reference; // of preferences; NULL: the base alone
    Teacher *teacher;   // NULL: none
    RunData data;
    AnswerForm form;
} EvalRun;

enum { DEFAULT_BATCH = 16 };

// The config of a run means the adapter that the run wrote; the one that its file names is what the run started from,
// and the reference of its preferences.
static int load_adapter(EvalRun *r, Err *err) {
    const Config *c = &r->config;
    AUTO_FREE char *written = c->output_dir ? path_join(c->output_dir, "adapter") : NULL;
    bool of_file = c->line[CONFIG_adapter_name_or_path] != 0;
    bool named = c->adapter_name_or_path && !(of_file && written && path_exists(written));
    const char *path = named ? c->adapter_name_or_path : written;
    if (path && strcmp(path, "none") != 0 && adapter_load(&r->adapter, r->model, path, false, err)) return -1;
    return named ? 0 : run_reference_new(&r->reference, c, r->model, err);
}

// The adapter determines the task: an adapter with a classifier overrides the config.
static int check_task(EvalRun *r, Err *err) {
    Config *c = &r->config;
    if (r->adapter && r->adapter->config.labels)
        c->task = r->adapter->config.problem == PROBLEM_TOKENS ? TASK_TOKEN_CLASSIFICATION : TASK_CLASSIFICATION;
    else if (task_classifies(c->task))
        return err_input(err, "task: %s; expected an adapter with a classifier", ENUM_WORDS(TASKS)[c->task].word);
    else if (!r->model->head.rows && c->task != TASK_EMBEDDING)
        return err_input(err, "%s: no %slanguage-model head; expected an adapter with a classifier, or task embedding",
                         r->model->path, c->task == TASK_MLM ? "masked " : "");
    return 0;
}

static int open_run(EvalRun *r, Err *err) {
    ModelOptions o;
    int64_t max_tokens;
    const Config *c = &r->config;
    if (run_model_options(&o, c, &max_tokens, err) ||
        run_device_open(&r->backend, c->device, config_dtype(c), NULL, err))
        return -1;
    o.classifier = true;
    if (model_load(&r->model, r->config.model_name_or_path, r->backend, &o, err)) return -1;
    if (load_adapter(r, err) || check_task(r, err) || run_device_check(r->backend, err)) return -1;
    RunLabels labels = {0};
    bool classifier = task_classifies(r->config.task);
    if (classifier) labels = (RunLabels){&r->adapter->labels, r->adapter->config.problem};
    if (run_data_open(&r->data, &r->config, r->model, classifier ? &labels : NULL, false, err)) return -1;
    return c->task == TASK_CAUSAL_LM ? run_teacher_open(&r->teacher, c, r->model, &r->data, err) : 0;
}

static void close_run(EvalRun *r) {
    answer_form_close(&r->form);
    run_data_close(&r->data);
    adapter_free(r->adapter);
    adapter_free(r->reference);
    teacher_free(r->teacher);
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

// Decodes an answer, compares it with the reference, and counts it. show: prints prompt, reference and answer.
static void check_answer(MatchResult *m, const EvalRun *r, const Options *o, const PromptCase *c, const Generation *g,
                         bool show) {
    AUTO_STR StrBuf text = {0};
    const char *begin;
    size_t length;
    tokenizer_decode(r->model->tokenizer, g->ids, (size_t)g->count, false, &text);
    strip(&text, &begin, &length);
    m->correct += length == strlen(c->reference) && memcmp(begin, c->reference, length) == 0;
    m->fitting += r->form.constraint && constraint_accepts(r->form.constraint, (JsonStr){begin, length});
    m->tokens += g->count;
    if (show) {
        say("prompt    %s\nreference %s\nanswer    ", c->prompt, c->reference);
        say_generated(begin, length, o->raw);
        say("\n\n");
    }
}

static int answer(const EvalRun *r, const GenerateOptions *wanted, const PromptCase *cases, int64_t n,
                  Generation *answers, Err *err) {
    AUTO_FREE GeneratePrompt *prompts = mem_calloc((size_t)n + 1, sizeof *prompts);
    for (int64_t i = 0; i < n; i++) prompts[i] = (GeneratePrompt){cases[i].ids, cases[i].count};
    GenerateOptions how = *wanted;
    int32_t end = r->data.chat ? chat_template_end_of_turn(r->data.chat) : -1;
    AUTO_FREE int32_t *stop = generate_stop_ids(r->model, end, &how.n_stop);
    how.stop = stop;
    return generate(r->model, r->adapter, prompts, n, &how, answers, err);
}

// held: under the constraint.
static int match_all(MatchResult *m, const EvalRun *r, const Options *o, const PromptCase *cases, int64_t n, bool held,
                     Err *err) {
    int64_t batch = r->config.per_device_eval_batch_size > 0 ? r->config.per_device_eval_batch_size : DEFAULT_BATCH;
    GenerateOptions how = {.max_new_tokens = o->max_new_tokens,
                           .top_p = 1,
                           .batch = batch,
                           .constraint = held ? r->form.constraint : NULL};
    Generation *answers = mem_calloc((size_t)n + 1, sizeof *answers);
    double start = time_now();
    int rc = answer(r, &how, cases, n, answers, err);
    *m = (MatchResult){.total = n, .seconds = time_now() - start};
    for (int64_t i = 0; i < n; i++) {
        if (!rc) check_answer(m, r, o, &cases[i], &answers[i], i < o->show && !o->json);
        generation_clear(&answers[i]);
    }
    mem_free(answers);
    return rc;
}

// Free answers, then those under a constraint.
static int exact_match(const EvalRun *r, const Options *o, MatchResult m[2], Err *err) {
    const Config *c = &r->config;
    int64_t n;
    PromptCase *cases;
    AUTO_CALL(file_list_clear) FileList files = {0};
    CaseChoice choice = {.limit = o->limit};
    if (run_eval_files(&files, &choice, &r->data, c, err)) return -1;
    DatasetOptions data = run_dataset_options(c, &files, r->data.max_tokens);
    if (prompt_cases_load(&cases, &n, &choice, &data, r->model->tokenizer, r->data.chat, err)) return -1;
    int rc = match_all(&m[0], r, o, cases, n, false, err);
    if (!rc && r->form.constraint) rc = match_all(&m[1], r, o, cases, n, true, err);
    prompt_cases_free(cases, n);
    return rc;
}

static double ratio(int64_t correct, int64_t total) { return total ? (double)correct / (double)total : 0; }

// NaN is printed as null; it does not stay hidden.
static cJSON *result_json(const EvalResult *e, const char *accuracy, const char *count) {
    cJSON *j = cJSON_CreateObject();
    cJSON_AddNumberToObject(j, "eval_loss", e->loss);
    cJSON_AddNumberToObject(j, accuracy, e->accuracy);
    cJSON_AddNumberToObject(j, count, (double)e->tokens);
    if (!isfinite(e->loss)) cJSON_AddTrueToObject(j, "nonfinite");
    return j;
}

static void print_classifier(const EvalRun *r, const Options *o, const EvalResult *e) {
    const LabelList *labels = &r->adapter->labels;
    ClassMetric list[CLASS_METRICS_MAX];
    int n = class_metrics_list(list, e->problem, &e->classes);
    if (!o->json) {
        say("eval_loss=%.4f", e->loss);
        for (int i = 0; i < n; i++) say(" %s=%.4f", list[i].name, list[i].value);
        say(" (%ld %s%s, %zu %s)\n", e->tokens, e->problem == PROBLEM_TOKENS ? "label" : "sample", plural(e->tokens),
            labels->count, e->problem == PROBLEM_REGRESSION ? labels->count == 1 ? "number" : "numbers" : "classes");
        return;
    }
    cJSON *j = cJSON_CreateObject();
    cJSON_AddNumberToObject(j, "eval_loss", e->loss);
    for (int i = 0; i < n; i++) {
        AUTO_FREE char *key = mem_printf("eval_%s", list[i].name);
        cJSON_AddNumberToObject(j, key, list[i].value);
    }
    cJSON_AddNumberToObject(j, e->problem == PROBLEM_TOKENS ? "labels" : "samples", (double)e->tokens);
    if (!isfinite(e->loss)) cJSON_AddTrueToObject(j, "nonfinite");
    cJSON *names = cJSON_AddObjectToObject(j, "id2label");
    for (size_t i = 0; i < labels->count; i++) {
        char id[24];
        snprintf(id, sizeof id, "%zu", i);
        cJSON_AddStringToObject(names, id, labels->names[i]);
    }
    print_json(j);
}

static void print_preference(const Options *o, const EvalResult *e) {
    const PreferenceReport *p = &e->preference;
    double margin = p->reward_chosen - p->reward_rejected, last = p->paired ? p->accuracy : p->kl;
    const char *name = p->paired ? "rewards/accuracies" : "kl";
    if (!o->json) {
        say("eval_loss=%.4f rewards/margins=%.4f %s=%.4f (%ld %s%s)\n", e->loss, margin, name, last, p->samples,
            p->paired ? "pair" : "completion", plural(p->samples));
        return;
    }
    AUTO_FREE char *key = mem_printf("eval_%s", name);
    cJSON *j = cJSON_CreateObject();
    cJSON_AddNumberToObject(j, "eval_loss", e->loss);
    cJSON_AddNumberToObject(j, "eval_rewards/chosen", p->reward_chosen);
    cJSON_AddNumberToObject(j, "eval_rewards/rejected", p->reward_rejected);
    cJSON_AddNumberToObject(j, "eval_rewards/margins", margin);
    cJSON_AddNumberToObject(j, key, last);
    cJSON_AddNumberToObject(j, "samples", (double)p->samples);
    cJSON_AddNumberToObject(j, "tokens", (double)e->tokens);
    if (!isfinite(e->loss)) cJSON_AddTrueToObject(j, "nonfinite");
    print_json(j);
}

static void print_vectors(const Options *o, const EvalResult *e) {
    const VectorReport *v = &e->vectors;
    const char *name = v->ranked ? "accuracy" : "spearman";
    double value = v->ranked ? v->accuracy : v->spearman;
    if (!o->json) {
        say("eval_loss=%.4f %s=%.4f (%ld record%s)\n", e->loss, name, value, v->records, plural(v->records));
        return;
    }
    AUTO_FREE char *key = mem_printf("eval_%s", name);
    cJSON *j = cJSON_CreateObject();
    cJSON_AddNumberToObject(j, "eval_loss", e->loss);
    cJSON_AddNumberToObject(j, key, value);
    cJSON_AddNumberToObject(j, "records", (double)v->records);
    if (!isfinite(e->loss)) cJSON_AddTrueToObject(j, "nonfinite");
    print_json(j);
}

static void print_match(const AnswerForm *f, const MatchResult *m, bool held) {
    say("%sexact_match=%.2f (%ld/%ld)", held ? "constrained_" : "", ratio(m->correct, m->total), m->correct, m->total);
    if (f->constraint) say(", %ld fit --%s", m->fitting, f->name);
    say("\n");
}

static void add_match(cJSON *j, const AnswerForm *f, const MatchResult *m) {
    cJSON_AddNumberToObject(j, "exact_match", ratio(m->correct, m->total));
    cJSON_AddNumberToObject(j, "correct", (double)m->correct);
    cJSON_AddNumberToObject(j, "total", (double)m->total);
    if (f->constraint) cJSON_AddNumberToObject(j, "fitting", (double)m->fitting);
    cJSON_AddNumberToObject(j, "generated_tokens", (double)m->tokens);
    cJSON_AddNumberToObject(j, "generated_tokens_per_second", m->seconds > 0 ? (double)m->tokens / m->seconds : 0);
}

static void print_result(const EvalRun *r, const Options *o, const EvalResult *e, const MatchResult m[2]) {
    const AnswerForm *f = &r->form;
    if (!o->json) {
        say("eval_loss=%.4f ", e->loss);
        if (e->teacher.given) say("ce_loss=%.4f kd_loss=%.4f ", e->teacher.hard, e->teacher.soft);
        say("perplexity=%.4g token_accuracy=%.4f (%ld token%s)\n", e->perplexity, e->accuracy, e->tokens,
            plural(e->tokens));
        if (o->generate) print_match(f, &m[0], false);
        if (f->constraint) print_match(f, &m[1], true);
        return;
    }
    cJSON *j = result_json(e, "eval_token_accuracy", "tokens");
    cJSON_AddNumberToObject(j, "eval_perplexity", e->perplexity);
    if (e->teacher.given) {
        cJSON_AddNumberToObject(j, "eval_ce_loss", e->teacher.hard);
        cJSON_AddNumberToObject(j, "eval_kd_loss", e->teacher.soft);
    }
    if (o->generate) add_match(j, f, &m[0]);
    if (f->constraint) add_match(cJSON_AddObjectToObject(j, "constrained"), f, &m[1]);
    print_json(j);
}

static int64_t rows_per_pass(const Config *c) {
    return c->per_device_eval_batch_size > 0 ? c->per_device_eval_batch_size : c->per_device_train_batch_size;
}

static int evaluate_run(EvalRun *r, const Options *o, Err *err) {
    bool classifier = task_classifies(r->config.task);
    MatchResult match[2] = {{0}};
    bool preference = r->config.task == TASK_PREFERENCE, embedding = r->config.task == TASK_EMBEDDING;
    if (o->generate && embedding)
        return err_input(err, "eval --generate: embeddings have no answer; expected task causal_lm");
    if (o->generate && preference)
        return err_input(err, "eval --generate: preferences have no reference answer; expected task causal_lm");
    if (o->generate && (classifier || r->model->config.arch->encoder))
        return err_input(err, "eval --generate: %s does not generate text", classifier ? "a classifier" : "an encoder");
    if (answer_form_open(&r->form, &o->form, r->model->tokenizer, err)) return -1;
    if (r->form.constraint && !o->generate) return err_input(err, "--%s: expected --generate with it", r->form.name);
    PassPreference preferences = preference_of(&r->config, r->reference);
    VectorLoss vectors = vector_loss_of(&r->config, r->data.normalize);
    EvalLoss loss = {.preference = preference ? &preferences : NULL,
                     .vectors = embedding ? &vectors : NULL,
                     .batch = config_global_batch(&r->config),
                     .teacher = r->teacher};
    EvalResult e = evaluate_model(r->model, r->adapter, &r->data, rows_per_pass(&r->config), &loss);
    if (o->generate && exact_match(r, o, match, err)) return -1;
    if (r->backend->k->status(r->backend, err)) return -1;
    if (classifier)
        print_classifier(r, o, &e);
    else if (preference)
        print_preference(o, &e);
    else if (embedding)
        print_vectors(o, &e);
    else
        print_result(r, o, &e, match);
    return 0;
}

static int run_eval(const void *given, int argc, char **argv, Err *err) {
    AUTO_CALL(close_run) EvalRun r = {0};
    AUTO_CALL(run_words_clear) RunWords w = run_folder_words(argc, argv);
    if (config_load(&r.config, w.count, w.words, CONFIG_FOR_EVAL, err) || open_run(&r, err)) return -1;
    return evaluate_run(&r, given, err);
}

const Verb verb_eval = {
    .name = "eval",
    .usage = "lorac eval (CONFIG.json | RUN | --model_name_or_path M [--adapter_name_or_path A] --validation_file F)\n"
             "             [--generate] [--limit N] [--show N] [--raw] [--max_new_tokens N] [--json]\n"
             "             [--json_schema F / --regex R / --grammar F]",
    .summary = "Print loss, perplexity and accuracy of a model with an adapter",
    .help =
        "With the config of a run, or RUN, its output_dir, the adapter is output_dir/adapter, unless "
        "--adapter_name_or_path names another one\n"
        "(\"none\": the base model alone). --generate ignores white space at both ends of answer and reference and\n"
        "generates per_device_eval_batch_size answers at once (16 if it is not set). With --json_schema, --regex or\n"
        "--grammar it answers twice, freely and held to it, and counts the answers that fit. For an adapter with a\n"
        "classifier: loss, accuracy and macro-F1 over the samples.",
    OPTIONS(options),
    .takes_config = true,
    .run = run_eval,
};

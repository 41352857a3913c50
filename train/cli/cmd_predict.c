// lorac predict RUN TEXT...: the labels of texts by a trained classifier, one line of JSON for each text. Texts are
// arguments, lines of a file or of standard input, or records. They are tokenised as in training; each is a pass by
// itself, so that its score does not depend on the others.
#include <string.h>

#include "json_pool.h"
#include "logits.h"
#include "path.h"
#include "predict_print.h"
#include "predict_tagged.h"
#include "record_tokenizer.h"
#include "run_data.h"
#include "run_folder.h"
#include "run_model.h"
#include "say.h"
#include "text_source.h"

typedef struct Options {
    LoadOptions load;
    StrList text;
    char *text_pair, *file;
    int64_t top_k, max_seq_length;
    double threshold;
    bool all, with_text;
} Options;

static const Key options[] = {
    MODEL_OPTION,
    ADAPTER_OPTION,
    OPTION(TEXTS, text, .aliases = "p", .help = "A text; may be repeated."),
    OPTION(TEXT, text_pair, .help = "The second text, for a classifier of pairs."),
    OPTION(PATH, file, .aliases = "f",
           .help = "Texts: one a line (.txt), or records as for training (.jsonl, .csv, ...), with its columns, whose "
                   "label may be absent."),
    OPTION(INT, top_k, .max = LABELS_MAX, .help = "Also the scores of the N most likely labels, best first."),
    OPTION(BOOL, all, .help = "Also the scores of all labels."),
    OPTION(FLOAT, threshold, .standard = "0.5", .max = 1,
           .help = "Of several labels: those with a score above this are the text's."),
    OPTION(BOOL, with_text, .help = "Repeat the text in its line."),
    OPTION(INT, max_seq_length, .aliases = "max_length", .max = INT32_MAX,
           .help = "Longer texts are cut to so many tokens and counted; without it the limit of the run."),
    DEVICE_OPTIONS,
};

typedef struct Predictor {
    const Options *o;
    const Loaded *l;
    RecordTokenizer tokenizer;
    const FileRule *rule; // names of columns, as in training
    int64_t cut;          // texts
} Predictor;

static int classify(Predictor *p, const ClassifiedText *text, const RecordTokens *t, Err *err) {
    const Model *m = p->l->model;
    const Options *o = p->o;
    int64_t labels = p->l->adapter->config.labels, n = (int64_t)t->count;
    AUTO_FREE float *logits = mem_alloc((size_t)labels, sizeof *logits);
    PredictForm form = {o->all ? labels : o->top_k, o->threshold, NULL, NULL};
    if (o->with_text) form.text = text->first.data;
    if (o->with_text && text->pair) form.text_pair = text->second.data;
    if (!n)
        return err_input(err, "found a text without tokens, or a max_seq_length without room for one; expected one");
    if (model_class_logits(m, p->l->adapter, t->ids, n, (int64_t)t->second, logits, err) || loaded_check(p->l, err) ||
        predict_print(p->l->adapter, logits, &form, err))
        return -1;
    p->cut += t->cut != 0;
    return 0;
}

// ---- texts ----

static int add_tagged(Predictor *p, const Json *record, Err *err) {
    size_t cut = 0;
    int rc = predict_tagged(p->l, &p->tokenizer, record, p->o->with_text, &cut, err);
    p->cut += cut != 0;
    return rc;
}

static int add_record(Predictor *p, const Json *record, Err *err) {
    if (p->l->adapter->config.problem == PROBLEM_TOKENS) return add_tagged(p, record, err);
    AUTO_CALL(record_tokens_clear) RecordTokens t = {0};
    ClassifiedText text;
    return classify_read(&text, record, err) || classify_tokenize(&t, &p->tokenizer, &text, err) ||
                   classify(p, &text, &t, err)
               ? -1
               : 0;
}

// pair NULL: none.
static int add_text(Predictor *p, JsonStr text, const char *pair, Err *err) {
    AUTO_CALL(json_pool_clear) JsonPool pool = {0};
    Json record = json_with(&pool, NULL, "text", json_string(text));
    if (pair) record = json_with(&pool, &record, "text_pair", json_string(json_str(pair)));
    return add_record(p, &record, err);
}

static int add_line(void *to, JsonStr text, Err *err) { return add_text(to, text, NULL, err); }

static int add_json(void *to, RecordSpan s, Err *err) {
    Predictor *p = to;
    AUTO_JSON JsonDoc *doc = NULL;
    AUTO_CALL(json_pool_clear) JsonPool pool = {0};
    if (record_parse(&doc, s, err)) return -1;
    Json record = *json_root(doc);
    if (file_rule_rename(&record, p->rule, &pool, err) == 0 && add_record(p, &record, err) == 0) return 0;
    file_rule_explain(json_root(doc), p->rule, err);
    return err_context(err, "%s:%zu", s.name, s.line);
}

// A text of the command line.
static int add_word(Predictor *p, const char *text, Err *err) {
    const char *pair = p->o->text_pair;
    if (text_check("text", text, strlen(text), err) || (pair && text_check("--text_pair", pair, strlen(pair), err)))
        return -1;
    return add_text(p, json_str(text), pair, err);
}

static int add_texts(Predictor *p, int argc, char **argv, Err *err) {
    const StrList *given = &p->o->text;
    for (size_t i = 0; i < given->count; i++)
        if (add_word(p, given->items[i], err)) return -1;
    for (int i = 0; i < argc; i++)
        if (add_word(p, argv[i], err)) return -1;
    return 0;
}

static int predict(Predictor *p, int argc, char **argv, Err *err) {
    const char *file = p->o->file;
    bool none = !file && !argc && !p->o->text.count;
    const TextSink sink = {p, add_line, add_json};
    int rc = none   ? text_source_lines(&sink, stdin, "standard input", true, err)
             : file ? text_source_file(&sink, file, err)
                    : add_texts(p, argc, argv, err);
    if (!rc && p->cut)
        log_warn("%ld text%s longer than max_seq_length, %ld token%s, cut to that", p->cut, plural(p->cut),
                 p->tokenizer.shorten_to, plural(p->tokenizer.shorten_to));
    return rc;
}

// ---- the classifier ----

// Base and longest text of the run, else those of a config that names only the model.
static int model_options(ModelOptions *m, int64_t *limit, const Loaded *l, const LoadOptions *load, const Options *o,
                         Err *err) {
    AUTO_CALL(config_clear) Config own = {0};
    AUTO_FREE char *word = mem_printf("--model_name_or_path=%s", load->model_name_or_path);
    if (!l->run.model_name_or_path && config_load(&own, 1, &word, CONFIG_FOR_BENCH, err)) return -1;
    Config c = l->run.model_name_or_path ? l->run : own; // borrowed
    c.model_name_or_path = load->model_name_or_path;
    if (o->max_seq_length) c.max_seq_length = o->max_seq_length;
    if (run_model_options(m, &c, limit, err)) return -1;
    m->classifier = true;
    return 0;
}

// The columns of the run, else those of the first entry of its train_file.
static const FileRule *rule_of(const Config *run) {
    bool own = !file_rule_has_columns(&run->columns) && run->train_file.count;
    return own ? &run->train_file.rules[0] : &run->columns;
}

static int check_call(const Options *o, int texts, Err *err) {
    texts += (int)o->text.count;
    if (o->file && texts) return err_input(err, "predict: expected texts or --file, not both");
    if (o->text_pair && texts != 1)
        return err_input(err, "--text_pair: found %d text%s; expected one, of which it is the second part", texts,
                         plural(texts));
    return 0;
}

// Options that mean something for another kind of classifier only.
static int check_options(const Options *o, Problem problem, Err *err) {
    bool ranked = o->all || o->top_k, words = problem == PROBLEM_TOKENS;
    if (ranked && (words || problem == PROBLEM_REGRESSION))
        return err_input(err, "--%s: needs labels of whole texts; this is a run of %s", o->all ? "all" : "top_k",
                         problem_name(problem));
    if (o->threshold != 0.5 && problem != PROBLEM_MULTI_LABEL)
        return err_input(err, "--threshold: needs several labels of a text; this is a run of %s",
                         problem_name(problem));
    if (o->text_pair && words)
        return err_input(err, "--text_pair: needs labels of whole texts; this is a run of %s", problem_name(problem));
    return 0;
}

// A run writes the names of its labels.
static int check_names(const char *adapter, Err *err) {
    AUTO_FREE char *names = path_join(adapter, "labels.json");
    if (path_exists(names)) return 0;
    return err_input(err, "%s: no such file; expected the names of the run's labels", names);
}

static int open_classifier(Loaded *l, int64_t *limit, const LoadOptions *load, const Options *o, Err *err) {
    ModelOptions m;
    if (!load->adapter_name_or_path)
        return err_input(err, "--adapter_name_or_path is missing; expected a classifier's adapter, or its run");
    if (model_options(&m, limit, l, load, o, err) || loaded_open(l, load, &m, err)) return -1;
    bool of_run = l->run.model_name_or_path && !o->load.adapter_name_or_path;
    if (of_run && l->adapter->config.labels && check_names(load->adapter_name_or_path, err)) return -1;
    if (l->adapter->config.labels) return check_options(o, l->adapter->config.problem, err);
    return err_input(err, "%s: found an adapter without a classifier; expected one of task classification",
                     load->adapter_name_or_path);
}

static int run_predict(const void *given, int argc, char **argv, Err *err) {
    const Options *o = given;
    AUTO_CALL(loaded_close) Loaded l = {0};
    LoadOptions load;
    int64_t limit;
    bool has_run = argc && (run_folder_is(argv[0]) || !o->load.model_name_or_path);
    if (check_call(o, argc - has_run, err) || run_folder_names(&load, &l, &o->load, has_run ? argv[0] : NULL, err) ||
        open_classifier(&l, &limit, &load, o, err))
        return -1;
    Predictor p = {.o = o, .l = &l, .rule = rule_of(&l.run)};
    p.tokenizer = (RecordTokenizer){
        .tokenizer = l.model->tokenizer, .parse_special = (ParseSpecial)l.run.parse_special, .shorten_to = limit};
    return predict(&p, argc - has_run, argv + has_run, err);
}

const Verb verb_predict = {
    .name = "predict",
    .usage = "lorac predict RUN [TEXT ...] [--file F] [--top_k N | --all] [--with_text]\n"
             "       lorac predict --model_name_or_path M --adapter_name_or_path A [TEXT ...]",
    .summary = "Label texts with a trained classifier",
    .help =
        "RUN is the output_dir of a run with task classification or token_classification. Without a text and --file,\n"
        "standard input is read: a text on each line, or records if the first line begins with '{'. For each text,\n"
        "in their order, one line of JSON: {\"label\", \"score\"}, as a text-classification pipeline gives, and with\n"
        "--top_k or --all \"scores\", a list of such objects. Scores are the softmax of the logits. Where a text\n"
        "may have several labels: {\"labels\": []}, a list of such objects, and scores are the sigmoid of each\n"
        "logit; of regression: {\"value\"}, or {\"values\": []}; of a classifier of tokens: {\"entities\": []}, as a\n"
        "token-classification pipeline gives with aggregation_strategy \"simple\", and for records of words\n"
        "{\"tags\": []}. A score does not depend on the other texts. Texts are cut to max_seq_length, with a warning.",
    .example = "lorac predict out/classifier \"switch off the light\" --all\n"
               "  lorac predict out/classifier --file new.jsonl > labels.jsonl",
    OPTIONS(options),
    .operand = "[RUN]",
    .operands = INT32_MAX,
    .run = run_predict,
};

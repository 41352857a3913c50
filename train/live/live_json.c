// live_json: the state of the runs as JSON, for the page.
#include <stdio.h>
#include <string.h>

#include "json_save.h"
#include "live_internal.h"
#include "say.h"

enum { DIGITS = 7 };

static void add_number_to(cJSON *array, double x) {
    cJSON *holder = mem_checked(cJSON_CreateObject());
    json_add_number(holder, "x", DIGITS, x); // null where x is not finite
    cJSON_AddItemToArray(array, cJSON_DetachItemFromObject(holder, "x"));
    cJSON_Delete(holder);
}

cJSON *live_json_points(const Point *points, size_t n, int fields) {
    cJSON *list = mem_checked(cJSON_CreateArray());
    for (size_t i = 0; i < n; i++) {
        cJSON *point = mem_checked(cJSON_CreateArray());
        for (int k = 0; k < fields; k++) add_number_to(point, points[i].values[k]);
        cJSON_AddItemToArray(list, point);
    }
    return list;
}

cJSON *live_json_ranks(const LiveRun *r) {
    cJSON *list = mem_checked(cJSON_CreateArray());
    for (int i = 0; i < r->n_ranks; i++) {
        cJSON *rank = mem_checked(cJSON_CreateArray());
        for (int k = 0; k < 2; k++) add_number_to(rank, r->ranks[i][k]);
        cJSON_AddItemToArray(list, rank);
    }
    return list;
}

// Texts of tokens may be cut within a character: what is no UTF-8 is escaped.
static void add_text(cJSON *o, const char *key, const char *text) {
    AUTO_STR StrBuf clean = {0};
    str_puts(&clean, "");
    say_escape(&clean, text, strlen(text));
    cJSON_AddStringToObject(o, key, clean.data);
}

cJSON *live_json_samples(const LiveRun *r) {
    cJSON *list = mem_checked(cJSON_CreateArray());
    for (int i = 0; i < r->answers.count; i++) {
        const Answer *a = &r->answers.items[i];
        cJSON *o = mem_checked(cJSON_CreateObject());
        add_text(o, "prompt", a->prompt);
        add_text(o, "before", a->before);
        add_text(o, "after", a->after);
        if (i < r->before.count) add_text(o, "previous", r->before.items[i].after);
        add_text(o, "reference", a->reference);
        cJSON_AddItemToArray(list, o);
    }
    return list;
}

static void add_pair(cJSON *list, const char *name, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void add_pair(cJSON *list, const char *name, const char *fmt, ...) {
    cJSON *pair = mem_checked(cJSON_CreateArray());
    char text[2048];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    clean_line(text);
    cJSON_AddItemToArray(pair, mem_checked(cJSON_CreateString(name)));
    cJSON_AddItemToArray(pair, mem_checked(cJSON_CreateString(text)));
    cJSON_AddItemToArray(list, pair);
}

char *live_json_data(const Trainer *t) {
    const TrainerInputs *in = trainer_inputs(t);
    const DatasetStats *s = &in->data->train->stats;
    const FileList *files = &in->config->train_file;
    cJSON *list = mem_checked(cJSON_CreateArray());
    for (size_t i = 0; i < files->count; i++) add_pair(list, "file", "%s", files->items[i]);
    add_pair(list, "format", "%s", dataset_format_name(s->format));
    add_pair(list, "records", "%ld", s->records);
    add_pair(list, "samples", "%ld in %ld rows", in->data->train_samples, in->data->rows->count);
    if (in->data->eval_rows) add_pair(list, "evaluation samples", "%ld", in->data->eval_samples);
    add_pair(list, "tokens", "%ld, supervised %ld", s->tokens, s->supervised);
    add_pair(list, "too long", "%ld dropped, %ld truncated", s->dropped_long, s->truncated);
    add_pair(list, "nothing to learn", "%ld skipped", s->skipped_unsupervised);
    return json_line(list);
}

static cJSON *run_json(const LiveRun *r) {
    cJSON *o = mem_checked(cJSON_CreateObject()), *log = mem_checked(cJSON_CreateArray());
    cJSON_AddStringToObject(o, "name", r->name);
    cJSON_AddStringToObject(o, "model", r->model);
    cJSON_AddStringToObject(o, "output", r->output);
    cJSON_AddStringToObject(o, "state", r->state);
    cJSON_AddStringToObject(o, "sample", r->sample);
    json_add_int(o, "step", r->step);
    json_add_int(o, "total", r->total);
    json_add_int(o, "skipped", r->skipped);
    json_add_int(o, "sampled", r->sampled);
    json_add_int(o, "sampled_before", r->sampled_before);
    json_add_number(o, "epoch", DIGITS, r->epoch);
    json_add_number(o, "left", DIGITS, r->left);
    cJSON_AddItemToObject(o, "points", live_json_points(r->points.items, r->points.count, POINT_FIELDS));
    cJSON_AddItemToObject(o, "evals", live_json_points(r->evals.items, r->evals.count, 2));
    cJSON_AddItemToObject(o, "samples", live_json_samples(r));
    cJSON_AddItemToObject(o, "ranks", live_json_ranks(r));
    cJSON_AddItemToObject(o, "data", mem_checked(cJSON_Parse(r->data)));
    for (size_t i = r->n_log > LOG_LINES ? r->n_log - LOG_LINES : 0; i < r->n_log; i++)
        cJSON_AddItemToArray(log, mem_checked(cJSON_CreateString(r->log[i % LOG_LINES].data)));
    cJSON_AddItemToObject(o, "log", log);
    return o;
}

cJSON *live_json_all(const Live *l) {
    cJSON *o = mem_checked(cJSON_CreateObject()), *runs = mem_checked(cJSON_CreateArray());
    for (size_t i = 0; i < l->n_runs; i++) cJSON_AddItemToArray(runs, run_json(&l->runs[i]));
    cJSON_AddItemToObject(o, "runs", runs);
    json_add_int(o, "ask_tokens", ANSWER_TOKENS);
    json_add_number(o, "ask_seconds", 4, l->ask_seconds);
    json_add_number(o, "step_seconds", 4, l->runs[0].seconds);
    return o;
}

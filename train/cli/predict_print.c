#include "predict_print.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli.h"

typedef struct Score {
    double score;
    int64_t label;
} Score;

static int by_score(const void *a, const void *b) {
    const Score *x = a, *y = b;
    return x->score > y->score ? -1 : x->score < y->score ? 1 : x->label < y->label ? -1 : 1;
}

static int check_finite(const float *logits, int64_t n, Err *err) {
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(logits[i]))
            return err_runtime(err, "found a logit of %g; expected finite ones", (double)logits[i]);
    return 0;
}

static void softmax(Score *scores, const float *logits, int64_t n) {
    double most = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++) most = fmax(most, (double)logits[i]);
    for (int64_t i = 0; i < n; i++) sum += exp((double)logits[i] - most);
    for (int64_t i = 0; i < n; i++) scores[i] = (Score){exp((double)logits[i] - most) / sum, i};
}

static cJSON *score_json(cJSON *j, const LabelList *labels, const Score *s) {
    cJSON_AddStringToObject(j, "label", labels->names[s->label]);
    cJSON_AddNumberToObject(j, "score", s->score);
    return j;
}

static void add_list(cJSON *j, const char *key, const LabelList *labels, const Score *scores, int64_t n) {
    cJSON *list = cJSON_AddArrayToObject(j, key);
    for (int64_t i = 0; i < n; i++) cJSON_AddItemToArray(list, score_json(cJSON_CreateObject(), labels, &scores[i]));
}

static void add_numbers(cJSON *j, const float *values, int64_t n) {
    if (n == 1) {
        cJSON_AddNumberToObject(j, "value", (double)values[0]);
        return;
    }
    cJSON *list = cJSON_AddArrayToObject(j, "values");
    for (int64_t i = 0; i < n; i++) cJSON_AddItemToArray(list, cJSON_CreateNumber((double)values[i]));
}

static void add_scores(cJSON *j, const Adapter *a, const float *logits, const PredictForm *f) {
    int64_t n = a->config.labels, above = 0;
    bool multi = a->config.problem == PROBLEM_MULTI_LABEL;
    AUTO_FREE Score *scores = mem_alloc((size_t)n, sizeof *scores);
    if (!multi) softmax(scores, logits, n);
    for (int64_t i = 0; i < n && multi; i++) scores[i] = (Score){1 / (1 + exp(-(double)logits[i])), i};
    qsort(scores, (size_t)n, sizeof *scores, by_score);
    while (above < n && scores[above].score > f->threshold) above++;
    if (multi)
        add_list(j, "labels", &a->labels, scores, above);
    else
        score_json(j, &a->labels, scores);
    if (f->shown) add_list(j, "scores", &a->labels, scores, f->shown < n ? f->shown : n);
}

int predict_print(const Adapter *a, const float *logits, const PredictForm *f, Err *err) {
    if (check_finite(logits, a->config.labels, err)) return -1;
    cJSON *j = cJSON_CreateObject();
    if (f->text) cJSON_AddStringToObject(j, "text", f->text);
    if (f->text_pair) cJSON_AddStringToObject(j, "text_pair", f->text_pair);
    if (a->config.problem == PROBLEM_REGRESSION)
        add_numbers(j, logits, a->config.labels);
    else
        add_scores(j, a, logits, f);
    print_json(j);
    fflush(stdout); // standard input may be a terminal or a pipe that waits for the answer
    return 0;
}

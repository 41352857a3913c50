// eval_vectors: evaluation of sentence embeddings, batch by batch. Every rank has the vectors of all, so that the
// results need no sum.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "trainer_internal.h"

// ---- Spearman's correlation: that of the ranks; equal values share the mean of theirs ----

typedef struct Ranked {
    float value;
    int64_t index;
} Ranked;

static int by_value(const void *a, const void *b) {
    float x = ((const Ranked *)a)->value, y = ((const Ranked *)b)->value;
    return (x > y) - (x < y);
}

static double *ranks_of(const float *values, int64_t n) {
    AUTO_FREE Ranked *sorted = mem_alloc((size_t)n, sizeof *sorted);
    double *ranks = mem_alloc((size_t)n, sizeof *ranks);
    for (int64_t i = 0; i < n; i++) sorted[i] = (Ranked){values[i], i};
    qsort(sorted, (size_t)n, sizeof *sorted, by_value);
    for (int64_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && sorted[end].value == sorted[i].value;) end++;
        for (int64_t k = i; k < end; k++) ranks[sorted[k].index] = (double)(i + end - 1) / 2;
    }
    return ranks;
}

double spearman(const float *x, const float *y, int64_t n) {
    AUTO_FREE double *a = ranks_of(x, n), *b = ranks_of(y, n);
    double mean = (double)(n - 1) / 2, xy = 0, xx = 0, yy = 0;
    for (int64_t i = 0; i < n; i++) {
        if (isnan(x[i]) || isnan(y[i])) return NAN;
        xy += (a[i] - mean) * (b[i] - mean);
        xx += (a[i] - mean) * (a[i] - mean);
        yy += (b[i] - mean) * (b[i] - mean);
    }
    return xy / sqrt(xx * yy);
}

// ---- batches ----

typedef struct VectorEval {
    PassRunner *r;
    const Dataset *dataset;
    const RowPlan *plan;
    int64_t *rows; // [a batch] of the plan
    VectorSums sums;
    int64_t tokens;             // scored
    float *similarity, *scores; // [all records]
} VectorEval;

static void run_batch(VectorEval *e, int64_t first, int64_t count) {
    PassRunner *r = e->r;
    Vectors *v = r->vectors;
    const Group *g = r->ranks.group;
    for (int64_t i = 0; i < count; i++) e->tokens += row_plan_row(e->plan, e->rows[i] = first + i).supervised;
    vectors_begin(v, e->dataset, e->plan, e->rows, count);
    heartbeat_set_phase(r->ranks.heartbeat, pass_runner_phase(r), 0);
    for (int64_t i = g->rank * r->eval_rows; i < count; i += g->ranks * r->eval_rows) {
        PassRows pass = {.dataset = e->dataset, .plan = e->plan, .rows = e->rows + i, .first = i};
        pass.count = min64(r->eval_rows, count - i);
        pass_runner_start(r, &pass, &PASS_OPTIONS_EVAL, (PassState){0}, TAPE_FORWARD, NULL);
    }
    heartbeat_set_phase(r->ranks.heartbeat, PHASE_WAITING, 0);
    vectors_gather(v);
    int64_t before = e->sums.records;
    VectorSums sums = vectors_loss(v, 0, e->similarity + before);
    for (int64_t i = 0; i < sums.records; i++) e->scores[before + i] = vectors_score(v, i);
    e->sums.records += sums.records;
    e->sums.correct += sums.correct;
    e->sums.loss += sums.loss;
}

static EvalResult result_of(const VectorEval *e, bool ranked) {
    double n = (double)e->sums.records;
    EvalResult result = {.loss = e->sums.loss / n, .tokens = e->tokens};
    result.vectors = (VectorReport){.records = e->sums.records, .ranked = ranked, .accuracy = NAN, .spearman = NAN};
    if (ranked)
        result.vectors.accuracy = (double)e->sums.correct / n;
    else
        result.vectors.spearman = spearman(e->similarity, e->scores, e->sums.records);
    return result;
}

int evaluate_vectors(PassRunner *r, const Dataset *d, const RowPlan *p, bool (*stop)(void), EvalResult *result,
                     Err *err) {
    int64_t batch = vectors_rows(r->vectors), records = p->start[p->count];
    AUTO_FREE int64_t *rows = mem_alloc((size_t)batch, sizeof *rows);
    AUTO_FREE float *similarity = mem_calloc((size_t)records + 1, sizeof *similarity);
    AUTO_FREE float *scores = mem_calloc((size_t)records + 1, sizeof *scores);
    VectorEval e = {.r = r, .dataset = d, .plan = p, .rows = rows, .similarity = similarity, .scores = scores};
    for (int64_t first = 0; first < p->count; first += batch) {
        int64_t stopped = stop && stop();
        heartbeat_set_phase(r->ranks.heartbeat, PHASE_WAITING, 0);
        if (group_sum(r->ranks.group, &stopped, 1, err)) return -1;
        if (stopped) return 1;
        run_batch(&e, first, min64(batch, p->count - first));
    }
    heartbeat_set_phase(r->ranks.heartbeat, PHASE_UNTIMED, 0);
    *result = result_of(&e, vectors_are_ranked(r->vectors));
    return 0;
}

// loss_cpu: the language-model head and its cross-entropy, blocked over the vocabulary with an online softmax.
//
// Logits are never stored for more than one tile. As in blocked attention (Dao et al. 2022) with W as keys and values:
// a panel of W is expanded once, every tile of rows is multiplied by it, and the tile of exponentials, relative to the
// running maximum of its row and rounded to activations, is multiplied by the same panel and summed into dx; when the
// maximum grows, the sums are rescaled. So W is expanded once per call for any number of rows.
//
// With l the logits of a row, y its target, Z = sum_v exp(l_v), Z' = Z without the target and e the label smoothing:
//     loss = log Z - (1-e) l_y - e mean(l)
//     dx = grad_scale ( sum_{v != y} exp(l_v) W_v / Z + (e - Z'/Z) W_y - e/V sum_v W_v )
// The target is kept apart so that Z'/Z = 1 - p_y keeps its relative precision when p_y is close to 1.
// With a soft cap the logits are l = c tanh(x / c), and W_v in each sum gets the factor dl/dx = 1 - (l_v / c)^2; the
// last sum then differs from row to row and becomes another product.
// Of soft targets (soft_targets_cpu.c) a temperature other than 1 has exponentials of its own: another product, too.
//
// The vocabulary is cut into slices by shape alone, each with its maximum and sums, merged in order: all threads have
// work with few rows, and the bits do not depend on the number of threads.
#include <math.h>

#include "loss_cpu.h"

enum { TILE_M = GEMM_ROWS, PANEL_V = 512, PANEL_ELEMENTS = 5 << 18, ITEMS = 16, MAX_SLICES = 8, PACK_V = 32 };
_Static_assert(PACK_V % STRIP == 0 && PACK_V % K_STEP == 0, "whole strips");

// The next `bytes` of the workspace, of which *used are taken; ws NULL: only measures.
static void *take(char *ws, size_t *used, size_t bytes) {
    size_t at = *used;
    *used += (bytes + 63) & ~(size_t)63;
    return ws ? ws + at : NULL;
}

// Chooses the blocks and lays them out in ws (NULL: only measures); returns the bytes they take.
static size_t lay_out(Head *a, Backend *b, const Weight *w, const HeadLoss *h, int64_t m, char *ws) {
    size_t used = 0;
    int64_t tiles = (m + TILE_M - 1) / TILE_M, c = w->cols;
    a->b = b;
    a->w = w;
    a->h = h;
    a->smooth_capped = h->label_smoothing != 0 && h->softcap != 0;
    a->tempered = h->soft.k && h->soft.temperature != 1;
    a->slices = tiles ? min64(MAX_SLICES, (ITEMS + tiles - 1) / tiles) : 1;
    a->slice_rows = (w->rows + a->slices - 1) / a->slices;
    a->slices = (w->rows + a->slice_rows - 1) / a->slice_rows; // none is empty
    a->step = PANEL_ELEMENTS / (a->slices * c) / PACK_V * PACK_V;
    a->step = a->step < PACK_V ? PACK_V : min64(a->step, PANEL_V);
    a->step = min64(a->step, a->slice_rows);
    a->panels = take(ws, &used, (size_t)(a->slices * a->step * c) * sizeof(Act));
    a->transposed = take(ws, &used, (size_t)(a->slices * gemm_packed_size(c, a->step)) * sizeof(Part));
    a->packed = take(ws, &used, (size_t)(a->slices * gemm_packed_size(a->step, c)) * sizeof(Part));
    a->parts = take(ws, &used, (size_t)gemm_left_size(m, c) * sizeof(Part));
    a->left = take(ws, &used, (size_t)(b->threads * gemm_left_size(TILE_M, a->step)) * sizeof(Part));
    a->tiles = take(ws, &used, (size_t)(b->threads * TILE_M * a->step) * sizeof(float));
    a->factors = take(ws, &used, (size_t)(b->threads * TILE_M * a->step) * sizeof(Act));
    a->sums = take(ws, &used, (size_t)(a->slices * m * c) * sizeof(float));
    a->target_rows = take(ws, &used, (size_t)(b->threads * c) * sizeof(Act));
    a->column_sum = take(ws, &used, (size_t)c * sizeof(double));
    a->states = take(ws, &used, (size_t)(a->slices * m) * sizeof(RowState));
    a->kept = take(ws, &used, (size_t)(m * h->soft.k) * sizeof(float));
    if (a->smooth_capped || a->tempered) {
        a->seconds = take(ws, &used, (size_t)(b->threads * TILE_M * a->step) * sizeof(Act));
        a->second_sums = take(ws, &used, (size_t)(a->slices * m * c) * sizeof(float));
    }
    return used;
}

size_t CPU_FN(head_loss_workspace)(Backend *b, const Weight *w, const HeadLoss *h, int64_t m) {
    Head a;
    size_t most = 0; // of any number of rows up to m: fewer rows may have more slices
    for (int64_t rows = TILE_M; rows < m + TILE_M && rows <= ITEMS * TILE_M; rows += TILE_M) {
        size_t bytes = lay_out(&a, b, w, h, min64(rows, m), NULL);
        most = bytes > most ? bytes : most;
    }
    size_t own = lay_out(&a, b, w, h, m, NULL);
    return own > most ? own : most;
}

// Rows [at, at + n) of W of a slice at the current step; n <= 0: the slice has ended.
typedef struct Panel {
    int64_t slice, at, n;
    Act *rows;
    Part *transposed, *packed;
} Panel;

static Panel panel_of(const Head *a, int64_t slice, int64_t done) {
    int64_t at = slice * a->slice_rows + done;
    int64_t end = min64(a->w->rows, (slice + 1) * a->slice_rows);
    int64_t c = a->w->cols;
    return (Panel){slice,
                   at,
                   min64(a->step, end - at),
                   a->panels + slice * a->step * c,
                   a->transposed + slice * gemm_packed_size(c, a->step),
                   a->packed + slice * gemm_packed_size(a->step, c)};
}

// All panels of this step, by all threads of the team; ends with a barrier.
static void expand_panels(const Head *a, int64_t done) {
    int64_t parts = (a->step + PACK_V - 1) / PACK_V, c = a->w->cols;
#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < a->slices * parts; i++) {
        Panel p = panel_of(a, i / parts, done);
        int64_t row = i % parts * PACK_V, n = min64(PACK_V, p.n - row);
        if (n <= 0) continue;
        Act *rows = p.rows + row * c;
        cpu_expand_act(rows, c, a->w, p.at + row, n, 0, c);
        gemm_pack_transposed(p.transposed + row / STRIP * gemm_strip_size(c), rows, c, c, n);
        if (a->dx.data) gemm_pack(p.packed + gemm_strip_row(row), gemm_strip_size(p.n), rows, c, n, c);
    }
}

// column_sum += all panels of this step; each column by one thread, in order.
static void sum_columns(const Head *a, int64_t done) {
    enum { COLUMNS = 64 };
    int64_t c = a->w->cols;
#pragma omp for
    for (int64_t first = 0; first < c; first += COLUMNS)
        for (int64_t slice = 0; slice < a->slices; slice++) {
            Panel p = panel_of(a, slice, done);
            for (int64_t row = 0; row < p.n; row++)
                for (int64_t i = first; i < min64(first + COLUMNS, c); i++)
                    a->column_sum[i] += (double)act_load(p.rows[row * c + i]);
        }
}

static double total(const float *x, int64_t n) {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += (double)x[i];
    return sum;
}

// x = exp(x - max) dl/dx in place; returns the sum of the exponentials. -inf, the target's place, becomes 0.
static float capped_exponentials(float *x, int64_t n, float max, float cap) {
    float sum = 0, factor = 1 / cap;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) {
        float t = x[i] * factor, e = cpu_expf(x[i] - max);
        t = t < -1 ? -1 : t;
        x[i] = e * (1 - t * t);
        sum += e;
    }
    return sum;
}

// Factors that rescale a slice's sums for dx when the largest logit of a row grows.
typedef struct Shrink {
    float sums, seconds;
} Shrink;

// Adds the logits x of panel p to the state of row m and replaces them by exponentials (0 for the targets); second:
// the row of `seconds` if they are `tempered` and dx is wanted, else NULL.
static Shrink fold_row(const Head *a, Panel p, int64_t m, float *x, Act *second) {
    RowState *state = &a->states[p.slice * a->x.rows + m];
    int32_t target = a->h->targets[m];
    float max = cpu_largest(x, p.n), of_soft = a->tempered ? 1 / a->h->soft.temperature : 1;
    Shrink shrink = {1, 1};
    if (a->h->label_smoothing != 0) state->logits += total(x, p.n);
    if (max > state->max) {
        int64_t i = 0;
        while (x[i] != max) i++;
        state->argmax = (int32_t)(p.at + i);
        shrink.sums = cpu_expf(state->max - max);
        state->others *= (double)shrink.sums;
        if (a->tempered) shrink.seconds = cpu_expf((state->max - max) * of_soft);
        if (a->tempered) state->soft *= (double)shrink.seconds;
        state->max = max;
    }
    bool has_target = target >= p.at && target < p.at + p.n;
    if (has_target) state->target = x[target - p.at];
    if (a->h->soft.k) cpu_keep_soft(a, m, x, p.at, p.n);
    if (has_target) x[target - p.at] = -INFINITY;
    if (a->tempered)
        state->soft += (double)cpu_tempered_exponentials(second, x, p.n, state->max, of_soft, a->h->softcap);
    bool slopes = a->h->softcap != 0 && a->dx.data;
    state->others += (double)(slopes ? capped_exponentials(x, p.n, state->max, a->h->softcap)
                                     : cpu_exponentials(x, p.n, state->max));
    return shrink;
}

// Products of a row of a tile with panel p become logits; slopes (or NULL) = e/V dl/dx.
static void finish_logits(const Head *a, Panel p, float *x, Act *slopes) {
    float cap = a->h->softcap, of_all = a->h->label_smoothing / (float)a->w->rows;
    if (a->w->bias)
        for (int64_t v = 0; v < p.n; v++) x[v] += a->w->bias[p.at + v];
    if (cap == 0) return;
    cpu_softcap(x, p.n, 1 / cap, cap);
    if (!slopes) return;
    for (int64_t v = 0; v < p.n; v++) slopes[v] = act_store(of_all * (1 - x[v] / cap * (x[v] / cap)));
}

static void scale_row(float *sum, int64_t n, float factor) {
    for (int64_t k = 0; k < n && factor != 1; k++) sum[k] *= factor;
}

// One tile of rows against one panel: logits, softmax statistics, and the product with the panel for dx.
static void fold_tile(const Head *a, Panel p, bool first, int64_t m0) {
    int64_t rows = min64(TILE_M, a->x.rows - m0), c = a->w->cols;
    float *tile = a->tiles + omp_get_thread_num() * TILE_M * a->step;
    Act *factors = a->factors + omp_get_thread_num() * TILE_M * a->step;
    Act *seconds = a->second_sums && a->dx.data ? a->seconds + omp_get_thread_num() * TILE_M * a->step : NULL;
    gemm((Output){.f32 = tile, .stride = p.n},
         (Product){rows, p.n, c, .a = gemm_left_at(a->rows, m0, 0), .b = p.transposed, .alpha = 1});
    for (int64_t i = 0; i < rows; i++) {
        float *x = tile + i * p.n;
        Act *second = seconds ? seconds + i * p.n : NULL;
        finish_logits(a, p, x, a->smooth_capped ? second : NULL);
        Shrink shrink = fold_row(a, p, m0 + i, x, a->tempered ? second : NULL);
        if (!a->dx.data) continue;
        act_round(factors + i * p.n, x, p.n);
        if (!first) scale_row(sum_row(a, p.slice, m0 + i), c, shrink.sums);
        if (!first && a->tempered) scale_row(second_row(a, p.slice, m0 + i), c, shrink.seconds);
    }
    if (!a->dx.data) return;
    Part *left = a->left + omp_get_thread_num() * gemm_left_size(TILE_M, a->step);
    Product back = {rows, c, p.n, .a = gemm_left(left, factors, p.n, rows, p.n), .b = p.packed, .alpha = 1};
    gemm((Output){.f32 = sum_row(a, p.slice, m0), .stride = c, .add = !first}, back);
    if (!seconds) return;
    back.a = gemm_left(left, seconds, p.n, rows, p.n);
    gemm((Output){.f32 = second_row(a, p.slice, m0), .stride = c, .add = !first}, back);
}

// The slices of row m as one: the largest logit, the others' sum relative to it, the target's logit.
static RowState merge_states(const Head *a, int64_t m) {
    RowState all = a->states[m];
    for (int64_t slice = 1; slice < a->slices; slice++) {
        const RowState *s = &a->states[slice * a->x.rows + m];
        if (s->max > all.max) all.max = s->max, all.argmax = s->argmax;
    }
    all.others = all.logits = all.soft = 0;
    for (int64_t slice = 0; slice < a->slices; slice++) {
        const RowState *s = &a->states[slice * a->x.rows + m];
        all.others += s->others * exp((double)s->max - (double)all.max);
        all.logits += s->logits;
        if (a->tempered) all.soft += s->soft * exp(((double)s->max - (double)all.max) / (double)a->h->soft.temperature);
        if (a->h->targets[m] / a->slice_rows == slice) all.target = s->target;
    }
    return all;
}

// Subtracts label smoothing's part from dx.
static void smooth_dx(const Head *a, float *dx, int64_t m) {
    int64_t c = a->w->cols;
    float scale = a->h->state->grad_scale, of_all = a->h->label_smoothing / (float)a->w->rows;
    if (!a->smooth_capped)
        for (int64_t k = 0; k < c; k++) dx[k] -= scale * of_all * (float)a->column_sum[k];
    for (int64_t slice = 0; slice < a->slices && a->smooth_capped; slice++) {
        const float *sum = second_row(a, slice, m);
        for (int64_t k = 0; k < c; k++) dx[k] -= scale * sum[k];
    }
}

// dx of row m, from the sums of all slices; they end in those of the first.
static void finish_dx(const Head *a, int64_t m, RowState all, double z) {
    int64_t c = a->w->cols;
    float *dx = sum_row(a, 0, m);
    Act *target_row = a->target_rows + omp_get_thread_num() * c, *to = act_row(a->dx, m);
    float scale = a->h->state->grad_scale, e = a->h->label_smoothing, cap = a->h->softcap;
    float of_target = (float)((double)e - all.others / z);
    if (cap != 0) of_target *= 1 - all.target / cap * (all.target / cap);
    cpu_expand_act(target_row, c, a->w, a->h->targets[m], 1, 0, c);
    for (int64_t slice = 0; slice < a->slices; slice++) {
        const float *sum = sum_row(a, slice, m);
        float factor = (float)(exp((double)a->states[slice * a->x.rows + m].max - (double)all.max) / z);
        for (int64_t k = 0; k < c; k++) dx[k] = slice == 0 ? sum[k] * factor : dx[k] + sum[k] * factor;
    }
    for (int64_t k = 0; k < c; k++) dx[k] = scale * (dx[k] + of_target * act_load(target_row[k]));
    if (e != 0) smooth_dx(a, dx, m);
    act_round(to, dx, c);
}

// ---- the end of a row ----

static double finish_hard(const Head *a, int64_t m, const RowState *all) {
    double e = (double)a->h->label_smoothing, z = all->others + exp((double)all->target - (double)all->max);
    if (a->dx.data) finish_dx(a, m, *all, z);
    double loss = log(z) + (double)all->max - (1 - e) * (double)all->target;
    return e == 0 ? loss : loss - e * all->logits / (double)a->w->rows;
}

// Finishes dx of row m, and stores its loss and its arg max (-1: NaN) in states[m]: others, argmax; of soft targets
// their parts: logits, soft.
static void finish_row(const Head *a, int64_t m) {
    RowState all = merge_states(a, m);
    all.others = a->h->soft.k ? cpu_finish_soft(a, m, &all) : finish_hard(a, m, &all);
    if (isnan(all.others)) all.argmax = -1;
    a->states[m] = all;
}

static void run(Head *a) {
#pragma omp parallel num_threads(a->b->threads)
    {
        Left rows = gemm_left_by_team(a->parts, a->x);
#pragma omp single
        a->rows = rows;
#pragma omp for
        for (int64_t i = 0; i < a->slices * a->x.rows; i++)
            a->states[i] = (RowState){.max = -FLT_MAX, .target = -INFINITY, .argmax = -1};
        for (int64_t done = 0; done < a->slice_rows; done += a->step) {
            expand_panels(a, done);
            if (a->h->label_smoothing != 0 && !a->smooth_capped && a->dx.data) sum_columns(a, done);
#pragma omp for collapse(2) schedule(dynamic)
            for (int64_t slice = 0; slice < a->slices; slice++)
                for (int64_t m = 0; m < a->x.rows; m += TILE_M) {
                    Panel p = panel_of(a, slice, done);
                    if (p.n > 0) fold_tile(a, p, done == 0, m);
                }
        }
#pragma omp for
        for (int64_t m = 0; m < a->x.rows; m++) finish_row(a, m);
    }
}

void CPU_FN(head_loss)(Backend *b, HeadResult *result, Mat dx, Mat x, const Weight *w, const HeadLoss *h, void *ws) {
    CHECK_ACT(x, x.rows, w->cols);
    if (dx.data) CHECK_ACT(dx, x.rows, w->cols);
    CHECK(!h->soft.k || h->label_smoothing == 0, "soft targets with label smoothing");
    Head a = {0};
    lay_out(&a, b, w, h, x.rows, ws);
    a.x = x;
    a.dx = dx;
    memset(a.column_sum, 0, (size_t)w->cols * sizeof *a.column_sum);
    run(&a);
    *result = (HeadResult){0};
    for (int64_t m = 0; m < x.rows; m++) {
        result->loss += a.states[m].others;
        if (h->token_loss) h->token_loss[m] = a.states[m].others;
        result->correct += a.states[m].argmax == h->targets[m];
        if (!h->soft.k) continue;
        result->sums[SUM_HARD] += a.states[m].logits;
        result->sums[SUM_SOFT] += a.states[m].soft;
    }
}

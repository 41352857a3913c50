// profile_slots: the timed slots of a profiled backend: each calls the backend's own slot and adds what it computes.
#include "profile.h"

static double mat_bytes(Mat m) { return m.data ? (double)m.rows * (double)m.cols * dtype_info(m.dtype)->bytes : 0; }

static double weight_bytes(const Weight *w) {
    double sum = w->bias ? (double)w->rows * sizeof(float) : 0;
    for (int i = 0; i < w->n_segments; i++) {
        size_t row = 0;
        dtype_bytes(w->segments[i].dtype, (size_t)w->cols, &row);
        sum += (double)row * (double)w->segments[i].rows;
    }
    return sum;
}

// FLOP of a [m, k] times [k, n].
static double product(int64_t m, int64_t k, int64_t n) { return 2 * (double)m * (double)k * (double)n; }

// ---- costs of slots with products ----

static ProfileCost linear_cost(Mat a, Mat b, Mat residual, const Weight *w) {
    return (ProfileCost){product(a.rows, w->cols, w->rows),
                         mat_bytes(a) + mat_bytes(b) + mat_bytes(residual) + weight_bytes(w)};
}

static ProfileCost linears_cost(const LinearCall *calls, size_t n, const Weight *w) {
    ProfileCost all = {0, weight_bytes(w)};
    for (const LinearCall *c = calls; c < calls + n; c++) {
        all.flop += product(c->in.rows, w->cols, w->rows);
        all.bytes += mat_bytes(c->in) + mat_bytes(c->out) + mat_bytes(c->residual);
    }
    return all;
}

// y: the rows of the adapter in the output.
static ProfileCost lora_pair_cost(const Lora *l, Mat x, Mat dx, bool backward) {
    double down = product(x.rows, x.cols, l->rank), up = product(x.rows, l->rank, l->rows);
    double experts = l->experts ? (double)l->experts->experts : 1;
    double parameters = experts * (double)(l->rank * (x.cols + l->rows)) * sizeof(float);
    double y = (double)(x.rows * l->rows) * dtype_info(x.dtype)->bytes, xa = (double)(x.rows * l->rank) * sizeof(float);
    if (!backward) return (ProfileCost){down + up, mat_bytes(x) + xa + 2 * y + parameters};
    return (ProfileCost){2 * up + (dx.data ? 2 : 1) * down, mat_bytes(x) + 2 * mat_bytes(dx) + xa + y + 3 * parameters};
}

static ProfileCost lora_cost(const Lora *l, Mat x, Mat dx, bool backward) {
    ProfileCost sum = {0, 0};
    for (int i = 0; i <= l->more; i++) {
        ProfileCost c = lora_pair_cost(l + i, x, dx, backward);
        sum.flop += c.flop;
        sum.bytes += c.bytes;
    }
    return sum;
}

// B A, and the weight's rows under the pair.
static ProfileCost dora_cost(const Lora *l, const Weight *w) {
    double share = (double)l->rows / (double)w->rows;
    return (ProfileCost){product(l->rows, l->rank, w->cols),
                         share * weight_bytes(w) + (double)(l->rank * (w->cols + l->rows)) * sizeof(float)};
}

// Pairs of a query and a key that it sees.
static double attention_pairs(const Backend *b, const AttentionCall *c) {
    const AttentionShape *s = c->shape;
    double pairs = 0;
    if (!b->host_memory) {
        double keys = (double)c->k.rows / (double)(s->samples ? s->samples : 1) / (s->bidirectional ? 1 : 2);
        double most = (double)(s->bidirectional ? 2 * s->window - 1 : s->window);
        return (double)c->q.rows * (s->window && most < keys ? most : keys);
    }
    for (int64_t i = 0; i < s->samples; i++)
        for (int64_t q = s->q_start[i]; q < s->q_start[i + 1]; q++) {
            int64_t keys = s->bidirectional ? s->k_len[i] : min64(s->q_pos[q] + 1, s->k_len[i]);
            pairs += (double)(s->window ? min64(keys, s->bidirectional ? 2 * s->window - 1 : s->window) : keys);
        }
    return pairs;
}

// 2 products per pair, head and dimension forward, 5 backward (the scores are recomputed).
static ProfileCost attention_cost(const Backend *b, const AttentionCall *c, bool backward) {
    double flop = (backward ? 10 : 4) * attention_pairs(b, c) * (double)(c->shape->heads * c->shape->head_size);
    double bytes = mat_bytes(c->q) + mat_bytes(c->k) + mat_bytes(c->v) + mat_bytes(c->out) + mat_bytes(c->lse);
    if (backward) bytes += mat_bytes(c->dout) + mat_bytes(c->dq) + mat_bytes(c->dk) + mat_bytes(c->dv);
    return (ProfileCost){flop, bytes};
}

static ProfileCost head_cost(Mat x, Mat dx, const Weight *w) {
    double logits = product(x.rows, x.cols, w->rows);
    return (ProfileCost){dx.data ? 2 * logits : logits, mat_bytes(x) + mat_bytes(dx) + weight_bytes(w)};
}

static ProfileCost class_cost(Mat x, Mat dx, const ClassHead *h) {
    double logits = product(x.rows, x.cols, h->classes);
    double w = (double)(h->classes * x.cols) * sizeof(float);
    return (ProfileCost){logits * (1 + (dx.data != NULL) + (h->dw != NULL)),
                         mat_bytes(x) + mat_bytes(dx) + w * (h->dw ? 3 : 1)};
}

static ProfileCost grouped_cost(Mat a, Mat b, const Weight *experts, const MoePlan *plan) {
    return (ProfileCost){product(a.rows, experts->cols, experts->rows),
                         mat_bytes(a) + mat_bytes(b) + (double)plan->experts * weight_bytes(experts)};
}

static double embedding_flop(Mat de, Mat e, const EmbeddingLoss *l) {
    int64_t others = l->kind == EMBEDDING_RANKING ? e.rows : 1;
    return product(l->records, l->dims, others) * (de.data ? 3 : 1);
}

// Parameters and both moments are read and written, the gradient is read.
static double adamw_bytes(const Adamw *o) {
    double n = 0;
    for (int64_t i = 0; i < o->n_segments; i++) n += (double)o->segments[i].count;
    return 7 * n * sizeof(float);
}

// ---- the slots ----

#define TIMED(slot, flop_, bytes_, parameters, arguments)                                                              \
    TIMED_COST(slot, ((ProfileCost){flop_, bytes_}), parameters, arguments)
#define TIMED_COST(slot, cost, parameters, arguments)                                                                  \
    static void timed_##slot parameters {                                                                              \
        Profile *profile = (Profile *)b->k;                                                                            \
        profile_enter(profile, PROFILE_##slot);                                                                        \
        profile->inner->slot arguments;                                                                                \
        profile->inner->sync(b);                                                                                       \
        profile_leave(profile, cost);                                                                                  \
    }
#define IN2(x, y) (mat_bytes(x) + mat_bytes(y))
#define IN3(x, y, z) (IN2(x, y) + mat_bytes(z))

// clang-format off
TIMED(embed_forward, 0, (accumulate ? 3 : 2) * mat_bytes(out),
      (Backend *b, Mat out, const Weight *w, const int32_t *ids, float scale, bool accumulate),
      (b, out, w, ids, scale, accumulate))
TIMED(neftune, 0, 2 * mat_bytes(x), (Backend *b, Mat x, const float *magnitude, float alpha, const TokenKeys *keys),
      (b, x, magnitude, alpha, keys))
TIMED(rmsnorm_forward, 0, IN3(out, rstd, x),
      (Backend *b, Mat out, Mat rstd, Mat x, const float *weight, float eps), (b, out, rstd, x, weight, eps))
TIMED(rmsnorm_backward, 0, (accumulate ? 2 : 1) * mat_bytes(dx) + IN3(dout, x, rstd),
      (Backend *b, Mat dx, Mat dout, Mat x, Mat rstd, const float *weight, bool accumulate),
      (b, dx, dout, x, rstd, weight, accumulate))
TIMED(layernorm_forward, 0, IN3(out, stats, x),
      (Backend *b, Mat out, Mat stats, Mat x, const float *weight, const float *bias, float eps),
      (b, out, stats, x, weight, bias, eps))
TIMED(layernorm_backward, 0, (accumulate ? 2 : 1) * mat_bytes(dx) + IN3(dout, x, stats),
      (Backend *b, Mat dx, Mat dout, Mat x, Mat stats, const float *weight, bool accumulate),
      (b, dx, dout, x, stats, weight, accumulate))
TIMED_COST(linear_forward, linear_cost(x, out, residual, w),
      (Backend *b, Mat out, Mat x, const Weight *w, Mat residual, void *ws), (b, out, x, w, residual, ws))
TIMED_COST(linear_backward, linear_cost(dout, dx, accumulate ? dx : (Mat){0}, w),
      (Backend *b, Mat dx, Mat dout, const Weight *w, bool accumulate, void *ws), (b, dx, dout, w, accumulate, ws))
TIMED_COST(linears_forward, linears_cost(calls, n, w),
      (Backend *b, const LinearCall *calls, size_t n, const Weight *w, void *ws), (b, calls, n, w, ws))
TIMED_COST(linears_backward, linears_cost(calls, n, w),
      (Backend *b, const LinearCall *calls, size_t n, const Weight *w, void *ws), (b, calls, n, w, ws))
TIMED_COST(lora_forward, lora_cost(l, x, (Mat){0}, false),
      (Backend *b, Mat y, Mat xa, Mat x, const Lora *l, void *ws), (b, y, xa, x, l, ws))
TIMED_COST(lora_backward, lora_cost(l, x, dx, true),
      (Backend *b, Mat dx, Mat dy, Mat x, Mat xa, const Lora *l, void *ws), (b, dx, dy, x, xa, l, ws))
TIMED_COST(dora_norm, dora_cost(l, w), (Backend *b, float *norm, const Weight *w, const Lora *l, void *ws),
      (b, norm, w, l, ws))
TIMED(dora_forward, 0, IN2(out, y), (Backend *b, Mat out, Mat y, const float *bias, const Lora *l),
      (b, out, y, bias, l))
TIMED(dora_backward, 0, IN3(dy, dout, y), (Backend *b, Mat dy, Mat dout, Mat y, const float *bias, const Lora *l),
      (b, dy, dout, y, bias, l))
TIMED(rope, 0, 2 * mat_bytes(x), (Backend *b, Mat x, const RopeTable *table, bool inverse), (b, x, table, inverse))
TIMED_COST(attention_forward, attention_cost(b, c, false), (Backend *b, const AttentionCall *c), (b, c))
TIMED_COST(attention_backward, attention_cost(b, c, true), (Backend *b, const AttentionCall *c), (b, c))
TIMED(short_conv_forward, 0, IN2(out, x),
      (Backend *b, Mat out, Mat x, const float *weight, int64_t taps, const AttentionShape *s),
      (b, out, x, weight, taps, s))
TIMED(short_conv_backward, 0, IN2(dx, dout),
      (Backend *b, Mat dx, Mat dout, const float *weight, int64_t taps, const AttentionShape *s),
      (b, dx, dout, weight, taps, s))
TIMED(glu_forward, 0, IN3(out, gate, up), (Backend *b, Mat out, Mat gate, Mat up, GluKind kind),
      (b, out, gate, up, kind))
TIMED(glu_backward, 0, IN2(dgate, dup) + IN3(dout, gate, up),
      (Backend *b, Mat dgate, Mat dup, Mat dout, Mat gate, Mat up, GluKind kind), (b, dgate, dup, dout, gate, up, kind))
TIMED(activation_forward, 0, IN2(out, x), (Backend *b, Mat out, Mat x, ActivationKind kind), (b, out, x, kind))
TIMED(activation_backward, 0, IN3(dx, dout, x), (Backend *b, Mat dx, Mat dout, Mat x, ActivationKind kind),
      (b, dx, dout, x, kind))
TIMED(gather_rows_forward, 0, 2 * mat_bytes(out), (Backend *b, Mat out, Mat x, const int32_t *index),
      (b, out, x, index))
TIMED(gather_rows_backward, 0, mat_bytes(dx) + mat_bytes(dout),
      (Backend *b, Mat dx, Mat dout, const int32_t *index, bool accumulate), (b, dx, dout, index, accumulate))
TIMED(scatter_rows, 0, 2 * mat_bytes(x), (Backend *b, Mat dst, Mat x, const int32_t *index), (b, dst, x, index))
TIMED(add, 0, 3 * mat_bytes(src), (Backend *b, Mat dst, Mat src), (b, dst, src))
TIMED(moe_route_forward, 0, IN2(weights, logits),
      (Backend *b, Mat weights, const MoePlan *plan, Mat logits, MoeScores scores),
      (b, weights, plan, logits, scores))
TIMED(moe_route_backward, 0, IN3(dlogits, dweights, logits),
      (Backend *b, Mat dlogits, Mat dweights, Mat logits, const MoePlan *plan, MoeScores scores),
      (b, dlogits, dweights, logits, plan, scores))
TIMED(moe_gather, 0, 2 * mat_bytes(out), (Backend *b, Mat out, Mat x, const MoePlan *plan), (b, out, x, plan))
TIMED(moe_combine, 0, IN3(out, x, residual), (Backend *b, Mat out, Mat x, Mat residual, const MoePlan *plan),
      (b, out, x, residual, plan))
TIMED(moe_scale_forward, 0, 2 * mat_bytes(x), (Backend *b, Mat x, Mat weights, const MoePlan *plan),
      (b, x, weights, plan))
TIMED(moe_scale_backward, 0, mat_bytes(dx) + IN3(dx, x, dweights),
      (Backend *b, Mat dx, Mat dweights, Mat x, Mat weights, const MoePlan *plan), (b, dx, dweights, x, weights, plan))
TIMED(moe_bias_forward, 0, IN3(out, x, weights),
      (Backend *b, Mat out, Mat x, Mat weights, const float *bias, const MoePlan *plan),
      (b, out, x, weights, bias, plan))
TIMED(moe_bias_backward, 0, IN2(dweights, dout),
      (Backend *b, Mat dweights, Mat dout, const float *bias, const MoePlan *plan), (b, dweights, dout, bias, plan))
TIMED_COST(grouped_linear_forward, grouped_cost(x, out, experts, plan),
      (Backend *b, Mat out, Mat x, const Weight *experts, const MoePlan *plan, void *ws),
      (b, out, x, experts, plan, ws))
TIMED_COST(grouped_linear_backward, grouped_cost(dout, dx, experts, plan),
      (Backend *b, Mat dx, Mat dout, const Weight *experts, const MoePlan *plan, bool accumulate, void *ws),
      (b, dx, dout, experts, plan, accumulate, ws))
TIMED_COST(head_loss, head_cost(x, dx, w),
      (Backend *b, HeadResult *result, Mat dx, Mat x, const Weight *w, const HeadLoss *h, void *ws),
      (b, result, dx, x, w, h, ws))
TIMED(softcap, 0, 2 * mat_bytes(x), (Backend *b, Mat x, float cap), (b, x, cap))
TIMED_COST(class_loss, class_cost(x, dx, h),
      (Backend *b, HeadResult *result, Mat dx, Mat x, const ClassHead *h, void *ws), (b, result, dx, x, h, ws))
TIMED(dense_gradients, 2 * (double)dy.rows * (double)dy.cols * (double)x.cols, IN2(dy, x),
      (Backend *b, float *dw, float *dbias, Mat dy, Mat x), (b, dw, dbias, dy, x))
TIMED(preference_loss, 0, 2 * mat_bytes(dx),
      (Backend *b, HeadResult *result, Mat dx, const PreferenceLoss *p, void *ws), (b, result, dx, p, ws))
TIMED(pool_forward, 0, IN2(out, x), (Backend *b, Mat out, Mat x, const int32_t *start), (b, out, x, start))
TIMED(pool_backward, 0, IN2(dx, dout), (Backend *b, Mat dx, Mat dout, const int32_t *start), (b, dx, dout, start))
TIMED(embedding_loss, embedding_flop(de, e, l), mat_bytes(e) + 2 * mat_bytes(de),
      (Backend *b, HeadResult *result, float *similarity, Mat de, Mat e, const EmbeddingLoss *l, void *ws),
      (b, result, similarity, de, e, l, ws))
TIMED(argmax, 0, mat_bytes(logits), (Backend *b, int32_t *out, Mat logits), (b, out, logits))
TIMED(top_k, 0, mat_bytes(logits), (Backend *b, int32_t *ids, float *values, Mat logits, int64_t n, int64_t k),
      (b, ids, values, logits, n, k))
TIMED(tally, 0, sizeof *t, (Backend *b, HeadTally *t, const HeadResult *r), (b, t, r))
TIMED(fixed_add, 0, 20 * (double)n,
      (Backend *b, int64_t *acc, const float *g, int64_t n, float limit, float unscale, int64_t *bad),
      (b, acc, g, n, limit, unscale, bad))
TIMED(fixed_to_f32, 0, 12 * (double)n, (Backend *b, float *g, const int64_t *acc, int64_t n), (b, g, acc, n))
TIMED(sqnorm, 0, 4 * (double)n, (Backend *b, double *out, const float *g, int64_t n), (b, out, g, n))
TIMED(adamw, 0, adamw_bytes(options),
      (Backend *b, float *p, float *m, float *v, const float *g, const Adamw *options), (b, p, m, v, g, options))
TIMED(upload, 0, (double)bytes, (Backend *b, void *dst, const void *host, size_t bytes), (b, dst, host, bytes))
TIMED(download, 0, (double)bytes, (Backend *b, void *host, const void *src, size_t bytes), (b, host, src, bytes))
TIMED(copy, 0, 2 * (double)bytes, (Backend *b, void *dst, const void *src, size_t bytes), (b, dst, src, bytes))
TIMED(zero, 0, (double)bytes, (Backend *b, void *dst, size_t bytes), (b, dst, bytes))
TIMED(offload, 0, (double)bytes, (Backend *b, void *host, const void *src, size_t bytes), (b, host, src, bytes))
TIMED(reload, 0, (double)bytes, (Backend *b, void *dst, const void *host, size_t bytes), (b, dst, host, bytes))
TIMED(all_reduce, 0, b->group && b->group->ranks > 1 ? 16 * (double)n : 0,
      (Backend *b, int64_t *data, int64_t n), (b, data, n))
// clang-format on

void profile_time_slots(Kernels *timed) {
#define SET_TIMED(slot) timed->slot = timed_##slot;
    PROFILE_OPS(SET_TIMED)
    PROFILE_TRANSFERS(SET_TIMED)
}

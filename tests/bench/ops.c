// bench ops: the time of every op that matters, on the shapes of SmolLM2-135M, and their sum over a training step:
// shows where a step's time goes.
// usage: bench_ops [tokens of a row] [samples in it] [threads]
#include <math.h>

#include "bench.h"

enum { C = 576, F = 1536, KV = 3, H = 9, D = 64, V = 49152, LAYERS = 30, RANK = 16 };

typedef struct Op {
    Backend *b;
    const char *name;
    Weight w;
    Lora lora;
    AttentionShape shape;
    HeadLoss head;
    HeadResult result;
    bool backward;
    Mat x, y, m[8]; // op by op
    void *ws;
} Op;

static Mat new_mat(int64_t rows, int64_t cols) { return mat_of(bench_floats(rows * cols), DTYPE_F32, rows, cols); }

// Scales are finite half floats, quants are random.
static Weight new_weight(DType type, int64_t n, int64_t k) {
    size_t bytes = 0, block = (size_t)dtype_info(type)->bytes;
    CHECK(dtype_bytes(type, (size_t)(n * k), &bytes));
    uint8_t *p = malloc(bytes);
    CHECK(p, "no memory for a weight");
    for (size_t i = 0; i < bytes; i++) p[i] = (uint8_t)(i * 2654435761u >> 11);
    for (size_t i = 0; i < bytes; i += block) {
        memcpy(p + i, &(uint16_t){f32_to_f16(0.01f)}, 2);
        if (type == DTYPE_Q4_1) memcpy(p + i + 2, &(uint16_t){f32_to_f16(-0.08f)}, 2);
    }
    return (Weight){
        .name = "bench", .segments = {{.data = p, .dtype = type, .rows = n}}, .n_segments = 1, .rows = n, .cols = k};
}

static void run_linear(void *arg) {
    Op *o = arg;
    if (o->backward)
        o->b->k->linear_backward(o->b, o->x, o->y, &o->w, false, o->ws);
    else
        o->b->k->linear_forward(o->b, o->y, o->x, &o->w, (Mat){0}, o->ws);
}

static void run_lora(void *arg) {
    Op *o = arg;
    if (o->backward)
        o->b->k->lora_backward(o->b, o->m[1], o->y, o->x, o->m[0], &o->lora, o->ws);
    else
        o->b->k->lora_forward(o->b, o->y, o->m[0], o->x, &o->lora, o->ws);
}

// m: q k v out lse, dout dq; dk and dv in x and y.
static void run_attention(void *arg) {
    Op *o = arg;
    const Mat *m = o->m;
    AttentionCall c = {&o->shape, m[0], m[1], m[2], m[3], m[4], m[5], m[6], o->x, o->y, o->ws};
    if (o->backward)
        o->b->k->attention_backward(o->b, &c);
    else
        o->b->k->attention_forward(o->b, &c);
}

static void run_head(void *arg) {
    Op *o = arg;
    o->b->k->head_loss(o->b, &o->result, o->backward ? o->y : (Mat){0}, o->x, &o->w, &o->head, o->ws);
}

static void run_rmsnorm(void *arg) {
    Op *o = arg;
    if (o->backward)
        o->b->k->rmsnorm_backward(o->b, o->m[0], o->y, o->x, o->m[1], o->m[2].data, true);
    else
        o->b->k->rmsnorm_forward(o->b, o->y, o->m[1], o->x, o->m[2].data, 1e-5f);
}

static void run_glu(void *arg) {
    Op *o = arg;
    if (o->backward)
        o->b->k->glu_backward(o->b, o->m[0], o->m[1], o->y, o->x, o->m[2], GLU_SILU);
    else
        o->b->k->glu_forward(o->b, o->y, o->x, o->m[2], GLU_SILU);
}

// What a step is made of so far.
typedef struct Step {
    Backend *b;
    double seconds, flop;
} Step;

// Times an op and adds it to the step as often as the step runs it.
static void report(Step *step, Op *o, void (*run)(void *), const char *name, double flop, double times) {
    double seconds = bench_seconds(run, o, 0.3);
    printf("%-28s %9.3f ms %7.0f GFLOP/s  x %2.0f = %7.1f ms\n", name, seconds * 1e3, flop / seconds * 1e-9, times,
           seconds * times * 1e3);
    step->seconds += seconds * times;
    step->flop += flop * times;
}

static void *new_workspace(size_t bytes) { return bench_floats((int64_t)(bytes / sizeof(float)) + 16); }

static void bench_linear(Step *step, const char *name, DType type, int64_t t, int64_t n, int64_t k) {
    Backend *b = step->b;
    Op o = {.b = b, .w = new_weight(type, n, k), .x = new_mat(t, k), .y = new_mat(t, n)};
    o.ws = new_workspace(b->k->linear_workspace(b, &o.w, t));
    double flop = 2.0 * (double)(t * n * k);
    char label[64];
    snprintf(label, sizeof label, "%s [%d, %d] forward", name, (int)n, (int)k);
    report(step, &o, run_linear, label, flop, LAYERS);
    if (t > 32) {
        o.backward = true;
        report(step, &o, run_linear, "    backward", flop, LAYERS);
    }
    free((void *)o.w.segments[0].data), free(o.x.data), free(o.y.data), free(o.ws);
}

static void bench_lora(Step *step, int64_t t, int64_t n, float dropout) {
    Backend *b = step->b;
    Mat a = new_mat(RANK, C), w = new_mat(n, RANK), da = new_mat(RANK, C), dw = new_mat(n, RANK);
    Op o = {.b = b, .x = new_mat(t, C), .y = new_mat(t, n), .m = {new_mat(t, RANK), new_mat(t, C)}};
    o.lora = (Lora){.a = a.data,
                    .b = w.data,
                    .da = da.data,
                    .db = dw.data,
                    .rank = RANK,
                    .rows = n,
                    .scale = 1e-6f,
                    .dropout = dropout};
    o.ws = new_workspace(b->k->lora_workspace(b, &o.lora, t, C));
    double flop = 2.0 * (double)(t * RANK * (n + C));
    char label[64];
    snprintf(label, sizeof label, "lora %d, dropout %.1f, forward", (int)n, (double)dropout);
    report(step, &o, run_lora, label, flop, dropout > 0 ? 0 : LAYERS);
    o.backward = true;
    report(step, &o, run_lora, "    backward", 2 * flop, dropout > 0 ? 0 : LAYERS);
    free(a.data), free(w.data), free(da.data), free(dw.data), free(o.ws);
    free(o.x.data), free(o.y.data), free(o.m[0].data), free(o.m[1].data);
}

// `samples` of equal length, queries at the end of each sample's keys.
static void bench_attention(Step *step, const char *name, int64_t samples, int64_t queries, int64_t keys) {
    Backend *b = step->b;
    int64_t tq = samples * queries, tk = samples * keys;
    int32_t *q_start = malloc((size_t)(samples + 1) * 4), *k_start = malloc((size_t)samples * 4);
    int32_t *k_len = malloc((size_t)samples * 4), *q_pos = malloc((size_t)tq * 4);
    CHECK(q_start && k_start && k_len && q_pos);
    for (int64_t s = 0; s <= samples; s++) q_start[s] = (int32_t)(s * queries);
    for (int64_t s = 0; s < samples; s++) k_start[s] = (int32_t)(s * keys), k_len[s] = (int32_t)keys;
    for (int64_t i = 0; i < tq; i++) q_pos[i] = (int32_t)(keys - queries + i % queries);
    Op o = {.b = b, .shape = {H, KV, D, samples, q_start, k_start, k_len, q_pos, 0, 0.125f, 0, false, 0}};
    for (int i = 0; i < 7; i++)
        o.m[i] = new_mat(i == 1 || i == 2 ? tk : tq, i == 1 || i == 2 ? KV * D : i == 4 ? H : H * D);
    o.x = new_mat(tk, KV * D), o.y = new_mat(tk, KV * D);
    o.ws = new_workspace(b->k->attention_workspace(b, &o.shape, o.m[0], o.m[1], true));
    double pairs = (double)samples * (double)queries * ((double)keys - (double)(queries - 1) / 2);
    double flop = 4.0 * H * D * pairs;
    char label[64];
    snprintf(label, sizeof label, "%s %d x %d / %d", name, (int)samples, (int)queries, (int)keys);
    report(step, &o, run_attention, label, flop, LAYERS);
    if (queries > 1) {
        o.backward = true;
        report(step, &o, run_attention, "    backward", 2.5 * flop, LAYERS);
    }
    for (int i = 0; i < 7; i++) free(o.m[i].data);
    free(o.x.data), free(o.y.data), free(o.ws), free(q_start), free(k_start), free(k_len), free(q_pos);
}

static void bench_head(Step *step, int64_t t, double steps) {
    Backend *b = step->b;
    Op o = {.b = b, .w = new_weight(DTYPE_Q8_0, V, C), .x = new_mat(t, C), .y = new_mat(t, C)};
    int32_t *targets = malloc((size_t)t * 4);
    CHECK(targets);
    for (int64_t i = 0; i < t; i++) targets[i] = (int32_t)(i * 7919 % V);
    PassState state = {.grad_scale = 1e-3f};
    o.head = (HeadLoss){.targets = targets, .state = &state};
    o.ws = new_workspace(b->k->head_loss_workspace(b, &o.w, &o.head, t));
    double flop = 2.0 * (double)t * V * C;
    char label[64];
    snprintf(label, sizeof label, "head, %d rows, loss only", (int)t);
    report(step, &o, run_head, label, flop, 0);
    o.backward = true;
    report(step, &o, run_head, "    loss and dx", 2 * flop, steps);
    free((void *)o.w.segments[0].data), free(o.x.data), free(o.y.data), free(o.ws), free(targets);
}

static void bench_elementwise(Step *step, int64_t t) {
    Backend *b = step->b;
    Op norm = {.b = b, .x = new_mat(t, C), .y = new_mat(t, C), .m = {new_mat(t, C), new_mat(t, 1), new_mat(1, C)}};
    report(step, &norm, run_rmsnorm, "rmsnorm forward", 4.0 * (double)t * C, 2 * LAYERS);
    norm.backward = true;
    report(step, &norm, run_rmsnorm, "    backward", 8.0 * (double)t * C, 2 * LAYERS);
    Op glu = {.b = b, .x = new_mat(t, F), .y = new_mat(t, F), .m = {new_mat(t, F), new_mat(t, F), new_mat(t, F)}};
    report(step, &glu, run_glu, "glu forward", 10.0 * (double)t * F, LAYERS);
    glu.backward = true;
    report(step, &glu, run_glu, "    backward", 15.0 * (double)t * F, LAYERS);
    free(norm.x.data), free(norm.y.data), free(glu.x.data), free(glu.y.data);
    for (int i = 0; i < 3; i++) free(norm.m[i].data), free(glu.m[i].data);
}

static void bench_linears(Step *step, int64_t t) {
    bench_linear(step, "q", DTYPE_Q4_1, t, H * D, C);
    bench_linear(step, "k", DTYPE_Q4_1, t, KV * D, C);
    bench_linear(step, "v", DTYPE_Q4_1, t, KV * D, C);
    bench_linear(step, "o", DTYPE_Q4_1, t, C, H * D);
    bench_linear(step, "gate", DTYPE_Q4_1, t, F, C);
    bench_linear(step, "up", DTYPE_Q4_1, t, F, C);
    bench_linear(step, "down", DTYPE_Q4_1, t, C, F);
}

static void print_total(Step *step, const char *what, int64_t tokens) {
    printf("%s: %.1f ms, %.0f GFLOP/s, %.0f tokens/s\n\n", what, step->seconds * 1e3, step->flop / step->seconds * 1e-9,
           (double)tokens / step->seconds);
    step->seconds = step->flop = 0;
}

// One decoding step of `batch` sequences of 1024 tokens; the head is timed as a linear of V rows.
static void bench_decoding(Step *step, int64_t batch) {
    Backend *b = step->b;
    bench_linears(step, batch);
    bench_attention(step, "attention", batch, 1, 1024);
    Op o = {.b = b, .w = new_weight(DTYPE_Q8_0, V, C), .x = new_mat(batch, C), .y = new_mat(batch, V)};
    o.ws = new_workspace(b->k->linear_workspace(b, &o.w, batch));
    report(step, &o, run_linear, "head", 2.0 * (double)batch * V * C, 1);
    free((void *)o.w.segments[0].data), free(o.x.data), free(o.y.data), free(o.ws);
    print_total(step, "one decoding step", batch);
}

int main(int argc, char **argv) {
    int64_t t = argc > 1 ? atoi(argv[1]) : 512, samples = argc > 2 ? atoi(argv[2]) : 1;
    Backend *b;
    Err err;
    if (backend_open(&b, "cpu", argc > 3 ? atoi(argv[3]) : 0, &err)) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    printf("%s, %d threads, rows of %d tokens in %d samples\n", b->k->name, b->threads, (int)t, (int)samples);
    Step the_step = {.b = b}, *step = &the_step;
    bench_linears(step, t);
    bench_lora(step, t, H * D, 0);
    bench_lora(step, t, KV * D, 0);
    bench_lora(step, t, H * D, 0.1f);
    bench_attention(step, "attention", samples, t / samples, t / samples);
    bench_elementwise(step, t);
    bench_head(step, t, 1);
    print_total(step, "one training step", t);
    bench_decoding(step, 1);
    bench_decoding(step, 16);
    backend_close(b);
    return 0;
}

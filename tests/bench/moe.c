// bench moe: a layer of routed experts, forward and backward as the tape runs it, on Q4_K weights. Shows that the cost
// follows the experts that are chosen, and what many small experts cost.
// usage: bench_moe [tokens of a row] [threads]
#include <math.h>

#include "bench.h"

typedef struct Layer {
    Backend *b;
    int64_t t, c, f, experts, used;
    Weight *w;          // [3 * experts]: gates, ups, downs
    Mat x, logits, out; // [T, C], [T, E], [T, C]
    Mat weights, dweights, dlogits;
    Mat rows, drows;   // [T * used, C]
    Mat gate, up, act; // [T * used, F]
    MoePlan plan;
    void *ws;
} Layer;

static Mat new_mat(int64_t rows, int64_t cols) { return mat_of(bench_floats(rows * cols), DTYPE_F32, rows, cols); }

static Weight new_weight(int64_t n, int64_t k) {
    size_t bytes = 0, block = (size_t)dtype_info(DTYPE_Q4_K)->bytes;
    CHECK(dtype_bytes(DTYPE_Q4_K, (size_t)(n * k), &bytes));
    uint8_t *p = malloc(bytes);
    CHECK(p, "no memory for a weight");
    for (size_t i = 0; i < bytes; i++) p[i] = (uint8_t)(i * 2654435761u >> 11);
    for (size_t i = 0; i < bytes; i += block)
        memcpy(p + i, &(uint16_t){f32_to_f16(1e-4f)}, 2), memcpy(p + i + 2, &(uint16_t){f32_to_f16(1e-4f)}, 2);
    return (Weight){.name = "bench",
                    .segments = {{.data = p, .dtype = DTYPE_Q4_K, .rows = n}},
                    .n_segments = 1,
                    .rows = n,
                    .cols = k};
}

static void forward(void *arg) {
    Layer *l = arg;
    const Kernels *k = l->b->k;
    k->moe_route_forward(l->b, l->weights, &l->plan, l->logits, MOE_RENORMALISED);
    k->moe_gather(l->b, l->rows, l->x, &l->plan);
    k->grouped_linear_forward(l->b, l->gate, l->rows, l->w, &l->plan, l->ws);
    k->grouped_linear_forward(l->b, l->up, l->rows, l->w + l->experts, &l->plan, l->ws);
    k->glu_forward(l->b, l->act, l->gate, l->up, GLU_SILU);
    k->moe_scale_forward(l->b, l->act, l->weights, &l->plan);
    k->grouped_linear_forward(l->b, l->rows, l->act, l->w + 2 * l->experts, &l->plan, l->ws);
    k->moe_combine(l->b, l->out, l->rows, (Mat){0}, &l->plan);
}

// From the gradient in out to that in x; rows and act are free.
static void backward(void *arg) {
    Layer *l = arg;
    const Kernels *k = l->b->k;
    k->moe_gather(l->b, l->rows, l->out, &l->plan);
    k->grouped_linear_backward(l->b, l->act, l->rows, l->w + 2 * l->experts, &l->plan, false, l->ws);
    k->moe_scale_backward(l->b, l->act, l->dweights, l->gate, l->weights, &l->plan);
    k->glu_backward(l->b, l->gate, l->up, l->act, l->gate, l->up, GLU_SILU);
    k->grouped_linear_backward(l->b, l->drows, l->up, l->w + l->experts, &l->plan, false, l->ws);
    k->grouped_linear_backward(l->b, l->drows, l->gate, l->w, &l->plan, true, l->ws);
    k->moe_combine(l->b, l->out, l->drows, (Mat){0}, &l->plan);
    k->moe_route_backward(l->b, l->dlogits, l->dweights, l->logits, &l->plan, MOE_RENORMALISED);
}

static void both(void *arg) {
    forward(arg);
    backward(arg);
}

// Buffers for `used` experts a token; the weights stay.
static void set_used(Layer *l, int64_t used) {
    Mat *buffers[] = {&l->weights, &l->dweights, &l->rows, &l->drows, &l->gate, &l->up, &l->act};
    int64_t rows = l->t * used;
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) free(buffers[i]->data);
    free(l->plan.expert), free(l->ws);
    l->used = used;
    l->weights = new_mat(l->t, used), l->dweights = new_mat(l->t, used);
    l->rows = new_mat(rows, l->c), l->drows = new_mat(rows, l->c);
    l->gate = new_mat(rows, l->f), l->up = new_mat(rows, l->f), l->act = new_mat(rows, l->f);
    l->plan = moe_plan_at(bench_floats(moe_plan_size(l->t, l->experts, used)), l->t, l->experts, used);
    size_t a = l->b->k->grouped_linear_workspace(l->b, l->w, &l->plan);
    size_t b = l->b->k->grouped_linear_workspace(l->b, l->w + 2 * l->experts, &l->plan);
    l->ws = bench_floats((int64_t)((a > b ? a : b) / sizeof(float)));
}

static double report(Layer *l, const char *what, void (*run)(void *)) {
    double seconds = bench_seconds(run, l, 0.5), products = run == both ? 2 : 1;
    double flop = products * 6.0 * (double)(l->t * l->used) * (double)(l->c * l->f);
    printf("%3d of %3d experts [%d, %d], %-20s %8.1f ms %7.0f GFLOP/s\n", (int)l->used, (int)l->experts, (int)l->f,
           (int)l->c, what, seconds * 1e3, flop / seconds * 1e-9);
    return seconds;
}

static Layer *layer_new(Backend *b, int64_t t, int64_t c, int64_t f, int64_t experts) {
    Layer *l = calloc(1, sizeof *l);
    CHECK(l && (l->w = calloc((size_t)(3 * experts), sizeof *l->w)));
    l->b = b, l->t = t, l->c = c, l->f = f, l->experts = experts;
    for (int64_t e = 0; e < 3 * experts; e++) l->w[e] = e < 2 * experts ? new_weight(f, c) : new_weight(c, f);
    l->x = new_mat(t, c), l->out = new_mat(t, c), l->logits = new_mat(t, experts), l->dlogits = new_mat(t, experts);
    return l;
}

int main(int argc, char **argv) {
    int64_t t = argc > 1 ? atoi(argv[1]) : 512;
    Backend *b;
    Err err;
    if (backend_open(&b, "cpu", argc > 2 ? atoi(argv[2]) : 0, &err)) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    printf("%s, %d threads, rows of %d tokens\n", b->k->name, b->threads, (int)t);
    Layer *mixtral = layer_new(b, t, 1024, 3584, 8); // a quarter of Mixtral 8x7B's sides
    set_used(mixtral, 8);
    double all = report(mixtral, "forward + backward", both);
    set_used(mixtral, 2);
    double chosen = report(mixtral, "forward + backward", both);
    printf("top-2 of 8 takes %.2f of the time of all 8\n", chosen / all);
    Layer *qwen = layer_new(b, t, 2048, 768, 128); // Qwen3-30B-A3B
    set_used(qwen, 8);
    report(qwen, "forward", forward);
    report(qwen, "backward", backward);
    return 0;
}

// bench step: one training step (forward + backward of one row) of a real model, with the time of each op.
// usage: bench_step MODEL.gguf [TOKENS] [SUPERVISED_PART] [RECOMPUTE 0..3] [REPEATS]
#include <stdio.h>
#include <stdlib.h>

#include "decoder.h"

static void fail(const Err *err) {
    fprintf(stderr, "bench_step: %s\n", err->msg);
    exit(err->status);
}

// One sample of `tokens` pseudo-random ids; the last `part` of it is supervised.
static void make_row(Row *row, int64_t tokens, double part, int64_t vocab) {
    int64_t scored = (int64_t)((double)tokens * part);
    if (scored > tokens - 1) scored = tokens - 1;
    *row = (Row){.tokens = tokens, .samples = 1, .scored = scored};
    row->ids = mem_alloc((size_t)tokens, sizeof *row->ids);
    row->pos = mem_alloc((size_t)tokens, sizeof *row->pos);
    row->start = mem_calloc(2, sizeof *row->start);
    row->start[1] = (int32_t)tokens;
    row->position = mem_alloc((size_t)scored, sizeof *row->position);
    row->target = mem_alloc((size_t)scored, sizeof *row->target);
    for (int64_t i = 0; i < tokens; i++) {
        row->ids[i] = (int32_t)((i * 7919 + 17) % vocab);
        row->pos[i] = (int32_t)i;
    }
    for (int64_t i = 0; i < scored; i++) {
        row->position[i] = (int32_t)(tokens - 1 - scored + i);
        row->target[i] = row->ids[row->position[i] + 1];
    }
}

static void print_profile(const Tape *t, int repeats) {
    const TapeProfile *p;
    int n = tape_profile_get(t, &p);
    printf("%-12s %10s %10s %6s\n", "op", "forward", "backward", "calls");
    for (int i = 0; i < n; i++)
        printf("%-12s %7.1f ms %7.1f ms %6lld\n", p[i].op, 1e3 * p[i].forward_seconds / repeats,
               1e3 * p[i].backward_seconds / repeats, (long long)(p[i].calls / repeats));
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: bench_step MODEL.gguf [TOKENS] [SUPERVISED_PART] [CHECKPOINT] [REPEATS]\n");
        return EXIT_INPUT;
    }
    int64_t tokens = argc > 2 ? atoll(argv[2]) : 512;
    double part = argc > 3 ? atof(argv[3]) : 1;
    DecoderOptions o = {.recompute = argc > 4 ? (Recompute)atoi(argv[4]) : RECOMPUTE_NONE};
    int repeats = argc > 5 ? atoi(argv[5]) : 5;
    Err err = {0};
    Backend *b;
    Model *m = NULL;
    Adapter *a;
    double start = time_now();
    if (backend_open(&b, "cpu", 0, &err) || model_load(&m, argv[1], b, &(ModelOptions){.max_positions = tokens}, &err))
        fail(&err);
    AdapterConfig config = {.rank = 16, .alpha = 32, .projections = 1u << PROJ_Q | 1u << PROJ_V};
    if (adapter_new(&a, m, &config, 1, true, &err)) fail(&err);
    printf("loaded in %.0f ms, %d threads\n", 1e3 * (time_now() - start), b->threads);
    Row row;
    make_row(&row, tokens, part, m->config.vocab);
    RowInputs *in = row_inputs_new(b, tokens, 1);
    row_inputs_set(in, &row, m->config.hidden, (PassState){.grad_scale = 1.0f / (float)tokens});
    Tape *t = tape_new(b);
    start = time_now();
    decoder_build_loss(t, m, a, in, &o);
    size_t bytes = tape_plan(t, TAPE_TRAIN);
    TapeStats s = tape_stats(t);
    printf("planned in %.2f ms: kept %.1f MB, temporary %.1f MB, %lld instructions, %.3f + %.3f + %.3f GFLOP a token\n",
           1e3 * (time_now() - start), (double)s.kept_bytes / 1e6, (double)s.temporary_bytes / 1e6,
           (long long)s.instructions, s.forward_flops / (double)tokens / 1e9, s.recompute_flops / (double)tokens / 1e9,
           s.backward_flops / (double)tokens / 1e9);
    void *arena = b->k->alloc(b, bytes);
    tape_run(t, arena); // warm-up
    double best = 1e30;
    for (int i = 0; i < repeats; i++) {
        start = time_now();
        tape_run(t, arena);
        double seconds = time_now() - start;
        if (seconds < best) best = seconds;
    }
    HeadResult result;
    b->k->download(b, &result, in->result, sizeof result);
    double flops = s.forward_flops + s.recompute_flops + s.backward_flops;
    printf("loss %.4f; best of %d: %.1f ms, %.0f tokens/s, %.0f GFLOP/s\n", result.loss / (double)row.scored, repeats,
           1e3 * best, (double)tokens / best, flops / best / 1e9);
    tape_profile(t, true);
    for (int i = 0; i < repeats; i++) tape_run(t, arena);
    print_profile(t, repeats);
    b->k->free(b, arena, bytes);
    tape_free(t);
    row_inputs_free(in);
    row_clear(&row);
    adapter_free(a);
    model_free(m);
    backend_close(b);
    return 0;
}

// bench step: one training step (forward + backward of one pass) of a real model, as training runs it: on a GPU with
// the attention that training would use and the pass replayed as a CUDA graph; then, call by call, the time of each op.
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph.h"
#include "profile.h"
#include "run_device.h"
#include "trainer.h"

static void fail(const Err *err) {
    fprintf(stderr, "bench_step: %s\n", err->msg);
    exit(err_exit_status(err->kind));
}

typedef struct Options {
    const char *model, *device;
    DtypeWord dtype;
    int64_t tokens, samples; // tokens: of each sample
    double part;             // of each sample that is supervised
    Recompute recompute;
    int repeats;
    bool json, all_linear;
} Options;

static void usage(void) {
    fprintf(stderr, "usage: bench_step MODEL [--device D] [--dtype T] [--tokens N] [--samples N] [--part P]\n"
                    "                  [--recompute none|ffn|blocks|offload] [--repeats N] [--all-linear] [--json]\n");
    exit(EXIT_INPUT);
}

static int word_of(const EnumWord *words, const char *word) {
    int i = words_index(words, word);
    if (i < 0) usage();
    return i;
}

static Options parse(int argc, char **argv) {
    static const struct option known[] = {
        {"device", 1, NULL, 'd'},     {"dtype", 1, NULL, 't'},     {"tokens", 1, NULL, 'n'},  {"samples", 1, NULL, 's'},
        {"part", 1, NULL, 'p'},       {"recompute", 1, NULL, 'r'}, {"repeats", 1, NULL, 'k'}, {"json", 0, NULL, 'j'},
        {"all-linear", 0, NULL, 'a'}, {NULL, 0, NULL, 0}};
    Options o = {.device = "cpu", .tokens = 512, .samples = 1, .part = 1, .repeats = 5};
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (c == 'd') o.device = optarg;
        if (c == 't') o.dtype = (DtypeWord)word_of(ENUM_WORDS(ALL_DTYPE_WORDS), optarg);
        if (c == 'n') o.tokens = atoll(optarg);
        if (c == 's') o.samples = atoll(optarg);
        if (c == 'p') o.part = atof(optarg);
        if (c == 'r') o.recompute = (Recompute)word_of(ENUM_WORDS(RECOMPUTES), optarg);
        if (c == 'k') o.repeats = atoi(optarg);
        if (c == 'j') o.json = true;
        if (c == 'a') o.all_linear = true;
        if (c == '?') usage();
    }
    if (optind != argc - 1 || o.tokens < 2 || o.samples < 1 || o.repeats < 1) usage();
    o.model = argv[optind];
    return o;
}

// `samples` samples of `tokens` pseudo-random ids; the last `part` of each is supervised.
static void make_row(Row *row, const Options *o, int64_t vocab) {
    int64_t each = (int64_t)((double)o->tokens * o->part), tokens = o->tokens * o->samples, m = 0;
    if (each > o->tokens - 1) each = o->tokens - 1;
    *row = (Row){.tokens = tokens, .samples = o->samples, .scored = each * o->samples};
    row->ids = mem_alloc((size_t)tokens, sizeof *row->ids);
    row->pos = mem_alloc((size_t)tokens, sizeof *row->pos);
    row->start = mem_calloc((size_t)o->samples + 1, sizeof *row->start);
    row->position = mem_alloc((size_t)row->scored + 1, sizeof *row->position);
    row->target = mem_alloc((size_t)row->scored + 1, sizeof *row->target);
    for (int64_t i = 0; i < tokens; i++) {
        row->ids[i] = (int32_t)((i * 7919 + 17) % vocab);
        row->pos[i] = (int32_t)(i % o->tokens);
    }
    for (int64_t s = 0; s < o->samples; s++) {
        int64_t end = (s + 1) * o->tokens;
        row->start[s + 1] = (int32_t)end;
        for (int64_t i = end - 1 - each; i < end - 1; i++, m++) {
            row->position[m] = (int32_t)i;
            row->target[m] = row->ids[i + 1];
        }
    }
}

static void print_profile(const Backend *b, int repeats) {
    const ProfileTotal *rows = profile_of(b)->rows;
    printf("%-24s %10s %6s %8s\n", "op", "time", "calls", "GFLOP/s");
    for (ProfileRow i = 0; i < PROFILE_OTHER; i++)
        if (rows[i].calls)
            printf("%-24s %7.1f ms %6ld %8.1f\n", profile_row_name(i), (double)rows[i].ns / repeats / 1e6,
                   rows[i].calls / repeats, rows[i].flop / (double)rows[i].ns);
}

typedef struct Step {
    Backend *b;
    Model *m;
    Adapter *a;
    Row row;
    PassInputs *in;
    Tape *t;
    void *arena;
    size_t bytes;
    bool replayed;
} Step;

static void open_step(Step *s, const Options *o) {
    Err err = {0};
    ModelOptions options = {.max_positions = o->tokens};
    AdapterConfig config = {.rank = 16, .alpha = 32, .projections = 1u << PROJ_Q | 1u << PROJ_V};
    if (o->all_linear) config.projections = (1u << PROJ_CONV_B) - 1;
    if (run_device_open(&s->b, o->device, o->dtype, NULL, &err) || model_load(&s->m, o->model, s->b, &options, &err) ||
        adapter_new(&s->a, s->m, &config, 1, true, &err))
        fail(&err);
    make_row(&s->row, o, s->m->config.vocab);
    s->in = pass_inputs_new(s->m, s->row.tokens, s->row.samples);
    PassShape shape = {s->row.tokens, s->row.samples, s->row.scored, .longest = o->tokens};
    pass_inputs_pack(s->in, &s->row, shape, s->m->config.hidden, 0);
    pass_inputs_send(s->in, (PassState){.grad_scale = 1.0f / (float)s->row.tokens});
    s->t = tape_new(s->b);
    graph_build_loss(s->t, s->m, s->a, s->in, &(PassOptions){.recompute = o->recompute});
    s->bytes = tape_plan(s->t, TAPE_TRAIN);
    s->arena = s->b->k->alloc(s->b, s->bytes);
    if (s->b->k->status(s->b, &err)) fail(&err);
}

static void close_step(Step *s) {
    s->b->k->free(s->b, s->arena, s->bytes);
    tape_free(s->t);
    pass_inputs_free(s->in);
    row_clear(&s->row);
    adapter_free(s->a);
    model_free(s->m);
    backend_close(s->b);
}

// Recorded, as a trainer does with a pass of a shape that it has seen; or call by call.
static double run_step(Step *s, bool recorded) {
    enum { PASS = 1 };
    const Kernels *k = s->b->k;
    double start = time_now();
    bool done = recorded && k->replay(s->b, PASS);
    s->replayed |= done;
    if (!done && recorded) k->record(s->b, PASS);
    if (!done) tape_run(s->t, s->arena);
    if (!done && recorded && !k->record_end(s->b)) tape_run(s->t, s->arena);
    k->sync(s->b);
    return time_now() - start;
}

static double best_of(Step *s, bool recorded, int repeats) {
    double best = run_step(s, recorded); // warms up, or records
    for (int i = 0; i < repeats; i++) best = fmin(best, run_step(s, recorded));
    return best;
}

static void print_json(const Step *s, double seconds, double unrecorded, int repeats) {
    const ProfileTotal *rows = profile_of(s->b)->rows;
    const char *separator = "";
    printf("{\"milliseconds\": %.3f, \"milliseconds_unrecorded\": %.3f, \"replayed\": %s, \"attention\": \"%s\", ",
           1e3 * seconds, 1e3 * unrecorded, s->replayed ? "true" : "false", s->b->attention);
    printf("\"shapes_by_library\": %d, \"tokens_per_second\": %.0f, \"arena_mb\": %.1f, \"ops\": {",
           s->b->library_shapes, (double)s->row.tokens / seconds, (double)s->bytes / 1e6);
    for (ProfileRow i = 0; i < PROFILE_OTHER; i++) {
        if (!rows[i].calls) continue;
        printf("%s\"%s\": {\"ms\": %.3f, \"calls\": %ld}", separator, profile_row_name(i),
               (double)rows[i].ns / repeats / 1e6, rows[i].calls / repeats);
        separator = ", ";
    }
    printf("}}\n");
}

static void print_step(const Step *s, double seconds, double unrecorded, const Options *o) {
    TapeStats stats = tape_stats(s->t);
    double flops = stats.forward_flops + stats.recompute_flops + stats.backward_flops, tokens = (double)s->row.tokens;
    HeadResult result;
    s->b->k->download(s->b, &result, s->in->result, sizeof result);
    printf("kept %.1f MB, temporary %.1f MB, %lld instructions, %.3f + %.3f + %.3f GFLOP a token\n",
           (double)stats.kept_bytes / 1e6, (double)stats.temporary_bytes / 1e6, (long long)stats.instructions,
           stats.forward_flops / tokens / 1e9, stats.recompute_flops / tokens / 1e9,
           stats.backward_flops / tokens / 1e9);
    printf("loss %.4f; best of %d: %.1f ms, %.0f tokens/s, %.0f GFLOP/s\n", result.loss / (double)s->row.scored,
           o->repeats, 1e3 * seconds, tokens / seconds, flops / seconds / 1e9);
    if (!s->b->host_memory)
        printf("attention by %s; the pass is %s; unrecorded %.1f ms\n", s->b->attention,
               s->replayed ? "replayed" : "not recorded", 1e3 * unrecorded);
    print_profile(s->b, o->repeats);
}

int main(int argc, char **argv) {
    Options o = parse(argc, argv);
    Step s = {0};
    Err err = {0};
    open_step(&s, &o);
    run_step(&s, false); // the first run may time algorithms
    double best = best_of(&s, true, o.repeats), unrecorded = s.b->host_memory ? best : best_of(&s, false, o.repeats);
    profile_start(s.b);
    for (int i = 0; i < o.repeats; i++) run_step(&s, false);
    if (s.b->k->status(s.b, &err)) fail(&err);
    if (o.json)
        print_json(&s, best, unrecorded, o.repeats);
    else
        print_step(&s, best, unrecorded, &o);
    close_step(&s);
    return 0;
}

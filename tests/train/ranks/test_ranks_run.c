// Training on several ranks, each a thread with a trainer of its own: the bits of one rank for any number of ranks and
// threads; a stop, a gradient that is not finite, uneven shares and shares of nothing are the same on all.
#include "thread_group.h"

#include <math.h>
#include <stdlib.h>

#include "path.h"
#include "snapshot.h"
#include "tiny_run.h"

enum { MAX_STEPS = 8 };
#define N_OF(a) ((int)(sizeof(a) / sizeof *(a)))

static int setup(void **state) {
    TinyRun r; // the token cache is there before threads look for it
    if (tiny_dir_setup(state)) return -1;
    tiny_run_open(&r, 1, NULL, 0);
    tiny_run_close(&r);
    return 0;
}

// What a rank has at the end.
typedef struct Outcome {
    double losses[MAX_STEPS], norms[MAX_STEPS];
    int64_t tokens[MAX_STEPS], supervised[MAX_STEPS];
    EvalResult eval;
    float *params;
    size_t bytes;
} Outcome;

typedef struct Job {
    int64_t rows_per_step, steps;
    const char *const *words;
    int n_words;
    int threads[THREAD_RANKS]; // 0: one
    Outcome *outcomes;
} Job;

static void copy_params(Outcome *o, const Adapter *a) {
    o->bytes = (size_t)a->count * sizeof(float);
    o->params = mem_alloc(o->bytes, 1);
    memcpy(o->params, a->params, o->bytes);
}

static void note_step(Outcome *o, int64_t i, const StepReport *report) {
    o->losses[i] = report->loss;
    o->norms[i] = report->grad_norm;
    o->tokens[i] = report->tokens;
    o->supervised[i] = report->supervised;
}

static void train(void *user, Group *g) {
    const Job *job = user;
    Outcome *o = &job->outcomes[g->rank];
    int threads = job->threads[g->rank];
    TinyRun r;
    Err err;
    tiny_run_open_rank(&r, threads ? threads : 1, g, job->rows_per_step, job->words, job->n_words);
    for (int64_t i = 0; i < job->steps; i++) {
        StepReport report;
        CHECK(trainer_step(r.trainer, NULL, &report, &err) == 0, "%s", err.msg);
        CHECK(report.ranks == g->ranks && report.slowest_rank < g->ranks);
        CHECK(g->ranks == 1 || i == 0 || (report.compute > 0 && report.reduce >= 0 && report.data >= 0));
        note_step(o, i, &report);
    }
    if (r.data.eval_rows)
        CHECK(evaluate(r.trainer->runner, r.data.eval_set, r.data.eval_rows, NULL, &o->eval, &err) == 0, "%s", err.msg);
    copy_params(o, r.adapter);
    tiny_run_close(&r);
}

static void assert_same(const Outcome *a, const Outcome *b, int64_t steps) {
    assert_memory_equal(a->losses, b->losses, (size_t)steps * sizeof *a->losses);
    assert_memory_equal(a->norms, b->norms, (size_t)steps * sizeof *a->norms);
    assert_memory_equal(a->tokens, b->tokens, (size_t)steps * sizeof *a->tokens);
    assert_memory_equal(a->supervised, b->supervised, (size_t)steps * sizeof *a->supervised);
    assert_memory_equal(&a->eval, &b->eval, sizeof a->eval);
    assert_int_equal(a->bytes, b->bytes);
    assert_memory_equal(a->params, b->params, a->bytes);
}

// Every rank of every number of ranks against one that is alone.
static void check_any_ranks(Job job) {
    static const int threads[][THREAD_RANKS] = {{2}, {2, 1}, {1, 3, 2}, {1, 1, 2, 1}};
    Outcome one[1] = {0}, many[THREAD_RANKS];
    job.outcomes = one;
    run_as_ranks(1, train, &job);
    for (int ranks = 1; ranks <= THREAD_RANKS; ranks++) {
        memset(many, 0, sizeof many);
        job.outcomes = many;
        memcpy(job.threads, threads[ranks - 1], sizeof job.threads);
        run_as_ranks(ranks, train, &job);
        for (int i = 0; i < ranks; i++) {
            assert_same(one, &many[i], job.steps);
            mem_free(many[i].params);
        }
    }
    mem_free(one->params);
}

static void test_ranks_have_the_bits_of_one(void **state) {
    (void)state;
    static const char *const words[] = {
        "learning_rate=1e-2", "lora_dropout=0.1", "neftune_noise_alpha=5", "packing=false",
        "val_set_size=0.3",   "max_steps=8",      "warmup_ratio=0",        "lora_target_modules=all-linear"};
    check_any_ranks((Job){.rows_per_step = 12, .steps = 4, .words = words, .n_words = N_OF(words)});
    check_any_ranks((Job){.rows_per_step = 7, .steps = 6, .words = words, .n_words = N_OF(words)}); // short last steps
    check_any_ranks((Job){.rows_per_step = 3, .steps = 8, .words = words, .n_words = N_OF(words)}); // a rank without
}

static void test_ranks_of_packed_rows_have_the_bits_of_one(void **state) {
    (void)state;
    static const char *const words[] = {"learning_rate=1e-2", "lora_dropout=0.2", "max_steps=8", "max_grad_norm=0.1"};
    check_any_ranks((Job){.rows_per_step = 4, .steps = 8, .words = words, .n_words = N_OF(words)});
}

// Two entries of the data, `first` and `second` with rules of their own.
static void check_mix(const char *strategy, const char *first, const char *second) {
    AUTO_FREE char *files = mem_printf("train_file=[{\"path\":\"%s/data.jsonl\",\"split\":\"train[:7]\",%s},"
                                       "{\"path\":\"%s/data.jsonl\",\"split\":\"train[7:]\",%s}]",
                                       tiny_dir, first, tiny_dir, second),
                   *mix = mem_printf("mix_strategy=%s", strategy);
    const char *const words[] = {"learning_rate=1e-2", "lora_dropout=0.1", "packing=false", "max_steps=8", files, mix};
    check_any_ranks((Job){.rows_per_step = 5, .steps = 8, .words = words, .n_words = N_OF(words)});
}

static void test_ranks_of_mixed_data_have_the_bits_of_one(void **state) {
    (void)state;
    check_mix("interleave_over", "\"probability\":0.7", "\"probability\":0.3");
    check_mix("interleave_under", "\"probability\":0.4", "\"probability\":0.6");
    check_mix("concat", "\"weight\":2.5", "\"weight\":0.5");
}

// ---- a stop and a gradient that is not finite, on one rank ----

static _Thread_local int passes_left;
static bool stop_at_pass(void) { return passes_left-- == 0; }
static bool stop_at_once(void) { return true; }

static const char *const plain[] = {"learning_rate=1e-2", "packing=false", "val_set_size=0.3", "max_steps=8"};

typedef struct Trouble {
    int at;         // rank
    bool no_number; // else it is asked to stop
    int pass;
    Outcome outcomes[THREAD_RANKS];
} Trouble;

static void check_stop(TinyRun *r, const Trouble *t, int rank) {
    StepReport report;
    EvalResult e;
    Err err;
    TrainerState before = r->trainer->state;
    passes_left = t->pass;
    CHECK(trainer_step(r->trainer, rank == t->at ? stop_at_pass : NULL, &report, &err) == 1);
    CHECK(memcmp(&before, &r->trainer->state, sizeof before) == 0);
    CHECK(evaluate(r->trainer->runner, r->data.eval_set, r->data.eval_rows, rank == t->at ? stop_at_once : NULL, &e,
                   &err) == 1);
}

static void check_skip(TinyRun *r, const Trouble *t, int rank) {
    StepReport report;
    Err err;
    TrainerState before = r->trainer->state;
    float kept = r->adapter->params[3];
    if (rank == t->at) r->adapter->params[3] = NAN;
    CHECK(trainer_step(r->trainer, NULL, &report, &err) == 0, "%s", err.msg);
    CHECK(report.skipped && isnan(report.grad_norm) && r->trainer->state.skipped == 1);
    r->adapter->params[3] = kept;
    r->trainer->state = before; // the same rows again
}

static void run_with_trouble(void *user, Group *g) {
    Trouble *t = user;
    Outcome *o = &t->outcomes[g->rank];
    TinyRun r;
    Err err;
    tiny_run_open_rank(&r, 1, g, 8, plain, N_OF(plain));
    for (int64_t i = 0; i < 3; i++) {
        StepReport report;
        if (i == 1 && t->at >= 0 && t->no_number) check_skip(&r, t, g->rank);
        if (i == 1 && t->at >= 0 && !t->no_number) check_stop(&r, t, g->rank);
        CHECK(trainer_step(r.trainer, NULL, &report, &err) == 0, "%s", err.msg);
        note_step(o, i, &report);
    }
    copy_params(o, r.adapter);
    tiny_run_close(&r);
}

// Nothing of the step is left: the ranks go on with the bits of a run without trouble.
static void check_trouble(Trouble trouble) {
    Trouble none = {.at = -1};
    run_as_ranks(3, run_with_trouble, &none);
    run_as_ranks(3, run_with_trouble, &trouble);
    for (int i = 0; i < 3; i++) assert_same(&none.outcomes[0], &trouble.outcomes[i], 3);
    for (int i = 0; i < 3; i++) {
        mem_free(none.outcomes[i].params);
        mem_free(trouble.outcomes[i].params);
    }
}

static void test_ranks_stop_together(void **state) {
    (void)state;
    check_trouble((Trouble){.at = 1, .pass = 0});
    check_trouble((Trouble){.at = 2, .pass = 1});
    check_trouble((Trouble){.at = 0, .pass = 3}); // behind its last pass
}

static void test_ranks_skip_together(void **state) {
    (void)state;
    check_trouble((Trouble){.at = 2, .no_number = true});
}

// ---- snapshots: rank 0 writes and reads, all go on ----

enum { SAVED_AT = 3, LAST_STEP = 6 };
typedef struct Resume {
    char *out;
    bool save; // else resume
    Outcome outcomes[THREAD_RANKS];
} Resume;

static void save(TinyRun *r, const Resume *job, Group *g) {
    Err err = {0};
    CHECK(snapshot_compare_ranks(r->trainer, &err) == 0, "%s", err.msg);
    if (g->rank == 0) CHECK(snapshot_save(r->trainer, job->out, &err) == 0, "%s", err.msg);
}

static void resume(TinyRun *r, const Resume *job, Group *g) {
    Err err = {0};
    char *from = NULL;
    if (g->rank == 0) CHECK(snapshot_resume(r->trainer, job->out, "auto", &from, &err) == 0, "%s", err.msg);
    CHECK(snapshot_share(r->trainer, &err) == 0, "%s", err.msg);
    CHECK(r->trainer->state.step == SAVED_AT);
    mem_free(from);
}

static void run_part(void *user, Group *g) {
    Resume *job = user;
    TinyRun r;
    tiny_run_open_rank(&r, 1, g, 8, plain, N_OF(plain));
    if (job->save) {
        tiny_run_steps(&r, SAVED_AT, NULL);
        save(&r, job, g);
    } else {
        resume(&r, job, g);
    }
    tiny_run_steps(&r, LAST_STEP - SAVED_AT, job->outcomes[g->rank].losses);
    copy_params(&job->outcomes[g->rank], r.adapter);
    tiny_run_close(&r);
}

// Saved by four ranks, gone on with by any number: the bits of the four that were not interrupted.
static void test_ranks_resume_on_any_number(void **state) {
    (void)state;
    Resume whole = {.out = path_join(tiny_dir, "out"), .save = true};
    Err err;
    ASSERT_OK(dir_make_parents(whole.out, &err), &err);
    run_as_ranks(4, run_part, &whole);
    for (int ranks = 1; ranks <= THREAD_RANKS; ranks++) {
        Resume again = {.out = whole.out};
        run_as_ranks(ranks, run_part, &again);
        for (int i = 0; i < ranks; i++) {
            assert_same(&whole.outcomes[0], &again.outcomes[i], LAST_STEP - SAVED_AT);
            mem_free(again.outcomes[i].params);
        }
    }
    for (int i = 0; i < 4; i++) mem_free(whole.outcomes[i].params);
    SnapshotSplit split;
    snapshot_split(&split, whole.out, "auto");
    assert_true(split.rows_per_step == 8 && split.rows_per_rank == 1 && split.ranks == 4);
    snapshot_split(&split, whole.out, "false");
    assert_int_equal(split.rows_per_step, 0);
    mem_free(whole.out);
}

static void test_ranks_keep_the_rows_of_a_step(void **state) {
    (void)state;
    const SnapshotSplit none = {0}, before = {.rows_per_step = 12, .rows_per_rank = 3, .ranks = 4};
    int64_t rows;
    Err err;
    ASSERT_OK(snapshot_rows_per_step(&rows, &none, 3, 2, &err), &err);
    assert_int_equal(rows, 6);
    ASSERT_OK(snapshot_rows_per_step(&rows, &before, 3, 2, &err), &err); // another number of ranks
    assert_int_equal(rows, 12);
    ASSERT_OK(snapshot_rows_per_step(&rows, &before, 3, 5, &err), &err); // uneven shares
    assert_int_equal(rows, 12);
    ASSERT_OK(snapshot_rows_per_step(&rows, &before, 6, 2, &err), &err); // another split of the same
    assert_int_equal(rows, 12);
    ASSERT_REFUSED(snapshot_rows_per_step(&rows, &before, 4, 4, &err), &err,
                   "12 rows per step (4 ranks, 3 rows per rank); now 4 ranks x 4 = 16; expected 3 rows per rank");
    assert_int_equal(err.kind, ERR_INPUT);
}

// One bit of one moment of one rank.
static void diverge(void *user, Group *g) {
    TinyRun r;
    Err err = {0};
    (void)user;
    tiny_run_open_rank(&r, 1, g, 8, plain, N_OF(plain));
    tiny_run_steps(&r, 1, NULL);
    CHECK(snapshot_compare_ranks(r.trainer, &err) == 0, "%s", err.msg);
    if (g->rank == 1) r.trainer->optimizer->v[7] += 1e-3f;
    CHECK(snapshot_compare_ranks(r.trainer, &err) == 1);
    CHECK(strstr(err.msg, "step 1: rank 1 has other v than rank 0"), "%s", err.msg);
    tiny_run_close(&r);
}

static void test_ranks_that_differ_are_named(void **state) {
    (void)state;
    run_as_ranks(3, diverge, NULL);
}

TEST_MAIN_WITH(setup, tiny_dir_teardown, TEST(test_ranks_have_the_bits_of_one),
               TEST(test_ranks_of_packed_rows_have_the_bits_of_one),
               TEST(test_ranks_of_mixed_data_have_the_bits_of_one), TEST(test_ranks_stop_together),
               TEST(test_ranks_skip_together), TEST(test_ranks_resume_on_any_number),
               TEST(test_ranks_keep_the_rows_of_a_step), TEST(test_ranks_that_differ_are_named))

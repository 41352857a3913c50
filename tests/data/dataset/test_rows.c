// rows: packing keeps every token of every sample exactly once, is as tight as best-fit decreasing; the order of an
// epoch is a permutation and a pure function; a row's arrays by hand.
#include "rows.h"

#include "dataset_fixture.h"

static uint64_t next_random(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

// n samples of random length below max, as input_ids with random labels (at least one supervised).
static void put_random(int n, int max, uint64_t *seed) {
    StrBuf data = {0};
    for (int i = 0; i < n; i++) {
        int len = 2 + (int)(next_random(seed) % (uint64_t)(max - 1));
        str_puts(&data, "{\"input_ids\":[");
        for (int k = 0; k < len; k++) str_printf(&data, "%s%d", k ? "," : "", (i * 31 + k) % 256);
        str_puts(&data, "],\"labels\":[");
        for (int k = 0; k < len; k++) {
            bool on = k == len - 1 || next_random(seed) % 2;
            str_printf(&data, "%s%d", k ? "," : "", on ? (i * 31 + k) % 256 : -100);
        }
        str_puts(&data, "]}\n");
    }
    put_text("d.jsonl", data.data);
    str_clear(&data);
}

static Dataset *open_random(Bench *b, int n, int max, uint64_t *seed) {
    Dataset *d;
    Err err;
    b->o.max_seq_length = max;
    put_random(n, max, seed);
    ASSERT_OK(bench_open(&d, b, false, &err), &err);
    assert_int_equal(d->count, n);
    return d;
}

static int64_t *all_samples(int64_t n) {
    int64_t *all = mem_alloc((size_t)n, sizeof *all);
    for (int64_t i = 0; i < n; i++) all[i] = i;
    return all;
}

// The sample that fills [begin, end) of a row; -1 when there is none that was not seen before.
static int64_t find_sample(const Dataset *d, const Row *row, int64_t begin, int64_t end, const bool *seen) {
    for (int64_t i = 0; i < d->count; i++) {
        Sample s = dataset_sample(d, i);
        if (!seen[i] && s.count == end - begin && !memcmp(s.ids, row->ids + begin, (size_t)s.count * 4)) return i;
    }
    return -1;
}

static void check_scored(const Row *row, const Sample *s, int64_t begin, int64_t *scored) {
    for (int64_t k = 0; k < s->count; k++) {
        assert_int_equal(row->pos[begin + k], k);
        if (!s->supervised[k]) continue;
        assert_true(*scored < row->scored);
        assert_int_equal(row->position[*scored], begin + k - 1);
        assert_int_equal(row->target[(*scored)++], s->ids[k]);
    }
}

static void check_row(const Dataset *d, const RowPlan *p, const Row *row, int64_t r, bool *seen) {
    int64_t scored = 0;
    assert_int_equal(row->tokens, row_plan_row(p, r).tokens);
    assert_int_equal(row->scored, row_plan_row(p, r).supervised);
    assert_true(row->tokens <= p->most.tokens && row->samples <= p->most.samples && row->scored <= p->most.supervised);
    assert_int_equal(row->start[0], 0);
    assert_int_equal(row->start[row->samples], row->tokens);
    for (int64_t k = 0; k < row->samples; k++) {
        int64_t i = find_sample(d, row, row->start[k], row->start[k + 1], seen);
        assert_true(i >= 0);
        seen[i] = true;
        Sample s = dataset_sample(d, i);
        check_scored(row, &s, row->start[k], &scored);
    }
    assert_int_equal(scored, row->scored);
}

// All rows side by side: each as it is alone, moved by what precedes it.
static void check_side_by_side(const Dataset *d, const RowPlan *p) {
    int64_t n = p->count, *rows = mem_alloc((size_t)n, sizeof *rows), sample = 0, scored = 0;
    Row all = {0}, one = {0};
    for (int64_t r = 0; r < n; r++) rows[r] = n - 1 - r;
    row_fill_several(&all, d, p, rows, n, 0);
    assert_int_equal(all.rows, n);
    assert_int_equal(all.row_start[0], 0);
    for (int64_t r = 0; r < n; r++) {
        int32_t at = all.row_start[r];
        row_fill(&one, d, p, rows[r]);
        assert_int_equal(all.row_start[r + 1], at + one.tokens);
        assert_memory_equal(all.ids + at, one.ids, (size_t)one.tokens * sizeof *one.ids);
        assert_memory_equal(all.pos + at, one.pos, (size_t)one.tokens * sizeof *one.pos);
        for (int64_t i = 0; i < one.samples; i++) assert_int_equal(all.start[++sample], at + one.start[i + 1]);
        for (int64_t i = 0; i < one.scored; i++, scored++) {
            assert_int_equal(all.position[scored], at + one.position[i]);
            assert_int_equal(all.target[scored], one.target[i]);
        }
    }
    assert_int_equal(all.samples, sample);
    assert_int_equal(all.scored, scored);
    row_clear(&all);
    row_clear(&one);
    mem_free(rows);
}

static void check_plan(const Dataset *d, int64_t max_tokens, bool packing) {
    int64_t n = d->count, *all = all_samples(n), found = 0;
    RowPlan *p = row_plan_new(d, all, n, max_tokens, packing);
    bool *seen = mem_calloc((size_t)n, 1);
    Row row = {0};
    for (int64_t r = 0; r < p->count; r++) {
        row_fill(&row, d, p, r);
        assert_true(row.tokens <= max_tokens);
        if (!packing) assert_int_equal(row.samples, 1);
        check_row(d, p, &row, r, seen);
        found += row.samples;
    }
    assert_int_equal(found, n);
    check_side_by_side(d, p);
    row_clear(&row);
    mem_free(seen);
    mem_free(all);
    row_plan_free(p);
}

static void test_rows_hold_every_token_once(void **state) {
    (void)state;
    Bench b = bench_new(false);
    uint64_t seed = 1;
    for (int round = 0; round < 12; round++) {
        int max = 3 + (int)(next_random(&seed) % 80);
        Dataset *d = open_random(&b, 1 + (int)(next_random(&seed) % 120), max, &seed);
        check_plan(d, max, true);
        check_plan(d, max + 37, true);
        check_plan(d, max, false);
        dataset_close(d);
    }
    bench_free(&b);
}

// Rows that best-fit decreasing opens, found naively.
static int64_t naive_rows(const Dataset *d, int64_t max) {
    int64_t n = d->count, rows = 0, *room = mem_alloc((size_t)n, sizeof *room);
    for (int64_t len = max; len > 0; len--) {
        for (int64_t i = 0; i < n; i++) {
            if (dataset_sample(d, i).count != len) continue;
            int64_t best = -1;
            for (int64_t r = 0; r < rows; r++)
                if (room[r] >= len && (best < 0 || room[r] < room[best])) best = r;
            if (best < 0) room[best = rows++] = max;
            room[best] -= len;
        }
    }
    mem_free(room);
    return rows;
}

static void test_rows_are_as_few_as_best_fit_makes_them(void **state) {
    (void)state;
    Bench b = bench_new(false);
    uint64_t seed = 2;
    for (int round = 0; round < 12; round++) {
        int max = 4 + (int)(next_random(&seed) % 200);
        Dataset *d = open_random(&b, 200, max, &seed);
        int64_t *all = all_samples(200);
        RowPlan *p = row_plan_new(d, all, 200, max, true);
        assert_int_equal(p->count, naive_rows(d, max));
        row_plan_free(p);
        mem_free(all);
        dataset_close(d);
    }
    bench_free(&b);
}

static void test_rows_take_only_the_samples_given(void **state) {
    (void)state;
    Bench b = bench_new(false);
    uint64_t seed = 3;
    Dataset *d = open_random(&b, 10, 20, &seed);
    int64_t some[] = {2, 3, 7}, want = 0, got = 0;
    RowPlan *p = row_plan_new(d, some, 3, 20, true);
    for (int i = 0; i < 3; i++) want += dataset_sample(d, some[i]).count;
    for (int64_t r = 0; r < p->count; r++) got += row_plan_row(p, r).tokens;
    assert_int_equal(got, want);
    row_plan_free(p);
    dataset_close(d);
    bench_free(&b);
}

static void test_rows_order_is_a_permutation_and_a_pure_function(void **state) {
    (void)state;
    enum { N = 50 };
    Bench b = bench_new(false);
    uint64_t seed = 4;
    Dataset *d = open_random(&b, N, 20, &seed);
    int64_t *all = all_samples(N), a[N], again[N], other[N], plain[N];
    RowPlan *p = row_plan_new(d, all, N, 20, false);
    bool seen[N] = {0};
    row_plan_order(p, 42, 3, true, a);
    row_plan_order(p, 42, 4, true, other);
    row_plan_order(p, 42, 3, true, again);
    row_plan_order(p, 42, 3, false, plain);
    for (int i = 0; i < N; i++) {
        assert_true(a[i] >= 0 && a[i] < N && !seen[a[i]]);
        seen[a[i]] = true;
        assert_int_equal(plain[i], i);
    }
    assert_memory_equal(a, again, sizeof a);
    assert_memory_not_equal(a, other, sizeof a);
    row_plan_order(p, 43, 3, true, other);
    assert_memory_not_equal(a, other, sizeof a);
    row_plan_free(p);
    mem_free(all);
    dataset_close(d);
    bench_free(&b);
}

static void test_rows_fill_by_hand(void **state) {
    (void)state;
    Bench b = bench_new(false);
    Dataset *d;
    Err err;
    put_text("d.jsonl", "{\"input_ids\":[5,6],\"labels\":[5,6]}\n"
                        "{\"input_ids\":[7,8,9],\"labels\":[-100,-100,9]}\n");
    ASSERT_OK(bench_open(&d, &b, false, &err), &err);
    int64_t all[] = {0, 1};
    RowPlan *p = row_plan_new(d, all, 2, 5, true);
    Row row = {0};
    assert_int_equal(p->count, 1);
    row_fill(&row, d, p, 0);
    static const int32_t ids[] = {7, 8, 9, 5, 6}, pos[] = {0, 1, 2, 0, 1}, start[] = {0, 3, 5}, position[] = {1, 3},
                         target[] = {9, 6};
    assert_int_equal(row.tokens, 5);
    assert_int_equal(row.samples, 2);
    assert_int_equal(row.scored, 2);
    assert_memory_equal(row.ids, ids, sizeof ids);
    assert_memory_equal(row.pos, pos, sizeof pos);
    assert_memory_equal(row.start, start, sizeof start);
    assert_memory_equal(row.position, position, sizeof position);
    assert_memory_equal(row.target, target, sizeof target);
    uint64_t calls = mem_call_count();
    row_fill(&row, d, p, 0);
    assert_true(mem_call_count() == calls); // nothing is allocated in the step loop
    row_clear(&row);
    row_plan_free(p);
    dataset_close(d);
    bench_free(&b);
}

TEST_MAIN(SCRATCH_TEST(test_rows_hold_every_token_once), SCRATCH_TEST(test_rows_are_as_few_as_best_fit_makes_them),
          SCRATCH_TEST(test_rows_take_only_the_samples_given),
          SCRATCH_TEST(test_rows_order_is_a_permutation_and_a_pure_function), SCRATCH_TEST(test_rows_fill_by_hand))

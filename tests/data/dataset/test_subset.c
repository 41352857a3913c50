// subset: the split and the weights of files choose by hash, the same samples every time; patterns of file names.
#include <math.h>

#include "dataset_fixture.h"
#include "path.h"
#include "subset.h"

// ---- split ----

static void put_numbers(const char *path, int n) {
    StrBuf data = {0};
    for (int i = 0; i < n; i++) str_printf(&data, "{\"text\":\"number %d\"}\n", i);
    put_text(path, data.data);
    str_clear(&data);
}

static void test_split_is_a_partition_and_a_function_of_the_seed(void **state) {
    (void)state;
    Bench b = bench_new(false);
    Dataset *d;
    Err err;
    SampleList train, val, again, rest;
    put_numbers("d.jsonl", 100);
    ASSERT_OK(bench_open(&d, &b, true, &err), &err);
    ASSERT_OK(subset_split(d, 0.1, 42, &train, &val, &err), &err);
    assert_int_equal(train.count, 90);
    assert_int_equal(val.count, 10);
    for (int64_t i = 0, t = 0, v = 0; i < 100; i++) {
        bool in_train = t < train.count && train.items[t] == i, in_val = v < val.count && val.items[v] == i;
        assert_true(in_train != in_val);
        t += in_train;
        v += in_val;
    }
    ASSERT_OK(subset_split(d, 10, 42, &rest, &again, &err), &err);
    assert_memory_equal(again.items, val.items, 10 * sizeof *val.items);
    mem_free(again.items);
    mem_free(rest.items);
    ASSERT_OK(subset_split(d, 10, 43, &rest, &again, &err), &err);
    assert_memory_not_equal(again.items, val.items, 10 * sizeof *val.items);
    mem_free(again.items);
    mem_free(rest.items);
    mem_free(train.items);
    mem_free(val.items);
    ASSERT_REFUSED(subset_split(d, 100, 42, &train, &val, &err), &err, "found 100 for 100 samples");
    ASSERT_REFUSED(subset_split(d, -1, 42, &train, &val, &err), &err, "found -1 for 100");
    dataset_close(d);
    bench_free(&b);
}

// ---- weights ----

static Dataset *open_three_files(Bench *b, int n0, int n1, int n2) {
    Dataset *d;
    Err err;
    put_numbers("d.jsonl", n0);
    put_numbers("e.jsonl", n1);
    put_numbers("f.jsonl", n2);
    b->files[1] = "e.jsonl";
    b->files[2] = "f.jsonl";
    b->o.n_files = 3;
    ASSERT_OK(bench_open(&d, b, true, &err), &err);
    return d;
}

// How often samples [begin, end) are in the list; least and most: of one sample.
static int64_t count_range(SampleList list, int64_t begin, int64_t end, int64_t *least, int64_t *most) {
    int64_t sum = 0;
    *least = list.count;
    *most = 0;
    for (int64_t i = begin; i < end; i++) {
        int64_t times = 0;
        for (int64_t k = 0; k < list.count; k++) times += list.items[k] == i;
        sum += times;
        if (times < *least) *least = times;
        if (times > *most) *most = times;
    }
    return sum;
}

static void test_weights_repeat_and_leave_out_samples(void **state) {
    (void)state;
    static const double weights[] = {2, 0.5, 1.25};
    Bench b = bench_new(false);
    Dataset *d = open_three_files(&b, 10, 20, 40);
    SampleList all = {.count = 70}, list, again;
    int64_t least, most;
    Err err;
    assert_int_equal(d->file_ends[0], 10);
    assert_int_equal(d->file_ends[1], 30);
    assert_int_equal(d->file_ends[2], 70);
    ASSERT_OK(subset_weigh(d, weights, 1, all, &list, &err), &err);
    assert_int_equal(list.count, 20 + 10 + 50);
    assert_int_equal(count_range(list, 0, 10, &least, &most), 20);
    assert_true(least == 2 && most == 2);
    assert_int_equal(count_range(list, 10, 30, &least, &most), 10);
    assert_true(least == 0 && most == 1);
    assert_int_equal(count_range(list, 30, 70, &least, &most), 50);
    assert_true(least == 1 && most == 2);
    for (int64_t i = 1; i < list.count; i++) assert_true(list.items[i - 1] <= list.items[i]);
    ASSERT_OK(subset_weigh(d, weights, 1, all, &again, &err), &err);
    assert_int_equal(again.count, list.count);
    assert_memory_equal(list.items, again.items, (size_t)list.count * sizeof *list.items);
    mem_free(again.items);
    ASSERT_OK(subset_weigh(d, weights, 2, all, &again, &err), &err);
    assert_int_equal(again.count, list.count);
    assert_memory_not_equal(list.items, again.items, (size_t)list.count * sizeof *list.items);
    mem_free(again.items);
    mem_free(list.items);
    dataset_close(d);
    bench_free(&b);
}

// Only what the split left for training is weighed.
static void test_weights_apply_to_the_samples_given(void **state) {
    (void)state;
    static const double weights[] = {1, 3, 0.1};
    static const double nothing[] = {0.01, 0.01, 0.01};
    int64_t some[] = {1, 2, 12, 29, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49};
    const int64_t head[] = {1, 2, 12, 12, 12, 29, 29, 29};
    Bench b = bench_new(false);
    Dataset *d = open_three_files(&b, 10, 20, 40);
    SampleList all = {.count = 70}, list;
    Err err;
    ASSERT_OK(subset_weigh(d, weights, 1, (SampleList){some, 14}, &list, &err), &err);
    assert_int_equal(list.count, 9);
    assert_memory_equal(list.items, head, sizeof head);
    assert_true(list.items[8] >= 40 && list.items[8] <= 49);
    mem_free(list.items);
    ASSERT_REFUSED(subset_weigh(d, nothing, 1, all, &list, &err), &err, "found weights that make 0 samples of 70");
    dataset_close(d);
    bench_free(&b);
}

// ---- patterns ----

static void check_pattern(const char *pattern, const char *want) {
    NameList names = {0};
    Err err;
    StrBuf got = {0};
    ASSERT_OK(file_pattern_expand(&names, pattern, &err), &err);
    for (size_t i = 0; i < names.count; i++) str_printf(&got, "%s ", names.items[i]);
    assert_string_equal(got.data, want);
    name_list_clear(&names);
    str_clear(&got);
}

static void test_pattern_stands_for_files(void **state) {
    (void)state;
    NameList names = {0};
    Err err;
    put_text("a-1.tar", "x");
    put_text("a-2.tar", "x");
    put_text("b{0..1}", "x");
    check_pattern("missing.jsonl", "missing.jsonl ");
    check_pattern("s-{098..101}.tar", "s-098.tar s-099.tar s-100.tar s-101.tar ");
    check_pattern("{0..1}/{8..10}", "0/8 0/9 0/10 1/8 1/9 1/10 ");
    check_pattern("{a,b}-{2..1}-{x..y}-{1..", "{a,b}-{2..1}-{x..y}-{1.. ");
    check_pattern("a-*.tar", "a-1.tar a-2.tar ");
    check_pattern("a-[2-9].tar", "a-2.tar ");
    check_pattern("b{0..1}", "b{0..1} ");
    ASSERT_REFUSED(file_pattern_expand(&names, "c-*.tar", &err), &err, "c-*.tar: found no file of that pattern");
    ASSERT_REFUSED(file_pattern_expand(&names, "{0..999999999}", &err), &err, "more than 100000 files");
    name_list_clear(&names);
}

// ---- interleaving ----

static const size_t three[] = {0, 1, 2};

static void check_turns(const Dataset *d, bool until_all, const int64_t *want, int64_t n) {
    Interleaving x = {.source = three, .sources = 3, .until_all = until_all};
    SampleList out;
    Err err;
    ASSERT_OK(subset_interleave(d, &x, (SampleList){.count = d->count}, &out, &err), &err);
    assert_int_equal(out.count, n);
    assert_memory_equal(out.items, want, (size_t)n * sizeof *want);
    mem_free(out.items);
}

// The lists are those of datasets.interleave_datasets for lengths of 3, 4 and 5.
static void test_interleave_in_turns(void **state) {
    (void)state;
    static const int64_t under[] = {0, 3, 7, 1, 4, 8, 2, 5, 9},
                         over[] = {0, 3, 7, 1, 4, 8, 2, 5, 9, 0, 6, 10, 1, 3, 11};
    Bench b = bench_new(false);
    Dataset *d = open_three_files(&b, 3, 4, 5);
    check_turns(d, false, under, 9);
    check_turns(d, true, over, 15);
    dataset_close(d);
    bench_free(&b);
}

// Each source's samples come in their order, again from the first; the list ends with the sample that ends the first
// source, or the last.
static void check_drawn(const Dataset *d, SampleList out, bool until_all) {
    int64_t next[3] = {0}, begin[3] = {0, d->file_ends[0], d->file_ends[1]}, times[3] = {0};
    for (int64_t i = 0; i < out.count; i++) {
        int s = out.items[i] < begin[1] ? 0 : out.items[i] < begin[2] ? 1 : 2;
        int64_t n = d->file_ends[s] - begin[s], ended = (times[0] > 0) + (times[1] > 0) + (times[2] > 0);
        assert_int_equal(out.items[i], begin[s] + next[s]);
        assert_true(until_all ? ended < 3 : ended == 0);
        if (++next[s] == n) {
            next[s] = 0;
            times[s]++;
        }
    }
    assert_true(until_all ? times[0] && times[1] && times[2] : times[0] + times[1] + times[2] == 1);
}

static void test_interleave_by_probability(void **state) {
    (void)state;
    static const double p[] = {0.5, 0.3, 0.2};
    Bench b = bench_new(false);
    Dataset *d = open_three_files(&b, 400, 700, 900);
    SampleList all = {.count = d->count}, out[4];
    Err err;
    for (int i = 0; i < 4; i++) {
        Interleaving x = {three, 3, p, .until_all = i & 1, .seed = i < 2 ? 42 : 43};
        ASSERT_OK(subset_interleave(d, &x, all, &out[i], &err), &err);
        check_drawn(d, out[i], i & 1);
        int64_t n[3] = {0};
        for (int64_t k = 0; k < out[i].count; k++) n[(out[i].items[k] >= 400) + (out[i].items[k] >= 1100)]++;
        for (int s = 0; s < 3; s++)
            if (fabs((double)n[s] / (double)out[i].count - p[s]) > 0.05)
                fail_msg("source %d: %ld of %ld", s, n[s], out[i].count);
    }
    assert_memory_not_equal(out[0].items, out[2].items, 400 * sizeof(int64_t));              // another seed
    assert_memory_equal(out[0].items, out[1].items, (size_t)out[0].count * sizeof(int64_t)); // the same draws
    for (int i = 0; i < 4; i++) mem_free(out[i].items);
    dataset_close(d);
    bench_free(&b);
}

// Files of one entry are one source; of a list the samples that it has; what is refused.
static void test_interleave_sources(void **state) {
    (void)state;
    static const size_t two[] = {0, 0, 1};
    static const int64_t want[] = {1, 5, 3, 6};
    int64_t some[] = {1, 3, 4, 5, 6};
    Bench b = bench_new(false);
    Dataset *d = open_three_files(&b, 2, 3, 4);
    SampleList from = {some, 5}, out;
    Err err;
    Interleaving x = {.source = two, .sources = 2};
    ASSERT_OK(subset_interleave(d, &x, from, &out, &err), &err);
    assert_int_equal(out.count, 4);
    assert_memory_equal(out.items, want, sizeof want);
    mem_free(out.items);
    from.count = 3;
    ASSERT_REFUSED(subset_interleave(d, &x, from, &out, &err), &err, "found no samples in entry 2");
    from.count = 5;
    x.probabilities = (double[]){0.5, 0.4};
    ASSERT_REFUSED(subset_interleave(d, &x, from, &out, &err), &err,
                   "found probabilities with the sum 0.9; expected 1");
    x.probabilities = (double[]){1, 0};
    ASSERT_REFUSED(subset_interleave(d, &x, from, &out, &err), &err, "found no probability of entry 2");
    dataset_close(d);
    bench_free(&b);
}

TEST_MAIN(SCRATCH_TEST(test_split_is_a_partition_and_a_function_of_the_seed),
          SCRATCH_TEST(test_weights_repeat_and_leave_out_samples),
          SCRATCH_TEST(test_weights_apply_to_the_samples_given), SCRATCH_TEST(test_pattern_stands_for_files),
          SCRATCH_TEST(test_interleave_in_turns), SCRATCH_TEST(test_interleave_by_probability),
          SCRATCH_TEST(test_interleave_sources))

// class_metrics: entities against seqeval (golden/make_entities_golden.py), several labels and numbers by hand; sums of
// parts are those of the whole.
#include "class_metrics.h"
#include "test.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static char *names[] = {"O", "B-LOC", "I-LOC", "E-LOC", "S-LOC", "B-PER", "I-PER", "E-PER", "S-PER"};
static const LabelList LABELS = {names, 9, 9};

static int32_t label_of(const char *name, size_t len) {
    for (int32_t i = 0; i < 9; i++)
        if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0) return i;
    fail_msg("%.*s", (int)len, name);
    return -1;
}

enum { MOST = 64 };
typedef struct Tags {
    int32_t target[MOST], predicted[MOST], position[MOST], start[MOST];
    Row row;
} Tags;

static void read_tags(Tags *t, char *words) {
    *t = (Tags){0};
    t->row = (Row){.samples = 1, .target = t->target, .position = t->position, .start = t->start};
    for (char *w = strtok(words, " \n"); w; w = strtok(NULL, " \n")) {
        char *slash = strchr(w, '/');
        if (!slash) {
            t->start[t->row.samples++] = (int32_t)t->row.scored;
            continue;
        }
        t->position[t->row.scored] = (int32_t)t->row.scored;
        t->target[t->row.scored] = label_of(w, (size_t)(slash - w));
        t->predicted[t->row.scored++] = label_of(slash + 1, strlen(slash + 1));
    }
    t->start[t->row.samples] = (int32_t)t->row.scored;
}

static void test_class_metrics_of_entities(void **state) {
    (void)state;
    const ClassShape shape = {PROBLEM_TOKENS, 9, &LABELS};
    FILE *in = fopen(TEST_DIR "/golden/entities.txt", "r");
    char line[1024];
    int cases = 0;
    assert_non_null(in);
    while (fgets(line, sizeof line, in)) {
        double want[3];
        int used;
        Tags t;
        int64_t sums[3] = {0};
        assert_int_equal(class_sums_count(shape), 3);
        assert_int_equal(sscanf(line, "%lf %lf %lf %n", &want[0], &want[1], &want[2], &used), 3);
        read_tags(&t, line + used);
        class_sums_add(sums, shape, &t.row, t.predicted, NULL);
        ClassMetrics m = class_metrics_of(sums, shape, 1, t.row.scored);
        ASSERT_NEAR(m.precision, want[0], 1e-8);
        ASSERT_NEAR(m.recall, want[1], 1e-8);
        ASSERT_NEAR(m.f1, want[2], 1e-8);
        cases++;
    }
    fclose(in);
    assert_int_equal(cases, 60);
}

// Tags of words that are not of entities have an accuracy alone.
static void test_class_metrics_of_other_tags(void **state) {
    (void)state;
    static char *parts[] = {"NOUN", "VERB"};
    const LabelList list = {parts, 2, 2};
    const ClassShape shape = {PROBLEM_TOKENS, 2, &list};
    int32_t target[] = {0, 1}, predicted[] = {0, 0}, position[] = {0, 1}, start[] = {0, 2};
    Row row = {.samples = 1, .scored = 2, .target = target, .position = position, .start = start};
    int64_t sums[3] = {0};
    ClassMetric out[CLASS_METRICS_MAX];
    class_sums_add(sums, shape, &row, predicted, NULL);
    ClassMetrics m = class_metrics_of(sums, shape, 1, 2);
    assert_int_equal(class_metrics_list(out, PROBLEM_TOKENS, &m), 1);
    assert_string_equal(out[0].name, "accuracy");
    ASSERT_NEAR(out[0].value, 0.5, 1e-12);
}

static void test_class_metrics_of_values(void **state) {
    (void)state;
    float y[] = {1, 0, 1, 0, 0, 0}, logits[] = {2, -1, -0.5f, 1, -3, -3};
    Row row = {.scored = 2, .values = y, .width = 3};
    const ClassShape multi = {PROBLEM_MULTI_LABEL, 3, NULL}, numbers = {PROBLEM_REGRESSION, 3, NULL};
    int64_t sums[16] = {0}, parts[16] = {0};
    assert_true(class_sums_count(multi) <= 16 && class_sums_count(numbers) <= 16);
    class_sums_add(sums, multi, &row, NULL, logits);
    ClassMetrics m = class_metrics_of(sums, multi, 0, 2);
    ASSERT_NEAR(m.micro_f1, 0.5, 1e-12);     // 1 right, 2 predicted, 2 true
    ASSERT_NEAR(m.macro_f1, 1.0 / 3, 1e-12); // 2/3 of the first, 0 of the third; the second is nowhere
    memset(sums, 0, sizeof sums);
    class_sums_add(sums, numbers, &row, NULL, logits);
    m = class_metrics_of(sums, numbers, 0, 2);
    ASSERT_NEAR(m.mae, (1 + 1 + 1.5 + 1 + 3 + 3) / 6, 1e-9);
    ASSERT_NEAR(m.pearson, 0.5686416, 1e-6); // numpy.corrcoef
    for (int i = 0; i < 2; i++) {
        Row part = {.scored = 1, .values = y + 3 * i, .width = 3};
        class_sums_add(parts, numbers, &part, NULL, logits + 3 * i);
    }
    assert_memory_equal(parts, sums, sizeof sums);
}

TEST_MAIN(cmocka_unit_test(test_class_metrics_of_entities), cmocka_unit_test(test_class_metrics_of_other_tags),
          cmocka_unit_test(test_class_metrics_of_values))

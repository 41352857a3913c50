#include "class_metrics.h"

#include <math.h>
#include <string.h>

// ---- labels ----

typedef struct ClassCount {
    int64_t true_positives, predicted, actual;
} ClassCount;

static void count_label(ClassCount *c, bool predicted, bool actual) {
    c->true_positives += predicted && actual;
    c->predicted += predicted;
    c->actual += actual;
}

static void add_single(ClassCount *counts, const Row *row, const int32_t *predicted) {
    for (int64_t i = 0; i < row->scored; i++) {
        int32_t label = row->target[i], best = predicted[i];
        counts[label].actual++;
        if (best < 0) continue; // NaN
        counts[best].predicted++;
        counts[label].true_positives += best == label;
    }
}

static void add_multi(ClassCount *counts, int64_t labels, const Row *row, const float *logits) {
    for (int64_t i = 0; i < row->scored * labels; i++)
        count_label(&counts[i % labels], logits[i] > 0, row->values[i] > 0.5f);
}

// F1 = 2 TP / (predicted + actual), van Rijsbergen 1979. NAN: neither.
static double f1_of(const ClassCount *c) {
    double both = (double)c->predicted + (double)c->actual;
    return both > 0 ? 2 * (double)c->true_positives / both : NAN;
}

static double macro_f1(const ClassCount *counts, int64_t labels) {
    double sum = 0;
    int64_t n = 0;
    for (int64_t i = 0; i < labels; i++) {
        double f1 = f1_of(&counts[i]);
        if (isnan(f1)) continue;
        sum += f1;
        n++;
    }
    return n ? sum / (double)n : 0;
}

static double micro_f1(const ClassCount *counts, int64_t labels) {
    ClassCount all = {0};
    for (int64_t i = 0; i < labels; i++) {
        all.true_positives += counts[i].true_positives;
        all.predicted += counts[i].predicted;
        all.actual += counts[i].actual;
    }
    double f1 = f1_of(&all);
    return isnan(f1) ? 0 : f1;
}

// ---- numbers, in units of 2^-32 ----

typedef enum { NUMBER_ERROR, NUMBER_Y, NUMBER_P, NUMBER_YY, NUMBER_PP, NUMBER_YP, NUMBER_SUMS } NumberSum;
typedef struct NumberSums {
    int64_t n, bad; // bad: not finite, or too large for a sum
    struct {
        int64_t whole, fraction;
    } sums[NUMBER_SUMS];
} NumberSums;

static void add_number(NumberSums *s, NumberSum which, double x) {
    const double limit = 0x1p48;
    if (!(fabs(x) < limit)) {
        s->bad++;
        return;
    }
    double whole = floor(x);
    s->sums[which].whole += (int64_t)whole;
    s->sums[which].fraction += (int64_t)((x - whole) * 0x1p32);
}

static double number_sum(const NumberSums *s, NumberSum which) {
    return (double)s->sums[which].whole + (double)s->sums[which].fraction * 0x1p-32;
}

static void add_numbers(NumberSums *s, const Row *row, const float *logits) {
    for (int64_t i = 0; i < row->scored * row->width; i++) {
        double y = (double)row->values[i], p = (double)logits[i];
        const double terms[NUMBER_SUMS] = {fabs(p - y), y, p, y * y, p * p, y * p};
        for (NumberSum k = 0; k < NUMBER_SUMS; k++) add_number(s, k, terms[k]);
        s->n++;
    }
}

static double pearson(const NumberSums *s) {
    double n = (double)s->n, y = number_sum(s, NUMBER_Y), p = number_sum(s, NUMBER_P);
    double yy = n * number_sum(s, NUMBER_YY) - y * y, pp = n * number_sum(s, NUMBER_PP) - p * p;
    return yy > 0 && pp > 0 ? (n * number_sum(s, NUMBER_YP) - y * p) / (sqrt(yy) * sqrt(pp)) : NAN;
}

// ---- entities, as seqeval.metrics.sequence_labeling has them ----

typedef struct EntityCounts {
    int64_t right, predicted, actual;
} EntityCounts;

// What a label says: its letter, and the type of its entity.
typedef struct Tag {
    char letter;
    const char *type;
} Tag;

static Tag tag_of(const LabelList *names, int32_t label) {
    if (label < 0) return (Tag){'O', "_"}; // the end of a sample, or NaN
    const char *name = names->names[label], *type = strchr(name + 1, '-');
    type = type ? type + 1 : name + 1;
    return (Tag){name[0], *type ? type : "_"};
}

static bool tags_are_of_entities(const LabelList *names) {
    for (size_t i = 0; names && i < names->count; i++) {
        const char *name = names->names[i];
        if (strcmp(name, "O") != 0 && !(strchr("BIES", name[0]) && name[1] == '-' && name[2])) return false;
    }
    return names && names->count;
}

static bool ends(Tag before, Tag now) {
    if (strchr("ES", before.letter)) return true;
    if (strchr("BI", before.letter) && strchr("BSO", now.letter)) return true;
    return before.letter != 'O' && strcmp(before.type, now.type) != 0;
}

static bool starts(Tag before, Tag now) {
    if (strchr("BS", now.letter)) return true;
    if (strchr("ESO", before.letter) && strchr("EI", now.letter)) return true;
    return now.letter != 'O' && strcmp(before.type, now.type) != 0;
}

typedef struct Chunk {
    Tag before;
    int64_t begin;
} Chunk;

// Steps to the label at `at`. True if an entity ends before it: that of *of, from *begin on.
static bool step(Chunk *c, Tag now, int64_t at, const char **of, int64_t *begin) {
    bool ended = ends(c->before, now);
    *of = c->before.type;
    *begin = c->begin;
    if (starts(c->before, now)) c->begin = at;
    c->before = now;
    return ended;
}

// label -1: the end of a sample.
static void add_label(EntityCounts *counts, Chunk chunks[2], const LabelList *names, const int32_t labels[2],
                      int64_t at) {
    const char *of[2];
    int64_t begin[2];
    bool ended[2];
    for (int k = 0; k < 2; k++) ended[k] = step(&chunks[k], tag_of(names, labels[k]), at, &of[k], &begin[k]);
    counts->actual += ended[0];
    counts->predicted += ended[1];
    counts->right += ended[0] && ended[1] && begin[0] == begin[1] && strcmp(of[0], of[1]) == 0;
}

static void add_entities(EntityCounts *counts, const LabelList *names, const Row *row, const int32_t *predicted) {
    static const int32_t end[2] = {-1, -1};
    if (!tags_are_of_entities(names)) return;
    int64_t i = 0;
    for (int64_t s = 0; s < row->samples; s++) {
        Chunk chunks[2] = {{{'O', ""}, 0}, {{'O', ""}, 0}};
        for (; i < row->scored && row->position[i] < row->start[s + 1]; i++)
            add_label(counts, chunks, names, (const int32_t[]){row->target[i], predicted[i]}, i);
        add_label(counts, chunks, names, end, i);
    }
}

static double share(int64_t n, int64_t of) { return of ? (double)n / (double)of : 0; }

static void measure_entities(ClassMetrics *m, const EntityCounts *c) {
    m->precision = share(c->right, c->predicted);
    m->recall = share(c->right, c->actual);
    m->f1 = m->precision + m->recall > 0 ? 2 * m->precision * m->recall / (m->precision + m->recall) : 0;
}

// ---- all ----

size_t class_sums_count(ClassShape s) {
    size_t bytes = s.problem == PROBLEM_REGRESSION ? sizeof(NumberSums)
                   : s.problem == PROBLEM_TOKENS   ? sizeof(EntityCounts)
                                                   : (size_t)s.labels * sizeof(ClassCount);
    return bytes / sizeof(int64_t);
}

void class_sums_add(int64_t *sums, ClassShape s, const Row *row, const int32_t *predicted, const float *logits) {
    if (s.problem == PROBLEM_REGRESSION)
        add_numbers((NumberSums *)sums, row, logits);
    else if (s.problem == PROBLEM_MULTI_LABEL)
        add_multi((ClassCount *)sums, s.labels, row, logits);
    else if (s.problem == PROBLEM_TOKENS)
        add_entities((EntityCounts *)sums, s.names, row, predicted);
    else
        add_single((ClassCount *)sums, row, predicted);
}

ClassMetrics class_metrics_of(const int64_t *sums, ClassShape s, int64_t correct, int64_t scored) {
#define UNDEFINED(field, title, problems) .field = NAN,
    ClassMetrics m = {CLASS_METRICS(UNDEFINED)};
    if (s.problem == PROBLEM_REGRESSION) {
        const NumberSums *numbers = (const NumberSums *)sums;
        if (numbers->bad || !numbers->n) return m;
        m.mae = number_sum(numbers, NUMBER_ERROR) / (double)numbers->n;
        m.pearson = pearson(numbers);
        return m;
    }
    const ClassCount *counts = (const ClassCount *)sums;
    m.accuracy = (double)correct / (double)(scored ? scored : 1);
    if (s.problem == PROBLEM_TOKENS) {
        if (tags_are_of_entities(s.names)) measure_entities(&m, (const EntityCounts *)sums);
        return m;
    }
    m.macro_f1 = macro_f1(counts, s.labels);
    if (s.problem == PROBLEM_MULTI_LABEL) m.micro_f1 = micro_f1(counts, s.labels);
    return m;
}

int class_metrics_list(ClassMetric out[CLASS_METRICS_MAX], Problem p, const ClassMetrics *m) {
    int n = 0;
    p = p ? p : PROBLEM_SINGLE_LABEL;
#define ADD_METRIC(field, title, problems)                                                                             \
    if (((problems)&PROBLEM_BIT(p)) && !(p == PROBLEM_TOKENS && isnan(m->field)))                                      \
        out[n++] = (ClassMetric){#field, title, m->field};
    CLASS_METRICS(ADD_METRIC)
    return n;
}

void class_metrics_print(StrBuf *out, Problem p, const ClassMetrics *m) {
    ClassMetric list[CLASS_METRICS_MAX];
    int n = class_metrics_list(list, p, m);
    for (int i = 0; i < n; i++) {
        str_printf(out, "%s%s ", i ? "  " : "", list[i].title);
        if (strcmp(list[i].name, "accuracy") == 0)
            str_printf(out, "%.1f%%", 100 * list[i].value);
        else
            str_printf(out, "%.4f", list[i].value);
    }
}

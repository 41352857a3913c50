#include "record_labels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dialog.h"

void record_labels_clear(RecordLabels *l) {
    for (size_t i = 0; l->names && i < l->count; i++) mem_free(l->names[i]);
    mem_free(l->names);
    mem_free(l->values);
    *l = (RecordLabels){0};
}

void record_labels_add(RecordLabels *l, const char *name, LabelKind kind) {
    MEM_GROW(l->names, l->capacity, l->count + 1);
    l->names[l->count++] = mem_strdup(name);
    l->kind = kind;
}

static const Json *find(const Json *record, const char **key) {
    *key = json_given(record, "label") || !json_given(record, "labels") ? "label" : "labels";
    return json_given(record, *key);
}

// ---- names ----

// Labels are printed and written to files: no control characters.
static bool is_printable(JsonStr s) {
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.data[i];
        if (c < 32 || c == 127 || (c == 0xC2 && (unsigned char)s.data[i + 1] < 0xA0)) return false;
    }
    return true;
}

static int add_text(RecordLabels *out, JsonStr s, Err *err) {
    if (!s.len || s.len >= LABEL_MAX_BYTES || !is_printable(s))
        return err_input(err, "%s: found a text of %zu byte%s; expected 1 to %d bytes without control characters",
                         out->key, s.len, plural(s.len), LABEL_MAX_BYTES - 1);
    record_labels_add(out, s.data, LABEL_TEXT);
    return 0;
}

// named: its name is that with number n.
static int add_integer(RecordLabels *out, int64_t n, LabelKind kind, const LabelList *named, Err *err) {
    char digits[32];
    snprintf(digits, sizeof digits, "%ld", n);
    for (size_t i = 0; named && i < named->count; i++)
        if (strcmp(named->names[i], digits) == 0) named = NULL; // they are integers themselves
    if (named && n >= (int64_t)named->count)
        return err_input(err, "%s: found %ld; expected 0 to %zu, the numbers of the labels' names", out->key, n,
                         named->count - 1);
    record_labels_add(out, named ? named->names[n] : digits, named ? LABEL_TEXT : kind);
    return 0;
}

static int read_single(RecordLabels *out, const Json *record, const RecordLabelRule *r, Err *err) {
    const Json *v = find(record, &out->key);
    bool other = v && (v->type == JSON_ARRAY || v->type == JSON_FLOAT);
    const char *expected = other ? "an integer from 0, a text, true or false, or another problem_type"
                                 : "an integer from 0, a text, true or false";
    int64_t n = 0;
    bool text = v && v->type == JSON_STRING,
         digits = text && r->untyped && json_text_is_integer(v->str.data, v->str.len);
    if (text && !digits) return add_text(out, v->str, err);
    if (digits) n = strtol(v->str.data, NULL, 10);
    bool truth = v && (v->type == JSON_TRUE || v->type == JSON_FALSE);
    if (!truth && !digits && !json_whole(v, &n))
        return dialog_fail_type(out->key, json_get(record, out->key), expected, err);
    if (truth) n = v->type == JSON_TRUE;
    if (n < 0)
        return err_input(err,
                         "label: found %ld, which marks a record without a label; expected %s: drop the record, or "
                         "give its class a name",
                         n, expected);
    return add_integer(out, n, digits ? LABEL_EITHER : LABEL_INTEGER, r->named, err);
}

// ---- lists ----

int record_labels_add_listed(RecordLabels *out, const Json *v, const ListedLabel *at, Err *err) {
    int64_t n = 0;
    bool text = v->type == JSON_STRING, whole = json_whole(v, &n);
    if (!text && !(whole && n >= 0))
        return err_input(err, "%s: element %zu is %s; expected a text or an integer from 0", at->key, at->index,
                         whole ? v->str.data : json_type_name(v));
    if (out->count && text != (out->kind == LABEL_TEXT) && !at->named)
        return err_input(err, "%s: element %zu is %s; expected %s, as the first one is", at->key, at->index,
                         json_type_name(v), text ? "an integer" : "a text");
    return text ? add_text(out, v->str, err) : add_integer(out, n, LABEL_INTEGER, at->named, err);
}

static int check_different(const RecordLabels *l, Err *err) {
    const LabelList names = {l->names, l->count, l->count};
    const char *twice = label_list_repeated(&names);
    if (!twice) return 0;
    return err_input(err, "%s: found \"%s\" twice in one list; expected the labels of the text, each once%s", l->key,
                     twice, l->kind == LABEL_INTEGER ? ": a list with 0 or 1 for every label is not read" : "");
}

static int read_multi(RecordLabels *out, const Json *record, const RecordLabelRule *r, Err *err) {
    const Json *v = find(record, &out->key);
    if (!v || v->type != JSON_ARRAY)
        return dialog_fail_type(out->key, json_get(record, out->key), "a list of labels, as of multi-label data", err);
    for (size_t i = 0; i < v->count; i++)
        if (record_labels_add_listed(out, &v->items[i], &(ListedLabel){out->key, i, r->named}, err)) return -1;
    return check_different(out, err);
}

// ---- numbers ----

// A number in a cell of a table.
static bool number_of_text(JsonStr s, double *x) {
    char *end;
    *x = NAN;
    if (!s.len || strspn(s.data, "+-.0123456789eE") != s.len) return false;
    *x = strtod(s.data, &end);
    return !*end;
}

static int add_number(RecordLabels *out, const Json *v, const RecordLabelRule *r, Err *err) {
    enum { MOST = 10000 }; // the loss of a pass stays below HEAD_TALLY_LIMIT
    double x = v && json_is_number(v) ? v->number : NAN;
    bool text = v && v->type == JSON_STRING && r->untyped;
    if (text && !number_of_text(v->str, &x)) x = NAN;
    if (!isfinite((float)x))
        return err_input(err, "%s: found %s; expected a finite number (problem_type regression)", out->key,
                         text || (v && json_is_number(v)) ? v->str.data : json_type_name(v));
    if (fabs(x) > MOST)
        return err_input(err, "%s: found %g; expected at most %d in magnitude, as squares of it are added up: scale it",
                         out->key, x, MOST);
    MEM_GROW(out->values, out->capacity, out->count + 1);
    out->values[out->count++] = (float)x;
    return 0;
}

static int read_numbers(RecordLabels *out, const Json *record, const RecordLabelRule *r, Err *err) {
    const Json *v = find(record, &out->key);
    if (!v || v->type != JSON_ARRAY) return add_number(out, v, r, err);
    if (!v->count) return err_input(err, "%s: found an empty list; expected at least one number", out->key);
    if (v->count > LABELS_MAX)
        return err_input(err, "%s: found %zu numbers; expected at most %d", out->key, v->count, LABELS_MAX);
    for (size_t i = 0; i < v->count; i++)
        if (add_number(out, &v->items[i], r, err)) return -1;
    return 0;
}

// ---- which ----

Problem record_labels_detect(const Json *record, bool untyped) {
    const char *key;
    const Json *v = find(record, &key);
    size_t texts = 0, integers = 0;
    int64_t n;
    if (v && v->type == JSON_ARRAY) {
        for (size_t i = 0; i < v->count; i++) {
            texts += v->items[i].type == JSON_STRING;
            integers += v->items[i].type == JSON_INT;
        }
        return texts == v->count || integers == v->count ? PROBLEM_MULTI_LABEL : PROBLEM_AUTO;
    }
    if (v && v->type == JSON_FLOAT && !json_whole(v, &n)) return PROBLEM_REGRESSION;
    double x;
    bool cell = v && v->type == JSON_STRING && untyped && !json_text_is_integer(v->str.data, v->str.len);
    return cell && number_of_text(v->str, &x) ? PROBLEM_AUTO : PROBLEM_SINGLE_LABEL;
}

int record_labels_read(RecordLabels *out, const Json *record, const RecordLabelRule *r, Err *err) {
    *out = (RecordLabels){.problem = r->problem ? r->problem : record_labels_detect(record, r->untyped)};
    if (!out->problem) {
        const char *key;
        find(record, &key);
        return err_input(err, "%s: found numbers that may be names of classes; expected problem_type %s, %s or %s", key,
                         "regression", "multi_label_classification", "single_label_classification");
    }
    int rc = out->problem == PROBLEM_MULTI_LABEL  ? read_multi(out, record, r, err)
             : out->problem == PROBLEM_REGRESSION ? read_numbers(out, record, r, err)
                                                  : read_single(out, record, r, err);
    if (rc) record_labels_clear(out);
    return rc;
}

int record_labels_choose(Problem *problem, const Json *record, bool untyped, Err *err) {
    RecordLabels unused = {0};
    *problem = record->type == JSON_OBJECT ? record_labels_detect(record, untyped) : PROBLEM_SINGLE_LABEL;
    int rc = *problem ? 0 : record_labels_read(&unused, record, &(RecordLabelRule){.untyped = untyped}, err);
    record_labels_clear(&unused);
    return rc;
}

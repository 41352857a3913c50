// labels: the classes of a classification data set, by name; a class's id is its index in the list.
//
// Labels found in data: the names of integers are their digits, in numeric order: 0 to n-1 are their own ids, the
// ratings 1 to 5 get the ids 0 to 4. Texts are sorted by their bytes, as in Hugging Face's examples. Cells of a table
// have no type: they are integers if all of them are. true and false are 1 and 0. If a list is given (of the training
// data, of a model), every label must be in it; an integer is looked up by its digits.
#pragma once

#include "base.h"
#include "enum_words.h"

// What is predicted of a text, by the names that transformers' problem_type has. Token caches hold the numbers.
#define PROBLEM_TYPES(X)                                                                                               \
    X(PROBLEM_AUTO, "auto", "by the first label: a list of labels, a number with a fraction, or one label")            \
    X(PROBLEM_SINGLE_LABEL, "single_label_classification", "one label of several")                                     \
    X(PROBLEM_MULTI_LABEL, "multi_label_classification", "any number of labels")                                       \
    X(PROBLEM_REGRESSION, "regression", "a number, or several")
typedef enum { PROBLEM_TYPES(ENUM_CONSTANT) PROBLEM_TOKENS } Problem; // TOKENS: a label of each word
const char *problem_name(Problem p);                                  // PROBLEM_TOKENS: "token_classification"
int problem_find(const char *name);                                   // one of the above; -1: none
static inline bool problem_is_each(Problem p) { return p == PROBLEM_MULTI_LABEL || p == PROBLEM_REGRESSION; }

typedef struct LabelList { // init with {0}
    char **names;
    size_t count, capacity;
} LabelList;
void label_list_add(LabelList *l, const char *name);
const char *label_list_repeated(const LabelList *l); // a name that occurs twice; NULL: none
void label_list_clear(LabelList *l);
// "ham (120), spam (40)": the first twenty, with how often each occurs.
void label_list_show(StrBuf *out, const LabelList *l, const int64_t *counts);

// The names are integers in numeric order, but not 0 to n-1: "1" to "5". *missing: the first integer without a label
// between the least and the greatest, -1 where there is none.
bool label_list_renumbers(const LabelList *l, int64_t *missing);

enum { LABELS_MAX = 1 << 16, LABEL_MAX_BYTES = 256 };

// Labels while data is read. LABEL_EITHER: digits in a table.
typedef enum { LABEL_TEXT, LABEL_INTEGER, LABEL_EITHER } LabelKind;
typedef struct LabelTable LabelTable;
LabelTable *label_table_new(const LabelList *given); // borrowed; NULL: labels are found in the data
void label_table_free(LabelTable *t);
// *id: by first appearance, or index in the given list. Fails on a label that is not in the list, on a mix of integers
// and texts, and on more than LABELS_MAX.
int label_table_add(LabelTable *t, const char *name, LabelKind kind, uint32_t *id, Err *err);
static inline size_t label_least(Problem p) { return p == PROBLEM_MULTI_LABEL ? 1 : 2; }
// Names by number, of a model or of the user: if all labels that were found are among them, they are the final list.
void label_table_suggest(LabelTable *t, const LabelList *names); // borrowed
// The final list, and for each id its place there (mem_free). Fails on fewer than `least`.
int label_table_finish(LabelTable *t, size_t least, LabelList *list, uint32_t **place, Err *err);

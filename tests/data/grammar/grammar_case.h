// grammar_case: a schema, regular expression or grammar and texts that it must accept or not.
#pragma once

#include "constraint.h"
#include "test.h"

static inline int case_compile(Constraint **c, ConstraintKind kind, const char *text, Err *err) {
    return constraint_new(c, NULL, kind, (JsonStr){text, strlen(text)}, err);
}

static inline Constraint *case_open(ConstraintKind kind, const char *text) {
    Constraint *c = NULL;
    Err err = {0};
    if (case_compile(&c, kind, text, &err)) fail_msg("%s: %s", text, err.msg);
    return c;
}

static inline void case_check(Constraint *c, const char *source, JsonStr text, bool want) {
    if (constraint_accepts(c, text) != want)
        fail_msg("%s\n%s text: %s", source, want ? "refuses the" : "accepts another", text.data);
}

// Texts of two lists, each ended by NULL.
static inline void case_texts(ConstraintKind kind, const char *source, const char *const *accepted,
                              const char *const *others) {
    Constraint *c = case_open(kind, source);
    for (; *accepted; accepted++) case_check(c, source, (JsonStr){*accepted, strlen(*accepted)}, true);
    for (; *others; others++) case_check(c, source, (JsonStr){*others, strlen(*others)}, false);
    constraint_free(c);
}

static inline void case_refused(ConstraintKind kind, const char *source, const char *why) {
    Constraint *c = NULL;
    Err err = {0};
    if (case_compile(&c, kind, source, &err) == 0) fail_msg("%s was not refused; expected \"%s\"", source, why);
    if (!strstr(err.msg, why)) fail_msg("%s: message \"%s\" lacks \"%s\"", source, err.msg, why);
    assert_null(strchr(err.msg, '\n'));
}

#define TEXTS(...) ((const char *const[]){__VA_ARGS__, NULL})

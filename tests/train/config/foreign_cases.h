// foreign_cases: configs of other tools, and what lorac makes of them or says.
#pragma once

#include "test.h"

#include <sys/stat.h>

#include "config.h"
#include "keys.h"
#include "scratch.h"

static int load(Config *c, const char *text, const char *word, Err *err) {
    char *argv[] = {"c.yaml", (char *)word};
    *c = (Config){0};
    *err = (Err){0};
    scratch_put("c.yaml", text, strlen(text));
    return config_load(c, 1 + (word != NULL), argv, CONFIG_FOR_BENCH, err);
}

typedef struct Mapped {
    const char *text, *key, *value; // the key's value as JSON
} Mapped;

static void check_mapped(const Mapped *cases, size_t n) {
    for (size_t i = 0; i < n; i++) {
        Config c;
        Err err;
        const char *implied;
        if (load(&c, cases[i].text, NULL, &err)) fail_msg("%s: %s", cases[i].text, err.msg);
        char *got = key_text(&c, keys_find(&config_table, cases[i].key, &implied), false);
        if (strcmp(got, cases[i].value) != 0)
            fail_msg("%s: %s is %s; expected %s", cases[i].text, cases[i].key, got, cases[i].value);
        mem_free(got);
        config_clear(&c);
    }
}
#define CHECK_MAPPED(cases) check_mapped(cases, sizeof(cases) / sizeof *(cases))

typedef struct Refused {
    const char *text, *part;
} Refused;

static void check_refused(const Refused *cases, size_t n) {
    for (size_t i = 0; i < n; i++) {
        Config c;
        Err err;
        if (load(&c, cases[i].text, NULL, &err) == 0) fail_msg("%s: read; expected: %s", cases[i].text, cases[i].part);
        if (!strstr(err.msg, cases[i].part))
            fail_msg("%s: \"%s\"; expected: %s", cases[i].text, err.msg, cases[i].part);
        assert_int_equal(err.kind, ERR_INPUT);
        config_clear(&c);
    }
}
#define CHECK_REFUSED(cases) check_refused(cases, sizeof(cases) / sizeof *(cases))

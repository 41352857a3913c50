// family_logits: how far the logits of a model are from PEFT's golden ones.
#pragma once

#include "family_fixture.h"
#include "logits.h"
#include "relative_error.h"

// |logits of m, with the adapter in its weights, - PEFT's| / |PEFT's|.
static inline double family_logit_error(const Family *f, const Model *m) {
    size_t n;
    float *want = family_golden(f, "logits_adapter", &n), *got = mem_alloc(n, sizeof *got);
    int32_t *ids = family_golden(f, "ids", NULL), *start = family_golden(f, "start", NULL);
    Err err;
    ASSERT_OK(model_logits(m, NULL, ids, start[1], got, &err), &err);
    double error = relative_error(got, want, n);
    mem_free(want);
    mem_free(got);
    mem_free(ids);
    mem_free(start);
    return error;
}

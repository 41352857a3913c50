// opcheck_all: a whole op of a device against the reference.
#include <stdio.h>

#include "opcheck.h"

const OpCase *const op_groups[] = {op_cases_pointwise, op_cases_activation, op_cases_matmul,
                                   op_cases_attention, op_cases_moe,        NULL};

// In turn: rows back to back, with gaps that keep them aligned to 16 bytes, and with gaps that do not.
static OpSetup setup_of(const Backend *b, int size, bool with_gaps) {
    static const int64_t gaps[] = {0, 8, 3};
    return (OpSetup){.poison = -1, .activation = b->activation, .gap = with_gaps ? gaps[size % 3] : 0};
}

static bool check_size(const OpCase *c, const OpSize *size, Backend *ref, Backend *b, OpSetup setup, char *message,
                       size_t bytes) {
    char what[400], sizes[256];
    Err err;
    OpRun *want = op_run(c, size, ref, setup), *got = op_run(c, size, b, setup);
    bool good = b->k->status(b, &err) == 0;
    if (!good) {
        snprintf(message, bytes, "%s", err.msg);
    } else if (!op_agree(want, got, OP_WITHIN_TOLERANCE, what, sizeof what)) {
        op_size_text(size, sizes, sizeof sizes);
        snprintf(message, bytes, "%s (%s, gaps of %ld)", what, sizes, setup.gap);
        good = false;
    }
    op_run_free(want);
    op_run_free(got);
    return good;
}

bool op_check(const OpCase *c, Backend *ref, Backend *b, bool gaps, int *cases, char *message, size_t size) {
    *cases = 0;
    if (c->host && !b->host_memory) return true;
    for (int i = 0; i < c->n_sizes; i++, ++*cases)
        if (!check_size(c, &c->sizes[i], ref, b, setup_of(b, i, gaps && !b->host_memory), message, size)) return false;
    return true;
}

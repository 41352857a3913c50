// logits: see logits.h.
#include "logits.h"

#include "decoder.h"

static int check_ids(const Model *m, const int32_t *ids, int64_t n, Err *err) {
    if (n < 1 || n > m->max_positions)
        return err_input(err, "%lld token ids; expected 1 to %lld, the positions of %s", (long long)n,
                         (long long)m->max_positions, m->path);
    for (int64_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= m->config.vocab)
            return err_input(err, "token id %d at position %lld; expected 0 to %lld, the vocabulary of %s", ids[i],
                             (long long)i, (long long)m->config.vocab - 1, m->path);
    return 0;
}

// One sample, nothing scored.
static void set_inputs(RowInputs *in, const int32_t *ids, int64_t n, int64_t hidden) {
    int32_t *copy = mem_alloc((size_t)n, sizeof *copy), *pos = mem_alloc((size_t)n, sizeof *pos);
    for (int64_t i = 0; i < n; i++) {
        copy[i] = ids[i];
        pos[i] = (int32_t)i;
    }
    int32_t start[2] = {0, (int32_t)n}, none[1] = {0};
    Row row = {.tokens = n, .samples = 1, .ids = copy, .pos = pos, .start = start, .position = none, .target = none};
    row_inputs_set(in, &row, hidden);
    mem_free(copy);
    mem_free(pos);
}

int model_logits(const Model *m, const Adapter *a, const int32_t *ids, int64_t n, float *out, Err *err) {
    if (check_ids(m, ids, n, err)) return -1;
    Backend *b = m->backend;
    RowInputs *in = row_inputs_new(b, n, 1);
    set_inputs(in, ids, n, m->config.hidden);
    size_t bytes = (size_t)n * (size_t)m->config.vocab * sizeof(float);
    Mat logits = {b->k->alloc(b, bytes), DTYPE_F32, n, m->config.vocab};
    Tape *t = tape_new(b);
    decoder_build_logits(t, m, a, in, logits);
    size_t arena_bytes = tape_plan(t, TAPE_FORWARD);
    void *arena = b->k->alloc(b, arena_bytes);
    tape_run(t, arena);
    b->k->download(b, out, logits.data, bytes);
    b->k->sync(b);
    b->k->free(b, arena, arena_bytes);
    b->k->free(b, logits.data, bytes);
    tape_free(t);
    row_inputs_free(in);
    return 0;
}

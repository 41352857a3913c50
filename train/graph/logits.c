#include "logits.h"

#include "graph.h"

int model_check_ids(const Model *m, const int32_t *ids, int64_t n, Err *err) {
    for (int64_t i = 0; i < n; i++) {
        if (ids[i] >= 0 && ids[i] < m->config.vocab) continue;
        AUTO_STR StrBuf name = {0};
        size_t len;
        bool named = m->tokenizer && ids[i] >= 0 && ids[i] < m->tokenizer->vocab_size;
        const char *piece = named ? tokenizer_piece(m->tokenizer, ids[i], &len) : NULL;
        if (named) str_printf(&name, " \"%.*s\"", (int)(len < 64 ? len : 64), piece);
        return err_input(err, "token id %d%s at position %ld; expected 0 to %ld, the vocabulary of %s", ids[i],
                         named ? name.data : "", i, m->config.vocab - 1, m->path);
    }
    return 0;
}

static int check_sequence(const Model *m, const int32_t *ids, int64_t n, Err *err) {
    if (n < 1 || n > m->max_positions)
        return err_input(err, "%ld token ids; expected 1 to %ld, the positions of %s", n, m->max_positions, m->path);
    return model_check_ids(m, ids, n, err);
}

// Inputs of one sample. second: as for model_class_logits. positions: the scored ones.
static PassInputs *new_inputs(const Model *m, const int32_t *ids, int64_t n, int64_t second, const int32_t *positions,
                              int64_t scored) {
    PassInputs *in = pass_inputs_new(m, n, 1);
    AUTO_FREE int32_t *pos = mem_alloc((size_t)n, sizeof *pos), *type = mem_alloc((size_t)n, sizeof *type);
    for (int64_t i = 0; i < n; i++) pos[i] = (int32_t)i, type[i] = i >= second;
    AUTO_FREE int32_t *target = mem_calloc((size_t)scored + 1, sizeof *target);
    int32_t start[2] = {0, (int32_t)n};
    Row row = {.tokens = n, .samples = 1, .ids = (int32_t *)ids, .pos = pos, .start = start, .scored = scored};
    row.type = type;
    row.position = (int32_t *)positions;
    row.target = target;
    pass_inputs_set(in, &row, m->config.hidden, (PassState){0}); // reads the row only
    return in;
}

// Adds to an empty tape the graph whose result is `out`.
typedef void (*BuildLogits)(Tape *t, const Model *m, const Adapter *a, const PassInputs *in, Mat out);

// Runs that graph over `in`, which it frees; out: its data is host memory.
static int run(const Model *m, const Adapter *a, PassInputs *in, BuildLogits build, Mat out, Err *err) {
    Backend *b = m->backend;
    size_t bytes = (size_t)(out.rows * out.cols) * sizeof(float);
    Mat logits = mat_of(b->k->alloc(b, bytes), DTYPE_F32, out.rows, out.cols);
    Tape *t = tape_new(b);
    build(t, m, a, in, logits);
    size_t arena_bytes = tape_plan(t, TAPE_FORWARD);
    void *arena = b->k->alloc(b, arena_bytes);
    tape_run(t, arena);
    b->k->download(b, out.data, logits.data, bytes);
    b->k->sync(b);
    b->k->free(b, arena, arena_bytes);
    b->k->free(b, logits.data, bytes);
    tape_free(t);
    pass_inputs_free(in);
    return b->k->status(b, err); // the pass may not have fitted the device
}

int model_logits(const Model *m, const Adapter *a, const int32_t *ids, int64_t n, float *out, Err *err) {
    if (check_sequence(m, ids, n, err)) return -1;
    return run(m, a, new_inputs(m, ids, n, n, NULL, 0), graph_build_logits, mat_of(out, DTYPE_F32, n, m->config.vocab),
               err);
}

size_t model_logits_bytes(const Model *m, const Adapter *a, int64_t n) {
    AUTO_FREE int32_t *ids = mem_calloc((size_t)n, sizeof *ids);
    PassInputs *in = new_inputs(m, ids, n, n, NULL, 0);
    Tape *t = tape_new(m->backend);
    graph_build_logits(t, m, a, in, mat_of(ids, DTYPE_F32, n, m->config.vocab)); // planning does not touch it
    size_t bytes = tape_plan(t, TAPE_FORWARD) + (size_t)n * (size_t)m->config.vocab * sizeof(float);
    tape_free(t);
    pass_inputs_free(in);
    return bytes;
}

int model_class_logits(const Model *m, const Adapter *a, const int32_t *ids, int64_t n, int64_t second, float *out,
                       Err *err) {
    if (check_sequence(m, ids, n, err)) return -1;
    int32_t position = m->config.arch->encoder ? 0 : (int32_t)(n - 1);
    PassInputs *in = new_inputs(m, ids, n, second, &position, 1);
    return run(m, a, in, graph_build_class_logits, mat_of(out, DTYPE_F32, 1, a->config.labels), err);
}

int model_token_logits(const Model *m, const Adapter *a, const int32_t *ids, int64_t n, float *out, Err *err) {
    if (check_sequence(m, ids, n, err)) return -1;
    AUTO_FREE int32_t *positions = mem_alloc((size_t)n, sizeof *positions);
    for (int64_t i = 0; i < n; i++) positions[i] = (int32_t)i;
    PassInputs *in = new_inputs(m, ids, n, n, positions, n);
    return run(m, a, in, graph_build_class_logits, mat_of(out, DTYPE_F32, n, a->config.labels), err);
}

#include "run_teacher.h"

#include <string.h>

#include "logits.h"

// ---- the vocabularies ----

static int differs(const Model *teacher, const Model *m, int32_t id, Err *err) {
    size_t a, b;
    const char *of_teacher = tokenizer_piece(teacher->tokenizer, id, &a), *own = tokenizer_piece(m->tokenizer, id, &b);
    return err_input(
        err,
        "teacher_model: %s has another vocabulary: token %d is \"%.*s\" there and \"%.*s\" in %s; expected "
        "the same tokens",
        teacher->path, id, (int)(a < 64 ? a : 64), of_teacher, (int)(b < 64 ? b : 64), own, m->path);
}

// One may be longer, if no token of the data is there.
static int same_vocabulary(const Model *teacher, const Model *m, Err *err) {
    const Tokenizer *a = teacher->tokenizer, *b = m->tokenizer;
    if (!a || !b) return 0;
    for (int32_t id = 0; id < a->vocab_size && id < b->vocab_size; id++) {
        size_t n_a, n_b;
        const char *of_a = tokenizer_piece(a, id, &n_a), *of_b = tokenizer_piece(b, id, &n_b);
        if (n_a != n_b || memcmp(of_a, of_b, n_a) != 0) return differs(teacher, m, id, err);
    }
    return 0;
}

static int known_ids(const Model *teacher, const Dataset *d, Err *err) {
    for (int64_t i = 0; d && i < d->count; i++) {
        Sample s = dataset_sample(d, i);
        if (model_check_ids(teacher, s.ids, s.count, err))
            return err_context(err, "teacher_model: record %ld of the data", s.record);
    }
    if (d) dataset_release(d);
    return 0;
}

// ---- the model ----

bool run_teacher_is_base(const Config *c) {
    if (!c->teacher_model) return true;
    return strcmp(c->teacher_model, c->model_name_or_path) == 0 && c->quantize_teacher == c->quantize_base;
}

static int load_model(Teacher *t, const Config *c, const Model *m, const RunData *d, Err *err) {
    ModelOptions o = {.max_positions = d->max_tokens,
                      .quantize = c->quantize_teacher,
                      .outline = m->outline,
                      .absent_dtype = DTYPE_BF16};
    ModelConfig config;
    if (model_read_config(&config, c->teacher_model, &o, err)) return -1;
    if (config.context < d->max_tokens)
        return err_input(err, "%s has a context of %ld tokens; expected at least the %ld of a row (max_seq_length)",
                         c->teacher_model, config.context, d->max_tokens);
    if (rope_is_by_length(&config.rope))
        return err_input(err,
                         "%s rotates by the length of a text (dynamic RoPE); not in this version, unless it is the "
                         "base model",
                         c->teacher_model);
    if (model_load(&t->model, c->teacher_model, m->backend, &o, err)) return -1;
    bool shorter = m->config.vocab > t->model->config.vocab;
    return same_vocabulary(t->model, m, err) ||
                   (shorter && (known_ids(t->model, d->train, err) || known_ids(t->model, d->validation, err)))
               ? -1
               : 0;
}

static int open_model(Teacher *t, const Config *c, const Model *m, const RunData *d, Err *err) {
    if (!run_teacher_is_base(c) && load_model(t, c, m, d, err)) return err_context(err, "teacher_model");
    const Model *model = t->pass.model = t->model ? t->model : m;
    t->pass.vocab = min64(model->config.vocab, m->config.vocab);
    if (t->pass.loss.k > t->pass.vocab) t->pass.loss.k = t->pass.vocab;
    if (!c->teacher_adapter) return 0;
    if (adapter_load(&t->adapter, model, c->teacher_adapter, false, err)) return err_context(err, "teacher_adapter");
    if (t->adapter->config.labels)
        return err_input(err, "teacher_adapter: %s is a classifier; expected an adapter of a language model",
                         c->teacher_adapter);
    t->pass.adapter = t->adapter;
    return 0;
}

static int open_file(Teacher *t, const Config *c, const Model *m, const RunData *d, Err *err) {
    if (teacher_logits_open(&t->file, c->teacher_logits, m->config.vocab, err)) return -1;
    t->pass.loss.k = teacher_logits_k(t->file);
    const Dataset *eval = d->eval_set;
    return (d->train && teacher_logits_check(t->file, d->train, d->rows, err)) ||
                   (eval && teacher_logits_check(t->file, eval, d->eval_rows, err))
               ? -1
               : 0;
}

int run_teacher_open(Teacher **t, const Config *c, const Model *m, const RunData *d, Err *err) {
    *t = NULL;
    if (!teacher_is_asked(c)) return 0;
    Teacher *new = mem_calloc(1, sizeof *new);
    new->pass.loss = teacher_loss(c);
    if (c->teacher_logits ? open_file(new, c, m, d, err) : open_model(new, c, m, d, err)) {
        teacher_free(new);
        return -1;
    }
    *t = new;
    return 0;
}

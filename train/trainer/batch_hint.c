// batch_hint: how many rows a pass should have on a device that is mostly idle (trainer.h).
#include "trainer_internal.h"

// Tokens of a pass from which a GPU is busy, and from which more gain nothing.
enum { BUSY_TOKENS = 8192, ENOUGH_TOKENS = 16384, EPOCH_STEPS = 8 };

static double tokens_of_row(const RowPlan *p) {
    double tokens = 0;
    for (int64_t i = 0; i < p->count; i++) tokens += (double)row_plan_row(p, i).tokens;
    return p->count ? tokens / (double)p->count : 0;
}

// The largest batch that leaves the steps as they are, if one makes the device busy, else the largest of all.
static int64_t best_batch(int64_t most, int64_t least, int64_t rows) {
    for (int64_t n = most; n >= least && n > 0; n--)
        if (rows % n == 0) return n;
    return most;
}

BatchHint trainer_batch_hint(const Trainer *t, size_t limit, size_t arena, size_t total) {
    const Config *c = t->in.config;
    const RowPlan *rows = t->in.data->rows;
    BatchHint none = {0};
    int64_t now = c->per_device_train_batch_size, in_step = now * c->gradient_accumulation_steps;
    double each = tokens_of_row(rows);
    if (t->in.model->backend->host_memory || each <= 0 || each * (double)now >= BUSY_TOKENS || total > limit)
        return none;
    // Nearly all of the arena grows with the rows.
    int64_t fit = now + (int64_t)((double)(limit - total) * (double)now / (double)arena),
            most = (int64_t)(ENOUGH_TOKENS / each);
    if (most > fit) most = fit;
    // A step stays a small part of an epoch.
    int64_t of_epoch = max64(in_step, rows->count / EPOCH_STEPS);
    if (most > of_epoch) most = of_epoch;
    int64_t least = (int64_t)(BUSY_TOKENS / each) + 1;
    if (most < 2 || most < 2 * now) return none; // a small gain
    int64_t batch = best_batch(most, least < most ? least : most, in_step), accumulate = in_step / batch;
    if (accumulate < 1) accumulate = 1;
    return (BatchHint){batch, accumulate, (int64_t)(each * (double)now), (int64_t)(each * (double)batch),
                       batch * accumulate == in_step};
}

void batch_hint_print(StrBuf *out, const BatchHint *h) {
    str_printf(out,
               "a pass has about %ld tokens, which leave a GPU mostly idle: per_device_train_batch_size %ld with "
               "gradient_accumulation_steps %ld makes it about %ld%s",
               h->tokens, h->batch, h->accumulation, h->new_tokens,
               h->same_steps ? " in steps of the same rows" : "; a step then has other rows");
}

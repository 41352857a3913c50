#include "run_model.h"

#include "run_data.h"

// Positions for generation after the longest row, if the model has them.
enum { GENERATION_POSITIONS = 2048 };

static const RopeScaling scalings[] = {
    [ROPE_OF_MODEL] = ROPE_NONE, [ROPE_BY_LINEAR] = ROPE_LINEAR, [ROPE_BY_YARN] = ROPE_YARN};

int run_model_options(ModelOptions *o, const Config *c, int64_t *max_tokens, Err *err) {
    *o = (ModelOptions){.rope_scaling = scalings[c->rope_scaling_type],
                        .rope_factor = (float)c->rope_scaling_factor,
                        .quantize = c->quantize_base,
                        .classifier = c->task == TASK_CLASSIFICATION};
    ModelConfig m;
    if (model_read_config(&m, c->model_name_or_path, o, err) || run_max_tokens(c, &m, max_tokens, err)) return -1;
    // LongRoPE uses other frequencies beyond its original context.
    int64_t limit = m.context;
    if (m.rope.scaling == ROPE_LONGROPE && *max_tokens <= m.rope.original_context) limit = m.rope.original_context;
    o->max_positions = *max_tokens + GENERATION_POSITIONS;
    if (o->max_positions > limit) o->max_positions = limit;
    return 0;
}

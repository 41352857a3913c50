// encoder: builds the graph of the BERT family. Every token attends to its whole sample; norms follow the residual
// sums; the first token of each sample goes through the pooler to the classifier. The last block computes keys and
// values of all tokens, and the rest of the first tokens only.
#include "encoder.h"

static Tensor *build_block(const Pass *p, int64_t layer, Tensor *x) {
    const ModelConfig *c = &p->m->config;
    const ModelLayer *l = &p->m->layers[layer];
    bool narrow = pass_is_narrow(p, layer);
    const int32_t *token = narrow ? p->last_rows : NULL;
    Tensor *qkv[3];
    x = pass_qkv(p, layer, x, qkv);
    Tensor *mix = op_attention(p->t, qkv[0], qkv[1], qkv[2], narrow ? &p->last_attention : &p->attention);
    x = pass_norm(p, &l->norms[NORM_POST_ATTN], pass_project(p, layer, PROJ_O, mix, x, token));
    pass_recompute_begin(p, RECOMPUTE_FFN);
    Tensor *mid = op_activation(p->t, pass_project(p, layer, PROJ_UP, x, NULL, token), c->activation);
    pass_recompute_end(p, RECOMPUTE_FFN);
    return pass_norm(p, &l->norms[NORM_POST_FFN], pass_project(p, layer, PROJ_DOWN, mid, x, token));
}

// The pooler's output for each sample.
static Tensor *build(Pass *p, const RowInputs *in) {
    const Model *m = p->m;
    p->attention = pass_row_attention(m, in);
    p->attention.bidirectional = true;
    pass_keep_scored(p, in);
    Tensor *x = pass_noise(p, op_embed(p->t, &m->embedding, in->at.ids, in->shape.tokens, 1), in);
    x = op_embed_add(p->t, x, &m->position_embedding, in->at.pos);
    if (m->config.token_types) x = op_embed_add(p->t, x, &m->type_embedding, in->at.type);
    x = pass_norm(p, &m->embed_norm, x);
    for (int64_t i = 0; i < m->config.layers; i++) {
        if (p->o && p->o->recompute == RECOMPUTE_OFFLOAD) tape_offload(p->t, x);
        pass_recompute_begin(p, RECOMPUTE_BLOCKS);
        x = build_block(p, i, x);
        pass_recompute_end(p, RECOMPUTE_BLOCKS);
    }
    return op_activation(p->t, op_linear(p->t, x, &m->pooler, NULL, NULL, 0), ACTIVATION_TANH);
}

void encoder_build_loss(Tape *t, const Model *m, const Adapter *a, const RowInputs *in, const PassOptions *o) {
    CHECK(a && a->config.labels && in->shape.scored > 0, "an encoder is trained as a classifier");
    Pass p = {.t = t, .m = m, .a = a, .o = o, .state = in->at.state, .pos = in->at.pos, .places = pass_places(in)};
    pass_class_loss(&p, build(&p, in), in);
}

void encoder_build_class_logits(Tape *t, const Model *m, const Adapter *a, const RowInputs *in, Mat out) {
    Pass p = {.t = t, .m = m, .a = a, .pos = in->at.pos};
    op_logits(t, build(&p, in), &a->class_head, out, 0);
}

// encoder: a block of the BERT family. Every token attends to its whole sample; norms follow the residual
// sums; the first token of each sample goes through the pooler to the classifier. The last block computes keys and
// values of all tokens, and the rest of the first tokens only.
#include "pass.h"

Tensor *encoder_block(const Pass *p, int64_t layer, Tensor *x) {
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

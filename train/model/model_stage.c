// model_stage: the layers of a model in stages of a pipeline, each of which is loaded by another rank.
#include "model.h"

// Multiplications of a token by the matrices of a layer.
static double layer_cost(const ModelConfig *c, int64_t layer) {
    bool experts = c->experts && !c->layer_dense[layer];
    double cost = 0;
    for (Projection p = 0; p < PROJ_DENSE; p++) {
        int64_t rows, cols;
        if (!model_layer_has(c, layer, p)) continue;
        model_projection_shape(c, p, &rows, &cols);
        cost += (double)rows * (double)cols;
    }
    double inner = (double)(c->experts_used * c->expert_ffn + c->shared_ffn);
    return experts ? cost + (double)c->hidden * (3 * inner + (double)c->experts) : cost;
}

// From the last stage to the first, each as full as `most` allows. False: the first one holds more.
static bool fill(int64_t *first, const ModelConfig *c, int stages, double most) {
    int64_t end = c->layers;
    double room = most - (double)c->vocab * (double)c->hidden;
    first[stages] = end;
    for (int s = stages - 1; s > 0; s--) {
        int64_t layer = end - 1; // at least one, and one for each stage before
        room -= layer_cost(c, layer);
        for (; layer > s && room >= layer_cost(c, layer - 1); layer--) room -= layer_cost(c, layer - 1);
        first[s] = end = layer;
        room = most;
    }
    for (int64_t layer = first[0] = 0; layer < end; layer++) room -= layer_cost(c, layer);
    return room >= 0;
}

int model_stages(int64_t *first, const ModelConfig *c, int stages, Err *err) {
    if (c->arch->encoder) return err_input(err, "stages of a pipeline: an encoder; expected a decoder");
    if (stages > c->layers)
        return err_input(err, "%d stages of a pipeline, but the model has %ld layer%s; expected at most as many",
                         stages, c->layers, plural(c->layers));
    double low = 0, high = (double)c->vocab * (double)c->hidden;
    for (int64_t i = 0; i < c->layers; i++) high += layer_cost(c, i);
    for (int i = 0; i < 50; i++) {
        double middle = (low + high) / 2;
        *(fill(first, c, stages, middle) ? &high : &low) = middle;
    }
    fill(first, c, stages, high);
    return 0;
}

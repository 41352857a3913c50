// model_place: moves a loaded model to its device, into one allocation (see model_internal.h).
//
// Projections of the same input are stacked, so that they are one product there: q, k, v of a layer; k and v of the
// last one, whose queries may have fewer rows; gate and up. One walk over the model runs twice: first it only counts
// bytes. Of a streamed model (model_stream.h) all layers are placed in the same two places, one after the other, and
// copied from there to host memory.
#include <string.h>

#include "model_internal.h"

typedef struct Placer {
    Model *m;
    Backend *b;
    char *memory; // NULL: only count
    bool outline; // stack weights, without memory
    size_t used;
    size_t read; // bytes placed since pages of the files were dropped
} Placer;

enum { ARENA_ALIGN = 256 };
_Static_assert(PROJ_K == PROJ_Q + 1 && PROJ_V == PROJ_Q + 2 && PROJ_UP == PROJ_GATE + 1 &&
                   PROJ_CONV_X == PROJ_CONV_B + 2,
               "stacked as neighbours");

static void *take(Placer *p, size_t bytes) {
    void *at = p->memory ? p->memory + p->used : NULL;
    p->used += (bytes + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    return at;
}

// The maps' pages are clean and can be dropped at any time; leaving that to the system makes a machine with little
// memory swap.
static void drop_read_pages(Placer *p, size_t bytes) {
    enum { DROP_EVERY = 1 << 28 };
    p->read += bytes;
    if (p->read < DROP_EVERY) return;
    weight_source_drop_pages(p->m->file->source);
    p->read = 0;
}

static void place_weight(Placer *p, Weight *w, bool fp8) {
    if (w->n_segments == 0) return;
    size_t bytes = p->b->k->weight_bytes(p->b, w, fp8);
    void *at = take(p, bytes);
    if (!at) return;
    p->b->k->weight_place(p->b, w, fp8, at);
    drop_read_pages(p, bytes);
}

static void place_floats(Placer *p, const float **x, int64_t n) {
    if (!*x) return;
    float *at = take(p, (size_t)n * sizeof **x);
    if (!at) return;
    p->b->k->upload(p->b, at, *x, (size_t)n * sizeof **x);
    *x = at;
}

static void place_norm(Placer *p, Norm *n, int64_t size) {
    place_floats(p, &n->weight, size);
    place_floats(p, &n->bias, size);
}

// Concatenates the rows of weights of the same input.
static Weight stack(const Weight *parts, int n, float *bias) {
    Weight all = {.name = parts[0].name, .cols = parts[0].cols, .bias = bias};
    for (int i = 0; i < n; i++) {
        CHECK(parts[i].cols == all.cols && all.n_segments + parts[i].n_segments <= WEIGHT_MAX_SEGMENTS);
        memcpy(all.segments + all.n_segments, parts[i].segments, (size_t)parts[i].n_segments * sizeof *all.segments);
        all.n_segments += parts[i].n_segments;
        if (bias && parts[i].bias) memcpy(bias + all.rows, parts[i].bias, (size_t)parts[i].rows * sizeof *bias);
        all.rows += parts[i].rows;
    }
    return all;
}

static void place_stacked(Placer *p, Weight *stacked, Weight *parts, int n) {
    if (parts[0].n_segments == 0) return;
    int64_t rows = 0;
    bool has_bias = false;
    for (int i = 0; i < n; i++) {
        rows += parts[i].rows;
        has_bias |= parts[i].bias != NULL;
    }
    AUTO_FREE float *bias = has_bias ? mem_calloc((size_t)rows, sizeof *bias) : NULL;
    Weight all = stack(parts, n, bias);
    place_weight(p, &all, p->b->fp8);
    if (!p->memory && !p->outline) return;
    *stacked = all;
    if (p->outline) stacked->bias = has_bias ? parts[0].bias : NULL; // not read; only its presence matters
    for (int i = 0; i < n; i++) parts[i].n_segments = 0, parts[i].bias = NULL;
}

const Weight *model_layer_weight(const ModelLayer *l, Projection p, int64_t *row) {
    Projection first = p;
    const Weight *w = &l->w[p];
    *row = 0;
    if (p <= PROJ_V && l->qkv.rows)
        first = PROJ_Q, w = &l->qkv;
    else if ((p == PROJ_K || p == PROJ_V) && l->kv.rows)
        first = PROJ_K, w = &l->kv;
    else if ((p == PROJ_GATE || p == PROJ_UP) && l->gate_up.rows)
        first = PROJ_GATE, w = &l->gate_up;
    else if (p >= PROJ_CONV_B && p <= PROJ_CONV_X && l->conv_in.rows)
        first = PROJ_CONV_B, w = &l->conv_in;
    for (; first < p; first++) *row += l->w[first].rows;
    return w;
}

static void place_vectors(Placer *p, ModelLayer *l) {
    const ModelConfig *c = &p->m->config;
    for (NormSite n = 0; n < NORM_SITES; n++) place_norm(p, &l->norms[n], model_norm_size(c, n));
    place_floats(p, &l->conv, c->hidden * c->conv_taps);
}

static void place_matrices(Placer *p, int64_t index) {
    const ModelConfig *c = &p->m->config;
    ModelLayer *l = &p->m->layers[index];
    bool fp8 = p->b->fp8;
    if (index < c->layers - 1) {
        place_stacked(p, &l->qkv, &l->w[PROJ_Q], 3);
    } else {
        place_weight(p, &l->w[PROJ_Q], fp8);
        place_stacked(p, &l->kv, &l->w[PROJ_K], 2);
    }
    place_weight(p, &l->w[PROJ_O], fp8);
    place_stacked(p, &l->conv_in, &l->w[PROJ_CONV_B], 3);
    place_weight(p, &l->w[PROJ_CONV_OUT], fp8);
    place_weight(p, &l->router, false);
    for (int64_t i = 0; l->experts && i < 3 * c->experts; i++) place_weight(p, &l->experts[i], false);
    for (Projection s = PROJ_SHARED_GATE; s <= PROJ_SHARED_DOWN; s++) place_weight(p, &l->w[s], false);
    place_weight(p, &l->shared_gate, false);
    if (c->has_glu)
        place_stacked(p, &l->gate_up, &l->w[PROJ_GATE], 2);
    else
        place_weight(p, &l->w[PROJ_UP], fp8);
    place_weight(p, &l->w[PROJ_DOWN], fp8);
}

// All but the layers' matrices. The classifier's head of a checkpoint stays in host memory: only new adapters read it,
// as their initial head.
static void place_others(Placer *p) {
    Model *m = p->m;
    const ModelConfig *c = &m->config;
    bool tied = m->head.n_segments && m->head.segments[0].data == m->embedding.segments[0].data;
    place_weight(p, &m->embedding, false);
    if (!tied) place_weight(p, &m->head, false);
    if (tied) place_floats(p, &m->head.bias, m->head.rows);
    if (tied && p->memory) {
        const float *bias = m->head.bias; // of masked language modelling
        m->head = m->embedding;
        m->head.bias = bias;
    }
    place_weight(p, &m->masked_dense, false);
    place_norm(p, &m->masked_norm, c->hidden);
    place_weight(p, &m->position_embedding, false);
    place_weight(p, &m->type_embedding, false);
    place_weight(p, &m->pooler, false);
    place_floats(p, &m->class_head.bias, m->class_head.rows);
    place_floats(p, &m->class_dense.bias, m->class_dense.rows);
    place_norm(p, &m->embed_norm, c->hidden);
    bool scaled = m->head_norm.weight != m->final_norm.weight;
    place_norm(p, &m->final_norm, c->hidden);
    if (scaled)
        place_norm(p, &m->head_norm, c->hidden);
    else
        m->head_norm = m->final_norm;
    for (int64_t i = 0; i < c->layers; i++) {
        ModelLayer *l = &m->layers[i];
        place_vectors(p, l);
        place_floats(p, &l->down_bias, c->experts * c->hidden);
        place_floats(p, &l->sinks, c->heads);
    }
    bool local = m->cos_sin_local != m->cos_sin;
    place_floats(p, &m->cos_sin_query, m->max_positions * c->rope.rotated);
    if (m->cos_sin) place_floats(p, &m->cos_sin, m->max_positions * c->rope.rotated);
    if (local)
        place_floats(p, &m->cos_sin_local, m->max_positions * c->rope_local.rotated);
    else
        m->cos_sin_local = m->cos_sin;
}

// The device memory of the parts of a model.
typedef struct PlacePlan {
    size_t others, matrices, largest; // all layers' matrices; those of the largest layer
    size_t *layers;                   // [layers] bytes of each layer's matrices
} PlacePlan;

static PlacePlan count_bytes(Model *m) {
    int64_t layers = m->config.layers;
    PlacePlan plan = {.layers = mem_alloc((size_t)layers, sizeof *plan.layers)};
    Placer p = {.m = m, .b = m->backend, .outline = m->outline};
    place_others(&p);
    plan.others = p.used;
    for (int64_t i = 0; i < layers; i++) {
        size_t before = p.used;
        place_matrices(&p, i);
        plan.layers[i] = p.used - before;
        if (plan.layers[i] > plan.largest) plan.largest = plan.layers[i];
    }
    plan.matrices = p.used - plan.others;
    return plan;
}

// Whether the layers wait in host memory, and the bytes that the device holds then.
static bool choose_memory(Model *m, PlacePlan plan, size_t free) {
    const ModelOptions *o = &m->file->options;
    size_t all = plan.others + plan.matrices, room = o->max_memory ? o->max_memory : free / 10 * 9;
    bool streamed = o->memory == BASE_MEMORY_HOST || (o->memory == BASE_MEMORY_AUTO && all > room);
    m->device_bytes = streamed ? plan.others + 2 * plan.largest : all;
    return streamed;
}

static int check_place(const Model *m, size_t free, Err *err) {
    if (m->file->options.memory == BASE_MEMORY_DISK)
        return err_input(err, "base_memory disk: on a GPU; expected device or host there, or --device cpu");
    if (m->config.head_size > DEVICE_MAX_HEAD_SIZE)
        return err_input(err, "%s: attention heads of size %ld; a GPU takes up to %d, --device cpu any", m->path,
                         m->config.head_size, DEVICE_MAX_HEAD_SIZE);
    if (m->outline || m->device_bytes <= free) return 0;
    return err_no_fit(err, "%s: its weights take %.1f MB of the device, which has %.1f MB free%s", m->path,
                      (double)m->device_bytes / 1e6, (double)free / 1e6,
                      m->stream ? "" : "; base_memory host keeps two layers there");
}

// The layers one after the other, from one place or the other to host memory.
static void place_streamed(Placer *p, const PlacePlan *plan) {
    Model *m = p->m;
    Backend *b = p->b;
    char *places[2] = {take(p, plan->largest), take(p, plan->largest)};
    model_stream_from_host(m->stream, b, places[0], places[1]);
    for (int64_t i = 0; i < m->config.layers && !b->k->status(b, NULL); i++) {
        Placer layer = {.m = m, .b = b, .memory = places[i % 2], .read = p->read};
        place_matrices(&layer, i);
        CHECK(layer.used == plan->layers[i]);
        p->read = layer.read;
        b->k->sync(b);
        m->stream->images[i] = b->k->host_alloc(b, layer.used);
        b->k->download(b, m->stream->images[i], places[i % 2], layer.used);
    }
}

static int place(Model *m, const PlacePlan *plan, Err *err) {
    Backend *b = m->backend;
    m->device_memory = b->k->alloc(b, m->device_bytes);
    if (b->k->status(b, err)) return -1;
    Placer p = {.m = m, .b = b, .memory = m->device_memory};
    place_others(&p);
    if (m->stream)
        place_streamed(&p, plan);
    else
        for (int64_t i = 0; i < m->config.layers; i++) place_matrices(&p, i);
    CHECK(p.used <= m->device_bytes);
    b->k->sync(b);
    weight_source_drop_pages(m->file->source);
    model_disown_weights(m);
    return b->k->status(b, err);
}

int model_place(Model *m, Err *err) {
    DeviceMemory memory = m->backend->k->memory(m->backend);
    size_t free = memory.total ? memory.free : SIZE_MAX;
    PlacePlan plan = count_bytes(m);
    if (choose_memory(m, plan, free)) m->stream = model_stream_new(plan.layers, m->config.layers);
    int rc = check_place(m, free, err);
    if (!rc && !m->outline) rc = place(m, &plan, err);
    if (!m->stream) mem_free(plan.layers);
    return rc;
}

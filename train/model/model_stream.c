#include "model_stream.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "fileio.h"
#include "model_internal.h"

// ---- host memory: pages of the maps ----

typedef struct Extent {
    const char *data;
    size_t bytes;
} Extent;

typedef struct ModelReader {
    Extent *extents; // of all layers, in their order
    size_t n, capacity;
    size_t *first; // [layers + 1] of each layer
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    _Atomic int wanted; // the layer to read ahead; TAPE_NO_STAGE: none
    bool end, runs;
} ModelReader;

static int by_address(const void *a, const void *b) {
    const Extent *x = a, *y = b;
    return (x->data > y->data) - (x->data < y->data);
}

// The tensors of the files by their addresses in the maps.
static Extent *mapped_tensors(const WeightSource *s) {
    Extent *all = mem_alloc(s->n_tensors + 1, sizeof *all);
    for (size_t i = 0; i < s->n_tensors; i++) all[i] = (Extent){s->tensors[i].data, s->tensors[i].bytes};
    qsort(all, s->n_tensors, sizeof *all, by_address);
    return all;
}

static bool is_mapped(const Extent *all, size_t n, Extent part) {
    size_t low = 0;
    for (size_t high = n; low < high;) {
        size_t middle = (low + high) / 2;
        if (all[middle].data <= part.data)
            low = middle + 1;
        else
            high = middle;
    }
    return low && part.data + part.bytes <= all[low - 1].data + all[low - 1].bytes;
}

typedef struct Collector {
    ModelReader *reader;
    const Extent *mapped;
    size_t n_mapped;
    bool absent; // of an outline without weights: all would be in the maps
} Collector;

static void collect(Collector *c, const Weight *w) {
    for (int i = 0; i < w->n_segments; i++) {
        const WeightSegment *s = &w->segments[i];
        Extent e = {.data = s->data};
        CHECK(dtype_bytes(s->dtype, (size_t)w->cols, &e.bytes));
        e.bytes *= (size_t)s->rows;
        if (!c->absent && !is_mapped(c->mapped, c->n_mapped, e)) continue; // a copy, which stays in memory
        ModelReader *r = c->reader;
        MEM_GROW(r->extents, r->capacity, r->n + 1);
        r->extents[r->n++] = e;
    }
}

static void collect_layer(Collector *c, const Model *m, const ModelLayer *l) {
    for (Projection p = 0; p < PROJ_COUNT; p++) collect(c, &l->w[p]);
    collect(c, &l->router);
    for (int64_t i = 0; l->experts && i < 3 * m->config.experts; i++) collect(c, &l->experts[i]);
    collect(c, &l->shared_gate);
}

// Reads a byte of each page, as long as the layer is wanted: what was dropped meanwhile must not come back.
static void touch_layer(ModelReader *r, int layer) {
    enum { PAGE = 4096, LOOK_EVERY = 64 };
    for (size_t e = r->first[layer]; e < r->first[layer + 1]; e++)
        for (size_t at = 0, i = 0; at < r->extents[e].bytes; at += PAGE, i++) {
            if (i % LOOK_EVERY == 0 && atomic_load(&r->wanted) != layer) return;
            (void)*(const volatile char *)(r->extents[e].data + at);
        }
}

static void *read_ahead(void *user) {
    ModelReader *r = user;
    pthread_mutex_lock(&r->lock);
    while (!r->end) {
        int layer = atomic_load(&r->wanted);
        if (layer != TAPE_NO_STAGE) {
            pthread_mutex_unlock(&r->lock);
            touch_layer(r, layer);
            pthread_mutex_lock(&r->lock);
        }
        while (!r->end && atomic_load(&r->wanted) == layer) pthread_cond_wait(&r->changed, &r->lock);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

static void want(ModelReader *r, int layer, bool end) {
    pthread_mutex_lock(&r->lock);
    atomic_store(&r->wanted, layer);
    r->end = end;
    pthread_cond_signal(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

static void drop_layer(const ModelReader *r, int layer) {
    for (size_t e = r->first[layer]; e < r->first[layer + 1]; e++)
        file_pages_drop(r->extents[e].data, r->extents[e].bytes);
}

static void enter_files(const void *user, int last, int stage, int next) {
    ModelReader *r = ((const ModelStream *)user)->reader;
    (void)stage;
    want(r, next, false);
    if (last != TAPE_NO_STAGE && last != next) drop_layer(r, last);
}

static void reader_free(ModelReader *r) {
    if (r->runs) {
        want(r, TAPE_NO_STAGE, true);
        pthread_join(r->thread, NULL);
    }
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    mem_free(r->extents);
    mem_free(r->first);
    mem_free(r);
}

static ModelReader *reader_new(const Model *m) {
    const WeightSource *source = m->file->source;
    ModelReader *r = mem_calloc(1, sizeof *r);
    AUTO_FREE Extent *mapped = mapped_tensors(source);
    Collector c = {.reader = r, .mapped = mapped, .n_mapped = source->n_tensors, .absent = source->lacks_weights};
    r->first = mem_calloc((size_t)m->config.layers + 1, sizeof *r->first);
    for (int64_t i = 0; i < m->config.layers; i++) {
        collect_layer(&c, m, &m->layers[i]);
        r->first[i + 1] = r->n;
    }
    r->wanted = TAPE_NO_STAGE;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
    return r;
}

ModelStream *model_stream_new(size_t *bytes, int64_t layers) {
    ModelStream *s = mem_calloc(1, sizeof *s);
    s->layers = layers;
    s->stages.user = s;
    s->stages.bytes = bytes;
    for (int64_t i = 0; i < layers; i++) {
        size_t two = bytes[i] + (i ? bytes[i - 1] : 0);
        s->total += bytes[i];
        if (two > s->most) s->most = two;
    }
    return s;
}

static ModelStream *stream_of_files(const Model *m, ModelReader *r) {
    size_t *bytes = mem_calloc((size_t)m->config.layers, sizeof *bytes);
    for (int64_t i = 0; i < m->config.layers; i++)
        for (size_t e = r->first[i]; e < r->first[i + 1]; e++) bytes[i] += r->extents[e].bytes;
    ModelStream *s = model_stream_new(bytes, m->config.layers);
    s->reader = r;
    s->stages.enter = enter_files;
    return s;
}

int model_stream_files(Model *m, Err *err) {
    CHECK(m->backend->host_memory && !m->stream);
    ModelReader *r = reader_new(m);
    if (r->n == 0 || m->file->options.quantize != QUANTIZE_NONE) {
        reader_free(r);
        return err_input(err,
                         "base_memory disk: the matrices of %s are converted when it is loaded (quantize_base, or the "
                         "form of the files); expected a model that is computed with as it is stored",
                         m->path);
    }
    m->stream = stream_of_files(m, r);
    if (m->outline) return 0;
    if (pthread_create(&r->thread, NULL, read_ahead, r)) return err_runtime(err, "no thread for reading ahead");
    r->runs = true;
    weight_source_drop_pages(m->file->source);
    return 0;
}

// ---- a device: two places, which even and odd layers share ----

static void reload(const ModelStream *s, int layer) {
    s->backend->k->reload(s->backend, s->places[layer % 2], s->images[layer], s->stages.bytes[layer]);
}

// A layer that shares the place of the one before it (the first after the last) could not be copied ahead.
static void enter_host(const void *user, int last, int stage, int next) {
    const ModelStream *s = user;
    if (last == TAPE_NO_STAGE || last % 2 == stage % 2) reload(s, stage);
    s->backend->k->settle(s->backend);
    if (next != TAPE_NO_STAGE && next % 2 != stage % 2) reload(s, next);
}

void model_stream_from_host(ModelStream *s, Backend *b, char *even, char *odd) {
    s->backend = b;
    s->places[0] = even;
    s->places[1] = odd;
    s->images = mem_calloc((size_t)s->layers, sizeof *s->images);
    s->stages.enter = enter_host;
}

void model_stream_free(ModelStream *s) {
    if (!s) return;
    if (s->reader) reader_free(s->reader);
    for (int64_t i = 0; s->images && i < s->layers; i++)
        if (s->images[i]) s->backend->k->host_free(s->backend, s->images[i], s->stages.bytes[i]);
    mem_free(s->images);
    mem_free((void *)s->stages.bytes);
    mem_free(s);
}

size_t model_memory_bytes(const Model *m) {
    if (!m->backend->host_memory) return m->device_bytes;
    return m->stream ? m->weight_bytes - m->stream->total + m->stream->most : m->weight_bytes;
}

void model_stream_enter(const Model *m, int64_t layer) {
    if (!m->stream || m->outline) return;
    int n = (int)m->config.layers, i = (int)layer;
    m->stream->stages.enter(m->stream, i ? i - 1 : TAPE_NO_STAGE, i, i + 1 < n ? i + 1 : TAPE_NO_STAGE);
}

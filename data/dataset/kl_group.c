#include "kl_group.h"

#include <string.h>

void kl_group_put(KlGroup *g, RecordTokens *e, int64_t record) {
    CHECK(g->count < g->size, "%zu records in a group of %zu", g->count, g->size);
    if (!g->items) {
        g->items = mem_calloc(g->size, sizeof *g->items);
        g->records = mem_calloc(g->size, sizeof *g->records);
    }
    g->records[g->count] = record;
    g->items[g->count++] = *e;
    *e = (RecordTokens){0};
}

// Appends tokens [from, to) of e as far as `room` allows; returns how many.
static size_t append(RecordTokens *out, const RecordTokens *e, size_t from, size_t to, size_t room) {
    size_t n = to - from < room ? to - from : room;
    memcpy(out->ids + out->count, e->ids + from, n * sizeof *e->ids);
    memcpy(out->supervised + out->count, e->supervised + from, n);
    out->count += n;
    return n;
}

void kl_group_get(RecordTokens *out, const KlGroup *g, size_t i, size_t max) {
    const RecordTokens *own = &g->items[i], *other = &g->items[(i ? i : g->count) - 1];
    size_t most = own->count + own->second + other->count;
    *out = (RecordTokens){.desirable = own->desirable};
    out->ids = mem_alloc(most + 1, sizeof *out->ids);
    out->supervised = mem_alloc(most + 1, 1);
    append(out, own, 0, own->count, max);
    out->second = out->count;
    size_t prompt = append(out, own, 0, own->second, max);
    append(out, other, other->second, other->count, max - prompt);
    out->supervised[out->second] = 0; // nothing predicts it
}

void kl_group_clear(KlGroup *g) {
    for (size_t i = 0; i < g->count; i++) record_tokens_clear(&g->items[i]);
    g->count = 0;
}

void kl_group_free(KlGroup *g) {
    kl_group_clear(g);
    mem_free(g->items);
    mem_free(g->records);
    *g = (KlGroup){.size = g->size};
}

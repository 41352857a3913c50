// region: a list of the free ranges. Lifetimes of a tape's buffers are nearly a stack, so the list stays short and a
// linear walk is enough.
#include "region.h"

#include <string.h>

#include "base.h"

enum { REGION_ALIGN = 64 };

typedef struct Hole {
    size_t start, bytes;
} Hole;

struct Region {
    Hole *holes; // ascending, never adjacent
    size_t n, capacity;
    size_t end; // everything from here on is free
    size_t peak;
};

Region *region_new(void) { return mem_calloc(1, sizeof(Region)); }

void region_free(Region *r) {
    if (!r) return;
    mem_free(r->holes);
    mem_free(r);
}

void region_reset(Region *r) {
    r->n = 0;
    r->end = r->peak = 0;
}

static size_t aligned(size_t bytes) { return (bytes + REGION_ALIGN - 1) / REGION_ALIGN * REGION_ALIGN; }

size_t region_take(Region *r, size_t bytes) {
    bytes = aligned(bytes);
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < r->n; i++)
        if (r->holes[i].bytes >= bytes && (best == SIZE_MAX || r->holes[i].bytes < r->holes[best].bytes)) best = i;
    if (best == SIZE_MAX) {
        size_t place = r->end;
        r->end += bytes;
        if (r->end > r->peak) r->peak = r->end;
        return place;
    }
    size_t place = r->holes[best].start;
    r->holes[best].start += bytes;
    r->holes[best].bytes -= bytes;
    if (r->holes[best].bytes == 0) memmove(&r->holes[best], &r->holes[best + 1], (--r->n - best) * sizeof(Hole));
    return place;
}

void region_give(Region *r, size_t place, size_t bytes) {
    bytes = aligned(bytes);
    size_t i = 0;
    while (i < r->n && r->holes[i].start < place) i++;
    bool joins_left = i > 0 && r->holes[i - 1].start + r->holes[i - 1].bytes == place;
    bool joins_right = i < r->n && place + bytes == r->holes[i].start;
    if (joins_left && joins_right) {
        r->holes[i - 1].bytes += bytes + r->holes[i].bytes;
        memmove(&r->holes[i], &r->holes[i + 1], (--r->n - i) * sizeof(Hole));
    } else if (joins_left) {
        r->holes[i - 1].bytes += bytes;
    } else if (joins_right) {
        r->holes[i].start = place;
        r->holes[i].bytes += bytes;
    } else {
        MEM_GROW(r->holes, r->capacity, r->n + 1);
        memmove(&r->holes[i + 1], &r->holes[i], (r->n++ - i) * sizeof(Hole));
        r->holes[i] = (Hole){place, bytes};
    }
    if (r->n && r->holes[r->n - 1].start + r->holes[r->n - 1].bytes == r->end) r->end = r->holes[--r->n].start;
}

size_t region_peak(const Region *r) { return r->peak; }

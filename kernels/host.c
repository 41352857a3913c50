// host: the DEVICE_SLOTS of the backends in host memory, and the stored bytes of a weight's logical rows.
#include "host.h"

#include <string.h>

enum { HOST_ALIGN = 64 };

// mem_calloc takes large blocks from fresh pages, which are zero without being touched. The pointer that it returned is
// stored before the aligned block.
void *host_alloc(Backend *b, size_t bytes) {
    size_t total;
    CHECK(size_add(bytes, 2 * HOST_ALIGN, &total), "allocation of %zu bytes", bytes);
    char *raw = mem_calloc(total, 1);
    char *aligned = (char *)(((uintptr_t)raw + 2 * HOST_ALIGN - 1) & ~(uintptr_t)(HOST_ALIGN - 1));
    memcpy(aligned - sizeof raw, &raw, sizeof raw);
    return aligned;
}

void host_free(Backend *b, void *p, size_t bytes) {
    if (!p) return;
    char *raw;
    memcpy(&raw, (char *)p - sizeof raw, sizeof raw);
    mem_free(raw);
}

#define HOST_COPY(slot)                                                                                                \
    void host_##slot(Backend *b, void *dst, const void *src, size_t bytes) {                                           \
        if (bytes) memcpy(dst, src, bytes);                                                                            \
    }
HOST_COPY(upload)
HOST_COPY(download)
HOST_COPY(copy)
HOST_COPY(offload)
HOST_COPY(reload)

// By all threads: the sums of a step are megabytes.
void host_zero(Backend *b, void *dst, size_t bytes) {
    enum { PIECE = 1 << 18 };
#pragma omp parallel for schedule(static) num_threads(bytes > PIECE ? b->threads : 1)
    for (size_t at = 0; at < bytes; at += PIECE) memset((char *)dst + at, 0, bytes - at < PIECE ? bytes - at : PIECE);
}

void *host_host_alloc(Backend *b, size_t bytes) { return host_alloc(b, bytes); }

void host_host_free(Backend *b, void *p, size_t bytes) { host_free(b, p, bytes); }

int host_status(Backend *b, Err *err) {
    if (!b->fault.kind) return 0;
    if (err) *err = b->fault;
    return -1;
}

void host_stamp(Backend *b, int64_t *ns) { *ns = (int64_t)(time_now() * 1e9); }

int host_connect(Backend *b, Group *g, double seconds, Err *err) { // `seconds`: the group is connected already
    CHECK(!b->group, "connected twice");
    b->group = g;
    return 0;
}

void host_all_reduce(Backend *b, int64_t *data, int64_t n) {
    if (b->group && !b->fault.kind) group_sum(b->group, data, n, &b->fault);
}

void host_choices_get(Backend *b, StrBuf *json) { str_puts(json, "{}"); }

int host_choices_set(Backend *b, const char *json, Err *err) {
    if (!strcmp(json, "{}")) return 0;
    return err_input(err, "the run was made with autotuning results of another kind of device than %s", b->k->name);
}

// ---- slots with no work in host memory ----

void host_close(Backend *b) {}
void host_sync(Backend *b) {}
void host_settle(Backend *b) {}
void host_record(Backend *b, uint64_t key) {}
bool host_record_end(Backend *b) { return true; }
void host_forget(Backend *b) {}
void host_describe(Backend *b, StrBuf *out) {}
void host_weight_place(Backend *b, Weight *w, bool fp8, void *memory) {}

bool host_replay(Backend *b, uint64_t key) { return false; }

size_t host_weight_bytes(Backend *b, const Weight *w, bool fp8) { return 0; }

DeviceMemory host_memory(Backend *b) { return (DeviceMemory){0}; }

// ---- weights ----

WeightRow weight_row(const Weight *w, int64_t row) {
    CHECK(row >= 0 && row < w->rows, "row %ld of %s [%ld, %ld]", row, w->name, w->rows, w->cols);
    const WeightSegment *s = w->segments;
    const WeightSegment *end = s + w->n_segments;
    for (; s < end && row >= s->rows; s++) row -= s->rows;
    CHECK(s < end, "the segments of %s hold fewer than its %ld rows", w->name, w->rows);
    size_t row_bytes;
    CHECK(dtype_bytes(s->dtype, (size_t)w->cols, &row_bytes), "%s: %ld columns are not whole blocks of %s", w->name,
          w->cols, dtype_info(s->dtype)->name);
    CHECK((s->dtype == DTYPE_NF4) == (s->row_scale != NULL), "%s: scales of rows and type %s", w->name,
          dtype_info(s->dtype)->name);
    CHECK(dtype_is_grouped(s->dtype) == (s->groups.scale != NULL), "%s: scales of groups and type %s", w->name,
          dtype_info(s->dtype)->name);
    int64_t stored = s->row_map ? s->row_map[row] : row;
    return (WeightRow){
        .segment = s,
        .data = (const uint8_t *)s->data + (size_t)stored * row_bytes,
        .run = s->row_map || s->row_scale || s->groups.scale ? 1 : s->rows - row,
        .scale = s->row_scale ? s->row_scale[stored] : 1,
        .groups = dtype_groups_row(s->groups, stored),
    };
}

void host_expand_row(float *dst, const WeightRow *r, int64_t col, int64_t n) {
    DType t = r->segment->dtype;
    const DTypeInfo *info = dtype_info(t);
    const uint8_t *src = r->data + col / info->block * info->bytes;
    if (dtype_is_grouped(t))
        dtype_expand_groups(t, dst, src, &r->groups, col, n);
    else
        dtype_expand_row(t, dst, src, (size_t)n, r->scale);
}

size_t host_packed_row(DType type, const float *row_scale, int64_t cols) {
    size_t bytes;
    CHECK(type <= DTYPE_Q8_0 || type == DTYPE_NF4 || dtype_packs(type), "packing of type %d", (int)type);
    CHECK((type == DTYPE_NF4) == (row_scale != NULL) && dtype_bytes(type, (size_t)cols, &bytes), "%ld columns of %s",
          cols, dtype_info(type)->name);
    return bytes;
}

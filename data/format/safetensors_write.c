// safetensors_write: writes a file byte for byte as the reference library would.
#include "safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "fileio.h"
#include "json.h"

// The reference writes tensors by descending number of its dtype enumeration, wider types first, then by name.
static int rank(DType t) {
    static const DType order[] = {DTYPE_U8, DTYPE_F16, DTYPE_BF16, DTYPE_I32, DTYPE_F32, DTYPE_I64};
    for (int i = 0; i < (int)(sizeof order / sizeof *order); i++)
        if (order[i] == t) return i;
    check_failed(__FILE__, __LINE__, "dtype", " %s cannot be written to safetensors", dtype_info(t)->name);
}

static int compare_entries(const void *pa, const void *pb) {
    const SafetensorsEntry *a = pa, *b = pb;
    int order = rank(b->dtype) - rank(a->dtype);
    return order ? order : strcmp(a->name, b->name);
}

static size_t entry_bytes(const SafetensorsEntry *e) {
    size_t count = 1, bytes;
    CHECK(e->n_dims >= 0 && e->n_dims <= SAFETENSORS_MAX_DIMS, "%s", e->name);
    for (int d = 0; d < e->n_dims; d++)
        CHECK(e->shape[d] >= 0 && size_mul(count, (size_t)e->shape[d], &count), "%s", e->name);
    CHECK(dtype_bytes(e->dtype, count, &bytes), "%s", e->name);
    return bytes;
}

static void add_metadata(StrBuf *out, const char *const *metadata, size_t n) {
    str_puts(out, "\"__metadata__\":{");
    for (size_t i = 0; i < 2 * n; i++) {
        if (i) str_puts(out, i % 2 ? ":" : ",");
        json_quote(out, metadata[i], strlen(metadata[i]));
    }
    str_puts(out, "}");
}

static void add_entry(StrBuf *out, const SafetensorsEntry *e, size_t begin, size_t end) {
    json_quote(out, e->name, strlen(e->name));
    str_printf(out, ":{\"dtype\":\"%s\",\"shape\":[", dtype_info(e->dtype)->name);
    for (int d = 0; d < e->n_dims; d++) str_printf(out, "%s%ld", d ? "," : "", e->shape[d]);
    str_printf(out, "],\"data_offsets\":[%zu,%zu]}", begin, end);
}

// The length of the JSON text, then the text, padded with spaces so that the data begins at a multiple of 8.
static void add_header(StrBuf *out, const SafetensorsEntry *ordered, size_t count, const char *const *metadata,
                       size_t n_metadata) {
    str_add(out, "\0\0\0\0\0\0\0", 8);
    str_puts(out, "{");
    if (n_metadata) add_metadata(out, metadata, n_metadata);
    for (size_t i = 0, begin = 0; i < count; i++) {
        size_t end = begin + entry_bytes(&ordered[i]);
        if (i || n_metadata) str_puts(out, ",");
        add_entry(out, &ordered[i], begin, end);
        begin = end;
    }
    str_puts(out, "}");
    while (out->len % 8) str_puts(out, " ");
    for (int i = 0; i < 8; i++) out->data[i] = (char)((out->len - 8) >> 8 * i);
}

struct SafetensorsWriter {
    FileWriter *file;
    size_t left; // bytes still to come
};

void safetensors_order(SafetensorsEntry *entries, size_t count) {
    qsort(entries, count, sizeof *entries, compare_entries);
}

static int begin(SafetensorsWriter **out, FileWriter *file, const SafetensorsEntry *ordered, size_t count,
                 const char *const *metadata, size_t n_metadata, Err *err) {
    SafetensorsWriter *w = *out = mem_calloc(1, sizeof *w);
    w->file = file;
    for (size_t i = 0; i < count; i++) {
        CHECK(i == 0 || compare_entries(&ordered[i - 1], &ordered[i]) < 0, "%s is out of order", ordered[i].name);
        CHECK(size_add(w->left, entry_bytes(&ordered[i]), &w->left), "%s", ordered[i].name);
    }
    AUTO_STR StrBuf header = {0};
    add_header(&header, ordered, count, metadata, n_metadata);
    if (file_write(file, header.data, header.len, err) == 0) return 0;
    safetensors_abandon(w);
    *out = NULL;
    return -1;
}

int safetensors_begin(SafetensorsWriter **w, const char *path, const SafetensorsEntry *ordered, size_t count,
                      const char *const *metadata, size_t n_metadata, Err *err) {
    FileWriter *file;
    *w = NULL;
    return file_create(&file, path, NULL, err) ? -1 : begin(w, file, ordered, count, metadata, n_metadata, err);
}

int safetensors_append(SafetensorsWriter *w, const void *data, size_t bytes, Err *err) {
    CHECK(bytes <= w->left, "%zu bytes too many", bytes - w->left);
    w->left -= bytes;
    return file_write(w->file, data, bytes, err);
}

int safetensors_end(SafetensorsWriter *w, Err *err) {
    CHECK(w->left == 0, "%zu bytes are missing", w->left);
    int rc = file_commit(w->file, err);
    mem_free(w);
    return rc;
}

void safetensors_abandon(SafetensorsWriter *w) {
    if (!w) return;
    file_abandon(w->file);
    mem_free(w);
}

int safetensors_save(const char *path, const SafetensorsEntry *entries, size_t count, const char *const *metadata,
                     size_t n_metadata, OwnCheck *own, Err *err) {
    FileWriter *file;
    SafetensorsWriter *w;
    if (file_create(&file, path, own, err)) return -1;
    AUTO_FREE SafetensorsEntry *ordered = mem_alloc(count, sizeof *ordered);
    if (count) memcpy(ordered, entries, count * sizeof *ordered);
    safetensors_order(ordered, count);
    if (begin(&w, file, ordered, count, metadata, n_metadata, err)) return -1;
    for (size_t i = 0; i < count; i++) {
        if (safetensors_append(w, ordered[i].data, entry_bytes(&ordered[i]), err) == 0) continue;
        safetensors_abandon(w);
        return -1;
    }
    return safetensors_end(w, err);
}

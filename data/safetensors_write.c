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
    const SafetensorsEntry *a = *(const SafetensorsEntry *const *)pa, *b = *(const SafetensorsEntry *const *)pb;
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
    for (int d = 0; d < e->n_dims; d++) str_printf(out, "%s%jd", d ? "," : "", (intmax_t)e->shape[d]);
    str_printf(out, "],\"data_offsets\":[%zu,%zu]}", begin, end);
}

// The length of the JSON text, then the text, padded with spaces so that the data begins at a multiple of 8.
static void add_header(StrBuf *out, const SafetensorsEntry *const *sorted, size_t count, const char *const *metadata,
                       size_t n_metadata) {
    str_add(out, "\0\0\0\0\0\0\0", 8);
    str_puts(out, "{");
    if (n_metadata) add_metadata(out, metadata, n_metadata);
    for (size_t i = 0, begin = 0; i < count; i++) {
        size_t end = begin + entry_bytes(sorted[i]);
        if (i || n_metadata) str_puts(out, ",");
        add_entry(out, sorted[i], begin, end);
        begin = end;
    }
    str_puts(out, "}");
    while (out->len % 8) str_puts(out, " ");
    for (int i = 0; i < 8; i++) out->data[i] = (char)((out->len - 8) >> 8 * i);
}

static int write_file(const char *path, const StrBuf *header, const SafetensorsEntry *const *sorted, size_t count,
                      Err *err) {
    FileWriter *file;
    if (file_create(&file, path, err)) return -1;
    int rc = file_write(file, header->data, header->len, err);
    for (size_t i = 0; i < count && !rc; i++) rc = file_write(file, sorted[i]->data, entry_bytes(sorted[i]), err);
    if (!rc) return file_commit(file, err);
    file_abandon(file);
    return rc;
}

int safetensors_save(const char *path, const SafetensorsEntry *entries, size_t count, const char *const *metadata,
                     size_t n_metadata, Err *err) {
    const SafetensorsEntry **sorted = mem_alloc(count, sizeof *sorted);
    StrBuf header = {0};
    for (size_t i = 0; i < count; i++) sorted[i] = &entries[i];
    qsort(sorted, count, sizeof *sorted, compare_entries);
    add_header(&header, sorted, count, metadata, n_metadata);
    int rc = write_file(path, &header, sorted, count, err);
    str_clear(&header);
    mem_free(sorted);
    return rc;
}

// quantized: finds the matrices of a quantised checkpoint and lays out what reading them needs (see quantized.h).
#include "quantized_internal.h"

#include <stdio.h>
#include <string.h>

#include "path.h"

static const QuantizedMethod *const methods[] = {&quantized_bnb, &quantized_fp8,    &quantized_fbgemm, &quantized_gptq,
                                                 &quantized_awq, &quantized_packed, &quantized_mxfp4};
enum { METHODS = sizeof methods / sizeof *methods, MAX_CONFIG_BYTES = 4 << 20 };

// ---- configuration ----

static int refuse_method(const char *name, Err *err) {
    AUTO_STR StrBuf known = {0};
    for (int i = 0; i < METHODS; i++) str_printf(&known, "%s%s", i ? ", " : "", methods[i]->name);
    return err_input(err,
                     "quantization_config: quantised with \"%.40s\"; expected %s, or a checkpoint in F32, F16 or BF16 "
                     "(or a GGUF file; quantize_base quantises at load)",
                     name, known.data);
}

static int read_method(QuantizedConfig *q, const Json *object, Err *err) {
    JsonReader r = {object, NULL, "quantization_config.", err};
    const char *name;
    if (json_read_string(&r, "quant_method", "", &name)) return -1;
    for (int i = 0; i < METHODS; i++)
        if (strcmp(name, methods[i]->name) == 0) q->method = methods[i];
    if (!*name) return json_refuse(&r, "quant_method", NULL, "the name of a method");
    if (!q->method) return refuse_method(name, err);
    return q->method->configure(q, &r);
}

// A config.json that cannot be read is refused by model_config_hf.c.
int quantized_config_read(QuantizedConfig *q, const char *dir, Err *err) {
    AUTO_FREE char *path = path_join(dir, "config.json");
    AUTO_JSON JsonDoc *doc = NULL;
    *q = (QuantizedConfig){0};
    if (json_load(&doc, path, MAX_CONFIG_BYTES, NULL)) return 0;
    const Json *object = json_get(json_root(doc), "quantization_config");
    if (json_is_off(object)) return 0;
    if (object->type != JSON_OBJECT)
        return err_input(err, "%s: quantization_config is %s; expected an object", path, json_type_name(object));
    return read_method(q, object, err) ? err_context(err, "%s", path) : 0;
}

// ---- parts ----

SourceTensor *quantized_part(WeightSource *s, const char *name, const char *end) {
    AUTO_FREE char *full = mem_printf("%s%s", name, end);
    const SourceTensor *t = weight_source_get(s, full);
    if (!t) return NULL;
    SourceTensor *part = &s->tensors[t - s->tensors];
    part->is_part = true;
    return part;
}

SourceTensor *quantized_need(WeightSource *s, const char *name, const char *end, Err *err) {
    SourceTensor *t = quantized_part(s, name, end);
    if (!t) err_input(err, "%s%s is missing", name, end);
    return t;
}

int quantized_check_floats(const SourceTensor *t, int64_t count, Err *err) {
    if (t->dtype > DTYPE_BF16)
        return err_input(err, "%s has type %s; expected F32, F16 or BF16", t->name, t->dtype_name);
    int64_t found = (int64_t)t->bytes / dtype_info(t->dtype)->bytes;
    if (found == count) return 0;
    return err_input(err, "%s has %ld element%s; expected %ld", t->name, found, plural(found), count);
}

int quantized_check_bytes(const SourceTensor *t, int64_t rows, int64_t cols, int bits, Err *err) {
    size_t elements, total;
    if (rows < 1 || cols < 1 || !size_mul((size_t)rows, (size_t)cols, &elements) ||
        !size_mul(elements, (size_t)bits, &total) || total > INT64_MAX)
        return err_input(err, "%s: a matrix [%ld, %ld]; expected sizes above 0 that fit memory", t->name, rows, cols);
    if (cols % 8)
        return err_input(err, "%s: %ld column%s; a quantised matrix has a multiple of 8", t->name, cols, plural(cols));
    if (t->bytes == total / 8) return 0;
    return err_input(err, "%s has %zu byte%s; a matrix [%ld, %ld] of %d bits takes %zu", t->name, t->bytes,
                     plural(t->bytes), rows, cols, bits, total / 8);
}

Quantized *quantized_make(WeightSource *s, SourceTensor *numbers, const char *name, DType t, int64_t rows,
                          int64_t cols) {
    size_t length = strlen(name) + sizeof ".weight";
    struct {
        Quantized q;
        char name[];
    } *own = weight_source_own(s, sizeof *own + length);
    memset(own, 0, sizeof *own);
    snprintf(own->name, length, "%s.weight", name);
    numbers->name = own->name;
    numbers->is_part = false;
    numbers->dtype = t;
    numbers->dtype_name = dtype_info(t)->name;
    numbers->n_dims = 2;
    for (int d = 0; d < SOURCE_MAX_DIMS; d++) numbers->shape[d] = d == 0 ? rows : d == 1 ? cols : 1;
    numbers->quantized = &own->q;
    return &own->q;
}

// ---- joining ----

// Copies the name without the mark that ends it; NULL: it has none.
static char *module_of(const char *name, const QuantizedMethod *m) {
    for (const char *const *mark = m->marks; *mark; mark++)
        if (ends_with(name, *mark)) return mem_strndup(name, strlen(name) - strlen(*mark));
    return NULL;
}

int quantized_join(WeightSource *s, const QuantizedConfig *q, Err *err) {
    for (size_t i = 0; i < s->n_tensors; i++) {
        AUTO_FREE char *module = s->tensors[i].quantized ? NULL : module_of(s->tensors[i].name, q->method);
        if (module && q->method->join(s, module, q, err)) return err_context(err, "%s", s->path);
    }
    return weight_source_reindex(s, err);
}

const SourceTensor *quantized_assume(WeightSource *s, const char *name, int64_t rows, int64_t cols) {
    const QuantizedConfig *c = s->quantized;
    if (!c || cols % 8 || c->type == DTYPE_MXFP4) return NULL; // of experts alone
    SourceTensor *t = (SourceTensor *)weight_source_assume(s, name, c->type, 2, (int64_t[]){rows, cols});
    if (!t) return NULL;
    Quantized *q = weight_source_own(s, sizeof *q);
    *q = (Quantized){.columns = c->group ? c->group : cols, .has_zero = c->has_zero};
    q->groups = (cols + q->columns - 1) / q->columns;
    t->quantized = q;
    return t;
}

// ---- reading ----

static size_t aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }

// Offsets of the values in the memory of a matrix.
typedef struct Layout {
    size_t zero, of_column, numbers, bytes;
} Layout;

static Layout layout_of(const SourceTensor *t) {
    const Quantized *q = t->quantized;
    if (q->blocks) {
        Layout l = {0};
        size_t n = (size_t)t->shape[0] * (size_t)t->shape[1] * (size_t)t->shape[2];
        CHECK(dtype_bytes(t->dtype, n, &l.bytes));
        return l;
    }
    size_t rows = (size_t)t->shape[0], cols = (size_t)t->shape[1], scales = rows * (size_t)q->groups;
    Layout l = {.zero = aligned(scales * sizeof(float))};
    l.of_column = l.zero + (q->has_zero ? aligned(scales * sizeof(int16_t)) : 0);
    l.numbers = l.of_column + (q->has_index ? aligned(cols * sizeof(int32_t)) : 0);
    l.bytes = l.numbers + (q->copied ? aligned(t->bytes) : 0);
    return l;
}

size_t quantized_bytes(const SourceTensor *t) { return layout_of(t).bytes; }

int quantized_read(WeightSegment *out, const SourceTensor *t, void *memory, Err *err) {
    const Quantized *q = t->quantized;
    Layout l = layout_of(t);
    char *at = memory ? memory : (char *)t->data; // an address that is not read
    QuantizedValues v = {.scale = (float *)(void *)at};
    if (q->has_zero) v.zero = (int16_t *)(void *)(memory ? at + l.zero : at);
    if (q->has_index) v.of_column = (int32_t *)(void *)(memory ? at + l.of_column : at);
    if (q->copied || q->blocks) v.numbers = (uint8_t *)(memory ? at + l.numbers : at);
    *out = (WeightSegment){.data = v.numbers ? v.numbers : t->data, .dtype = t->dtype, .rows = t->shape[0]};
    if (!q->blocks) out->groups = (DTypeGroups){v.scale, v.zero, v.of_column, q->groups, q->columns};
    return memory ? q->read(t, v, err) : 0;
}

bool quantized_has_bits_of(const WeightSource *s, DType type) {
    for (size_t i = 0; i < s->n_tensors; i++) {
        const SourceTensor *t = &s->tensors[i];
        if (t->quantized) return (dtype_info(t->dtype)->bytes == 4 || t->quantized->blocks) == (type == DTYPE_NF4);
    }
    return false;
}

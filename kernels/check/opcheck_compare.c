// opcheck_compare: runs a case and compares its outputs; whole ops of a device with the reference.
#include <stdio.h>
#include <string.h>

#include "opcheck.h"

void op_size_text(const OpSize *s, char *text, size_t size) {
    size_t n = (size_t)snprintf(text, size, "%s", dtype_info(s->dtype)->name);
#define TEXT_OF_NUMBER(field)                                                                                          \
    if (s->field && n < size) n += (size_t)snprintf(text + n, size - n, " " #field "=%g", (double)s->field);
#define TEXT_OF_FLAG(field)                                                                                            \
    if (s->field && n < size) n += (size_t)snprintf(text + n, size - n, " " #field);
    OP_SIZE_NUMBERS(TEXT_OF_NUMBER)
    OP_SIZE_FLAGS(TEXT_OF_FLAG)
}

OpRun *op_run(const OpCase *c, const OpSize *size, Backend *b, OpSetup setup) {
    OpRun *r = mem_calloc(1, sizeof *r);
    *r = (OpRun){.b = b, .size = *size, .setup = setup};
    c->run(r);
    b->k->sync(b);
    op_check_guards(r, c->name);
    return r;
}

void op_run_free(OpRun *r) {
    if (!r) return;
    for (int i = 0; i < r->n_buffers; i++) r->b->k->free(r->b, r->buffers[i].data, r->buffers[i].bytes + OP_GUARD);
    mem_free(r);
}

// ---- outputs, as the host sees them ----

// Floats as float32, rows back to back. Other kinds as they are.
typedef struct Fetched {
    void *data;
    size_t bytes;
    int64_t stray; // the first row with a written element before or after it; -1: none
} Fetched;

static bool untouched(const uint8_t *p, int64_t bytes) {
    for (int64_t i = 0; i < bytes; i++)
        if (p[i] != 0xFF) return false;
    return true;
}

static Fetched fetch_matrix(const OpRun *r, Mat m) {
    int64_t size = dtype_info(m.dtype)->bytes, gap = (mat_stride(m) - m.cols) / 2, stride = mat_stride(m) * size;
    size_t bytes = (size_t)(m.rows * stride);
    AUTO_FREE uint8_t *raw = mem_alloc(bytes, 1);
    r->b->k->download(r->b, raw, (uint8_t *)m.data - gap * size, bytes);
    size_t n = (size_t)(m.rows * m.cols);
    float *x = mem_alloc(n, sizeof *x);
    Fetched f = {x, n * sizeof *x, -1};
    for (int64_t i = m.rows - 1; i >= 0; i--) {
        const uint8_t *row = raw + i * stride;
        dtype_expand(m.dtype, x + i * m.cols, row + gap * size, (size_t)m.cols);
        if (!untouched(row, gap * size) || !untouched(row + stride - gap * size, gap * size)) f.stray = i;
    }
    return f;
}

static Fetched fetch(const OpRun *r, const OpOutput *o) {
    if (o->kind == OP_FLOATS && o->mat.data) return fetch_matrix(r, o->mat);
    void *host = mem_alloc(o->bytes, 1);
    r->b->k->download(r->b, host, o->data, o->bytes);
    return (Fetched){host, o->bytes, -1};
}

static double element(const OpOutput *o, Fetched f, size_t i) {
    return o->kind == OP_FLOATS ? (double)((const float *)f.data)[i] : ((const double *)f.data)[i];
}

static size_t element_count(const OpOutput *o, Fetched f) {
    return f.bytes / (o->kind == OP_FLOATS ? sizeof(float) : sizeof(double));
}

// ---- comparing ----

// The absolute tolerance of all elements, and a relative one for the rounding of each stored element.
typedef struct Limit {
    double all, of_element;
} Limit;

static Limit limit_of(const OpOutput *o, Fetched want, DType stored, double unit) {
    size_t n = element_count(o, want);
    double squares = 0;
    for (size_t i = 0; i < n; i++) {
        double x = element(o, want, i);
        if (isfinite(x)) squares += x * x / (double)n;
    }
    double size = fmax(sqrt(squares), o->floor), tolerance = o->tolerance + o->roundings * unit;
    double smallest = stored == DTYPE_F16 && tolerance > 0 ? 0x1p-24 : 0; // F16's subnormal step
    return (Limit){tolerance * size + smallest, tolerance > 0 ? 2 * op_unit_roundoff(stored) : 0};
}

// Index of the first element that breaks the rule, or -1. *allowed: its tolerance, absolute plus relative.
static int64_t first_breach(const OpOutput *o, Fetched want, Fetched got, OpRule rule, Limit limit, double *allowed) {
    for (size_t i = 0; i < element_count(o, want); i++) {
        double w = element(o, want, i), g = element(o, got, i);
        *allowed = limit.all + limit.of_element * fabs(w);
        bool breach = rule == OP_NAN_SHOWS ? isnan(w) && !isnan(g) : !(w == g || fabs(w - g) <= *allowed);
        if (breach) return (int64_t)i;
    }
    return -1;
}

static bool bytes_agree(const OpOutput *o, Fetched want, Fetched got, char *message, size_t size) {
    if (!memcmp(want.data, got.data, want.bytes)) return true;
    size_t at = 0;
    while (((const char *)want.data)[at] == ((const char *)got.data)[at]) at++;
    snprintf(message, size, "output %s differs from byte %zu of %zu on", o->name, at, want.bytes);
    return false;
}

// o: an output of the run `got`; unit: the unit roundoff that op_rounded counts.
static bool output_agrees(const OpOutput *o, Fetched want, Fetched got, OpRule rule, double unit, char *message,
                          size_t size) {
    CHECK(want.bytes == got.bytes);
    DType stored = o->mat.data ? o->mat.dtype : DTYPE_F32;
    if (got.stray >= 0) {
        snprintf(message, size, "output %s: written outside of row %ld", o->name, got.stray);
        return false;
    }
    if (o->kind == OP_EXACT && o->roundings > 0 && unit > 0) return true;
    if (rule == OP_SAME_BITS || o->kind == OP_EXACT) return bytes_agree(o, want, got, message, size);
    if (o->kind == OP_FLOATS) op_round(stored, want.data, (int64_t)(want.bytes / sizeof(float)));
    double allowed;
    int64_t at = first_breach(o, want, got, rule, limit_of(o, want, stored, unit), &allowed);
    if (at < 0) return true;
    snprintf(message, size, "output %s[%ld]: got %.9g, want %.9g, tolerance %.3g", o->name, at,
             element(o, got, (size_t)at), element(o, want, (size_t)at), allowed);
    return false;
}

// The unit roundoff of the operands of products, where it is not that of the activations; those of high are sums of two
// bf16 numbers, or TF32.
static double unit_of_operands(const Backend *b) {
    if (b->precision == PRECISION_HIGHEST) return 0;
    return b->precision == PRECISION_MEDIUM ? op_unit_roundoff(DTYPE_BF16) : b->host_memory ? 0x1p-16 : 0x1p-11;
}

bool op_agree(const OpRun *want, const OpRun *got, OpRule rule, char *message, size_t size) {
    CHECK(want->n_outputs == got->n_outputs && want->n_outputs > 0);
    bool agree = true;
    double split = unit_of_operands(got->b), unit = split > 0 ? split : op_unit_roundoff(got->setup.activation);
    for (int i = 0; i < want->n_outputs && agree; i++) {
        Fetched w = fetch(want, want->outputs + i), g = fetch(got, got->outputs + i);
        OpOutput o = got->outputs[i];
        o.tolerance += o.splits * split;
        agree = output_agrees(&o, w, g, rule, unit, message, size);
        mem_free(w.data);
        mem_free(g.data);
    }
    return agree;
}

bool op_shows_nan(const OpRun *r) {
    bool shows = false;
    for (int i = 0; i < r->n_outputs && !shows; i++) {
        const OpOutput *o = r->outputs + i;
        if (o->kind == OP_EXACT) return true;
        Fetched f = fetch(r, o);
        for (size_t j = 0; j < element_count(o, f) && !shows; j++) shows = isnan(element(o, f, j));
        mem_free(f.data);
    }
    return shows;
}

// ---- a whole op of a device against the reference ----

const OpCase *const op_groups[] = {
    op_cases_pointwise, op_cases_activation, op_cases_matmul, op_cases_attention, op_cases_moe, op_cases_head, NULL};

// In turn: rows back to back, with gaps that keep them aligned to 16 bytes, and with gaps that do not.
static OpSetup setup_of(const Backend *b, int size, bool with_gaps) {
    static const int64_t gaps[] = {0, 8, 3};
    return (OpSetup){.poison = -1, .activation = b->activation, .gap = with_gaps ? gaps[size % 3] : 0};
}

static bool check_size(const OpCase *c, const OpSize *size, Backend *ref, Backend *b, OpSetup setup, char *message,
                       size_t bytes) {
    char what[400], sizes[256];
    Err err;
    OpRun *want = op_run(c, size, ref, setup), *got = op_run(c, size, b, setup);
    bool good = b->k->status(b, &err) == 0;
    if (!good) {
        snprintf(message, bytes, "%s", err.msg);
    } else if (!op_agree(want, got, OP_WITHIN_TOLERANCE, what, sizeof what)) {
        op_size_text(size, sizes, sizeof sizes);
        snprintf(message, bytes, "%s (%s, gaps of %ld)", what, sizes, setup.gap);
        good = false;
    }
    op_run_free(want);
    op_run_free(got);
    return good;
}

bool op_check(const OpCase *c, Backend *ref, Backend *b, bool gaps, int *cases, char *message, size_t size) {
    *cases = 0;
    if (c->host && !b->host_memory) return true;
    for (int i = 0; i < c->n_sizes; i++, ++*cases)
        if (!check_size(c, &c->sizes[i], ref, b, setup_of(b, i, gaps && !b->host_memory), message, size)) return false;
    return true;
}

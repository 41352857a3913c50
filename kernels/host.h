// host: shared by the backends in host memory (ref, cpu): the device slots (memory, recording, ...), checks of shapes,
// rows of matrices and of stored weights. Private to kernels/.
#pragma once

#include <math.h>

#include "kernels.h"

C_BEGIN

// The CPU backend's table for this type of activations and precision that LORAC_ISA names, else the best of this
// machine (cpu.c). NULL: none.
const Kernels *cpu_kernels_from_environment(DType activation, MatmulPrecision precision, Err *err);

// The function type of a slot, so that an implementation is declared as `SLOT_TYPE(add) ref_add;`.
#define SLOT_TYPE(slot) __typeof__(*((Kernels *)0)->slot)
#define DECLARE_HOST_SLOT(slot) SLOT_TYPE(slot) host_##slot;
DEVICE_SLOTS(DECLARE_HOST_SLOT)

#define CHECK_MATRIX(m, type, r, c)                                                                                    \
    CHECK((m).data && (m).dtype == (type) && (m).rows == (r) && (m).cols == (c) && mat_stride(m) == (c),               \
          "%s is [%ld, %ld] of type %d, expected [%ld, %ld] of type %d", #m, (m).rows, (m).cols, (int)(m).dtype,       \
          (int64_t)(r), (int64_t)(c), (int)(type))
#define CHECK_SHAPE(m, r, c) CHECK_MATRIX(m, DTYPE_F32, r, c)

// Shapes: out and x [T, C] of type `act`, rstd [T, groups]; C is a multiple of groups.
#define CHECK_GROUPS(act, out, rstd, x)                                                                                \
    do {                                                                                                               \
        CHECK((rstd).cols > 0 && (x).cols % (rstd).cols == 0, "%ld columns in %ld groups", (x).cols, (rstd).cols);     \
        CHECK_MATRIX(x, act, (x).rows, (x).cols);                                                                      \
        CHECK_MATRIX(out, act, (x).rows, (x).cols);                                                                    \
        CHECK_SHAPE(rstd, (x).rows, (rstd).cols);                                                                      \
    } while (0)

// The factor that clips the gradient; NaN: the step is skipped. 1e-6 as in torch.nn.utils.clip_grad_norm_.
static inline float adamw_clip(const Adamw *o) {
    double norm = sqrt(*o->square);
    if (*o->bad || !isfinite(norm)) return NAN;
    return o->max_grad_norm > 0 ? (float)fmin(o->max_grad_norm / (norm + 1e-6), 1) : 1;
}

static inline float *f32_row(Mat m, int64_t row) { return (float *)m.data + row * m.cols; }

// m as rows of `group` columns.
static inline Mat host_groups(Mat m, int64_t group) {
    return mat_of(m.data, m.dtype, m.rows * (m.cols / group), group);
}

static inline void check_rope(Mat x, const RopeTable *r) {
    CHECK(r->head_size > 0 && x.cols % r->head_size == 0 && r->rotated > 0 && r->rotated % 2 == 0 &&
              r->rotated <= r->head_size,
          "rope of %ld dims over %ld columns, heads of %ld", r->rotated, x.cols, r->head_size);
}

static inline void host_check_moe(const MoePlan *p) {
    CHECK(p->used > 0 && p->used <= p->experts, "%ld of %ld experts", p->used, p->experts);
}

static inline void host_check_attention(const AttentionCall *c, DType act, bool backward) {
    const AttentionShape *s = c->shape;
    int64_t queries = c->q.rows, keys = c->k.rows, wide = s->heads * s->head_size, narrow = s->kv_heads * s->head_size;
    CHECK(s->kv_heads > 0 && s->heads % s->kv_heads == 0 && s->q_start[s->samples] == queries);
    CHECK_MATRIX(c->q, act, queries, wide);
    CHECK_MATRIX(c->k, act, keys, narrow);
    CHECK_MATRIX(c->v, act, keys, narrow);
    CHECK_MATRIX(c->out, act, queries, wide);
    CHECK_SHAPE(c->lse, queries, s->heads);
    if (!backward) return;
    CHECK_MATRIX(c->dout, act, queries, wide);
    if (c->dq.data) CHECK_MATRIX(c->dq, act, queries, wide);
    if (c->dk.data) CHECK_MATRIX(c->dk, act, keys, narrow);
    if (c->dv.data) CHECK_MATRIX(c->dv, act, keys, narrow);
}

static inline void host_check_conv(Mat out, Mat x, int64_t taps, DType act) {
    CHECK(taps > 0 && taps <= SHORT_CONV_MAX_TAPS, "%ld taps", taps);
    CHECK(x.cols == out.cols && x.dtype == act && out.dtype == act && !x.stride && !out.stride);
}

// The stored bytes of a logical row of W. CHECKs the row.
typedef struct WeightRow {
    const WeightSegment *segment;
    const uint8_t *data; // dtype_bytes(segment->dtype, w->cols) bytes
    int64_t run;         // contiguous rows from this one on (1 with a row map or scales)
    float scale;         // NF4: of the row; else 1
    DTypeGroups groups;  // of the row, of a type that has them
} WeightRow;
WeightRow weight_row(const Weight *w, int64_t row);
// n elements of a row from column `col` on, both multiples of its type's block, as dtype_expand has them.
void host_expand_row(float *dst, const WeightRow *r, int64_t col, int64_t n);
// Bytes of a row of `cols` elements that `pack` writes. CHECKs the type, and that only NF4 has row scales.
size_t host_packed_row(DType type, const float *row_scale, int64_t cols);

// Of all pairs of the array.
static inline int64_t lora_ranks(const Lora *l) {
    int64_t ranks = 0;
    for (int i = 0; i <= l->more; i++) ranks += l[i].rank;
    return ranks;
}
// The pair of expert e, of the rows of x of that expert; x has k columns.
static inline Lora host_expert_lora(const Lora *l, int64_t e, int64_t k) {
    CHECK(l->dropout == 0 && l->more == 0 && l->row_offset == 0);
    int64_t at = e * l->rank * (k + l->rows);
    Lora own = *l;
    own.experts = NULL;
    own.a += at, own.b += at;
    if (own.da) own.da += at;
    if (own.db) own.db += at;
    return own;
}
static inline Mat host_expert_rows(Mat m, const MoePlan *plan, int64_t e) {
    return m.data ? mat_rows(m, plan->offset[e], plan->offset[e + 1] - plan->offset[e]) : m;
}
// xa of pair i (lora_forward).
static inline Mat host_lora_xa(Mat xa, const Lora *l, int i) {
    CHECK(xa.cols == lora_ranks(l));
    for (int before = 0; before < i; before++)
        xa.data = (char *)xa.data + (size_t)(xa.rows * l[before].rank) * dtype_info(xa.dtype)->bytes;
    xa.cols = l[i].rank;
    return xa;
}

// ---- dora ----

// The pair whose row *i column n of y is; NULL: none. Pairs are in the order of their rows.
HOST_DEVICE static inline const Lora *dora_column(const Lora *l, int64_t n, int64_t *i) {
    const Lora *last = l + l->more;
    while (l < last && n >= l->row_offset + l->rows) l++;
    *i = n - l->row_offset;
    return *i >= 0 && *i < l->rows ? l : NULL;
}
// x / norm of row i; 0 where the norm is.
HOST_DEVICE static inline float dora_over(const Lora *l, int64_t i, float x) {
    return l->norm[i] == 0 ? 0 : x / l->norm[i];
}

C_END

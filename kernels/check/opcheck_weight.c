// opcheck_weight: random weights of every type.
#include <string.h>

#include "opcheck.h"

static void put_half(uint8_t *p, float f) {
    uint16_t h = f32_to_f16(f);
    memcpy(p, &h, sizeof h);
}

// Where a block has halves as scales, and by what the element's magnitude is divided for each; 0: none. (NF4's random
// byte is a code for the scale of the row.)
static const struct {
    int at[2];
    float divisor[2];
} half_scales[DTYPE_COUNT] = {
    [DTYPE_Q8_0] = {{0}, {64}},     [DTYPE_Q4_0] = {{0}, {8}},          [DTYPE_Q4_1] = {{0, 2}, {8, -1}},
    [DTYPE_Q5_0] = {{0}, {8}},      [DTYPE_Q5_1] = {{0, 2}, {8, -1}},   [DTYPE_Q2_K] = {{80, 82}, {20, 15}},
    [DTYPE_Q3_K] = {{108}, {64}},   [DTYPE_Q4_K] = {{0, 2}, {256, 40}}, [DTYPE_Q5_K] = {{0, 2}, {256, 40}},
    [DTYPE_Q6_K] = {{208}, {1024}}, [DTYPE_IQ4_NL] = {{0}, {100}},      [DTYPE_IQ4_XS] = {{0}, {2000}},
};

// One row of random elements in its dtype. Blocks are random bytes under scales that make the elements small.
static void fill_row(uint8_t *row, DType t, DType rounding, int64_t k, float *noise) {
    const DTypeInfo *info = dtype_info(t);
    float size = 1 / sqrtf((float)k);
    if (info->block == 1) {
        for (int64_t i = 0; i < k; i++) noise[i] *= size;
        op_round(t, noise, k); // representable in both types
        op_round(rounding, noise, k);
        op_encode(t, row, noise, k);
        return;
    }
    for (int64_t block = 0; block < k / info->block; block++, row += info->bytes) {
        const float *x = noise + block * info->block;
        for (int i = 0, j = 0; i < info->bytes; i++, j = j + 1 < info->block ? j + 1 : 0)
            row[i] = (uint8_t)(int)(x[j] * 1e4f + (float)i);
        float d = size * (1.5f + x[0] / 4);
        for (int i = 0; t == DTYPE_F8_G && i < info->bytes; i++) row[i] &= 0xBF; // below 2, and no NaN
        if (t == DTYPE_MXFP4) row[0] = (uint8_t)(128 + (int)log2f(d / 8));
        for (int i = 0; i < 2; i++)
            if (half_scales[t].divisor[i] != 0) put_half(row + half_scales[t].at[i], d / half_scales[t].divisor[i]);
    }
}

enum { GROUP_COLUMNS = 32 };

// Scales that make the elements small. U4_G has zeros, with them and a row map each column has its group.
static DTypeGroups random_groups(const OpRun *r, DType t, int64_t rows, int64_t k, const float *noise) {
    static const float divisor[DTYPE_COUNT] = {
        [DTYPE_NF4_G] = 1, [DTYPE_FP4_G] = 1, [DTYPE_U4_G] = 8, [DTYPE_I8_G] = 64, [DTYPE_F8_G] = 1};
    DTypeGroups g = {.n = (k + GROUP_COLUMNS - 1) / GROUP_COLUMNS, .columns = GROUP_COLUMNS};
    float *scale = mem_alloc((size_t)(rows * g.n), sizeof *scale);
    for (int64_t i = 0; i < rows * g.n; i++)
        scale[i] = (1.5f + noise[i % (rows * k)] / 4) / (divisor[t] * sqrtf((float)k));
    g.scale = scale;
    if (t != DTYPE_U4_G && t != DTYPE_I8_G) return g;
    int16_t *zero = mem_alloc((size_t)(rows * g.n), sizeof *zero);
    for (int64_t i = 0; i < rows * g.n; i++) zero[i] = (int16_t)(t == DTYPE_U4_G ? i % 17 : i % 9 - 4);
    g.zero = zero;
    if (!r->size.row_map) return g;
    int32_t *of_column = mem_alloc((size_t)k, sizeof *of_column);
    for (int64_t i = 0; i < k; i++) of_column[i] = (int32_t)(i * 7 % g.n);
    g.of_column = of_column;
    return g;
}

// In host memory; freed by free_parts.
static WeightSegment random_segment(OpRun *r, DType t, int64_t rows, int64_t k) {
    size_t row_bytes;
    CHECK(dtype_bytes(t, (size_t)k, &row_bytes), "%ld columns of %s", k, dtype_info(t)->name);
    float *noise = op_noise(rows * k, 1000 + (uint32_t)r->n_weights++), *row_scale = NULL;
    uint8_t *data = mem_alloc((size_t)rows, row_bytes);
    for (int64_t i = 0; i < rows; i++) fill_row(data + (size_t)i * row_bytes, t, r->setup.activation, k, noise + i * k);
    if (t == DTYPE_NF4) {
        row_scale = mem_alloc((size_t)rows, sizeof *row_scale);
        for (int64_t i = 0; i < rows; i++) row_scale[i] = (2 + noise[i] / 4) / (255 * 255 * sqrtf((float)k));
    }
    DTypeGroups groups = {0};
    if (dtype_is_grouped(t)) groups = random_groups(r, t, rows, k, noise);
    mem_free(noise);
    int32_t *map = NULL;
    if (r->size.row_map) map = mem_alloc((size_t)rows, sizeof *map);
    for (int64_t i = 0; map && i < rows; i++) // llama's permutation of one head of `rows` rows, roughly
        map[i] = (int32_t)(i % 2 ? rows - 1 - i / 2 : i / 2);
    return (WeightSegment){
        .data = data, .dtype = t, .rows = rows, .row_scale = row_scale, .row_map = map, .groups = groups};
}

static void free_parts(const Weight *w) {
    for (int i = 0; i < w->n_segments; i++) {
        mem_free((void *)w->segments[i].data);
        mem_free((void *)w->segments[i].row_scale);
        mem_free((void *)w->segments[i].row_map);
        mem_free((void *)w->segments[i].groups.scale);
        mem_free((void *)w->segments[i].groups.zero);
        mem_free((void *)w->segments[i].groups.of_column);
    }
    mem_free((void *)w->bias);
}

static const void *copy_or_null(OpRun *r, const void *host, size_t bytes) {
    return host ? op_copy(r, host, bytes) : NULL;
}

// Copies the weight to where the backend reads it; `host` may then be freed.
static Weight place(OpRun *r, const Weight *host) {
    Weight w = *host;
    if (!r->b->host_memory) {
        void *memory = op_buffer(r, r->b->k->weight_bytes(r->b, &w, false));
        r->b->k->weight_place(r->b, &w, false, memory);
        r->b->k->sync(r->b);
        return w;
    }
    for (int i = 0; i < w.n_segments; i++) {
        WeightSegment *s = w.segments + i;
        size_t row_bytes, rows = (size_t)s->rows;
        CHECK(dtype_bytes(s->dtype, (size_t)w.cols, &row_bytes));
        s->data = op_copy(r, s->data, rows * row_bytes);
        s->row_scale = copy_or_null(r, s->row_scale, rows * sizeof(float));
        s->row_map = copy_or_null(r, s->row_map, rows * sizeof(int32_t));
        DTypeGroups *g = &s->groups;
        g->scale = copy_or_null(r, g->scale, rows * (size_t)g->n * sizeof *g->scale);
        g->zero = copy_or_null(r, g->zero, rows * (size_t)g->n * sizeof *g->zero);
        g->of_column = copy_or_null(r, g->of_column, (size_t)w.cols * sizeof *g->of_column);
    }
    w.bias = copy_or_null(r, w.bias, (size_t)w.rows * sizeof(float));
    return w;
}

// Of several segments, segment i has type dtype + i, modulo the types up to Q5_1, and an uneven share of the rows.
Weight op_weight(OpRun *r, int64_t n, int64_t k) {
    Weight w = {.name = "w", .rows = n, .cols = k, .n_segments = r->size.segments ? r->size.segments : 1};
    int64_t left = n;
    for (int i = 0; i < w.n_segments; i++) {
        int64_t rows = i + 1 == w.n_segments ? left : left / 3 + 1;
        DType t = (DType)((r->size.dtype + i) % (DTYPE_Q5_1 + 1));
        if (r->size.segments < 2) t = r->size.dtype;
        w.segments[i] = random_segment(r, t, rows, k);
        left -= rows;
    }
    if (r->size.bias) w.bias = op_input_floats(r, n);
    Weight placed = place(r, &w);
    free_parts(&w);
    return placed;
}

// Products of float32 numbers by parts in bf16 (precision high and medium): errors of single elements against the sum
// of their terms, at sizes around the tiles and with every stored type of weight; infinities, NaN and numbers that bf16
// would round to infinity; one number of rows more or less changes no bit. Every op: test_kernels_ops,
// test_kernels_amx.
#include <float.h>
#include <math.h>

#include "opcheck.h"
#include "test.h"

extern const Kernels cpu_amx_high_emulated_kernels, cpu_amx_medium_emulated_kernels;

enum { MOST = 577 };

// A copy with the largest error of a product, relative to |a b|: medium rounds both operands, to 2^-8 each; high rounds
// their lower parts, to 2^-16 each, and leaves out the product of both.
typedef struct Copy {
    Backend b;
    double error;
} Copy;
static Copy copies[4];
static int n_copies;

static int open_copies(void **state) {
    (void)state;
    const struct {
        const Kernels *table;
        MatmulPrecision precision;
    } all[] = {{kernels_cpu(DTYPE_F32, PRECISION_HIGH, "avx512_bf16"), PRECISION_HIGH},
               {kernels_cpu(DTYPE_F32, PRECISION_MEDIUM, "avx512_bf16"), PRECISION_MEDIUM},
               {&cpu_amx_high_emulated_kernels, PRECISION_HIGH},
               {&cpu_amx_medium_emulated_kernels, PRECISION_MEDIUM}};
    for (int i = 0; i < 4; i++)
        if (all[i].table)
            copies[n_copies++] = (Copy){{.k = all[i].table, .threads = 2, .precision = all[i].precision},
                                        all[i].precision == PRECISION_HIGH ? 0x3p-16 : 0x1.02p-7};
    return 0;
}

// A product's memory: w [n, k] stored as `type`, and its values; x [t, k] or [t, n]; y.
typedef struct Case {
    Weight w;
    float *values, *x, *y;
    void *stored;
    int64_t t;
} Case;

static float noise(uint32_t i) { return (float)(int32_t)(i * 2654435761u ^ i << 7) * 0x1p-31f; }

static Case new_case(int64_t t, int64_t n, int64_t k, DType type) {
    size_t bytes, count = (size_t)(n * k);
    assert_true(dtype_bytes(type, (size_t)k, &bytes));
    Case c = {.t = t, .values = mem_alloc(count, sizeof(float)), .stored = mem_calloc((size_t)n, bytes)};
    float *scales = type == DTYPE_NF4 ? mem_alloc((size_t)n, sizeof *scales) : NULL;
    for (size_t i = 0; i < (size_t)n * bytes; i++) ((uint8_t *)c.stored)[i] = (uint8_t)(i * 2654435761u >> 21);
    for (int64_t i = 0; i < n && scales; i++) scales[i] = 1e-5f;
    if (type == DTYPE_F32)
        for (size_t i = 0; i < count; i++) ((float *)c.stored)[i] = noise((uint32_t)i + 99);
    c.w = (Weight){.name = "w",
                   .segments = {{.data = c.stored, .dtype = type, .rows = n, .row_scale = scales}},
                   .n_segments = 1,
                   .rows = n,
                   .cols = k};
    Backend ref = {.k = &kernels_ref, .threads = 1};
    ref.k->expand(&ref, mat_of(c.values, DTYPE_F32, n, k), &c.w, 0);
    int64_t widest = n > k ? n : k;
    c.x = mem_alloc((size_t)(t * widest), sizeof *c.x);
    c.y = mem_alloc((size_t)(t * widest), sizeof *c.y);
    for (int64_t i = 0; i < t * widest; i++) c.x[i] = noise((uint32_t)i) * 3;
    return c;
}

static void free_case(Case *c) {
    mem_free((void *)c->w.segments[0].row_scale);
    mem_free(c->stored);
    mem_free(c->values);
    mem_free(c->x);
    mem_free(c->y);
}

static void multiply(Backend *b, Case *c, bool backward) {
    int64_t n = c->w.rows, k = c->w.cols;
    size_t bytes = b->k->linear_workspace(b, &c->w, c->t);
    void *ws = b->k->alloc(b, bytes);
    Mat by_k = mat_of(backward ? c->y : c->x, DTYPE_F32, c->t, k),
        by_n = mat_of(backward ? c->x : c->y, DTYPE_F32, c->t, n);
    if (backward)
        b->k->linear_backward(b, by_k, by_n, &c->w, false, ws);
    else
        b->k->linear_forward(b, by_n, by_k, &c->w, (Mat){0}, ws);
    b->k->free(b, ws, bytes);
}

// Blocks of random bytes have infinite and NaN elements: rows and columns with one are not compared.
static void check_case(const Copy *copy, Case *c, bool backward) {
    Backend b = copy->b;
    int64_t inner = backward ? c->w.rows : c->w.cols, outer = backward ? c->w.cols : c->w.rows;
    multiply(&b, c, backward);
    for (int64_t t = 0; t<c->t; t += c->t> 40 ? 23 : 1)
        for (int64_t i = 0; i < outer; i++) {
            double sum = 0, size = 0, step = backward ? (double)c->w.cols : 1;
            const float *w = backward ? c->values + i : c->values + i * inner;
            for (int64_t j = 0; j < inner; j++) {
                double term = (double)c->x[t * inner + j] * (double)w[j * (int64_t)step];
                sum += term;
                size += fabs(term);
            }
            double got = (double)c->y[t * outer + i],
                   allowed = size * (copy->error + 0x1p-24 * (2 + sqrt((double)inner)));
            if (size < (double)FLT_MAX && !(fabs(got - sum) <= allowed + 0x1p-126 * (double)inner))
                fail_msg("%s, %s [%ld, %ld], %ld rows%s: element %ld of row %ld is %.9g, want %.9g within %.3g",
                         b.k->name, dtype_info(c->w.segments[0].dtype)->name, c->w.rows, c->w.cols, c->t,
                         backward ? ", backward" : "", i, t, got, sum, allowed);
        }
}

static void test_precision_bounds_of_sizes(void **state) {
    (void)state;
    static const int64_t sizes[] = {1, 15, 16, 17, 31, 33, 575, MOST};
    enum { N = sizeof sizes / sizeof *sizes };
    for (int i = 0; i < N * N; i++)
        for (int copy = 0; copy < n_copies; copy++) {
            Case c = new_case(i % 3 == 0 ? 9 : sizes[(i + i / N) % N], sizes[i / N], sizes[i % N], DTYPE_F32);
            check_case(&copies[copy], &c, false);
            check_case(&copies[copy], &c, true);
            free_case(&c);
        }
}

static void test_precision_bounds_of_types(void **state) {
    (void)state;
    for (DType type = DTYPE_F32; type <= DTYPE_NF4; type++)
        for (int copy = 0; copy < n_copies; copy++) {
            Case c = new_case(33, 65, 512, type);
            check_case(&copies[copy], &c, false);
            check_case(&copies[copy], &c, true);
            free_case(&c);
        }
}

// Each special number alone in a row of x, and in W: the result is what float32 gives.
static void test_precision_specials(void **state) {
    (void)state;
    static const float specials[] = {INFINITY,    -INFINITY,   NAN,   FLT_MAX,  -FLT_MAX,
                                     0x1.fep127f, 0x1.ffp127f, -0.0f, 0x1p-140f};
    enum { T = 20, N = 40, K = 70 };
    for (int copy = 0; copy < n_copies; copy++)
        for (size_t s = 0; s < sizeof specials / sizeof *specials; s++)
            for (int in_w = 0; in_w < 2; in_w++) {
                Backend b = copies[copy].b;
                Case c = new_case(T, N, K, DTYPE_F32);
                float *w = c.stored, factor = 0.25f; // FLT_MAX / 4: no overflow
                for (int i = 0; i < N * K; i++) w[i] = fabsf(w[i]) * factor * 0x1p-6f + 0x1p-9f;
                for (int i = 0; i < T * K; i++) c.x[i] = fabsf(c.x[i]) * factor * 0x1p-6f + 0x1p-9f;
                (in_w ? w : c.x)[3 * K + 5] = specials[s];
                multiply(&b, &c, false);
                for (int t = 0; t < T; t++)
                    for (int n = 0; n < N; n++) {
                        double sum = 0, got = (double)c.y[t * N + n];
                        for (int k = 0; k < K; k++) sum += (double)c.x[t * K + k] * (double)w[n * K + k];
                        bool same = isnan(sum)   ? isnan(got)
                                    : isinf(sum) ? got == sum
                                                 : fabs(got - sum) <= 0.01 * fabs(sum);
                        if (!same) fail_msg("%s, %g: got %g, want %g", b.k->name, (double)specials[s], got, sum);
                    }
                free_case(&c);
            }
}

// A row has the same bits in any call with more than 8 rows, and for any number of threads.
static void test_precision_rows_are_independent(void **state) {
    (void)state;
    for (int copy = 0; copy < n_copies; copy++) {
        Backend one = copies[copy].b, three = one;
        one.threads = 1;
        three.threads = 3;
        Case many = new_case(300, 97, 131, DTYPE_F32), few = new_case(11, 97, 131, DTYPE_F32);
        for (int backward = 0; backward < 2; backward++) {
            int64_t width = backward ? 131 : 97;
            memcpy(few.x, many.x, sizeof(float) * 11 * (size_t)(backward ? 97 : 131));
            multiply(&three, &many, backward);
            multiply(&one, &few, backward);
            assert_memory_equal(many.y, few.y, sizeof(float) * 11 * (size_t)width);
        }
        free_case(&many);
        free_case(&few);
    }
}

TEST_MAIN_WITH(open_copies, NULL, TEST(test_precision_bounds_of_sizes), TEST(test_precision_bounds_of_types),
               TEST(test_precision_specials), TEST(test_precision_rows_are_independent))

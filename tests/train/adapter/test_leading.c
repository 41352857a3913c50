// Leading singular values and QR against their definitions, and against values known beforehand.
#include "leading.h"

#include <math.h>
#include <string.h>

#include "rng.h"
#include "test.h"

enum { MOST = 96 };

typedef struct Case {
    float w[MOST * MOST];
    double u[MOST * MOST], s[MOST], v[MOST * MOST];
    Leading m;
} Case;

static Case *case_new(int64_t rows, int64_t cols, int64_t rank) {
    Case *c = mem_calloc(1, sizeof *c);
    c->m = (Leading){c->w, rows, cols, rank, 7};
    for (int64_t i = 0; i < rows * cols; i++) {
        uint32_t word[4];
        rng_philox((RngKey){.seed = (uint64_t)(rows * 100 + cols)}, (uint32_t)i, 0, word);
        c->w[i] = rng_symmetric(word[0]);
    }
    return c;
}

static double product(const double *x, const double *y, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

// Largest difference of the products of the rows of x and the unit matrix.
static double from_orthonormal(const double *x, int64_t rank, int64_t n) {
    double most = 0;
    for (int64_t i = 0; i < rank; i++)
        for (int64_t j = 0; j <= i; j++) most = fmax(most, fabs(product(x + i * n, x + j * n, n) - (double)(i == j)));
    return most;
}

// Largest number of W v - s u and W^T u - s v.
static double from_singular(const Case *c) {
    const Leading *m = &c->m;
    double most = 0;
    for (int64_t r = 0; r < m->rank; r++) {
        const double *u = c->u + r * m->rows, *v = c->v + r * m->cols;
        for (int64_t i = 0; i < m->rows; i++) {
            double sum = -c->s[r] * u[i];
            for (int64_t j = 0; j < m->cols; j++) sum += (double)c->w[i * m->cols + j] * v[j];
            most = fmax(most, fabs(sum));
        }
        for (int64_t j = 0; j < m->cols; j++) {
            double sum = -c->s[r] * v[j];
            for (int64_t i = 0; i < m->rows; i++) sum += (double)c->w[i * m->cols + j] * u[i];
            most = fmax(most, fabs(sum));
        }
    }
    return most;
}

static void check_svd(int64_t rows, int64_t cols, int64_t rank) {
    Case *c = case_new(rows, cols, rank), *all = case_new(rows, cols, min64(rows, cols));
    leading_svd(c->u, c->s, c->v, &c->m);
    leading_svd(all->u, all->s, all->v, &all->m);
    ASSERT_NEAR(from_orthonormal(c->u, rank, rows), 0, 1e-9);
    ASSERT_NEAR(from_orthonormal(c->v, rank, cols), 0, 1e-9);
    ASSERT_NEAR(from_singular(c), 0, 1e-8);
    double squares = 0, weights = 0;
    for (int64_t i = 0; i < all->m.rank; i++) {
        if (i < rank) ASSERT_NEAR(c->s[i], all->s[i], 1e-9);
        if (i) assert_true(all->s[i] <= all->s[i - 1] + 1e-12);
        squares += all->s[i] * all->s[i];
    }
    for (int64_t i = 0; i < rows * cols; i++) weights += (double)c->w[i] * (double)c->w[i];
    ASSERT_NEAR(squares, weights, 1e-9 * weights); // none is missing
    for (int64_t r = 0; r < rank; r++) {
        double most = 0;
        for (int64_t j = 0; j < cols; j++)
            if (fabs(c->v[r * cols + j]) > fabs(most)) most = c->v[r * cols + j];
        assert_true(most > 0);
    }
    mem_free(c);
    mem_free(all);
}

static void test_leading_svd_is_exact(void **state) {
    (void)state;
    check_svd(96, 96, 4);
    check_svd(96, 80, 1);
    check_svd(17, 90, 8);
    check_svd(5, 3, 3);
    check_svd(1, 8, 1);
}

// Of rank 2, of rank 0, and with one value four times.
static void test_leading_svd_of_few_values(void **state) {
    (void)state;
    Case *c = case_new(40, 30, 5);
    for (int64_t i = 2; i < 40; i++)
        for (int64_t j = 0; j < 30; j++) c->w[i * 30 + j] = c->w[i % 2 * 30 + j] * (float)i;
    leading_svd(c->u, c->s, c->v, &c->m);
    assert_true(c->s[1] > 1);
    ASSERT_NEAR(c->s[2], 0, 1e-6 * c->s[0]);
    memset(c->w, 0, sizeof c->w);
    leading_svd(c->u, c->s, c->v, &c->m);
    for (int i = 0; i < 5; i++) ASSERT_NEAR(c->s[i], 0, 0);
    for (int64_t i = 0; i < 4; i++) c->w[i * 30 + i] = 3;
    leading_svd(c->u, c->s, c->v, &c->m);
    for (int i = 0; i < 5; i++) ASSERT_NEAR(c->s[i], i < 4 ? 3 : 0, 1e-9);
    mem_free(c);
}

// Iterations bring it nearer to the exact one; the same seed gives the same bits.
static void test_leading_svd_random(void **state) {
    (void)state;
    Case *exact = case_new(90, 70, 6), *c = case_new(90, 70, 6), *again = case_new(90, 70, 6);
    const int64_t iterations[] = {0, 4, 1000};
    double before = 0;
    leading_svd(exact->u, exact->s, exact->v, &exact->m);
    for (int k = 0; k < 3; k++) {
        double squares = 0;
        leading_svd_random(c->u, c->s, c->v, &c->m, iterations[k]);
        leading_svd_random(again->u, again->s, again->v, &again->m, iterations[k]);
        assert_memory_equal(c->v, again->v, sizeof c->v);
        ASSERT_NEAR(from_orthonormal(c->u, 6, 90), 0, 1e-7);
        for (int i = 0; i < 6; i++) squares += c->s[i] * c->s[i];
        assert_true(squares > before);
        before = squares;
    }
    for (int i = 0; i < 6; i++) ASSERT_NEAR(c->s[i], exact->s[i], 1e-5);
    mem_free(exact);
    mem_free(c);
    mem_free(again);
}

static void test_leading_qr(void **state) {
    (void)state;
    Case *c = case_new(50, 60, 7);
    leading_qr(c->u, c->v, &c->m);
    ASSERT_NEAR(from_orthonormal(c->u, 7, 50), 0, 1e-12);
    for (int64_t i = 0; i < 50; i++) // the first columns of W are q r
        for (int64_t j = 0; j < 7; j++) {
            double sum = -(double)c->w[i * 60 + j];
            for (int64_t r = 0; r < 7; r++) sum += c->u[r * 50 + i] * c->v[r * 60 + j];
            ASSERT_NEAR(sum, 0, 1e-12);
        }
    for (int64_t i = 0; i < 7; i++)
        for (int64_t j = 0; j <= i; j++) assert_true(j < i ? fabs(c->v[i * 60 + j]) < 1e-12 : c->v[i * 60 + j] > 0);
    mem_free(c);
}

TEST_MAIN(TEST(test_leading_svd_is_exact), TEST(test_leading_svd_of_few_values), TEST(test_leading_svd_random),
          TEST(test_leading_qr))

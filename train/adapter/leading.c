#include "leading.h"

#include <math.h>
#include <string.h>

#include "base.h"
#include "rng.h"

// ---- vectors; sums in LANES parts, so that they vectorise in a fixed order ----

enum { LANES = 8 };

static double dot(const double *x, const double *y, int64_t n) {
    double sum[LANES] = {0}, all = 0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) sum[j] += x[i + j] * y[i + j];
    for (; i < n; i++) all += x[i] * y[i];
    for (int j = 0; j < LANES; j++) all += sum[j];
    return all;
}

static double dot_row(const float *w, const double *x, int64_t n) {
    double sum[LANES] = {0}, all = 0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) sum[j] += (double)w[i + j] * x[i + j];
    for (; i < n; i++) all += (double)w[i] * x[i];
    for (int j = 0; j < LANES; j++) all += sum[j];
    return all;
}

static void add_scaled(double *restrict y, const double *restrict x, double factor, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] += factor * x[i];
}

static void scale(double *x, double factor, int64_t n) {
    for (int64_t i = 0; i < n; i++) x[i] *= factor;
}

// y = W x; transposed: y = W^T x.
static void multiply(double *restrict y, const Leading *m, bool transposed, const double *x) {
    if (transposed) memset(y, 0, (size_t)m->cols * sizeof *y);
    for (int64_t i = 0; i < m->rows; i++) {
        const float *restrict w = m->w + i * m->cols;
        if (!transposed) {
            y[i] = dot_row(w, x, m->cols);
            continue;
        }
        for (int64_t j = 0; j < m->cols; j++) y[j] += (double)w[j] * x[i];
    }
}

// ---- orthonormal vectors: rows of a basis ----

static void draw(double *x, int64_t n, const Leading *m, int64_t number) {
    RngKey key = {.seed = m->seed, .module = rng_module("leading"), .row = (uint32_t)number};
    uint32_t word[4] = {0};
    for (int64_t i = 0; i < n; i++) {
        if (i % 4 == 0) rng_philox(key, (uint32_t)(i >> 16), (uint32_t)(i / 4 & 0xffff), word);
        x[i] = (double)rng_symmetric(word[i % 4]);
    }
}

// Removes from x its parts along the first `count` rows of the basis; twice, as once loses digits.
static void remove_parts(double *x, const double *basis, int64_t count, int64_t n) {
    for (int pass = 0; pass < 2; pass++)
        for (int64_t i = 0; i < count; i++) add_scaled(x, basis + i * n, -dot(x, basis + i * n, n), n);
}

// Row `count` of the basis becomes orthonormal to those before it; returns its length before. If nothing is left of it:
// returns 0, and it becomes a random vector.
static double orthonormalise(double *basis, int64_t count, int64_t n, const Leading *m) {
    double *x = basis + count * n, before = sqrt(dot(x, x, n));
    remove_parts(x, basis, count, n);
    double length = sqrt(dot(x, x, n)), result = length;
    for (int64_t tries = 0; !(length > 1e-12 * before); tries++) {
        result = 0;
        draw(x, n, m, 1 + count + (tries << 20));
        before = sqrt(dot(x, x, n)) * 1e6;
        remove_parts(x, basis, count, n);
        length = sqrt(dot(x, x, n));
    }
    scale(x, 1 / length, n);
    return result;
}

// ---- eigenvalues of a symmetric tridiagonal matrix ----

// One step of tridiagonal_eigen: rotations that carry the shift g from row `end` up to `first`.
static void rotate_up(double *d, double *e, double *z, int64_t k, int64_t first, int64_t end, double g) {
    double s = 1, c = 1, p = 0;
    for (int64_t i = end - 1; i >= first; i--) {
        double f = s * e[i], b = c * e[i], r = sqrt(f * f + g * g);
        e[i + 1] = r;
        if (r == 0) {
            d[i + 1] -= p;
            e[end] = 0;
            return;
        }
        s = f / r, c = g / r;
        g = d[i + 1] - p;
        double t = (d[i] - g) * s + 2 * c * b;
        p = s * t;
        d[i + 1] = g + p;
        g = c * t - b;
        double *restrict low = z + i * k, *restrict high = z + (i + 1) * k;
        for (int64_t j = 0; j < k; j++) {
            double x = high[j];
            high[j] = s * low[j] + c * x;
            low[j] = c * low[j] - s * x;
        }
    }
    d[first] -= p;
    e[first] = g;
    e[end] = 0;
}

// Implicit QL (Martin and Wilkinson 1968; EISPACK's imtql2): d [k], e [k - 1, and one more] become eigenvalues, rows of
// z [k, k] their vectors.
static void tridiagonal_eigen(double *d, double *e, double *z, int64_t k) {
    enum { TRIES = 100 }; // two are usual
    double most = 0;
    memset(z, 0, (size_t)(k * k) * sizeof *z);
    for (int64_t i = 0; i < k; i++) z[i * k + i] = 1;
    for (int64_t i = 0; i < k; i++) most = fmax(most, fabs(d[i]));
    e[k - 1] = 0;
    for (int64_t first = 0; first < k; first++)
        for (int tries = 0; tries < TRIES; tries++) {
            int64_t end = first;
            while (end < k - 1 && fabs(e[end]) > 0x1p-53 * (fabs(d[end]) + fabs(d[end + 1])) + 0x1p-80 * most) end++;
            if (end == first) break;
            double g = (d[first + 1] - d[first]) / (2 * e[first]), r = sqrt(g * g + 1);
            g = d[end] - d[first] + e[first] / (g + (g < 0 ? -r : r));
            rotate_up(d, e, z, k, first, end, g);
        }
}

// ---- bidiagonalisation: W v = u B, B upper bidiagonal with alpha on its diagonal and beta above it ----

typedef struct Bidiagonal {
    const Leading *m;
    bool swapped; // of W^T, so that `narrow` is the smaller side
    int64_t narrow, wide;
    int64_t steps, room;
    double *u, *v; // [room, wide], [room + 1, narrow]
    double *alpha, *beta;
} Bidiagonal;

static Bidiagonal bidiagonal_new(const Leading *m) {
    Bidiagonal b = {.m = m, .swapped = m->rows < m->cols};
    b.narrow = b.swapped ? m->rows : m->cols;
    b.wide = b.swapped ? m->cols : m->rows;
    return b;
}

static void bidiagonal_clear(Bidiagonal *b) {
    mem_free(b->u);
    mem_free(b->v);
    mem_free(b->alpha);
    mem_free(b->beta);
}

static void more_room(Bidiagonal *b, int64_t room) {
    b->u = mem_realloc(b->u, (size_t)(room * b->wide), sizeof *b->u);
    b->v = mem_realloc(b->v, (size_t)((room + 1) * b->narrow), sizeof *b->v);
    b->alpha = mem_realloc(b->alpha, (size_t)room, sizeof *b->alpha);
    b->beta = mem_realloc(b->beta, (size_t)room, sizeof *b->beta);
    b->room = room;
}

// Up to `steps` vectors on each side.
static void bidiagonalise(Bidiagonal *b, int64_t steps) {
    more_room(b, steps);
    if (b->steps == 0) {
        draw(b->v, b->narrow, b->m, 0);
        scale(b->v, 1 / sqrt(dot(b->v, b->v, b->narrow)), b->narrow);
    }
    for (; b->steps < steps; b->steps++) {
        int64_t i = b->steps;
        multiply(b->u + i * b->wide, b->m, b->swapped, b->v + i * b->narrow);
        b->alpha[i] = orthonormalise(b->u, i, b->wide, b->m);
        b->beta[i] = 0;
        if (i + 1 == b->narrow) continue; // v is complete
        multiply(b->v + (i + 1) * b->narrow, b->m, !b->swapped, b->u + i * b->wide);
        b->beta[i] = orthonormalise(b->v, i + 1, b->narrow, b->m);
    }
}

typedef struct Triplets { // of B
    double *s;            // [k] descending
    double *p, *q;        // [rank, k] left and right vectors
} Triplets;

static void triplets_clear(Triplets *t) {
    mem_free(t->s);
    mem_free(t->p);
    mem_free(t->q);
}

// Row i of B times x.
static double b_row(const Bidiagonal *b, const double *x, int64_t i) {
    return b->alpha[i] * x[i] + (i + 1 < b->steps ? b->beta[i] * x[i + 1] : 0);
}

// From the eigenvalues of B^T B.
static Triplets solve(const Bidiagonal *b) {
    int64_t k = b->steps, rank = b->m->rank;
    AUTO_FREE double *e = mem_alloc((size_t)k, sizeof *e), *z = mem_alloc((size_t)(k * k), sizeof *z);
    Triplets t = {mem_alloc((size_t)k, sizeof *t.s), mem_alloc((size_t)(rank * k), sizeof *t.p),
                  mem_alloc((size_t)(rank * k), sizeof *t.q)};
    for (int64_t i = 0; i < k; i++) {
        double above = i ? b->beta[i - 1] : 0;
        t.s[i] = b->alpha[i] * b->alpha[i] + above * above;
        e[i] = b->alpha[i] * b->beta[i];
    }
    tridiagonal_eigen(t.s, e, z, k);
    for (int64_t i = 0; i < rank; i++) {
        int64_t most = i;
        for (int64_t j = i; j < k; j++)
            if (t.s[j] > t.s[most]) most = j;
        double value = t.s[most];
        t.s[most] = t.s[i];
        memcpy(t.q + i * k, z + most * k, (size_t)k * sizeof *z);
        memcpy(z + most * k, z + i * k, (size_t)k * sizeof *z);
        double *p = t.p + i * k;
        for (int64_t j = 0; j < k; j++) p[j] = b_row(b, t.q + i * k, j);
        t.s[i] = sqrt(dot(p, p, k));
        scale(p, value > 0 && t.s[i] > 0 ? 1 / t.s[i] : 0, k);
    }
    return t;
}

// The rest of W^T u - v B^T is beta v' along the last u.
static bool is_exact(const Bidiagonal *b, const Triplets *t) {
    int64_t k = b->steps;
    for (int64_t i = 0; i < b->m->rank; i++)
        if (!(b->beta[k - 1] * fabs(t->p[i * k + k - 1]) <= 1e-10 * t->s[0])) return false;
    return true;
}

// out [rank, n] = vectors [rank, k] of the basis [k, n].
static void expand_vectors(double *out, const double *vectors, const double *basis, int64_t rank, int64_t k,
                           int64_t n) {
    memset(out, 0, (size_t)(rank * n) * sizeof *out);
    for (int64_t i = 0; i < rank; i++)
        for (int64_t j = 0; j < k; j++) add_scaled(out + i * n, basis + j * n, vectors[i * k + j], n);
}

static void fix_signs(double *u, double *v, const Leading *m) {
    for (int64_t i = 0; i < m->rank; i++) {
        const double *x = v + i * m->cols;
        int64_t most = 0;
        for (int64_t j = 0; j < m->cols; j++)
            if (fabs(x[j]) > fabs(x[most])) most = j;
        if (x[most] >= 0) continue;
        scale(v + i * m->cols, -1, m->cols);
        scale(u + i * m->rows, -1, m->rows);
    }
}

void leading_svd(double *u, double *s, double *v, const Leading *m) {
    AUTO_CALL(bidiagonal_clear) Bidiagonal b = bidiagonal_new(m);
    AUTO_CALL(triplets_clear) Triplets t = {0};
    for (int64_t steps = 2 * m->rank + 32;; steps += steps / 2) {
        bidiagonalise(&b, min64(steps, b.narrow));
        triplets_clear(&t);
        t = solve(&b);
        if (b.steps == b.narrow || is_exact(&b, &t)) break;
    }
    memcpy(s, t.s, (size_t)m->rank * sizeof *s);
    expand_vectors(b.swapped ? v : u, t.p, b.u, m->rank, b.steps, b.wide);
    expand_vectors(b.swapped ? u : v, t.q, b.v, m->rank, b.steps, b.narrow);
    fix_signs(u, v, m);
}

// ---- subspace iteration ----

// to [rank, rows of W, or of W^T if transposed] = an orthonormal basis of W (W^T) times `from`.
static void iterate(double *to, const double *from, const Leading *m, bool transposed) {
    int64_t n = transposed ? m->cols : m->rows, k = transposed ? m->rows : m->cols;
    for (int64_t i = 0; i < m->rank; i++) {
        multiply(to + i * n, m, transposed, from + i * k);
        orthonormalise(to, i, n, m);
    }
}

void leading_svd_random(double *u, double *s, double *v, const Leading *m, int64_t iterations) {
    int64_t r = m->rank;
    size_t small = (size_t)(r * r), row = (size_t)(r * m->cols);
    AUTO_FREE double *q = mem_alloc((size_t)(r * m->rows), sizeof *q), *x = mem_alloc(row, sizeof *x);
    AUTO_FREE double *p = mem_alloc(small, sizeof *p);
    AUTO_FREE float *b = mem_alloc(row, sizeof *b);
    for (int64_t i = 0; i < r; i++) draw(x + i * m->cols, m->cols, m, i);
    iterate(q, x, m, false);
    for (int64_t i = 0; i < iterations; i++) {
        iterate(x, q, m, true);
        iterate(q, x, m, false);
    }
    for (int64_t i = 0; i < r; i++) multiply(x + i * m->cols, m, true, q + i * m->rows);
    for (size_t i = 0; i < row; i++) b[i] = (float)x[i];
    leading_svd(p, s, v, &(Leading){b, r, m->cols, r, m->seed});
    expand_vectors(u, p, q, r, r, m->rows);
}

// ---- QR ----

void leading_qr(double *q, double *r, const Leading *m) {
    for (int64_t i = 0; i < m->rank; i++) {
        for (int64_t j = 0; j < m->rows; j++) q[i * m->rows + j] = (double)m->w[j * m->cols + i];
        orthonormalise(q, i, m->rows, m);
        multiply(r + i * m->cols, m, true, q + i * m->rows);
    }
}

// activation: glu, and the activation of a plain feed-forward.
//
// Each function is a struct with its value and derivative; kernels are made for each of them, so that the choice costs
// nothing per element. expf, erfcf and tanhf are the accurate ones: the ops wait for memory, not for arithmetic.
#include "rows.cuh"

typedef struct Activation {
    float y, dy;
} Activation;

// x * s(x), slope = ds/dx.
static __device__ inline Activation gated(float x, float s, float slope) { return {x * s, s + x * slope}; }

// s' = s (1 - s) of the logistic function.
struct Silu {
    static __device__ inline Activation at(float x) {
        float s = 1 / (1 + expf(-x));
        return gated(x, s, s * (1 - s));
    }
};

// (1 + tanh(v)) / 2 is the logistic function of u = 2v = 2 sqrt(2/pi) (x + 0.044715 x^3). Beyond +-FLAT it is 0 or 1,
// and the cube must not overflow.
struct GeluTanh {
    static __device__ inline Activation at(float x) {
        const float k = 1.5957691216f, a = 0.044715f, FLAT = 20;
        float clamped = x > FLAT ? FLAT : x; // a NaN stays one
        clamped = clamped < -FLAT ? -FLAT : clamped;
        float square = a * clamped * clamped, s = 1 / (1 + expf(-k * (clamped + square * clamped)));
        return gated(x, s, s * (1 - s) * (k * (1 + 3 * square)));
    }
};

// x Phi(x), Phi(x) = erfc(-x / sqrt(2)) / 2;  Phi'(x) = exp(-x^2 / 2) / sqrt(2 pi).
struct Gelu {
    static __device__ inline Activation at(float x) {
        return gated(x, 0.5f * erfcf(-0.70710678119f * x), 0.39894228040f * expf(-0.5f * x * x));
    }
};

struct Relu {
    static __device__ inline Activation at(float x) {
        return {x < 0 ? 0 : x, x > 0 ? 1 : x < 0 ? 0 : 0 * x}; // a NaN stays one
    }
};

// A gate beyond the limit is the limit, of slope 0.
struct Clamped {
    static __device__ inline Activation at(float x) {
        float g = x > GLU_CLAMP_LIMIT ? GLU_CLAMP_LIMIT : x, s = 1 / (1 + expf(-GLU_CLAMP_SLOPE * g));
        return {g * s, x > GLU_CLAMP_LIMIT ? 0 : s * (1 + GLU_CLAMP_SLOPE * g * (1 - s))};
    }
};

struct Linear {
    static __device__ inline Activation at(float x) { return {x, 1}; }
};

struct Tanh {
    static __device__ inline Activation at(float x) {
        float t = tanhf(x);
        return {t, 1 - t * t};
    }
};

// ---- glu ----

#define DISPATCH_GLU(kind, F, ...)                                                                                     \
    switch (kind) {                                                                                                    \
        DISPATCH_CASE(GLU_SILU, Silu, F, __VA_ARGS__)                                                                  \
        DISPATCH_CASE(GLU_GELU_TANH, GeluTanh, F, __VA_ARGS__)                                                         \
        DISPATCH_CASE(GLU_GELU, Gelu, F, __VA_ARGS__)                                                                  \
        DISPATCH_CASE(GLU_LINEAR, Linear, F, __VA_ARGS__)                                                              \
        DISPATCH_CASE(GLU_CLAMPED, Clamped, F, __VA_ARGS__)                                                            \
    }

// The other factor: `up` itself, or clamped.
template <class F> struct Factor {
    static __device__ inline Activation at(float x) { return {x, 1}; }
};
template <> struct Factor<Clamped> {
    static __device__ inline Activation at(float x) {
        const float limit = GLU_CLAMP_LIMIT;
        bool above = x > limit, below = x < -limit;
        return {(above ? limit : below ? -limit : x) + 1, above || below ? 0.0f : 1.0f};
    }
};

template <class F, class T, int N>
static __global__ void glu_forward(Rows<T> out, Rows<const T> gate, Rows<const T> up, uint32_t rows, uint32_t pieces) {
    Place p = place_of(rows, pieces, N);
    if (!p.inside) return;
    Piece<N> g = load_piece<N>(gate.at(p.row, p.col)), u = load_piece<N>(up.at(p.row, p.col));
#pragma unroll
    for (int i = 0; i < N; i++) g.at[i] = F::at(g.at[i]).y * Factor<F>::at(u.at[i]).y;
    store_piece<N>(out.at(p.row, p.col), g);
}

void cuda_glu_forward(Backend *b, Mat out, Mat gate, Mat up, GluKind kind) {
    bool fit = CHECK_ALIKE(b, gate, out, up);
    DISPATCH_PIECES(b->activation, fit, T, N,
                    DISPATCH_GLU(kind, F,
                                 RUN_EACH(b, (glu_forward<F, T, N>), gate.rows, gate.cols / N, rows_of<T>(out),
                                          rows_of<const T>(gate), rows_of<const T>(up))));
}

// dgate may be gate and dup may be up: a thread reads its piece of all three before it writes.
template <class F, class T, int N>
static __global__ void glu_backward(Rows<T> dgate, Rows<T> dup, Rows<const T> dout, Rows<const T> gate,
                                    Rows<const T> up, uint32_t rows, uint32_t pieces) {
    Place p = place_of(rows, pieces, N);
    if (!p.inside) return;
    Piece<N> g = load_piece<N>(gate.at(p.row, p.col)), u = load_piece<N>(up.at(p.row, p.col)),
             d = load_piece<N>(dout.at(p.row, p.col));
#pragma unroll
    for (int i = 0; i < N; i++) {
        Activation act = F::at(g.at[i]), other = Factor<F>::at(u.at[i]);
        g.at[i] = d.at[i] * other.y * act.dy;
        u.at[i] = d.at[i] * act.y * other.dy;
    }
    store_piece<N>(dgate.at(p.row, p.col), g);
    store_piece<N>(dup.at(p.row, p.col), u);
}

void cuda_glu_backward(Backend *b, Mat dgate, Mat dup, Mat dout, Mat gate, Mat up, GluKind kind) {
    bool fit = CHECK_ALIKE(b, gate, up, dgate, dup, dout);
    DISPATCH_PIECES(
        b->activation, fit, T, N,
        DISPATCH_GLU(kind, F,
                     RUN_EACH(b, (glu_backward<F, T, N>), gate.rows, gate.cols / N, rows_of<T>(dgate), rows_of<T>(dup),
                              rows_of<const T>(dout), rows_of<const T>(gate), rows_of<const T>(up))));
}

// ---- activation ----

#define DISPATCH_ACTIVATION(kind, F, ...)                                                                              \
    switch (kind) {                                                                                                    \
        DISPATCH_CASE(ACTIVATION_GELU_TANH, GeluTanh, F, __VA_ARGS__)                                                  \
        DISPATCH_CASE(ACTIVATION_GELU, Gelu, F, __VA_ARGS__)                                                           \
        DISPATCH_CASE(ACTIVATION_SILU, Silu, F, __VA_ARGS__)                                                           \
        DISPATCH_CASE(ACTIVATION_RELU, Relu, F, __VA_ARGS__)                                                           \
        DISPATCH_CASE(ACTIVATION_TANH, Tanh, F, __VA_ARGS__)                                                           \
    }

template <class F, class T, int N>
static __global__ void activation_forward(Rows<T> out, Rows<const T> x, uint32_t rows, uint32_t pieces) {
    Place p = place_of(rows, pieces, N);
    if (!p.inside) return;
    Piece<N> y = load_piece<N>(x.at(p.row, p.col));
#pragma unroll
    for (int i = 0; i < N; i++) y.at[i] = F::at(y.at[i]).y;
    store_piece<N>(out.at(p.row, p.col), y);
}

void cuda_activation_forward(Backend *b, Mat out, Mat x, ActivationKind kind) {
    bool fit = CHECK_ALIKE(b, x, out);
    DISPATCH_PIECES(b->activation, fit, T, N,
                    DISPATCH_ACTIVATION(kind, F,
                                        RUN_EACH(b, (activation_forward<F, T, N>), x.rows, x.cols / N, rows_of<T>(out),
                                                 rows_of<const T>(x))));
}

// dx may be dout or x.
template <class F, class T, int N>
static __global__ void activation_backward(Rows<T> dx, Rows<const T> dout, Rows<const T> x, uint32_t rows,
                                           uint32_t pieces) {
    Place p = place_of(rows, pieces, N);
    if (!p.inside) return;
    Piece<N> y = load_piece<N>(x.at(p.row, p.col)), d = load_piece<N>(dout.at(p.row, p.col));
#pragma unroll
    for (int i = 0; i < N; i++) d.at[i] *= F::at(y.at[i]).dy;
    store_piece<N>(dx.at(p.row, p.col), d);
}

void cuda_activation_backward(Backend *b, Mat dx, Mat dout, Mat x, ActivationKind kind) {
    bool fit = CHECK_ALIKE(b, x, dx, dout);
    DISPATCH_PIECES(b->activation, fit, T, N,
                    DISPATCH_ACTIVATION(kind, F,
                                        RUN_EACH(b, (activation_backward<F, T, N>), x.rows, x.cols / N, rows_of<T>(dx),
                                                 rows_of<const T>(dout), rows_of<const T>(x))));
}

// opcases_activation: glu, activation and soft-cap.
//
// Tolerances, relative to the output's root mean square. EXP: a handful of float32 roundings (2^-24 each), on top of an
// exponential, tanh or normal distribution that is good to a few units in the last place.
#include "opcheck.h"

static const double EXP = 2e-6;

static void case_glu_forward(OpRun *r) {
    Mat gate = op_input(r, r->size.t, r->size.n), up = op_input(r, r->size.t, r->size.n);
    OP_CALL(r, glu_forward, op_output(r, "out", r->size.t, r->size.n, EXP), gate, up, r->size.glu);
}

static void case_glu_backward(OpRun *r) {
    Mat gate = op_input(r, r->size.t, r->size.n), up = op_input(r, r->size.t, r->size.n);
    Mat dout = op_input(r, r->size.t, r->size.n);
    Mat dgate = op_output(r, "dgate", r->size.t, r->size.n, EXP), dup = op_output(r, "dup", r->size.t, r->size.n, EXP);
    OP_CALL(r, glu_backward, dgate, dup, dout, gate, up, r->size.glu);
}

// As the tape calls it: dgate written over gate, dup over up.
static void case_glu_backward_in_place(OpRun *r) {
    Mat gate = op_inout(r, "gate", r->size.t, r->size.n, EXP), up = op_inout(r, "up", r->size.t, r->size.n, EXP);
    OP_CALL(r, glu_backward, gate, up, op_input(r, r->size.t, r->size.n), gate, up, r->size.glu);
}

// Arguments of large magnitude, where exponentials and cubes overflow. One value per run (size.t counts them), because
// the tolerance is relative to the whole output.
static const float far_out[] = {0,   -0.0f, 1e-30f, -1e-30f, 1e-3f, -1e-3f, 5,     -5,     19,    -19,
                                -30, 88,    -80,    104,     1e4f,  -1e4f,  1e15f, -1e15f, 1e30f, -1e30f};

static void case_glu_extremes(OpRun *r) {
    const float one = 1;
    Mat gate = op_values(r, far_out + r->size.t, 1, 1), up = op_values(r, &one, 1, 1), dout = op_values(r, &one, 1, 1);
    // Far in the tail the relative error of a logistic s grows with |x|, and 1 - s cancels; 1e-5 allows for both.
    Mat out = op_output(r, "out", 1, 1, 1e-5), dgate = op_output(r, "dgate", 1, 1, 1e-5);
    Mat dup = op_output(r, "dup", 1, 1, 1e-5);
    OP_CALL(r, glu_forward, out, gate, up, r->size.glu);
    OP_CALL(r, glu_backward, dgate, dup, dout, gate, up, r->size.glu);
}

static void case_activation_forward(OpRun *r) {
    Mat x = op_input(r, r->size.t, r->size.n), out = op_output(r, "out", r->size.t, r->size.n, EXP);
    OP_CALL(r, activation_forward, out, x, r->size.activation);
}

static void case_activation_backward(OpRun *r) {
    Mat x = op_input(r, r->size.t, r->size.n), dout = op_input(r, r->size.t, r->size.n);
    OP_CALL(r, activation_backward, op_output(r, "dx", r->size.t, r->size.n, EXP), dout, x, r->size.activation);
}

// As the tape calls it: dx written over dout.
static void case_activation_backward_in_place(OpRun *r) {
    Mat x = op_input(r, r->size.t, r->size.n), dx = op_inout(r, "dx", r->size.t, r->size.n, EXP);
    OP_CALL(r, activation_backward, dx, dx, x, r->size.activation);
}

static void case_activation_extremes(OpRun *r) {
    const float one = 1;
    Mat x = op_values(r, far_out + r->size.t, 1, 1), dout = op_values(r, &one, 1, 1);
    Mat out = op_output(r, "out", 1, 1, 1e-5), dx = op_output(r, "dx", 1, 1, 1e-5);
    // For large |x| tanh's derivative is 1 - 1: its error is a rounding of 1, not relative to itself.
    if (r->size.activation == ACTIVATION_TANH) r->outputs[1].floor = 1;
    OP_CALL(r, activation_forward, out, x, r->size.activation);
    OP_CALL(r, activation_backward, dx, dout, x, r->size.activation);
}

static void case_softcap(OpRun *r) {
    OP_CALL(r, softcap, op_inout_f32(r, "x", r->size.t, r->size.n, EXP), r->size.softcap);
}

// ---- sizes ----

#define EVERY_GLU(...)                                                                                                 \
    {.glu = GLU_SILU, __VA_ARGS__}, {.glu = GLU_GELU_TANH, __VA_ARGS__}, {.glu = GLU_GELU, __VA_ARGS__},               \
        {.glu = GLU_CLAMPED, __VA_ARGS__}, {                                                                           \
        .glu = GLU_LINEAR, __VA_ARGS__                                                                                 \
    }
#define EVERY_ACTIVATION(...)                                                                                          \
    {.activation = ACTIVATION_GELU_TANH, __VA_ARGS__}, {.activation = ACTIVATION_GELU, __VA_ARGS__},                   \
        {.activation = ACTIVATION_SILU, __VA_ARGS__}, {.activation = ACTIVATION_RELU, __VA_ARGS__}, {                  \
        .activation = ACTIVATION_TANH, __VA_ARGS__                                                                     \
    }
#define FAR_OUT(EVERY)                                                                                                 \
    EVERY(.t = 0), EVERY(.t = 1), EVERY(.t = 2), EVERY(.t = 3), EVERY(.t = 4), EVERY(.t = 5), EVERY(.t = 6),           \
        EVERY(.t = 7), EVERY(.t = 8), EVERY(.t = 9), EVERY(.t = 10), EVERY(.t = 11), EVERY(.t = 12), EVERY(.t = 13),   \
        EVERY(.t = 14), EVERY(.t = 15), EVERY(.t = 16), EVERY(.t = 17), EVERY(.t = 18), EVERY(.t = 19)

static const OpSize gates[] = {
    EVERY_GLU(.t = 1, .n = 1536), EVERY_GLU(.t = 3, .n = 100), EVERY_GLU(.t = 127, .n = 577),
    EVERY_GLU(.t = 1, .n = 1),    {.t = 513, .n = 100},
};
static const OpSize activations[] = {
    EVERY_ACTIVATION(.t = 1, .n = 1536),
    EVERY_ACTIVATION(.t = 3, .n = 100),
    EVERY_ACTIVATION(.t = 127, .n = 577),
    EVERY_ACTIVATION(.t = 1, .n = 3),
};
static const OpSize gate_extremes[] = {FAR_OUT(EVERY_GLU)};
static const OpSize activation_extremes[] = {FAR_OUT(EVERY_ACTIVATION)};
static const OpSize caps[] = {
    {.t = 1, .n = 49153, .softcap = 30}, {.t = 3, .n = 100, .softcap = 1}, {.t = 127, .n = 101, .softcap = 0.3f}};

const OpCase op_cases_activation[] = {
    OP_CASE(glu_forward, gates),
    OP_CASE(glu_backward, gates),
    OP_CASE(glu_backward_in_place, gates),
    OP_CASE(glu_extremes, gate_extremes),
    OP_CASE(activation_forward, activations),
    OP_CASE(activation_backward, activations),
    OP_CASE(activation_backward_in_place, activations),
    OP_CASE(activation_extremes, activation_extremes),
    OP_CASE(softcap, caps),
    {0},
};

// tape: the structs of a tape. Private to autograd/: tape.c records and runs, together.c runs several, plan.c places,
// offload.c adds transfers, stages.c the weights' stages, cost.c estimates, ops*.c define the ops.
#pragma once

#include "autograd.h"
#include "region.h"

typedef struct Node Node;
typedef struct Op Op;

enum { NODE_MAX_INPUTS = TAPE_MAX_STACKED, NODE_MAX_OUTPUTS = 2 };
_Static_assert((int)NODE_MAX_INPUTS >= (int)NODE_MAX_OUTPUTS, "an instruction's buffers hold either");
enum { NO_BUFFER = -1, NO_SEGMENT = -1, NO_NODE = -1, NOT_WAITING = -1 };

struct Tensor {
    int64_t rows, cols;
    DType dtype;
    size_t bytes;
    int producer;   // node that writes it; NO_NODE: external
    int output;     // which output of the producer it is
    void *external; // memory outside the arena, NULL otherwise
    bool needs_grad;
    bool offload; // tape_offload
    // a view of `whole`, from `row` and `column` on (op_columns, op_rows); NULL: no view
    Tensor *whole;
    int64_t row, column;
    bool overwritten;       // a view that an op in place has taken over
    bool part_needs_grad;   // of a whole: only views' columns that need a gradient get one
    int64_t needs_elements; // of a whole: how many elements its views with a gradient have
    // running: where it is now
    void *data, *grad;
    // planning: buffer ids of the current version, NO_BUFFER while there is none
    int buffer, grad_buffer; // of a view: the whole's
    int64_t graded_elements; // of a whole: those whose gradient is written, by views
    bool keep, visited;
    int waiting;       // index among the offloaded tensors, or NOT_WAITING
    int last_reader;   // in forward
    bool arrived;      // reloaded
    size_t host_place; // offset in the tape's host memory
};

// Where a node's parameters live; one member per op, filled by its builder in ops*.c.
typedef union NodeArgs {
    struct {
        const Weight *w;
        const int32_t *ids;
        float scale;
    } embed;
    struct {
        const float *magnitude;
        float alpha;
        TokenKeys keys;
    } neftune;
    struct {
        const float *weight, *bias;
        float eps;
    } norm;
    struct {
        const Weight *w;
        Lora loras[LORA_MAX_PAIRS];
        int n_loras;
        bool residual; // in[1] is added
    } linear;
    struct {
        const Weight *w;
        float *dw, *dbias;
    } dense;
    struct {
        const float *bias;
        Lora loras[LORA_MAX_PAIRS];
    } dora;
    struct {
        RopeTable table;
        int64_t cols;
    } rope;
    AttentionShape attention;
    ShortConv conv;
    GluKind glu;
    ActivationKind activation;
    const int32_t *index; // of rows: gather_rows, cache_write
    struct {
        MoeRouting routing;
        const Weight *experts;
        Lora lora; // rank 0: none
        const float *bias;
        MoeScores scores;
    } moe;
    struct {
        const Weight *w;
        HeadLoss loss;
        PreferenceLoss preference;
        HeadResult *result;
    } head;
    struct {
        ClassHead head;
        HeadResult *result;
    } classes;
    Boundary boundary;
    struct {
        const int32_t *start;
        Mat vectors;
    } pool;
    struct {
        const Weight *w;
        Mat out;
        float softcap;
    } logits;
    struct {
        const Weight *w;
        TopLogits top;
    } top_logits;
} NodeArgs;

struct Node {
    const Op *op;
    Tensor *in[NODE_MAX_INPUTS];
    Tensor *out[NODE_MAX_OUTPUTS]; // out[0]: the result; the others are saved for backward
    int n_in, n_out;
    int segment;                  // checkpointed range, NO_SEGMENT outside
    int stage;                    // whose matrices it reads, or TAPE_NO_STAGE
    bool trainable;               // writes parameter gradients itself
    unsigned passes_grad;         // bit i: the gradient of in[i] is dout or overwrites it (in-place backward)
    unsigned reads_in, reads_out; // bit i: backward reads in[i] / out[i]
    NodeArgs args;
    double parameter_bytes; // that one run reads, for estimates (cost.c); 0: negligible
};

// Arguments of an op's functions while running.
typedef struct Exec {
    Backend *backend;
    void *ws;            // workspace of this instruction
    unsigned accumulate; // backward, bit i: the gradient of in[i] exists already and is added to
    bool training;       // a backward pass follows
} Exec;

struct Op {
    TapeOp id;
    void (*forward)(const Node *n, const Exec *x);
    void (*backward)(const Node *n, const Exec *x);                // NULL: no gradient passes
    size_t (*workspace)(const Node *n, Backend *b, bool backward); // NULL: none
    double (*flops)(const Node *n, bool backward);                 // NULL: no matrix product with a parameter
    double (*inner_flops)(const Node *n, bool backward);           // of products of activations, for cost.c; NULL: none
    bool view;                                                     // out[0] is a part of in[0]: nothing runs
    bool in_place; // out[0] takes over the memory of in[0]; din overwrites dout
    // The gradients of the inputs overwrite the inputs, of which this op is the only reader.
    bool grads_over_inputs;
    bool cheap;         // out[0] is recomputed rather than kept
    bool reads_weights; // of a layer: matrices and their biases
    // Forward has written the gradient of in[0] into out[0] already (the head), and adds parameter gradients: no
    // backward runs, and no checkpointed range may hold the op.
    bool makes_grad;
};

// Buffer.place: byte offset in the kept region of the arena or, with this bit, in the temporary one.
#define PLACE_TEMPORARY ((size_t)1 << 62)
#define PLACE_NONE ((size_t)-1)
// One step of the run.
typedef enum {
    INSTRUCTION_RUN,
    INSTRUCTION_OFFLOAD,
    INSTRUCTION_RELOAD,
    INSTRUCTION_SETTLE,
    INSTRUCTION_STAGE
} InstructionKind;
typedef struct Instruction {
    InstructionKind kind;
    Tensor *moved;                     // of transfers; its memory on the device is buffers[0]
    int last_stage, stage, next_stage; // of INSTRUCTION_STAGE
    int node;
    bool backward;
    unsigned accumulate;
    int buffers[NODE_MAX_INPUTS]; // forward: outputs; backward: the inputs' gradients; NO_BUFFER: unchanged
    int ws_buffer;
} Instruction;

typedef struct Buffer {
    size_t bytes, place;
    int first, last; // instructions between which it is alive
    int next_ending; // chain of buffers with the same `last`
    bool keep;
} Buffer;

enum { TENSORS_PER_CHUNK = 256 };
struct Tape {
    Backend *backend;
    Node *nodes;
    size_t n_nodes, node_capacity;
    Tensor **chunks; // Tensor pointers must stay valid while the tape grows
    size_t n_tensors, n_chunks, chunk_capacity;
    int segment, n_segments;
    const TapeStages *stages; // NULL: none
    int stage;                // of the nodes being built; while planning of the instruction being added
    // the plan
    TapeMode mode;
    size_t turn; // the instruction that reads the gradient of op_send; SIZE_MAX: none
    Instruction *instructions;
    size_t n_instructions, instruction_capacity;
    Buffer *buffers;
    size_t n_buffers, buffer_capacity;
    int *ending; // [instructions] first buffer that ends there
    size_t ending_capacity;
    Region *regions[2]; // kept, temporary
    TapeStats stats;
    // offloaded tensors, in order
    Tensor **waiting, *leaving;
    size_t n_waiting, n_left, waiting_capacity;
    char *host;
    size_t host_bytes;
    char *temporary;       // of the run: the arena's second part
    bool shares_workspace; // tape_share_workspace
    size_t most_workspace; // then: of any instruction
};

static inline Tensor *tape_tensor_at(const Tape *t, size_t i) {
    return &t->chunks[i / TENSORS_PER_CHUNK][i % TENSORS_PER_CHUNK];
}
// Appends a node with its inputs; outputs follow with node_output. The pointer is valid until the next node_add.
Node *node_add(Tape *t, const Op *op, Tensor *a, Tensor *b, Tensor *c);
Tensor *node_output(Tape *t, Node *n, int64_t rows, int64_t cols);                 // in the type of activations
Tensor *node_output_as(Tape *t, Node *n, int64_t rows, int64_t cols, DType dtype); // statistics and plans

void tensor_check_same_shape(const Tensor *a, const Tensor *b, const char *op);

// plan.c: the plan under construction. An instruction is counted (t->n_instructions++) when its buffers are known.
Instruction *instruction_add(Tape *t, InstructionKind kind, int node, bool backward);
int buffer_new(Tape *t, size_t bytes, bool keep);
void buffer_touch(Tape *t, int buffer); // the next instruction uses it

// tape.c: running. tape_begin: before the first instruction. tape_bind: sets where the op of an instruction finds its
// tensors; ws: NULL, or the workspace of all tapes.
void tape_begin(Tape *t, void *arena);
Exec tape_bind(Tape *t, const Instruction *in, char *arena, void *ws);
void tape_run_instruction(Tape *t, const Instruction *in, char *arena, void *ws);

// ops.c: a linear in parts: the product with its frozen weight, and what follows it.
extern const Op *const tape_linear;
LinearCall linear_rows(const Node *n);
void linear_forward_rest(const Node *n, const Exec *x);
LinearCall linear_grads(const Node *n, const Exec *x); // out.data NULL: no product
void linear_backward_rest(const Node *n, const Exec *x);

// stages.c
void stages_plan(Tape *t);             // before the first instruction
void stages_before(Tape *t, int node); // before the instruction of a node
void stages_end(Tape *t);              // after the last one
void stages_run(const Tape *t, const Instruction *in);

double cost_weight_bytes(const Tape *t, const Weight *w);       // cost.c
static inline double cost_product(const Tensor *x, int64_t n) { // flops of x times a matrix with n columns
    return 2 * (double)x->rows * (double)x->cols * (double)n;
}

// offload.c
void offload_plan(Tape *t);              // after keep_for_backward
void offload_after(Tape *t, int node);   // after a node's forward
void offload_turn(Tape *t);              // between forward and backward
void offload_arrive(Tape *t, Tensor *x); // before x is read in backward
void offload_reserve(Tape *t);           // host memory for the plan's offloads
void offload_run(Tape *t, const Instruction *in, void *device);

// x, or the tensor that x is a view of.
static inline Tensor *tensor_whole(Tensor *x) { return x->whole ? x->whole : x; }

// x as a matrix in the memory of the whole.
static inline Mat tensor_mat_in(const Tensor *x, void *memory) {
    if (!x->whole || !memory) return mat_of(memory, x->dtype, x->rows, x->cols);
    int64_t first = x->row * x->whole->cols + x->column;
    Mat m = mat_of((char *)memory + first * dtype_info(x->dtype)->bytes, x->dtype, x->rows, x->cols);
    m.stride = x->whole->cols;
    return m;
}
static inline Mat tensor_mat(const Tensor *x) { return tensor_mat_in(x, x->whole ? x->whole->data : x->data); }
static inline Mat tensor_grad(const Tensor *x) {
    return tensor_mat_in(x, !x->needs_grad ? NULL : x->whole ? x->whole->grad : x->grad);
}

// ---- for the functions of an op ----

// slot(backend, ...) of the backend that runs.
#define CALL(exec, slot, ...) (exec)->backend->k->slot((exec)->backend, __VA_ARGS__)

static inline Mat mat_in(const Node *n, int i) { return tensor_mat(n->in[i]); }
static inline Mat mat_out(const Node *n, int i) { return tensor_mat(n->out[i]); }
static inline Mat grad_in(const Node *n, int i) { return tensor_grad(n->in[i]); }
static inline Mat grad_out(const Node *n) { return tensor_grad(n->out[0]); }

// sizes: memory layouts of the CUDA backend, without CUDA: the backend allocates by them, and `plan` estimates with
// them for a GPU that this machine need not have (planned.h).
#pragma once

#include "host.h"

C_BEGIN

enum {
    CUDA_OLDEST_CAPABILITY = 80, // bf16 and asynchronous copies to shared memory
    CUDA_FP8_CAPABILITY = 89,
};

static inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static inline size_t cuda_align(size_t bytes) { return (bytes + 255) & ~(size_t)255; }
// Bytes of an element of a type of activations.
static inline size_t cuda_element(DType type) { return type == DTYPE_F32 ? 4 : 2; }

static inline bool cuda_is_dense(DType type) { return type <= DTYPE_BF16; }

// Allocated for the backend's lifetime; the first member of the state of every backend with these sizes.
typedef struct CudaScratch {
    size_t workspace_bytes; // of cuBLASLt
    size_t expanded_bytes;  // of each of the two tiles of quantised weights
    size_t cudnn_bytes;     // cuDNN's attention may use at most this: cuda_cudnn_space
    int capability;         // 90 for 9.0
    size_t recorded_bytes;  // that recorded passes may take, which CUDA allocates
} CudaScratch;
CudaScratch cuda_scratch(int capability, size_t memory);

// A placed weight, each part 256-byte aligned: the segments, each followed by its scales, then the bias. Consecutive
// dense segments become one part.
typedef struct PlacedPart {
    DType type; // on the device
    int64_t rows;
    int first, last;           // segments of the file that it holds
    size_t data, scale, bytes; // offsets in the memory of the weight; bytes of the data
    size_t zero, of_column;    // of a type with scales by groups
} PlacedPart;
typedef struct PlacedWeight {
    PlacedPart part[WEIGHT_MAX_SEGMENTS];
    int n;
    size_t bias, bytes;
} PlacedWeight;
PlacedWeight cuda_placed(DType activation, const Weight *w, bool fp8);
size_t cuda_row_bytes(const Weight *w, DType type); // of a row of W as `type`

// Whether W may become F8_E4M3: dense, rows and columns multiples of 16.
bool cuda_fp8_fits(const Weight *w);
// For x [t, K] or dout [t, N]; 0: W is of another type.
size_t cuda_fp8_workspace(const Weight *w, int64_t t);

// Offsets in the workspace of a LoRA's pairs; R: the sum of their ranks. a, b: rounded to the activation type; if that
// is float32, b is not there, and a only of several pairs.
typedef struct LoraSizes {
    size_t a, b[LORA_MAX_PAIRS]; // [R, K], [rows, rank] of each
    size_t dxa;                  // [T, R]
    size_t da;                   // of several pairs without dropout: [R, K] float32
    size_t dropped;              // [T, K], where there is dropout: drop(x), then the gradient before dropout's backward
    size_t bytes;
} LoraSizes;
LoraSizes cuda_lora_sizes(DType activation, const Lora *l, int64_t t, int64_t k);

// Rows of W that dora_norm expands at a time.
int64_t cuda_dora_panel(const Weight *w);

typedef struct RowLoss { // of a scored row
    double loss;
    int64_t correct; // 1: the arg max is the target
    double parts[SOFT_SUMS];
} RowLoss;

// The head's workspace: the loss of each row, logits of a chunk of rows (of this type), those of their soft targets,
// then the products' workspace.
typedef struct HeadSizes {
    int64_t chunk;  // rows
    int64_t stride; // of the logits
    size_t rows, logits, kept, products;
} HeadSizes;
HeadSizes cuda_head_sizes(Backend *b, const Weight *w, const HeadLoss *h, DType type, int64_t m);
bool cuda_head_in_tiles(const Weight *w); // a quantised head, whose dx is added up in float32

// ---- attention (attention_sizes.c) ----

// The matrices of attention as cuDNN takes them: rows of queries, of keys (K, V, DK, DV), and LSE [rows, H] float32.
// Forward has those up to CUDNN_LSE.
// clang-format off
typedef enum CudnnMat {
    CUDNN_Q, CUDNN_K, CUDNN_V, CUDNN_OUT, CUDNN_LSE, CUDNN_DOUT, CUDNN_DQ, CUDNN_DK, CUDNN_DV, CUDNN_MATS
} CudnnMat;
// clang-format on

// Bytes of dS, the gradients of all scores, up to which cuDNN's deterministic backward pass stores it on Hopper.
// Beyond, cuDNN sums dQ in order, in memory that is linear in the tokens.
enum { CUDNN_DS_BYTES = 256 << 20 };

// The workspace of a call that cuDNN computes, as offsets, the same for every version of cuDNN: a plan that needs more
// than `own` is not used. So `plan` and `train` agree, and no plan is built to learn its size.
typedef struct CudnnSpace {
    size_t own;                             // cuDNN's, from offset 0 on
    size_t offset[CUDNN_MATS];              // [samples + 1] int64: elements before each sample
    size_t length;                          // [samples] int32
    size_t gradient[CUDNN_MATS - CUDNN_DQ]; // dq, dk, dv, contiguous
    size_t bytes;
} CudnnSpace;
// False: the own kernels compute such calls.
bool cuda_cudnn_space(CudnnSpace *space, const Backend *b, const AttentionShape *s, Mat q, Mat k, bool backward);
// Whether cuDNN computes any attention on this kind of device; why not, as a text; NULL: it does.
const char *cuda_cudnn_refusal(DType activation, int capability);
size_t cuda_attention_delta_bytes(const AttentionShape *s, Mat q); // of the own kernels' backward

// The slots of the same names.
SLOT_TYPE(weight_bytes) cuda_weight_bytes;
SLOT_TYPE(weight_keep) cuda_weight_keep;
SLOT_TYPE(linear_workspace) cuda_linear_workspace;
SLOT_TYPE(lora_workspace) cuda_lora_workspace;
SLOT_TYPE(dora_workspace) cuda_dora_workspace;
SLOT_TYPE(attention_workspace) cuda_attention_workspace;
SLOT_TYPE(grouped_linear_workspace) cuda_grouped_linear_workspace;
SLOT_TYPE(head_loss_workspace) cuda_head_loss_workspace;
SLOT_TYPE(preference_loss_workspace) cuda_preference_loss_workspace;
SLOT_TYPE(embedding_loss_workspace) cuda_embedding_loss_workspace;
SLOT_TYPE(class_loss_workspace) cuda_class_loss_workspace;

C_END

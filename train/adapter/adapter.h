// adapter: the trainable LoRA parameters, one flat float32 buffer of named segments, and the same for gradients.
//
// DoRA adds a magnitude for each row of B.
//
// A module is one linear as Hugging Face stores it (architecture.h). Each trained module has one A and one B; of a
// fused module (GPT-2's c_attn, Phi-3's qkv_proj) the chosen parts share A, and B has their rows in order.
// Files hold the whole module: rows of parts that are not trained are zero there. Canonical order: layer by layer,
// module by module, A, B, magnitudes, Hugging Face row order; last the layers of a classifier's head, which
// are trained whole (no low rank, no scaling). Files of this header: adapter.c (parameters), adapter_head.c (a
// classifier's head), adapter_dora.c (norms of DoRA), adapter_start.c (A and B
// that begin as a part of W), adapter_peft.c and adapter_gguf.c (file formats; llama.cpp's q/k
// row order exists only in the latter), adapter_own.c (which files may be replaced), adapter_siblings.c.
#pragma once

#include "adapter_config.h"
#include "labels.h"
#include "overwrite.h"

typedef enum { SEGMENT_A, SEGMENT_B, SEGMENT_MAGNITUDE, SEGMENT_HEAD_WEIGHT, SEGMENT_HEAD_BIAS } SegmentKind;

typedef struct AdapterSegment { // one matrix
    SegmentKind kind;
    int64_t layer;  // -1: a head, module NULL
    int64_t expert; // of routed experts: which; else 0
    const Module *module;
    uint32_t parts;     // of the module: those that are trained
    int64_t rows, cols; // A [r, in], B [rows of the parts, r], magnitude [these rows, 1], head [labels, hidden],
                        // the layer before it [hidden, hidden], a bias [rows, 1]
    float alpha, scale; // of A and B: y += scale B A x
    int64_t offset;     // elements from the start of the flat buffer
    int64_t norm;       // of a magnitude: elements from the start of Adapter.norms
    const char *name;   // as PEFT writes it: "base_model.model.model.layers.3.self_attn.q_proj.lora_A.weight"
} AdapterSegment;

typedef struct Adapter {
    AdapterConfig config;
    const ModelConfig *model; // of its model, which must outlive it
    Backend *backend;
    AdapterSegment *segments;
    int64_t n_segments;
    int64_t count;  // elements of the flat buffer
    float *params;  // [count] device memory
    float *grad;    // [count] device memory, or NULL (inference)
    float *start;   // [count] device memory: A and B as they began, which W is without (adapter_start.c); or NULL
    int64_t *index; // [layers * PROJ_COUNT] segment of A, or -1; then B, then the magnitude
    // DoRA: the lengths of the rows of W + scale B A (adapter_update_norms); else NULL
    const Model *base;
    float *norms; // [n_norms] device memory
    int64_t n_norms;
    void *norm_ws;
    size_t norm_ws_bytes;
    char *chat_template; // that it was trained with; NULL: the model's own
    // of a classifier:
    Weight class_head, class_dense; // its head in params, and the layer before it (0 rows: none is trained)
    LabelList labels;               // names of the classes
} Adapter;

// A classifier's head; bias NULL: it has none. dense NULL: no layer before it is trained.
typedef struct AdapterHead {
    const AdapterSegment *weight, *bias, *dense, *dense_bias;
} AdapterHead;
// Programs that generate text load it; else it has the PEFT form alone.
static inline bool adapter_generates(const Adapter *a) {
    return !a->config.labels && !a->config.embedding && !a->model->arch->encoder;
}
static inline bool adapter_has_gguf(const Adapter *a) {
    return adapter_generates(a) && !a->config.dora && a->model->arch->gguf;
}
AdapterHead adapter_head(const Adapter *a);             // of an adapter with labels
void adapter_print_head(StrBuf *out, const Adapter *a); // "a classifier of 3 classes", "a head of 1 number"
// Copies the names of the config.labels classes. For messages, evaluation and labels.json.
void adapter_name_labels(Adapter *a, const LabelList *labels);

// Text of a .jinja file, saved with the adapter as chat_template.jinja; NULL: the model's own.
void adapter_set_chat_template(Adapter *a, const char *text);

// A copy of all parameters in host memory; the caller frees.
float *adapter_download(const Adapter *a);
float *adapter_download_norms(const Adapter *a); // NULL: it has none
// Parameters, or an array of the same layout (moments), in host memory: `x` itself if the device is the host, else
// *copy, which the caller frees (NULL: none).
const float *adapter_on_host(const Adapter *a, const float *x, float **copy);

// A and B of one projection, and its magnitude; NULL: none.
typedef struct AdapterPair {
    const AdapterSegment *a, *b, *magnitude;
    int64_t b_offset, rows;                // elements from the start of the flat buffer; rows of B
    int64_t magnitude_offset, norm_offset; // the former as b_offset; from the start of Adapter.norms
} AdapterPair;

// First row of a projection among the rows of `parts`.
int64_t adapter_part_row(const ModelConfig *c, uint32_t parts, Projection p);
// Where a GGUF file keeps row `row` of a projection, among the rows of a linear with these parts.
int64_t adapter_gguf_row(const ModelConfig *c, uint32_t parts, Projection p, int64_t row);

// The smallest and the largest value of all modules, for messages: "8", "2 to 16".
typedef enum { ADAPTER_RANK, ADAPTER_ALPHA, ADAPTER_SCALE } AdapterValue;
void adapter_print_range(StrBuf *out, const Adapter *a, AdapterValue which);
bool adapter_has_patterns(const Adapter *a); // modules differ in rank or alpha

// Number of parameters of adapter_new; 0: it would refuse c.
int64_t adapter_count_for(const Model *m, const AdapterConfig *c);
// Checks r, alpha, targets and layers against the model; A and B begin as c->init says, as in PEFT; random
// numbers are those of (seed, tensor name). A classifier's head is the model's own where it has one
// of as many classes, else N(0, 0.02) from (seed, tensor name) with bias 0. with_grad: for training.
int adapter_new(Adapter **a, const Model *m, const AdapterConfig *c, uint64_t seed, bool with_grad, Err *err);
void adapter_free(Adapter *a);
DEFINE_AUTO(Adapter, adapter_free)
void adapter_free_grad(Adapter *a); // after training
// After a change of A or B: the norms of DoRA follow. No effect without them.
void adapter_update_norms(const Adapter *a);
// The same, and magnitudes are the norms: where B is 0 the model is the base.
void adapter_start_magnitudes(Adapter *a);
// Plain LoRA of twice the rank, with the same scales, that computes over W what `a` computes over W without its start:
// A' = [A; A0], B' = [B, -B0]. As PEFT's save_pretrained with path_initial_model_for_weight_conversion. *out NULL: `a`
// is plain.
int adapter_plain(Adapter **out, const Model *m, const Adapter *a, Err *err);
// Takes A and B out of such an adapter. False: it is of another start, or of other modules.
bool adapter_take_plain(Adapter *a, const Adapter *plain);
// False when the projection carries no adapter. Of routed experts: the pair of expert 0; those of the others follow, A
// and B of each after those of the one before it.
bool adapter_pair(const Adapter *a, int64_t layer, Projection p, AdapterPair *pair);
bool adapter_expert_pair(const Adapter *a, int64_t layer, Projection p, int64_t expert, AdapterPair *pair);
int64_t adapter_module_count(const ModelConfig *c, const Module *m); // of a layer: the experts, or 1
// Drops the parts of fused modules that are not in `projections`, if their rows of B are zero: files hold whole modules
// and do not record which parts were trained. 1: not possible, the adapter is unchanged.
int adapter_narrow(Adapter **a, const Model *m, uint32_t projections);

// Loads a PEFT folder or a GGUF adapter (path is a folder or a file) for this model; wrong base, shapes, unsupported
// options (modules_to_save, ...): ERR_INPUT with the difference. with_grad: to train on from it.
int adapter_load(Adapter **a, const Model *m, const char *path, bool with_grad, Err *err);
int adapter_load_peft(Adapter **a, const Model *m, const char *dir, bool with_grad, Err *err);
int adapter_load_gguf(Adapter **a, const Model *m, const char *file, bool with_grad, Err *err);
// The path of a PEFT folder's adapter_model.safetensors, which the caller frees; refuses a folder without one, naming
// the file found instead.
int adapter_peft_weights(char **path, const char *dir, Err *err);

// Refuses (ERR_RUNTIME) an adapter with a value that is not finite, or with B zero everywhere (no effect).
int adapter_check(const Adapter *a, Err *err);
// Both run adapter_check, write under a temporary name, fsync and rename. model_card: text of README.md in the folder.
int adapter_save_peft(const Adapter *a, const Model *m, const char *dir, const char *model_card, Err *err);
// The same with what PEFT users load next to an adapter: the chat template that it was trained with, and the
// tokenizer's files of a Hugging Face base. (Not in snapshots, and not where engines would read them.)
int adapter_save_peft_whole(const Adapter *a, const Model *m, const char *dir, const char *model_card, Err *err);
int adapter_save_gguf(const Adapter *a, const Model *m, const char *file, const char *name, Err *err);
// *out: the same with siblings of its modules that are zero, as SGLang needs them; NULL: it needs none.
int adapter_fill_siblings(Adapter **out, const Model *m, const Adapter *a, Err *err);
// Files that may be replaced (overwrite.h): those with this mark in their metadata.
#define ADAPTER_MARK_KEY "lorac.written"
#define ADAPTER_MARK "adapter"
extern const OwnFolder adapter_peft_own;
OwnCheck adapter_gguf_own;
// The text of a model card with lorac's mark as its last line. The caller frees.
char *adapter_card_marked(const char *text);
// A marked card that also names copied files with their hashes ("tokenizer.json HASH, ..."): a copy that was changed
// since is not lorac's. The caller frees.
char *adapter_card_with_files(const char *card, const char *list);
extern const char *const adapter_tokenizer_names[]; // files that may be copied; NULL ends the list

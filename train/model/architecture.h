// architecture: the differences between model families, as a table with one row for each family.
//
// Everything else is shared: model_config_gguf.c and model_config_hf.c read a ModelConfig, model_slots.c lists the
// tensors by the names of the table, and decoder.c and encoder.c build the graph by its flags. To add a family:
// train/README.md.
#pragma once

#include "kernels.h"

// The projections that LoRA can adapt, in canonical order (of a layer's tensors in memory and snapshots, and of the
// parts of a fused matrix). A plain MLP (GPT-2, BERT) is UP, activation, DOWN. CONV_B to CONV_X: the parts of the input
// of a short convolution (LFM2), CONV_OUT its output. SHARED: of the expert that every token of a mixture uses; EXPERT:
// of each of the experts that the router chooses from.
typedef enum {
    PROJ_Q,
    PROJ_K,
    PROJ_V,
    PROJ_O,
    PROJ_GATE,
    PROJ_UP,
    PROJ_DOWN,
    PROJ_CONV_B,
    PROJ_CONV_C,
    PROJ_CONV_X,
    PROJ_CONV_OUT,
    PROJ_SHARED_GATE,
    PROJ_SHARED_UP,
    PROJ_SHARED_DOWN,
    PROJ_EXPERT_GATE,
    PROJ_EXPERT_UP,
    PROJ_EXPERT_DOWN,
    PROJ_COUNT
} Projection;
#define PROJ_DENSE PROJ_SHARED_GATE // number of those of a model without experts
// "q_proj", "shared_expert.gate_proj", "experts.gate_proj"; "in_proj" of all parts of a convolution's input
const char *projection_name(Projection p);
static inline bool projection_is_conv(Projection p) { return p >= PROJ_CONV_B && p <= PROJ_CONV_OUT; }
// With the one before.
static inline bool projection_shares_name(Projection p) { return p == PROJ_CONV_C || p == PROJ_CONV_X; }
static inline bool projection_is_mlp(Projection p) { return p >= PROJ_GATE && p <= PROJ_DOWN; }
#define PROJ_BIT(p) (1u << (p))
#define PROJ_SHARED_BITS (PROJ_BIT(PROJ_SHARED_GATE) | PROJ_BIT(PROJ_SHARED_UP) | PROJ_BIT(PROJ_SHARED_DOWN))
#define PROJ_EXPERT_BITS (PROJ_BIT(PROJ_EXPERT_GATE) | PROJ_BIT(PROJ_EXPERT_UP) | PROJ_BIT(PROJ_EXPERT_DOWN))

// One linear layer as a file stores it. Several parts: their rows are stacked in canonical order (fused projections).
typedef struct Module {
    const char *name; // after the layer's prefix: "self_attn.q_proj", "attn_q"; in Hugging Face's of routed experts %d
                      // is the expert, "mlp.experts.%d.gate_proj"
    uint32_t parts;   // bit set of Projection
} Module;             // a list ends with name NULL
static inline bool module_is_expert(const Module *m) { return m->parts & PROJ_EXPERT_BITS; }
// Its name for an expert (of other modules: its name); expert < 0: "N" stands for the number. The caller frees.
char *module_name(const Module *m, int64_t expert);

// The norms a layer may have.
typedef enum {
    NORM_ATTN,      // of the input of attention
    NORM_POST_ATTN, // of the output of attention, before it is added (Gemma)
    NORM_FFN,       // of the input of the feed-forward
    NORM_POST_FFN,  // of the output of the feed-forward, before it is added (Gemma)
    NORM_Q,         // of each head of q and k (Qwen3, Gemma 3), or of all heads together (OLMo 2)
    NORM_K,
    NORM_SITES
} NormSite;

// The head of ...ForMaskedLM: a linear layer, the activation, a norm; then the embedding again, or a matrix of its own,
// with a bias. Whole names without ".weight" and ".bias"; dense NULL: the family has none.
typedef struct MaskedHeadNames {
    const char *dense, *norm, *decoder;
    const char *bias; // of "<bias>.bias", where the decoder has none of its own
} MaskedHeadNames;

// Names of the tensors in one kind of file (Hugging Face, GGUF), without ".weight" and ".bias". NULL: the family has
// none.
typedef struct TensorNames {
    const char *embedding, *positions, *token_types, *embed_norm, *final_norm, *pooler;
    const char *head; // without a prefix
    // Of an encoder's classifier of texts, without a prefix: the layer before its head, which is trained with it (NULL:
    // none), and the head (NULL: classifier).
    const char *class_dense, *class_head;
    MaskedHeadNames masked;
    const char *layer; // "layers.%d.", the prefix of the following names
    const char *norms[NORM_SITES];
    const Module *modules;
    const Module *fused_modules; // another form that files may have (convert_hf_to_gguf.py --fuse-qkv)
    const char *conv;            // the weight of a short convolution
    const char *router;
    const char *shared_gate; // the scalar gate of the shared expert
    const char *sinks;       // of attention, a vector's whole name after the layer's prefix
} TensorNames;

// Hugging Face: the prefix of all names in the file, and of the modules in the class that PEFT sees.
typedef struct HfPrefix {
    const char *file, *module;
    const char *head; // the head's name in such a file
    bool has_towers;  // the class has other parts (a vision tower) whose linear layers may have the same names
} HfPrefix;

typedef enum { NORM_KIND_RMS, NORM_KIND_LAYER } NormKind;

typedef struct Architecture {
    const char *gguf;           // general.architecture
    const char *model_types[4]; // Hugging Face's config.json; the first is the family's name
    TensorNames hf, gguf_names;
    HfPrefix hf_prefixes[5];   // first match wins; the list ends with file NULL
    const char *hf_ignored[4]; // suffixes of buffers that the graph does not need
    const char *hf_other[5];   // prefixes of parts of a checkpoint that lorac does not run (vision towers, ...)
    const char *hf_linears[4]; // linear layers that are no targets (heads, poolers)
    NormKind norm;
    bool bare_norms;        // layer norms without biases
    uint32_t norms;         // bit set of NormSite
    bool wide_qk_norms;     // of all heads together
    bool experts;           // a mixture of experts
    bool expert_biases;     // of the router and the experts' products
    bool gguf_plain_scores; // without norm_topk_prob, unlike other mixtures in GGUF
    bool encoder;          // bidirectional; with a norm of the input of the feed-forward a decoder's block (ModernBERT)
    bool offset_positions; // the first token has the position after pad_token_id (RoBERTa)
    bool hf_norm_plus_one; // Hugging Face stores w where the norm multiplies by 1 + w
    bool hf_conv1d;        // Hugging Face stores linears as [in, out]
    bool gguf_permuted_qk; // GGUF stores q/k rows in llama.cpp's interleaved order
    bool plain_mlp;        // no gate
    bool parallel;         // the feed-forward has the input of attention; both are added (Phi-2, Cohere)
    bool head_bias;        // of the language model's head
    bool scaled_embedding; // by sqrt(hidden)
    bool learned_positions; // a table instead of RoPE
    bool bare_first;        // the first layer's attention has no norm, as the embedding has one
    bool masked_pooler;     // a classifier reads the first token's states through the layers before the masked head
    bool interleaved_rope;  // of pairs of neighbours, in all files
    bool local_rope;        // sliding layers have another RoPE base
    bool scales;            // factors of the embedding, of scores, branches and logits in the configuration (Granite)
    bool grows_queries;     // with their position (RopeConfig.query_growth)
    bool multiplies_logits; // by logit_scale of the configuration (Cohere)
    bool unrotated_full;    // layers without a sliding window have no RoPE (Cohere 2)
    int64_t unrotated_pattern; // every n-th layer has no RoPE, unless the configuration says otherwise; 0: all have
    GluKind glu;               // unless the configuration says otherwise
    ActivationKind activation;
    ActivationKind class_activation; // after hf.class_dense
    // Values that llama.cpp hard-codes and a GGUF file does not hold:
    int64_t sliding_pattern;  // every n-th layer is not sliding; 0: all are
    int64_t gguf_window;      // without attention.sliding_window
    float gguf_local_base;    // of local_rope, without rope.freq_base_swa; 0: that of the other layers
    bool gguf_untied;         // llama.cpp reads a head of its own only
    bool gguf_tied;           // llama.cpp reads none
    bool gguf_square;         // all heads together have the hidden size
    bool gguf_window_list;    // its converter lists the sliding layers one by one
    int64_t gguf_wide_layers; // with this many layers queries are scaled by 1 / sqrt(hidden / heads)
    float gguf_attn_softcap, gguf_final_softcap;
} Architecture;

// NULL when unknown.
const Architecture *architecture_by_gguf(const char *name, size_t len, bool experts);
const Architecture *architecture_by_model_type(const char *model_type);
// Hugging Face's name of the head in the family's ...ForTokenClassification, or ...ForSequenceClassification.
const char *architecture_class_head(const Architecture *a, bool tokens);
// "layers.3." from the pattern of the table.
void architecture_layer_prefix(char *buf, size_t size, const TensorNames *names, int64_t layer);
// As PEFT matches names: `end` is `name`, or its end after a dot.
bool architecture_is_end_of(const char *end, const char *name);
// The projections of a target: "q_proj" and the like, or a module of the family by its name or the end of it ("c_attn",
// "mlp.c_proj", "layers.3.self_attn.q_proj"), as PEFT matches names. 0: none.
uint32_t architecture_targets(const Architecture *a, const char *name);
// All target names of the projections in `available`, for messages.
void architecture_list_targets(StrBuf *out, const Architecture *a, uint32_t available);
// "gpt2, llama, ..." for messages.
void architecture_list(StrBuf *out, bool hugging_face);

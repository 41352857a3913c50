// config_choices: settings of the training that have one of a few values. Those of data, device and base model are
// declared where they are used: record_format.h, dataset.h, run_device.h, quantize.h.
#pragma once

#include <stdbool.h>

#include "enum_words.h"

#define TASKS(X)                                                                                                       \
    X(TASK_CAUSAL_LM, "causal_lm", "predict the next token")                                                           \
    X(TASK_CLASSIFICATION, "classification", "predict the label of a text")                                            \
    X(TASK_PREFERENCE, "preference", "prefer the chosen to the rejected completion")                                   \
    X(TASK_MLM, "mlm", "masked language modelling: predict hidden tokens, with an encoder")                            \
    X(TASK_EMBEDDING, "embedding", "vectors of texts, near for texts that belong together")                            \
    X(TASK_TOKEN_CLASSIFICATION, "token_classification", "predict the label of each word")
typedef enum { TASKS(ENUM_CONSTANT) } Task;
static inline bool task_classifies(Task t) { return t == TASK_CLASSIFICATION || t == TASK_TOKEN_CLASSIFICATION; }

#define PREFERENCE_LOSSES(X)                                                                                           \
    X(LOSS_DPO, "dpo", "both completions against the reference (Rafailov et al. 2023)")                                \
    X(LOSS_IPO, "ipo", "their difference by token, squared (Azar et al. 2023)")                                        \
    X(LOSS_ORPO, "orpo", "odds ratio, and the chosen text learnt too; no reference (Hong et al. 2024)")                \
    X(LOSS_SIMPO, "simpo", "log probabilities by token, with a margin; no reference (Meng et al. 2024)")               \
    X(LOSS_KTO, "kto", "single completions with label true or false (Ethayarajh et al. 2024)")
typedef enum { PREFERENCE_LOSSES(ENUM_CONSTANT) } PreferenceLossWord;

#define REFERENCES(X)                                                                                                  \
    X(REFERENCE_START, "start", "the model as the run starts: the base, with the adapter that the run starts from")    \
    X(REFERENCE_BASE, "base", "the base model alone")
typedef enum { REFERENCES(ENUM_CONSTANT) } ReferenceWord;

#define EMBEDDING_LOSSES(X)                                                                                            \
    X(LOSS_RANKING, "multiple_negatives_ranking",                                                                      \
      "the positive among all positives and negatives of the batch (InfoNCE)")                                         \
    X(LOSS_COSINE, "cosine_similarity", "squared difference of the cosine and the score of two texts")                 \
    X(LOSS_COSENT, "cosent", "pairs in the order of their scores (Huang et al. 2024)")
typedef enum { EMBEDDING_LOSSES(ENUM_CONSTANT) } EmbeddingLossWord;

#define SIMILARITIES(X)                                                                                                \
    X(SIMILARITY_COSINE, "cos_sim", "the cosine")                                                                      \
    X(SIMILARITY_DOT, "dot_score", "the dot product")
typedef enum { SIMILARITIES(ENUM_CONSTANT) } SimilarityWord;

#define NORMALIZATIONS(X)                                                                                              \
    X(NORMALIZE_AUTO, "auto", "as the model's folder says; else not")                                                  \
    X(NORMALIZE_ON, "true", "to length 1")                                                                             \
    X(NORMALIZE_OFF, "false", "as they are")
typedef enum { NORMALIZATIONS(ENUM_CONSTANT) } NormalizeWord;

#define EVAL_STRATEGIES(X)                                                                                             \
    X(EVAL_NO, "no", "once, at the end")                                                                               \
    X(EVAL_STEPS, "steps", "every eval_steps steps")                                                                   \
    X(EVAL_EPOCH, "epoch", "after every epoch")
typedef enum { EVAL_STRATEGIES(ENUM_CONSTANT) } EvalStrategy;

#define ENGINE_KINDS(X)                                                                                                \
    X(ENGINE_AUTO, "auto", "found out by what answers")                                                                \
    X(ENGINE_VLLM, "vllm", "loads each version while it runs")                                                         \
    X(ENGINE_SGLANG, "sglang", "the same")                                                                             \
    X(ENGINE_LLAMA_CPP, "llama.cpp", "switches between the adapters that it was started with")
typedef enum { ENGINE_KINDS(ENUM_CONSTANT) } EngineKind;

#define ROPE_CHOICES(X)                                                                                                \
    X(ROPE_OF_MODEL, "model", "the model's own positions")                                                             \
    X(ROPE_BY_LINEAR, "linear", "all frequencies divided by the factor")                                               \
    X(ROPE_BY_DYNAMIC, "dynamic", "a base that grows with the length of each sample (dynamic NTK)")                    \
    X(ROPE_BY_YARN, "yarn", "only the low frequencies divided by the factor (YaRN)")                                   \
    X(ROPE_BY_LLAMA3, "llama3", "only the low frequencies divided by the factor, as in Llama 3.1")
typedef enum { ROPE_CHOICES(ENUM_CONSTANT) } RopeChoice;

#define INIT_LORA(X)                                                                                                   \
    X(INIT_LORA_KAIMING, "true", "uniform within 1 / sqrt(columns), PEFT's default")                                   \
    X(INIT_LORA_GAUSSIAN, "gaussian", "normal with standard deviation 1 / r")                                          \
    X(INIT_LORA_PISSA, "pissa", "A and B are the base's largest singular values, which it is without")                 \
    X(INIT_LORA_OLORA, "olora", "the same with the first columns of its QR decomposition")
typedef enum { INIT_LORA(ENUM_CONSTANT) } InitLora;

#define LR_KINDS(X)                                                                                                    \
    X(LR_COSINE, "cosine", "half a cosine down to 0")                                                                  \
    X(LR_LINEAR, "linear", "a line down to 0")                                                                         \
    X(LR_CONSTANT, "constant", "no decay, no warm-up")                                                                 \
    X(LR_CONSTANT_WITH_WARMUP, "constant_with_warmup", "no decay")                                                     \
    X(LR_COSINE_WITH_MIN_LR, "cosine_with_min_lr", "half a cosine down to min_lr_ratio")                               \
    X(LR_WSD, "wsd", "constant; the last tenth of the run is half a cosine down to min_lr_ratio")                      \
    X(LR_INVERSE_SQRT, "inverse_sqrt", "falls with the square root of the step")
typedef enum { LR_KINDS(ENUM_CONSTANT) } LrKind;

// What backward recomputes instead of keeping it, from the least to the most.
#define RECOMPUTES(X)                                                                                                  \
    X(RECOMPUTE_NONE, "none", "nothing")                                                                               \
    X(RECOMPUTE_FFN, "ffn", "the feed-forward part of each block: its norm, gate, up and activation")                  \
    X(RECOMPUTE_BLOCKS, "blocks", "each block, from its input")                                                        \
    X(RECOMPUTE_OFFLOAD, "offload", "each block; on a GPU the block inputs wait in host memory")
typedef enum { RECOMPUTES(ENUM_CONSTANT) } Recompute;

// gradient_checkpointing: one of these, or CHECKPOINT_LEVEL + a Recompute.
#define CHECKPOINT_CHOICES(X)                                                                                          \
    X(CHECKPOINT_AUTO, "auto", "the least recomputation that fits")                                                    \
    X(CHECKPOINT_TRUE, "true", "blocks")                                                                               \
    X(CHECKPOINT_FALSE, "false", "none")
#define CHECKPOINTS(X) CHECKPOINT_CHOICES(X) RECOMPUTES(X)
typedef enum { CHECKPOINT_CHOICES(ENUM_CONSTANT) CHECKPOINT_LEVEL } CheckpointChoice;

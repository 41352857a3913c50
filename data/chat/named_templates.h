// named_templates: chat templates by name, for models without one. The texts are ours; what they write is the format
// that the model families are known for (tests/golden/make_named_templates_golden.py).
#pragma once

#include "enum_words.h"
#include "tokenizer.h"

#define NAMED_TEMPLATES(X)                                                                                             \
    X(TEMPLATE_CHATML, "chatml", "<|im_start|>user, <|im_end|>")                                                       \
    X(TEMPLATE_QWEN, "qwen", "Qwen 2.5: chatml with its system message")                                               \
    X(TEMPLATE_QWEN3, "qwen3", "chatml with the thought of the last answer, which may be empty")                       \
    X(TEMPLATE_LLAMA3, "llama3", "<|start_header_id|>user<|end_header_id|>, <|eot_id|>")                               \
    X(TEMPLATE_LLAMA2, "llama2", "[INST] <<SYS>> ... <</SYS>> ... [/INST]")                                            \
    X(TEMPLATE_MISTRAL, "mistral", "[INST] ...[/INST], as of version 3")                                               \
    X(TEMPLATE_MISTRAL_V1, "mistral_v1", "[INST] ... [/INST], as of version 1")                                        \
    X(TEMPLATE_GEMMA, "gemma", "Gemma 1 to 3: <start_of_turn>user, <end_of_turn>")                                     \
    X(TEMPLATE_PHI3, "phi3", "<|user|>, <|end|>")                                                                      \
    X(TEMPLATE_PHI4, "phi4", "<|im_start|>user<|im_sep|>, <|im_end|>")                                                 \
    X(TEMPLATE_DEEPSEEK, "deepseek", "User: ..., Assistant: ...")                                                      \
    X(TEMPLATE_DEEPSEEK3, "deepseek3", "V3 and R1, whose turns begin with tokens of their own")                        \
    X(TEMPLATE_COMMAND_R, "command_r", "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>")                                        \
    X(TEMPLATE_GRANITE, "granite", "<|start_of_role|>user<|end_of_role|>")                                             \
    X(TEMPLATE_ZEPHYR, "zephyr", "<|user|>, closed by the end token")                                                  \
    X(TEMPLATE_ALPACA, "alpaca", "### Instruction:, ### Response:")                                                    \
    X(TEMPLATE_VICUNA, "vicuna", "USER: ... ASSISTANT: ...")
typedef enum { NAMED_TEMPLATES(ENUM_CONSTANT) NAMED_TEMPLATE_COUNT } NamedTemplate;

// By its name, or by another name that Axolotl or LLaMA-Factory has for it; -1: unknown.
int named_template_find(const char *name);
// The template's source for a tokenizer; the caller frees. Refused where it writes a token that the tokenizer does not
// have. Formats of plain text begin with BOS where the tokenizer puts it before texts.
int named_template_source(char **source, NamedTemplate n, const Tokenizer *t, Err *err);

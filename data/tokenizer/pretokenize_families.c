// pretokenize_families: the pre-tokenizers that GGUF names (tokenizer.ggml.pre), each as one expression.
#include <string.h>

#include "pretokenize.h"

// GPT-2, encoder.py. White space before a word leaves its last character to the word; at the end of the text it stays
// together.
#define GPT2_SUFFIXES "'s|'t|'re|'ve|'m|'ll|'d"
#define GPT2 GPT2_SUFFIXES "| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

// SmolLM: the text is first cut before and after every number character, then GPT-2's expression runs on each piece.
// As one expression: numbers are isolated, and white space before a number is at the end of its piece.
#define SMOLLM                                                                                                         \
    "\\p{is_numeric}|" GPT2_SUFFIXES "| ?\\p{L}+| ?[^\\s\\p{L}\\p{is_numeric}]+|\\s+(?![^\\s\\p{is_numeric}])|\\s+"

// Llama 3 (digits in groups of up to three) and Qwen 2 (single digits).
#define LLAMA3_WITH(numbers)                                                                                           \
    "(?i:" GPT2_SUFFIXES ")|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" numbers                                                    \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

// Words end where lower case turns into upper case: GPT-4o (o200k; suffixes stay with their word) and Tekken.
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED_WITH(suffixes, numbers)                                                                                  \
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" suffixes "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER "*" suffixes       \
    "|" numbers "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

// cl100k as Phi-4's tokenizer.json writes it: the same pieces.
#define CL100K                                                                                                         \
    "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|"                \
    "\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"

typedef struct Rule {
    PretokenizerFamily family;
    const char *aliases; // words separated by spaces
    const char *pattern;
    const char *hf_steps[3]; // the expressions of Hugging Face files, where they have others
} Rule;

// Names and aliases as llama.cpp's converter writes them, as far as their tokenizers are the same.
static const Rule RULES[] = {
    {.family = {.name = "gpt-2"}, .aliases = "phi-2 olmo", .pattern = GPT2},
    {.family = {.name = "llama-bpe", .whole_words = true, .adds_bos = true},
     .aliases = "llama3 llama-v3",
     .pattern = LLAMA3_WITH("\\p{N}{1,3}")},
    {.family = {.name = "qwen2", .nfc = true}, .aliases = "deepseek-r1-qwen", .pattern = LLAMA3_WITH("\\p{N}")},
    {.family = {.name = "dbrx"}, // cl100k: Phi-4
     .aliases = "smaug-bpe chatglm-bpe",
     .pattern = LLAMA3_WITH("\\p{N}{1,3}"),
     .hf_steps = {CL100K}},
    {.family = {.name = "gpt-4o"}, // o200k: Phi-4-mini
     .aliases = "",
     .pattern = CASED_WITH("(?i:" GPT2_SUFFIXES ")?", "\\p{N}{1,3}")},
    {.family = {.name = "tekken", .whole_words = true, .adds_bos = true}, // Mistral Nemo
     .aliases = "",
     .pattern = CASED_WITH("", "\\p{N}")},
    {.family = {.name = "smollm"},
     .aliases = "starcoder refact",
     .pattern = SMOLLM,
     .hf_steps = {"\\p{is_numeric}", GPT2}},
    {.family = {.name = "command-r", .nfc = true},
     .aliases = "",
     .pattern = SMOLLM,
     .hf_steps = {"\\p{is_numeric}", GPT2}},
    {.family = {.name = "glm4", .whole_words = true}, .aliases = "", .pattern = LLAMA3_WITH("\\p{N}{1,3}")},
};
enum { N_RULES = sizeof RULES / sizeof RULES[0] };

static int unknown_family(JsonStr name, Err *err) {
    AUTO_STR StrBuf known = {0};
    for (int i = 0; i < N_RULES; i++)
        str_printf(&known, "%s%s%s%s", i ? ", " : "", RULES[i].family.name, *RULES[i].aliases ? " " : "",
                   RULES[i].aliases);
    return err_input(err, "tokenizer.ggml.pre: pre-tokenizer \"%.*s\" is not known; expected one of %s",
                     (int)(name.len < 64 ? name.len : 64), name.data, known.data);
}

int pretokenizer_add_family(Pretokenizer *p, PretokenizerFamily *family, JsonStr name, Err *err) {
    for (int i = 0; i < N_RULES; i++) {
        if (!json_str_is(name, RULES[i].family.name) && !is_among(name.data, name.len, RULES[i].aliases)) continue;
        *family = RULES[i].family;
        return pretokenizer_add_pattern(p, RULES[i].pattern, CUT_ISOLATED, false, err);
    }
    return unknown_family(name, err);
}

static bool has_steps_of(const Pretokenizer *p, const Rule *rule) {
    return pretokenizer_is(p, (const char *const[]){rule->pattern, NULL}) ||
           (rule->hf_steps[0] && pretokenizer_is(p, rule->hf_steps));
}

const PretokenizerFamily *pretokenizer_family_of(const Pretokenizer *p, bool nfc, bool whole_words) {
    for (int i = 0; i < N_RULES; i++) {
        const PretokenizerFamily *f = &RULES[i].family;
        if (f->nfc == nfc && f->whole_words == whole_words && has_steps_of(p, &RULES[i])) return f;
    }
    return NULL;
}

void pretokenizer_list_families(StrBuf *out) {
    for (int i = 0; i < N_RULES; i++) str_printf(out, "%s%s", i ? ", " : "", RULES[i].family.name);
}

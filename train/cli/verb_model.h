// verb_model: what the verbs of a model share: the options that name it and its adapter, opening them, the file of
// --messages, and generated tokens on stdout.
#pragma once

#include "adapter.h"
#include "chat.h"
#include "cli.h"
#include "config.h"
#include "generate.h"
#include "model.h"
#include "run_device.h"

typedef struct LoadOptions {
    char *model_name_or_path, *adapter_name_or_path; // adapter NULL: none
    char *device;                                    // NULL: "auto"
    DtypeWord dtype;
    MatmulPrecision float32_matmul_precision;
} LoadOptions;

// Rows of a table of options whose struct has the field `LoadOptions load`.
#define LOAD_OPTION(type_, name_, ...)                                                                                 \
    { .name = #name_, .type = KEY_##type_, .offset = offsetof(Options, load.name_), __VA_ARGS__ }
#define MODEL_OPTION                                                                                                   \
    LOAD_OPTION(PATH, model_name_or_path, .aliases = "base_model model m", .flags = OPTION_HUB,                        \
                .help = "Base model: a Hugging Face folder, a .gguf file or owner/name; without it that of the run.")
#define ADAPTER_OPTION                                                                                                 \
    LOAD_OPTION(PATH, adapter_name_or_path, .aliases = "adapter a", .flags = OPTION_HUB,                               \
                .help = "Adapter: a PEFT folder, a .gguf file or owner/name; without it that of the run.")
#define DEVICE_OPTIONS                                                                                                 \
    LOAD_OPTION(STRING, device, .standard = "\"auto\"", .is_valid = run_device_is_word,                                \
                .expected = RUN_DEVICE_EXPECTED,                                                                       \
                .help = "cpu, cuda or cuda:N; auto: a GPU if there is one, else the CPU."),                            \
        LOAD_OPTION(CHOICE, dtype, .words = ENUM_WORDS(DTYPE_WORDS), .aliases = "torch_dtype", .standard = "\"auto\"", \
                    .help = "Type of the activations."),                                                               \
        LOAD_OPTION(CHOICE, float32_matmul_precision, .words = ENUM_WORDS(PRECISIONS), .standard = "\"highest\"",      \
                    .help = "Products of matrices in f32.")

typedef struct Loaded { // init with {0}
    Backend *backend;
    Model *model;
    Adapter *adapter;
    Config run;        // of the run whose output_dir the verb was given (run_folder.h); else all 0
    char *run_adapter; // its adapter
} Loaded;

// options NULL: all 0. The base of a run is loaded as the run loaded it (quantize_base, RoPE scaling). With
// options->classifier the verb handles classifiers and models without a language-model head; else both are refused.
// After a failure too, loaded_close is the caller's.
int loaded_open(Loaded *l, const LoadOptions *load, const ModelOptions *options, Err *err);
// dtype with float32_matmul_precision.
int load_options_dtype(const LoadOptions *load, DtypeWord *dtype, Err *err);
int loaded_refuse_classifier(const Adapter *a, const char *path, Err *err);
int loaded_check(const Loaded *l, Err *err); // fails if the device has failed: results are not valid then
void loaded_close(Loaded *l);

// ---- the file of --messages ----
//
// A list of messages, or an object {"messages", "tools", "add_generation_prompt", "chat_template_kwargs"}, in a file or
// as the text of --messages itself. It is read as a record of data is, so that a prompt has the tokens that were
// trained.

typedef struct MessagesFile {
    const char *path;          // of the file; text that begins with [ or {: the messages themselves
    const char *template_path; // NULL: own_template
    const char *own_template;  // source of a template; NULL: the model's
    const Tokenizer *tokenizer;
    bool add_generation_prompt; // unless the file has this key
    bool train_on_inputs;
} MessagesFile;

// *chat is set even on failure (maybe to NULL); the caller frees both.
int messages_file_tokenize(ChatTokens *out, ChatTemplate **chat, const MessagesFile *f, Err *err);

// ---- the length of what is cached ----

typedef struct ContextOptions {
    int64_t max_seq_length, max_memory;
} ContextOptions;
// Rows of a table of options whose struct has the field `ContextOptions room`.
#define CONTEXT_OPTION(type_, name_, ...)                                                                              \
    { .name = #name_, .type = KEY_##type_, .offset = offsetof(Options, room.name_), __VA_ARGS__ }
#define CONTEXT_OPTIONS(what_)                                                                                         \
    CONTEXT_OPTION(INT, max_seq_length,                                                                                \
                   .help = what_ ", in tokens; without it at most 8192, and what fits in memory."),                    \
        CONTEXT_OPTION(BYTES, max_memory, .help = "Bytes or text such as \"6GiB\"; without it 90% of what is free.")

// As asked, else at most 8192 tokens; limited by the model's context and by the memory of `slots` such texts at once.
int choose_context(int64_t *context, const Model *m, int64_t slots, const ContextOptions *o, Err *err);

// ---- generated tokens ----

typedef struct SamplingOptions {
    int64_t max_new_tokens, seed;
    double temperature, top_p;
    bool raw;
} SamplingOptions;
// Rows of a table of options whose struct has the field `SamplingOptions sampling`.
#define SAMPLING_OPTION(type_, name_, ...)                                                                             \
    { .name = #name_, .type = KEY_##type_, .offset = offsetof(Options, sampling.name_), __VA_ARGS__ }
#define SAMPLING_OPTIONS(longest_)                                                                                     \
    SAMPLING_OPTION(INT, max_new_tokens, .aliases = "n", .standard = (longest_),                                       \
                    .help = "Longest answer, in tokens."),                                                             \
        SAMPLING_OPTION(FLOAT, temperature, .standard = "0", .help = "0: greedy, always the most likely token."),      \
        SAMPLING_OPTION(FLOAT, top_p, .standard = "1",                                                                 \
                        .help = "Sample from the most likely tokens whose probabilities sum to this; 1: all."),        \
        SAMPLING_OPTION(INT, seed, .standard = "42", .help = "The same seed gives the same text."),                    \
        SAMPLING_OPTION(BOOL, raw, .help = "Print control characters to a terminal as they are, not as \\x1B.")

typedef struct TokenPrinter { // init with {.tokenizer = t, .raw = r}
    const Tokenizer *tokenizer;
    bool raw; // control characters too reach a terminal
    TokenStream stream;
    StrBuf text; // all that was printed
} TokenPrinter;

// One prompt at a time; the caller sets stop tokens and callback.
GenerateOptions sampling_generate_options(const SamplingOptions *o);

int token_printer_add(void *printer, int64_t prompt, int32_t id); // GenerateOptions.on_token
void token_printer_end(TokenPrinter *p);                          // the rest, and a line end
void token_printer_clear(TokenPrinter *p);

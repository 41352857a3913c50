// token_printer: generated tokens to stdout as they come, whole characters only (say.h has which reach a terminal), and
// the options of the verbs that generate.
#pragma once

#include "cli.h"
#include "generate.h"
#include "tokenizer.h"

typedef struct SamplingOptions {
    int64_t max_new_tokens, seed;
    double temperature, top_p;
    bool raw;
} SamplingOptions;
// Rows of a table of options whose struct has the field `SamplingOptions sampling`.
#define SAMPLING_OPTION(type_, name_, ...)                                                                             \
    { .name = #name_, .type = KEY_##type_, .offset = offsetof(Options, sampling.name_), __VA_ARGS__ }
#define SAMPLING_OPTIONS(longest_)                                                                                     \
    SAMPLING_OPTION(INT, max_new_tokens, .standard = longest_, .help = "Longest answer, in tokens."),                  \
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

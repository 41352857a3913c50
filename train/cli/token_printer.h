// token_printer: generated tokens to stdout as they come, only whole characters; say.h says which reach a terminal.
#pragma once

#include "generate.h"

typedef struct TokenPrinter { // init with {.tokenizer = t, .raw = r}
    const Tokenizer *tokenizer;
    bool raw; // control characters too reach a terminal
    TokenStream stream;
    StrBuf text; // all that was printed
} TokenPrinter;

int token_printer_add(void *printer, int64_t prompt, int32_t id); // GenerateOptions.on_token
void token_printer_end(TokenPrinter *p);                          // the rest, and a line end
void token_printer_clear(TokenPrinter *p);

// token_printer: generated tokens to stdout as they come, only whole characters.
#pragma once

#include "generate.h"

typedef struct TokenPrinter { // init with {.tokenizer = t}
    const Tokenizer *tokenizer;
    TokenStream stream;
    StrBuf text; // all that was printed
} TokenPrinter;

int token_printer_add(void *printer, int64_t prompt, int32_t id); // a GenerateCallback
void token_printer_end(TokenPrinter *p);                          // the rest, and a line end
void token_printer_clear(TokenPrinter *p);

#include "token_printer.h"

#include <stdio.h>

#include "say.h"

GenerateOptions sampling_generate_options(const SamplingOptions *o) {
    return (GenerateOptions){.max_new_tokens = o->max_new_tokens,
                             .temperature = (float)o->temperature,
                             .top_p = (float)o->top_p,
                             .seed = (uint64_t)o->seed,
                             .batch = 1};
}

static void print_from(const TokenPrinter *p, size_t start) {
    if (p->text.len > start) say_generated(p->text.data + start, p->text.len - start, p->raw);
}

int token_printer_add(void *printer, int64_t prompt, int32_t id) {
    TokenPrinter *p = printer;
    size_t start = p->text.len;
    token_stream_add(&p->stream, p->tokenizer, id, &p->text);
    print_from(p, start);
    return 0;
}

void token_printer_end(TokenPrinter *p) {
    size_t start = p->text.len;
    token_stream_end(&p->stream, &p->text);
    print_from(p, start);
    say("\n");
    fflush(stdout);
}

void token_printer_clear(TokenPrinter *p) {
    str_clear(&p->text);
}

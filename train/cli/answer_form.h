// answer_form: the options that give answers a form, --json_schema, --regex and --grammar.
#pragma once

#include "cli.h"
#include "generate.h"

typedef struct FormOptions {
    char *json_schema, *regex, *grammar; // NULL: not given
} FormOptions;

// Rows of a table of options whose struct has the field `FormOptions form`.
#define FORM_OPTION(type_, name_, ...)                                                                                 \
    { .name = #name_, .type = KEY_##type_, .offset = offsetof(Options, form.name_), __VA_ARGS__ }
#define FORM_OPTIONS                                                                                                   \
    FORM_OPTION(PATH, json_schema,                                                                                     \
                .help = "Answers are JSON that is valid under this schema, a file or the JSON itself."),               \
        FORM_OPTION(TEXT, regex, .help = "Answers are texts that this regular expression matches as a whole."),        \
        FORM_OPTION(PATH, grammar,                                                                                     \
                    .help = "Answers are texts of this grammar, in llama.cpp's GBNF: a file or the rules themselves.")

typedef struct AnswerForm { // init with {0}
    const char *name;       // of the option
    TokenTrie *tokens;
    Constraint *constraint; // NULL: answers are free
} AnswerForm;
int answer_form_open(AnswerForm *f, const FormOptions *o, const Tokenizer *t, Err *err);
// Warns of an answer that was cut off before it had its form.
void answer_form_note(const AnswerForm *f, const Generation *g);
void answer_form_close(AnswerForm *f);

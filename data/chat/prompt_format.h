// prompt_format: a prompt of fixed words around an instruction and its input, as Axolotl's `type: {format: ...}` has
// it.
//
// The parts are formats of Python's str.format: {instruction} and {input}, in system_format {system}; {{ and }} are
// braces. A record without input is written with no_input_format; before either comes its system text, or that of
// system_prompt if it has no key for one, in the words of system_format.
#pragma once

#include "base.h"
#include "json_pool.h"

typedef enum { PROMPT_SYSTEM, PROMPT_SYSTEM_FORMAT, PROMPT_WITH_INPUT, PROMPT_NO_INPUT, PROMPT_PARTS } PromptPart;
typedef struct PromptFormat {  // init with {0}
    char *parts[PROMPT_PARTS]; // NULL: as Axolotl has it without the key
} PromptFormat;
typedef struct PromptValues {
    JsonStr instruction, input;
    const JsonStr *system; // NULL: system_prompt
} PromptValues;

extern const PromptFormat prompt_format_alpaca;     // of Stanford Alpaca
const char *prompt_part_name(PromptPart p);         // "system_prompt", ...
bool prompt_format_is_given(const PromptFormat *f); // any part of it
// Whether keys of a record matter: an empty system_format reads no system, equal formats no input.
bool prompt_format_reads_system(const PromptFormat *f);
bool prompt_format_reads_input(const PromptFormat *f);
PromptFormat prompt_format_copy(const PromptFormat *f);
void prompt_format_clear(PromptFormat *f);
// An error for fields that the part does not have, and for braces without their other half.
int prompt_format_check(PromptPart p, const char *text, Err *err);
void prompt_format_write(StrBuf *out, const PromptFormat *f, const PromptValues *v); // of checked parts

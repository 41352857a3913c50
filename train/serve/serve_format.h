// serve_format: the form that a request wants its answer to have, in the words of OpenAI ("response_format"), vLLM
// ("structured_outputs", "guided_json", ...) and llama.cpp ("json_schema", "grammar").
#pragma once

#include "constraint.h"

// Fields of a request, in one text with spaces between.
#define SERVE_FORMAT_FIELDS                                                                                            \
    "response_format structured_outputs guided_json guided_regex guided_choice guided_grammar json_schema grammar"

// tokens: called where there is something to compile. *out NULL: the answer is free. Refused: two of them, and what
// they hold that is not supported.
int serve_format_read(Constraint **out, const Json *root, const TokenTrie *(*tokens)(void *user), void *user, Err *err);

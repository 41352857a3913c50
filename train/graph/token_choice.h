// token_choice: the next token of a sequence from its logits: the most likely one or a drawn one, among those that a
// constraint allows.
#pragma once

#include "decode_engine.h"
#include "generate.h"

// No token: a logit is not finite; the answer is complete and no token may follow; it is not complete and none may; the
// constraint gave up.
enum { TOKEN_NOT_FINITE = -1, TOKEN_END = -2, TOKEN_NONE = -3, TOKEN_GAVE_UP = -4 };

typedef struct TokenPlace {
    int64_t row;    // of the engine's last run
    int32_t best;   // its most likely token; TOKEN_NOT_FINITE
    int64_t number; // of the token in the answer
    int64_t prompt;
} TokenPlace;

typedef struct TokenChoice TokenChoice;
TokenChoice *token_choice_new(DecodeEngine *e, int64_t vocab);
void token_choice_free(TokenChoice *c);
// text: the answer so far, where `how` has a constraint. c may be NULL where only place->best can be the answer.
int32_t token_choose(TokenChoice *c, const GenerateOptions *how, const ConstraintText *text, const TokenPlace *place);

bool generate_is_stop(const GenerateOptions *o, int32_t id);

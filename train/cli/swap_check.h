// swap_check: the same prompts answered by lorac and by engines, greedily.
#pragma once

#include "engine.h"
#include "prompt_cases.h"
#include "verb_model.h"

typedef struct SwapCheck {
    int64_t prompts, max_new_tokens, show; // show: how many of the answers that differ are printed
} SwapCheck;

// Of the run in l, whose weights are loaded: held-out prompts where the run has evaluation data, else training prompts.
typedef struct CheckAnswers {
    PromptCase *cases;
    int64_t count;
    int32_t *stop;
    size_t n_stop;
    char **texts; // lorac's
    bool held_out;
} CheckAnswers;
int check_answers_make(CheckAnswers *c, const Loaded *l, const SwapCheck *o, Err *err);
void check_answers_clear(CheckAnswers *c);
// Asks the engine, prints how many answers agree. name: of the adapter there.
int check_answers_compare(const CheckAnswers *c, Engine *e, const char *name, const SwapCheck *o, Err *err);

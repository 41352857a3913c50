// prompt_cases: prompts of data with the expected answers, to compare generated answers with: of each record the
// conversation before its last assistant turn with the generation prompt, and the text of that turn; of raw
// prompt_completion the two texts; of segments the last ones that are learnt and what is before them.
#pragma once

#include "dataset.h"

typedef struct PromptCase {
    int32_t *ids;
    int64_t count;
    char *prompt;    // readable: the last user message, or the raw prompt
    char *reference; // the answer, white space stripped at both ends
} PromptCase;
// limit: the first cases only; 0: all.
int prompt_cases_load(PromptCase **cases, int64_t *count, int64_t limit, const DatasetOptions *o, const Tokenizer *t,
                      const ChatTemplate *chat, Err *err);
void prompt_cases_free(PromptCase *cases, int64_t count);

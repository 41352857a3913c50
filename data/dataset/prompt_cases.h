// prompt_cases: prompts of data with the expected answers, to compare generated ones with: each record's conversation
// before its last assistant turn, with the generation prompt (raw prompt_completion: the prompt), and the text of that
// turn.
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

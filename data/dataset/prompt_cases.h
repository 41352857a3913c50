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
typedef struct CaseChoice {
    int64_t limit;          // the first cases only; 0: all
    const int64_t *records; // only of these: numbers over all files from 0, ascending (Sample.record); NULL: of all
    int64_t n_records;
} CaseChoice;
int prompt_cases_load(PromptCase **cases, int64_t *count, const CaseChoice *choice, const DatasetOptions *o,
                      const Tokenizer *t, const ChatTemplate *chat, Err *err);
void prompt_cases_free(PromptCase *cases, int64_t count);

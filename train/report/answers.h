// answers: the model's answers to a few prompts of the data, with and without the adapter, for the report.
#pragma once

#include "trainer.h"

enum { ANSWERS_MAX = 3 };
typedef struct Answer {
    char *prompt, *reference, *before, *after; // owned
} Answer;
typedef struct Answers { // init with {0}
    Answer items[ANSWERS_MAX];
    int count;
    bool held_out; // from evaluation data
} Answers;

// None for data without prompts (plain text, token ids).
int answers_make(Answers *s, const Trainer *t, Err *err);
void answers_clear(Answers *s);

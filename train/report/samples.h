// samples: what the model answers to a few prompts of the data, with and without the adapter, for the report.
#pragma once

#include "trainer.h"

enum { SAMPLES_MAX = 3 };
typedef struct SampleAnswer {
    char *prompt, *reference, *before, *after; // owned
} SampleAnswer;
typedef struct Samples { // init with {0}
    SampleAnswer items[SAMPLES_MAX];
    int count;
    bool held_out; // from evaluation data
} Samples;

// Data that has no prompts (plain text, ids) gives none.
int samples_make(Samples *s, const Trainer *t, Err *err);
void samples_clear(Samples *s);

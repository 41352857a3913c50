// pipeline: a rank that computes one stage of the model: what it exchanges with the stages before and after it, and the
// rows that are on their way. In host memory.
//
// Rows pass the stages one after the other. While one goes back, the next ones go forward (one forward, one backward;
// Narayanan et al. 2021), so that stage s of n keeps the activations of at most n - s rows. Every stage knows the rows
// of a step, and so the size of each message. Each row's gradient is the same as without stages, and rows are added in
// an order-free sum: the bits are those of one rank.
#pragma once

#include "pass_runner.h"

// Of the runners with these options, whose `pipeline` it sets. most: rows of one pipeline in a step.
Pipeline *pipeline_new(PassRunnerOptions *o, int64_t most);
// The runners of the rows on their way, besides the first, which stays the caller's.
void pipeline_add_runners(Pipeline *p, PassRunner *first, const PassRunnerOptions *o);
void pipeline_free(Pipeline *p);
size_t pipeline_bytes(const Pipeline *p); // of the messages
// Memory of the arenas for a planned pass.
size_t pipeline_arena(const Pipeline *p, const PassPlan *plan);
void pipeline_reserve(Pipeline *p, const PassPlan *plan);

// A row of an evaluation: its activation from the stage before, and to the one after it.
int pipeline_receive(Pipeline *p, const PassRows *pass, Err *err);
int pipeline_send(Pipeline *p, const PassRows *pass, Err *err);

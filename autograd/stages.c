// stages: tells a model which of its matrices the next ops read (tape_stage). It adds an instruction to the plan where
// an op reads another stage than the op before it:
//
//   forward    stage 0 | ops ... | stage 1 | ops ... | stage 2 | ops ...
//   backward   ... | stage 1 | ops ... | stage 0 | ops ...
//
// The list is known before the run, so each instruction also names the stage after it, which can be read ahead.
#include "tape.h"

void tape_stage(Tape *t, const TapeStages *stages, int stage) {
    CHECK(stages && (!t->stages || t->stages == stages));
    t->stages = stages;
    t->stage = stage;
}

void stages_plan(Tape *t) { t->stage = TAPE_NO_STAGE; }

void stages_before(Tape *t, int node) {
    int stage = t->nodes[node].stage;
    if (stage == TAPE_NO_STAGE || stage == t->stage) return;
    Instruction *in = instruction_add(t, INSTRUCTION_STAGE, NO_NODE, false);
    in->last_stage = t->stage;
    in->stage = t->stage = stage;
    t->n_instructions++;
}

void stages_end(Tape *t) {
    int next = TAPE_NO_STAGE;
    for (size_t i = t->n_instructions; i-- > 0;) {
        Instruction *in = &t->instructions[i];
        if (in->kind != INSTRUCTION_STAGE) continue;
        in->next_stage = next;
        next = in->stage;
    }
}

void stages_run(const Tape *t, const Instruction *in) {
    t->stages->enter(t->stages->user, in->last_stage, in->stage, in->next_stage);
}

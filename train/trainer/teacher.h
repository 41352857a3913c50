// teacher: what a run learns from besides its data (knowledge distillation): a model, or a file of its largest logits.
//
// The loss of a scored token is kd_ce_alpha times its cross entropy plus kd_alpha T^2 times the divergence of the
// student's distribution from the teacher's kd_top_k most probable tokens (SoftTargets).
#pragma once

#include "config.h"
#include "graph.h"
#include "teacher_logits.h"

typedef struct Teacher {
    PassTeacher pass;
    Model *model;     // of its own, owned; NULL: the base of the run, or a file
    Adapter *adapter; // owned; NULL: none
    TeacherLogits *file;
} Teacher;

// Means over the scored tokens of a step or of an evaluation.
typedef struct TeacherReport {
    bool given;
    double hard, soft; // cross entropy, T^2 times the divergence
} TeacherReport;

bool teacher_is_asked(const Config *c);
// The loss of a pass, without a teacher.
SoftTargets teacher_loss(const Config *c);
size_t teacher_bytes(const Teacher *t); // of the weights of its own model, where the base's are
SoftInputs teacher_inputs(const Teacher *t);
void teacher_free(Teacher *t); // NULL: nothing
// Fails if a file of the teacher has changed since it was opened. NULL: nothing to check.
int teacher_check_unchanged(const Teacher *t, Err *err);
// t NULL: not given. tokens: scored in the sums.
TeacherReport teacher_report(const Teacher *t, const HeadTally *sums, int64_t tokens);
// What a snapshot and the other ranks compare: the content of the teacher. `text` has room for 128 characters.
void teacher_identity(char text[128], const Teacher *t, const Model *base);

// run_teacher: the teacher of a run, by its config (teacher.h).
#pragma once

#include "run_data.h"
#include "teacher.h"

bool run_teacher_is_base(const Config *c); // its model is the run's
// *t NULL: the config asks for none. m: the base model of the run, d: its data, whose rows a file must know. Where m is
// an outline (ModelOptions), so is the teacher.
int run_teacher_open(Teacher **t, const Config *c, const Model *m, const RunData *d, Err *err);

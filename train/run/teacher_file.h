// teacher_file: writes the file of teacher_logits (teacher_logits.h): `lorac logits CONFIG`.
#pragma once

#include "config.h"

// The largest logits of the config's teacher_model and teacher_adapter for its training and evaluation data, packed
// into the rows of its run, so that training from the file has the bits of training with the teacher. out: must be
// free. The file appears when it is complete.
int teacher_file_write(const Config *c, const char *out, Err *err);

// event_file: a run for TensorBoard, output_dir/tensorboard/events.out.tfevents.lorac (report_to: tensorboard): scalars
// of steps and evaluations, the config as text and as hyper-parameters, sample answers as text. One file for the whole
// run, also after it has resumed. If it cannot be written, there is one warning, and the run continues.
#pragma once

#include "report.h"

typedef struct EventFile EventFile;

bool event_file_wanted(const Config *c);
#define EVENT_FILE "tensorboard/events.out.tfevents.lorac" // in output_dir
OwnCheck event_file_own;                                   // overwrite.h
// Cuts an existing file back to this state, as train_log_open does. NULL in *e if none is wanted, which the functions
// below accept.
int event_file_open(EventFile **e, const Config *c, const TrainerState *s, bool done, Err *err);
void event_file_step(EventFile *e, const StepReport *r, size_t peak_memory);
void event_file_eval(EventFile *e, int64_t step, const EvalResult *r);
void event_file_end(EventFile *e, int64_t step, const Answers *a); // the run is complete
bool event_file_has_end(const EventFile *e);
void event_file_sync(EventFile *e);
void event_file_close(EventFile *e);

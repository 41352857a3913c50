// report: report.html, one self-contained page about a run: key figures, curves, data, sample answers, config.
#pragma once

#include "overwrite.h"
#include "trainer.h"

bool report_wanted(const Config *c);
OwnCheck report_own; // overwrite.h
// Reads output_dir/train_log.jsonl for the curves; generates the sample answers; writes output_dir/report.html.
int report_write(const Trainer *t, const char *output_dir, const char *name, Err *err);

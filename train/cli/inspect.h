// inspect: the views of `lorac inspect`, one file a kind. Private to train/cli.
#pragma once

#include <stdio.h>

#include "base.h"

// Base model or adapter in a GGUF file; told apart by its own keys.
int inspect_gguf(const char *path, FILE *out, Err *err);
int inspect_safetensors(const char *path, FILE *out, Err *err);
// Adapter folder, snapshot, output_dir of a run.
int inspect_folder(const char *path, FILE *out, Err *err);
// A data file as it is, without a tokenizer; n_shown records are printed.
int inspect_data_file(const char *path, int64_t n_shown, FILE *out, Err *err);
// The data of a run as the trainer sees it. argv: CONFIG.json and overrides.
int inspect_run_data(int argc, char **argv, int64_t n_shown, FILE *out, Err *err);

// options: the arguments of a verb into the struct that its table describes.
#pragma once

#include "cli.h"

// Fills the zeroed *options from the defaults and from argv: `--key value`, `--key=value`, `key=value`;
// `--max-new-tokens` is `--max_new_tokens`. Arguments that are no options stay in argv, in order. The caller frees the
// options with keys_clear, after a failure too.
int options_read(const Verb *v, void *options, int *argc, char **argv, Err *err);

// options: the arguments of a verb into the struct that its table describes.
#pragma once

#include "cli.h"

// Fills *options, which is zeroed, with the defaults and with what argv has: `--key value`, `--key=value`, `key=value`;
// `--max-new-tokens` is `--max_new_tokens`. Arguments that are no options stay in argv, in their order. After a failure
// too, the caller frees the options with keys_clear.
int options_read(const Verb *v, void *options, int *argc, char **argv, Err *err);

// secret: what only the ranks of a run know: LORAC_SECRET in their environment, or a file that LORAC_SECRET_FILE names.
#pragma once

#include "group.h"

enum { SECRET_LEAST = 16, SECRET_MOST = 4096 }; // bytes, without blanks at the end

// The key of the run `job` (may be NULL) with that secret. *secret = false: there is none, and the key can be computed
// by everyone who knows the job's name. EXIT_INPUT: the secret is short, or others may read its file.
int secret_key(unsigned char key[GROUP_KEY], bool *secret, const char *job, Err *err);

// secret: the shared secret of the ranks of a run: LORAC_SECRET, or the content of the file LORAC_SECRET_FILE.
#pragma once

#include "group.h"

enum { SECRET_LEAST = 16, SECRET_MOST = 4096 }; // bytes, without trailing white space

// Derives the key of the run `job` (may be NULL). *secret = false: no secret is set, the key follows from the job's
// name alone. ERR_INPUT: the secret is too short, or other users may read its file.
int secret_key(unsigned char key[GROUP_KEY], bool *secret, const char *job, Err *err);

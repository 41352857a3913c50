// vector_file: vectors as NumPy's .npy, an array [n, length] of little-endian float32, or as JSON, one object on each
// line: {"index": 0, "embedding": [...]}.
#pragma once

#include "base.h"

typedef struct VectorFile VectorFile;
// path: *.npy or *.jsonl, which must not exist; NULL: JSON on standard output. with_text: JSON has the text, too.
int vector_file_open(VectorFile **f, const char *path, bool with_text, int64_t length, Err *err);
int vector_file_add(VectorFile *f, const char *text, const float *vector, Err *err);
// Completes the file, and frees f in any case. An .npy file is kept in memory until then.
int vector_file_close(VectorFile *f, Err *err);
void vector_file_abandon(VectorFile *f); // NULL is allowed
int64_t vector_file_count(const VectorFile *f);

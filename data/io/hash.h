// hash: XXH3-128 of bytes and files, as 32 hex digits. Not cryptographic: it distinguishes files and detects damage.
#pragma once

#include "base.h"

void hash_bytes(char hex[33], const void *data, size_t size);
// Of a whole file.
int hash_file(char hex[33], const char *path, Err *err);
// Of the size, the first and last 64 KiB and 64 evenly spaced blocks of 4 KiB: distinguishes base models without
// reading gigabytes.
int hash_file_sampled(char hex[33], const char *path, Err *err);

// hooks: what libraries do when memory runs out.
#pragma once

// Allocations of cJSON and of C++ code that fail, and exceptions that no one catches, end the process with one line and
// status 1. PCRE2, zlib and the others are given their memory, or asked for their errors, where they are called.
void hooks_install(void);

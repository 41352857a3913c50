// hooks: what libraries do when memory runs out or an exception is not caught.
#pragma once

// Allocations of cJSON and of C++ code that fail, and uncaught exceptions, end the process with one line and status 1.
// For PCRE2, zlib and others the callers check.
void hooks_install(void);

// say: prints all text for people on stdout, so that no name, token, label or record text from a file can control the
// terminal.
//
// Passed on: printable UTF-8, line ends and tabs. All else is written as an escape: control characters (ESC, BEL, CR,
// backspace, DEL, ...) and bytes that are no UTF-8 as \x1B, the C1 controls and the marks that change the direction of
// writing as \u009B. Lines on stderr (log_warn, Err) have '?' for such bytes.
#pragma once

#include <stdio.h>

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

void say(const char *fmt, ...) PRINTF_LIKE(1, 2); // to stdout
// The number of bytes without escapes, as from fprintf.
int say_to(FILE *out, const char *fmt, ...) PRINTF_LIKE(2, 3);
int say_list(FILE *out, const char *fmt, va_list args);
void say_bytes(FILE *out, const char *text, size_t len);
// Generated text, flushed: as it is with `raw` or where stdout is no terminal, else as say_bytes. Whole characters
// only.
void say_generated(const char *text, size_t len, bool raw);
void say_clear_line(void); // back to the beginning of the terminal's line, which becomes empty

// The character at text[0, len), len > 0: its length in bytes, and whether a terminal may have it.
size_t say_character(const char *text, size_t len, bool *safe);

#ifdef __cplusplus
}
#endif

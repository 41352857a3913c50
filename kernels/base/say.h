// say: prints text with control characters escaped, so that text from files (names, tokens, labels, records) cannot
// send control sequences to the terminal.
//
// Unchanged: printable UTF-8, line ends and tabs. Escaped: control characters (ESC, BEL, CR, backspace, DEL, ...) and
// bytes that are not UTF-8 as \x1B; C1 controls and bidirectional formatting characters as \u009B. Lines on stderr
// (log_warn, Err) have '?' for such bytes.
#pragma once

#include <stdio.h>

#include "base.h"

C_BEGIN

void say(const char *fmt, ...) PRINTF_LIKE(1, 2); // to stdout
// The number of bytes without escapes, as from fprintf.
int say_to(FILE *out, const char *fmt, ...) PRINTF_LIKE(2, 3);
int say_list(FILE *out, const char *fmt, va_list args);
void say_bytes(FILE *out, const char *text, size_t len);
void say_escape(StrBuf *out, const char *text, size_t len); // appends what say_bytes prints
// Generated text, flushed: unchanged if `raw` or if stdout is not a terminal, else as say_bytes. text must end at a
// character boundary.
void say_generated(const char *text, size_t len, bool raw);
// The following text on stdout has this colour, if stdout is a terminal that has colours and NO_COLOR is not set.
typedef enum { SAY_PLAIN = 0, SAY_GREEN = 32, SAY_CYAN = 36 } SayColor;
void say_color(SayColor c);
void say_clear_line(void); // back to the beginning of the terminal's line, which becomes empty

// The character at text[0, len), len > 0: its length in bytes, and whether a terminal may have it.
size_t say_character(const char *text, size_t len, bool *safe);

C_END

// line_prefix: each line of stdout begins with a text: the rank, or the run, that prints it.
#pragma once

#include "base.h"

typedef struct LinePrefix LinePrefix;
// Takes over stdout until line_prefix_close; a line is written at once, so that lines of several processes do not mix.
LinePrefix *line_prefix_open(void);
void line_prefix_close(LinePrefix *p);                 // NULL allowed; lines have no prefix from now on
void line_prefix_set(LinePrefix *p, const char *text); // of the following lines; "": none

// line_prefix: each line of stdout begins with a text: the rank, or the run, that prints it.
#pragma once

#include "base.h"

typedef struct LinePrefix LinePrefix;
// Takes over stdout until the process ends; a line is written at once, so that lines of several processes do not mix.
LinePrefix *line_prefix_open(void);
void line_prefix_set(LinePrefix *p, const char *text); // of the following lines; "": none

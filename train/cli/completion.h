// completion: what an installation has besides the program, from the tables of verbs, options and keys: scripts that
// complete the command line in a shell (completion.c), the manual page (man_page.c).
#pragma once

#include "enum_words.h"

#define SHELLS(X)                                                                                                      \
    X(SHELL_NONE, "none", NULL) X(SHELL_BASH, "bash", NULL) X(SHELL_ZSH, "zsh", NULL) X(SHELL_FISH, "fish", NULL)
typedef enum { SHELLS(ENUM_CONSTANT) } Shell;

void completion_print(Shell shell); // not SHELL_NONE
void man_page_print(void);

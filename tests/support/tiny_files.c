// tiny_files: writes the tiny model and its data (tiny.gguf, data.jsonl) into a new directory and prints its name, for
// tests that are shell scripts.
#include <stdio.h>

#include "tiny_run.h"

int main(void) {
    if (tiny_dir_setup(NULL)) return 1;
    puts(tiny_dir);
    return 0;
}

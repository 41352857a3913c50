// text_window: the part of a data file that is being cut into records. Private to records.c.
//
// An uncompressed file is mapped, and the window is all of it. A compressed one is read in pieces: the window grows at
// its end as a record needs. Records stay in memory until window_release, so several may be parsed together.
#pragma once

#include "fileio.h"

typedef struct TextWindow {
    const char *p, *end; // text that is not in a record yet: records_next moves p
    FileMap map;
    struct ByteStream *stream; // NULL: mapped
    struct TextBlock *blocks;  // newest first; p and end are in it
    bool held;                 // returned records point into the newest block: set by records_next
    const char *released;      // of a map: pages below it were released
} TextWindow;

int window_open(TextWindow *w, const char *path, Err *err);
void window_close(TextWindow *w);
// More text at `end`; p and end may move to another place in memory. 1, 0 at the end of the file, -1.
int window_more(TextWindow *w, Err *err);
void window_release(TextWindow *w); // the records so far are no longer needed

// text_window: the part of a data file that is being cut into records. Private to records.c.
//
// An uncompressed file is mapped, and the window is all of it. A compressed one is read piece by piece: the window
// grows at its end as long as a record needs, and what was taken stays where it is until window_release, so records
// handed out may be parsed together.
#pragma once

#include "fileio.h"

typedef struct TextWindow {
    const char *p, *end; // text not taken yet: records_next moves p
    FileMap map;
    struct ByteStream *stream; // NULL: mapped
    struct TextBlock *blocks;  // newest first; p and end are in it
    bool held;                 // records that were handed out lie in the newest block: set by who hands them out
    const char *released;      // of a map: pages below it were given back
} TextWindow;

int window_open(TextWindow *w, const char *path, Err *err);
void window_close(TextWindow *w);
// More text behind `end`; p and end may move to another place in memory. 1, 0 at the end of the file, -1.
int window_more(TextWindow *w, Err *err);
void window_release(TextWindow *w); // records taken so far are no longer needed

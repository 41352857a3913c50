// records_internal: what records.c cuts into records: a window of text (text_window.c), or a .tar (tar_records.c).
#pragma once

#include "fileio.h"
#include "records.h"

// ---- the part of a data file that is being cut ----
// An uncompressed file is mapped, and the window is all of it. A compressed one is read in pieces: the window grows at
// its end as a record needs. Records stay in memory until window_release, so several may be parsed together.

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

// ---- a .tar shard in WebDataset layout, read as a stream ----
// Consecutive members with the same key (the path up to the first dot of the file name) form a group, and a group is
// one record: .json is the record; .txt becomes its "text" and .cls its "label" (an integer, or a text) where the .json
// has none, or without a .json. Other kinds (.jpg, .wav, names without a key), links, devices, and a .txt or .cls that
// the .json replaces are ignored and counted; directories are not counted. Nothing is written to disk, so a member's
// path may be anything.
//
// Refused: a kind twice in a group, a group whose members are not consecutive, a group with a label and no text, a
// record of more than RECORD_MAX_BYTES, and what tar_stream.h refuses: damage, sparse members, a cut-off archive.

typedef struct TarReader TarReader;
// ignored: counts the members that belong to no record, by kind.
int tar_records_open(TarReader **t, const char *path, KeyCounts *ignored, Err *err);
void tar_records_close(TarReader *t);
// As records_next: 1, 0 at the end, -1.
int tar_records_next(TarReader *t, RecordSpan *span, Err *err);
void tar_records_release(TarReader *t);

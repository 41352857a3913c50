// tar_records: a .tar shard in WebDataset layout as records, read as a stream. Private to records.c.
//
// Consecutive members with the same key (the path up to the first dot of the file name) form a group, and a group is
// one record: .json is the record; .txt becomes its "text" and .cls its "label" (an integer, or a text) where the .json
// has none, or without a .json. Other kinds (.jpg, .wav, names without a key), links, devices, and a .txt or .cls that
// the .json replaces are ignored and counted; directories are not counted. Nothing is written to disk, so a member's
// path may be anything.
//
// Refused: a kind twice in a group, a group whose members are not consecutive, a group with a label and no text, a
// record of more than RECORD_MAX_BYTES, and an archive that is damaged or ends without its end mark (cut off).
#pragma once

#include "records.h"

typedef struct TarReader TarReader;
// ignored: counts the members that belong to no record, by kind.
int tar_records_open(TarReader **t, const char *path, KeyCounts *ignored, Err *err);
void tar_records_close(TarReader *t);
// As records_next: 1, 0 at the end, -1.
int tar_records_next(TarReader *t, RecordSpan *span, Err *err);
void tar_records_release(TarReader *t);

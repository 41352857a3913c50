// records: a data file cut into records, without parsing them; a record's text is parsed where it is used (in
// parallel).
//
// .jsonl: one record a line (blank lines are skipped). .json: an array of records, or JSONL under the wrong name; told
// apart by the first character, for both names. .txt: the whole file is one record. A byte order mark and CRLF line
// ends are accepted. What other versions of lorac will read (.gz, .zst, .tar, .parquet, ...) is refused by name.
#pragma once

#include "base.h"

typedef struct RecordSpan { // borrowed from the reader
    const char *text;
    size_t len;
    size_t line; // of its first byte, counted from 1
} RecordSpan;

// Valid UTF-8 without NUL bytes; the message is "name:LINE: ...".
int text_check(const char *name, const char *text, size_t len, Err *err);

typedef struct RecordReader RecordReader;
int records_open(RecordReader **r, const char *path, Err *err);
void records_close(RecordReader *r);
const char *records_path(const RecordReader *r);
bool records_are_text(const RecordReader *r); // .txt
// The next record: 1 and *span, 0 at the end, -1 on an error ("FILE:LINE: ..."). Errors inside a JSON record are left
// to json_parse; a .txt record is checked here: valid UTF-8 without NUL bytes.
int records_next(RecordReader *r, RecordSpan *span, Err *err);
// The records so far are no longer needed: their pages leave resident memory.
void records_release(RecordReader *r);

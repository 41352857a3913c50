// records: cuts a data file into records without parsing them; the parallel workers parse them.
//
//   .jsonl          one record a line (blank lines are skipped)
//   .json           an array of records; where its first element is a chat message, each list is one record
//                   (.json and .jsonl are told apart by the first character, not by the name)
//   .txt            the whole file is one record
//   .csv, .tsv      the first row names the columns, each other row is a record with strings (csv.h)
//   .tar            WebDataset shards: members grouped by key, one record for each group (tar_records.c)
//   .parquet        each row is a record (parquet_module.h)
//   .gz, .zst       any of the others, compressed: read as a stream, in bounded memory (byte_stream.h)
// A byte order mark and CRLF line ends are accepted. A record has at most RECORD_MAX_BYTES (an uncompressed .txt: 4
// GiB), which bounds memory. Other files are refused by name.
#pragma once

#include "key_notes.h"
#include "record_faults.h"

enum { RECORD_MAX_BYTES = 256 << 20 };

// The text after a byte order mark.
const char *text_skip_mark(const char *text, size_t *len);
// Valid UTF-8 without NUL bytes; the message is "name:LINE: ...".
int text_check(const char *name, const char *text, size_t len, Err *err);

typedef struct RecordReader RecordReader;
int records_open(RecordReader **r, const char *path, Err *err);
void records_close(RecordReader *r);
DEFINE_AUTO(RecordReader, records_close)
bool records_are_text(const RecordReader *r); // .txt
// The next record: 1 and *span, 0 at the end, -1 on an error ("FILE:LINE: ..."). Errors inside a JSON record are left
// to json_parse; text is checked here: valid UTF-8 without NUL bytes.
int records_next(RecordReader *r, RecordSpan *span, Err *err);
// Frees the records so far.
void records_release(RecordReader *r);
// The error for a file without a record: what an archive holds instead. Returns -1.
int records_fail_empty(const RecordReader *r, Err *err);
// Members of a .tar that belong to no record (images, sound, links).
int64_t records_ignored(const RecordReader *r);
const KeyCounts *records_ignored_kinds(const RecordReader *r); // "*.jpg", ...

// record_faults: explains malformed records and JSON text: CSV, a comma after each line, a Python dict, a record over
// several lines. (Whole files: file_faults.c.)
#pragma once

#include "json.h"

typedef struct RecordSpan { // borrowed from the reader (records.h), until records_release
    const char *text;
    size_t len;
    size_t line;       // of its first byte, counted from 1
    const char *name;  // for messages: the file, or "shard.tar/member"
    bool columns;      // text of json_parse_columns
    size_t file_bytes; // of a row of a table, whose text is not that of the file; 0: len
    bool untyped;      // a row of a table: its values are strings, digits may be a number
} RecordSpan;
// Parses a record; a fault in it is explained.
int record_parse(JsonDoc **doc, RecordSpan span, Err *err);

// The first line of a file that should hold JSON records.
int fault_in_first_line(const char *path, size_t line, const char *text, size_t len, Err *err);
// Text that is not JSON, in a string of a record (line 0) or at the beginning of a file: replaces the parser's message
// if the cause is known. Returns -1.
int fault_in_value(const char *name, size_t line, const char *text, size_t len, Err *err);
// A byte that is not UTF-8. Returns -1.
int fault_in_text(const char *name, size_t line, const char *at, Err *err);

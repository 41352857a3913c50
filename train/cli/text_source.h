// text_source: the texts that a verb is given: lines, or records, of a file or of standard input.
#pragma once

#include <stdio.h>

#include "records.h"

typedef struct TextSink {
    void *to;
    int (*text)(void *to, JsonStr text, Err *err);
    int (*record)(void *to, RecordSpan record, Err *err); // its errors name file and line
} TextSink;

// Standard input and the like: each line is a text; sniff: or a record, if the first one begins with '{'.
int text_source_lines(const TextSink *s, FILE *in, const char *name, bool sniff, Err *err);
// .txt: lines; others: records.
int text_source_file(const TextSink *s, const char *path, Err *err);

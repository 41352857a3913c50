// data_notes: notes and warnings about data that may not be read as the user expects: control tokens in texts, answers
// without an end token, unused keys.
#pragma once

#include "dataset.h"

// Layout of printed lines: indent, the title padded to `width`, a space, the value, the note.
typedef struct DataLines {
    const char *indent, *note; // NULL: none
    int width;
} DataLines;
// The classes of classification data in their order (NULL: other data), or how many numbers a record has. Warns of
// integers with a gap, and of integers among texts.
void data_notes_print_labels(Problem problem, const LabelList *list, const int64_t *counts, const DataLines *l);
// Prints unused keys and special cases, if there are any. Warns of what affects training: control tokens kept as text
// in messages, answers without an end token, unused keys whose names suggest that they are part of the prompt.
void data_notes_print(const Dataset *d, const Tokenizer *t, const DataLines *l);
// Only the warnings.
void data_notes_warn(const Dataset *d, const Tokenizer *t);
// Appends "3 records with control tokens written in the text, parsed as tokens; ...", or nothing.
void data_notes_show_special(StrBuf *out, const DatasetStats *s);

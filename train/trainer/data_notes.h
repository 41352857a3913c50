// data_notes: notes and warnings about data that may not be read as the user expects: control tokens in texts, answers
// without an end token, unused keys.
#pragma once

#include "dataset.h"

// Appends "3 records with control tokens written in the text, parsed as tokens; ...", or nothing.
void data_notes_show_special(StrBuf *out, const DatasetStats *s);
// Warns of what affects training: control tokens kept as text in messages, answers without an end token, unused keys
// whose names suggest that they are part of the prompt.
void data_notes_warn(const Dataset *d, const Tokenizer *t);

// data_notes: what a user is told of data that is read otherwise than it looks: control tokens in texts, answers
// without an end, keys that nothing reads.
#pragma once

#include "dataset.h"

// "3 records spell control tokens: parsed as tokens; ...", appended; nothing when there is nothing to tell.
void data_notes_show_special(StrBuf *out, const DatasetStats *s);
// Warns of what changes what is learnt: control tokens that stay text in messages, answers that do not end, keys that
// nothing reads though their names say that they belong to the prompt.
void data_notes_warn(const Dataset *d, const Tokenizer *t);

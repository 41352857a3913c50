// dialog_internal: what the two files of dialog share.
#pragma once

#include "dialog.h"

// The first of the keys (NULL ends them) that a record has, with a value that is not null; else NULL.
const char *first_given(const Json *record, const char *const *keys);
extern const char *const turns_keys[], *const prompt_keys[], *const answer_keys[];
// Text that begins as a JSON list: lists are stored so where a column must be text.
bool json_text_is_list(const Json *v);
// Refuse labels of answers: of the record, of one of its messages.
int dialog_check_preference(const Json *record, Err *err);
int dialog_check_turn(const Json *turn, Err *err);
void dialog_list_keys(StrBuf *keys, const Json *object); // the first ones, for messages

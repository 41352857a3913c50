// chat_unrendered: fields of a conversation that leave no byte in the rendered text. Private to chat.c.
//
// By provenance: a field (of a list: each of its items) that holds text and of which no byte that is no white space
// comes out is left out by the template. Looked at are the fields that carry what was said: content, tool_calls, tools,
// reasoning, images and the like. Other keys that a template does not read (a speaker's name) are counted by jinja.h's
// `unread`.
#pragma once

#include "chat_mask.h"

// Notes the names of such fields ("[].tool_calls", "tools") and puts the place of the first one that must not be left
// out ("[1].tool_calls[0]") into `first`, a C string of `size` bytes; "" when there is none. Reasoning of a turn that a
// later user's turn follows may be left out where the template writes that of the last turn: that is how such models
// are asked.
void chat_find_unrendered(const ChatText *x, KeyNotes *names, char *first, size_t size);
// The fields of reasoning, a bit each, that the template writes in the last turn; the bit behind them stands for
// thoughts in content, in front of </think>, which some templates cut off.
unsigned chat_known_reasoning(const ChatTemplate *c, const Tokenizer *t);

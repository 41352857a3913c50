// chat_unrendered: fields of a conversation that leave no byte in the rendered text. Private to this room.
//
// By provenance: a template leaves out a field (of a list: an item) that holds text if no byte of it but white space is
// in the rendered text. Checked are content, tool_calls, tools, reasoning, images and the like. Other keys that a
// template does not read (a speaker's name) are in JinjaOutput.unread.
#pragma once

#include "chat_text.h"

// Notes the names of such fields ("[].tool_calls", "tools") and writes the place of the first one that must not be left
// out ("[1].tool_calls[0]") to `first`, a C string of `size` bytes; "": none. Reasoning before a later user turn may be
// missing if the template writes that of the last turn: such models are prompted without earlier reasoning.
void chat_find_unrendered(const ChatText *x, KeyNotes *names, char *first, size_t size);
// The fields of reasoning, a bit each, that the template writes in the last turn; the next bit is for thoughts in
// content, before </think>, which some templates cut off.
unsigned chat_known_reasoning(const ChatTemplate *c, const Tokenizer *t);

// chat_forms: the form in which a template reads parts, tool arguments and tool results; conversations are brought into
// it. Private to chat.c.
//
// Found by rendering small probes, once a template, so that what a template does decides and not what its source looks
// like:
//  - parts (content as a list): a role whose part is rendered as text gets the list as it is, as in transformers; a
//  role
//    that fails on it, or prints the list itself, gets the parts' texts joined. Where a role's parts are rendered and
//    its strings are not, strings are put into a part, as vLLM does.
//  - arguments of tool calls: text stays text where the template renders it letter for letter; else it is parsed. An
//    object stays one where the template renders its keys and values; else it is written as JSON text.
//  - a turn with calls and no content (null): null where the template takes it, the empty text where it fails or prints
//    "None".
//  - a tool's result that is no string (an object, a list that is no list of parts, a number, ...) stays what it is
//  where
//    the template renders its keys and values; else it is written as JSON text.
// JSON text is what Python's json.dumps(ensure_ascii=False) writes.
#pragma once

#include "jinja.h"
#include "message.h"

typedef enum { FORM_USER, FORM_ASSISTANT, FORM_SYSTEM, FORM_TOOL, FORM_ROLES } FormRole;

typedef struct ChatForms {
    bool parts[FORM_ROLES], strings[FORM_ROLES]; // content that the template renders as text
    bool arguments_as_text, arguments_as_object;
    bool result_as_object;
    bool null_as_text; // content of a turn with calls
} ChatForms;

void chat_forms_find(ChatForms *f, const JinjaTemplate *t, const char *bos, const char *eos);
// The messages in the forms of f: *messages itself where nothing changes. What is new belongs to the pool.
void chat_forms_apply(Json *out, const ChatForms *f, JsonPool *pool, const Json *messages);

// chat_forms: the forms in which a template takes parts, tool arguments and tool results, and the conversion of
// conversations to them. Private to this room.
//
// The forms are found by rendering small probes, once for each template:
//  - Content as a list of parts: kept for a role if the template renders the parts as text, as in transformers. If the
//    template fails on the list or prints it, the texts of the parts are joined. If the template renders parts but no
//    strings, a string is wrapped in a part, as vLLM does.
//  - Arguments of tool calls: text stays text if the template renders it unchanged; else it is parsed. An object stays
//    an object if the template renders its keys and values; else it is written as JSON text.
//  - Null content of a turn with calls: null if the template accepts it; the empty string if the template fails on it
//    or prints "None".
//  - A tool's result that is neither a string nor a list of parts stays a value if the template renders its keys and
//    values; else it is written as JSON text.
// JSON text is written as by Python's json.dumps(ensure_ascii=False).
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
// The messages in the forms of f. New values belong to the pool.
void chat_forms_apply(Json *out, const ChatForms *f, JsonPool *pool, const Json *messages);

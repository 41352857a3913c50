// chat_internal: a conversation as its template renders it, with tokens and the origin of every byte; the forms of
// content and calls that a template takes; supervised bytes; fields without text.
#pragma once

#include "chat.h"
#include "jinja.h"
#include "message.h"

// ---- forms (chat_forms.c) ----
// Found by rendering small probes, once for each template:
//  - Content as a list of parts: kept for a role if the template renders the parts as text, as in transformers. If the
//    template fails on the list or prints it, the texts of the parts are joined. If the template renders parts but no
//    strings, a string is wrapped in a part, as vLLM does.
//  - Arguments of tool calls: text stays text if the template renders it unchanged; else it is parsed. An object stays
//    an object if the template renders its keys and values; else it is written as JSON text.
//  - Null content of a turn with calls: null if the template accepts it; the empty string if the template fails on it
//    or prints "None".
//  - A tool's result that is neither a string nor a list of parts stays a value if the template renders its keys and
//    values; else it is written as JSON text.
//  - A thought (reasoning_content, reasoning, thinking) under a key that the template does not write gets the key that
//    it writes, if there is one.
// JSON text is written as by Python's json.dumps(ensure_ascii=False).

typedef enum { FORM_USER, FORM_ASSISTANT, FORM_SYSTEM, FORM_TOOL, FORM_ROLES } FormRole;

typedef struct ChatForms {
    bool parts[FORM_ROLES], strings[FORM_ROLES]; // content that the template renders as text
    bool arguments_as_text, arguments_as_object;
    bool result_as_object;
    bool null_as_text;  // content of a turn with calls
    unsigned reasoning; // chat_known_reasoning, set after it was found
} ChatForms;

void chat_forms_find(ChatForms *f, const JinjaTemplate *t, const char *bos, const char *eos);
// The messages in the forms of f. New values belong to the pool.
void chat_forms_apply(Json *out, const ChatForms *f, JsonPool *pool, const Json *messages);

// ---- a rendered conversation (chat_text.c) ----

struct ChatTemplate {
    JinjaTemplate *jinja;
    char *source;
    char *bos, *eos; // texts of the tokenizer's tokens, NULL when it has none
    char *header;    // what add_generation_prompt adds after a user's turn ("<|im_start|>assistant\n"); "": nothing
    char *closing;   // from end_of_turn to the last control token that closes an answer ("<|im_end|>"); "": none found
    int32_t end_of_turn; // first control token after an answer; -1: none found
    ChatForms forms;
    unsigned known_reasoning; // chat_known_reasoning
};

// Rendered and tokenised: chat_text_start, chat_text_render, chat_text_clear.
typedef struct ChatText {
    const ChatTemplate *c;
    const Tokenizer *t;
    JinjaInput in; // its messages are those of `messages`, in the template's forms
    Json messages;
    JsonPool pool;
    JinjaOutput out;
    TokenIds ids;
} ChatText;
void chat_text_start(ChatText *x, const ChatTemplate *c, const Tokenizer *t, const Json *messages);
int chat_text_render(ChatText *x, Err *err); // fills out and ids
// Renders messages[0, count) with the other variables of x, without tokens. -1: the template fails.
int chat_text_render_part(ChatText *part, const ChatText *x, size_t count, bool add_generation_prompt);
// Renders a short conversation in JSON; only out and ids remain.
int chat_text_probe(ChatText *x, const ChatTemplate *c, const Tokenizer *t, const char *messages, bool add_prompt);
void chat_text_clear(ChatText *x);
#define AUTO_CHAT_TEXT AUTO_CALL(chat_text_clear)

// First byte in [from, to) that comes from messages[index], from any other message (others), or from any message
// (index -1); `to`: none.
size_t chat_find_message(const ChatText *x, size_t from, size_t to, int64_t index, bool others);
// Index of the first control token that begins in [from, to), with `id` >= 0 of that token only; ids.count: none.
size_t chat_find_control(const ChatText *x, size_t from, size_t to, int32_t id);
size_t chat_token_at(const ChatText *x, size_t byte);   // first token that begins at the byte or later
size_t chat_token_end(const ChatText *x, size_t token); // its last byte + 1
size_t chat_message_at(const ChatText *x, size_t byte); // index of the message that a byte comes from
size_t chat_common_prefix(const char *a, size_t a_len, const char *b, size_t b_len);
static inline bool chat_is_message(uint32_t origin) { return origin >= JINJA_ORIGIN_MESSAGE; }

// ---- supervised bytes (chat_mask.c) ----

// A byte is 1 if it is supervised (x->out.len + 1 of them; mem_free). With train_on_inputs all are but turns that
// exclude themselves.
uint8_t *chat_supervised_bytes(const ChatText *x, const ChatInput *in);

// ---- fields without text (chat_unrendered.c) ----
// By provenance: a template leaves out a field (of a list: an item) that holds text if no byte of it but white space is
// in the rendered text. Checked are content, tool_calls, tools, reasoning, images and the like. Other keys that a
// template does not read (a speaker's name) are in JinjaOutput.unread.

// Notes the names of such fields ("[].tool_calls", "tools") and writes the place of the first one that must not be left
// out ("[1].tool_calls[0]") to `first`, a C string of `size` bytes; "": none. Reasoning before a later user turn may be
// missing if the template writes that of the last turn: such models are prompted without earlier reasoning.
void chat_find_unrendered(const ChatText *x, KeyNotes *names, char *first, size_t size);
extern const char *const chat_reasoning_keys[];
enum { REASONING_KEYS = 3 };
// The fields of reasoning, a bit each, that the template writes in the last turn; the next bit is for thoughts in
// content, before </think>, which some templates cut off.
unsigned chat_known_reasoning(const ChatTemplate *c, const Tokenizer *t);

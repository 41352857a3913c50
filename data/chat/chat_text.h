// chat_text: a conversation as its template renders it, with tokens and the origin of every byte. Private to this room.
#pragma once

#include "chat.h"
#include "chat_forms.h"
#include "jinja.h"

struct ChatTemplate {
    JinjaTemplate *jinja;
    char *source;
    char *bos, *eos; // texts of the tokenizer's tokens, NULL when it has none
    char *header;    // what add_generation_prompt adds after a user's turn ("<|im_start|>assistant\n"); "": nothing
    char *closing;   // from end_of_turn to the last control token that closes an answer ("<|im_end|>"); "": none found
    int32_t end_of_turn; // first control token after an answer; -1: none found
    ChatForms forms;
    unsigned known_reasoning; // chat_unrendered.h
};

// One conversation, rendered and tokenised: chat_text_start, chat_text_render, chat_text_clear.
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
void chat_text_clear(ChatText *x);

// First byte in [from, to) that comes from messages[index], from any other message (others), or from any message
// (index -1); `to`: none.
size_t chat_find_message(const ChatText *x, size_t from, size_t to, int64_t index, bool others);
// Index of the first control token that begins in [from, to), with `id` >= 0 of that token only; ids.count: none.
size_t chat_find_control(const ChatText *x, size_t from, size_t to, int32_t id);
size_t chat_token_at(const ChatText *x, size_t byte);   // first token that begins at the byte or later
size_t chat_token_end(const ChatText *x, size_t token); // its last byte + 1
size_t chat_message_at(const ChatText *x, size_t byte); // index of the message that a byte comes from
size_t chat_common_prefix(const char *a, size_t a_len, const char *b, size_t b_len);
static inline bool chat_is_message(uint32_t origin) {
    return origin >= JINJA_ORIGIN_MESSAGE;
}

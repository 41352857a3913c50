// chat_mask: which bytes of a rendered conversation are supervised. Private to chat.c.
#pragma once

#include "chat.h"
#include "chat_forms.h"
#include "jinja.h"

struct ChatTemplate {
    JinjaTemplate *jinja;
    char *source;
    char *bos, *eos; // texts of the tokenizer's tokens, NULL when it has none
    // What add_generation_prompt adds behind a user's turn ("<|im_start|>assistant\n"); "" for templates that add
    // nothing.
    char *header;
    int32_t end_of_turn; // first control token behind an answer; -1: none found
    char *closing; // from there to the last control token that closes an answer: "<|im_end|>"; "" when none is found
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
void chat_text_clear(ChatText *x);

// Position of the first byte at or behind `from` (before `to`) that comes from messages[index], from any message but
// that one, or from any message at all (index -1); `to` when there is none.
size_t chat_find_message(const ChatText *x, size_t from, size_t to, int64_t index, bool others);
// Index of the first control token that the template wrote and that begins in [from, to); with `id` >= 0 only that one.
// ids.count when there is none.
size_t chat_find_control(const ChatText *x, size_t from, size_t to, int32_t id);
size_t chat_token_end(const ChatText *x, size_t token); // byte behind it
size_t chat_message_at(const ChatText *x, size_t byte); // index of the message that a byte comes from
size_t chat_common_prefix(const char *a, size_t a_len, const char *b, size_t b_len);
static inline bool chat_is_message(uint32_t origin) {
    return origin >= JINJA_ORIGIN_MESSAGE;
}

// One byte per byte of out.text: 1 when supervised. The caller frees. everything: all but the messages that say no.
uint8_t *chat_supervised_bytes(const ChatText *x, bool everything);

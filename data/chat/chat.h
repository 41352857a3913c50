// chat: one conversation to tokens with a mask. Renders the chat template, tokenises, decides what is supervised.
//
// Supervised (unless train_on_inputs): the tokens of every assistant turn, from the first byte after the turn's header
// to its end-of-turn token, inclusive; never messages that exclude themselves (message.h). Decided by
// provenance (jinja.h), not by comparing prefixes, so templates that rewrite earlier turns work, too. If the template
// has {% generation %} spans, these decide instead, unless other turns than the assistant's are asked for. Text from
// data never becomes a control token.
//
// Parts: chat_template.c (the template and its probes), chat_text.c (rendering), chat_forms.c (forms of content and
// calls), chat_mask.c (supervised bytes), chat_unrendered.c (fields without text), chat.c (tokens and mask).
#pragma once

#include "base.h"
#include "key_notes.h"
#include "message.h"
#include "tokenizer.h"

typedef struct ChatTemplate ChatTemplate;

// From a .jinja file's text, or the tokenizer's own (source NULL; absent: error ERR_INPUT).
int chat_template_new(ChatTemplate **c, const Tokenizer *t, const char *source, Err *err);
void chat_template_free(ChatTemplate *c);
DEFINE_AUTO(ChatTemplate, chat_template_free)
const char *chat_template_source(const ChatTemplate *c); // NULL of NULL
// Token that ends an assistant turn (<|im_end|>, <|eot_id|>, ...), found by rendering a probe conversation; -1 if none.
int32_t chat_template_end_of_turn(const ChatTemplate *c);

typedef struct ChatTokens { // init with {0}; chat_tokens_clear frees
    char *text;             // the rendered conversation
    size_t text_len;
    int32_t *ids;
    uint8_t *supervised;
    size_t count, supervised_count;
    KeyNotes unread;     // keys that the template does not read (jinja.h), or whose text it leaves out
    char unrendered[96]; // the first field whose text is missing and must not be: "[1].tool_calls[0]"; "": none
    bool plain_control;  // data spells a control token, which stays plain text
    bool cannot_stop;    // a supervised turn ends without a control token
    size_t left_out;     // bytes without a token in the vocabulary: left out, or an unknown token (tokenizer.h)
} ChatTokens;
void chat_tokens_clear(ChatTokens *out);

typedef struct ChatInput {
    const Json *messages; // array of {"role", "content", ...}
    const Json *tools;    // array, or NULL
    const Json *extra;    // object of further template variables, or NULL
    bool add_generation_prompt, train_on_inputs;
    LearntTurns learnt; // without train_on_inputs
} ChatInput;

// Thread-safe: many calls may run at once over one template and tokenizer.
int chat_tokenize(ChatTokens *out, const ChatTemplate *c, const Tokenizer *t, const ChatInput *in, Err *err);

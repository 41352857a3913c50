// chat: a conversation to tokens with a mask, and notes of what the template leaves out.
#include "chat_internal.h"

#include <string.h>

void chat_tokens_clear(ChatTokens *out) {
    mem_free(out->text);
    mem_free(out->ids);
    mem_free(out->supervised);
    key_notes_clear(&out->unread);
    *out = (ChatTokens){0};
}

// A token is supervised when any of its bytes is: one across the border of a region holds text of the turn.
static void supervise(ChatTokens *out, const ChatText *x, const uint8_t *bytes) {
    for (size_t i = 0; i < x->ids.count; i++) {
        for (size_t at = x->ids.start[i], end = chat_token_end(x, i); at < end; at++) out->supervised[i] |= bytes[at];
        out->supervised_count += out->supervised[i];
    }
}

// A run of supervised tokens has no control token after its last text of a message.
static bool cannot_stop(const ChatTokens *out, const ChatText *x) {
    bool open = false;
    for (size_t i = 0; i < out->count; i++) {
        int32_t id = x->ids.ids[i];
        if (out->supervised[i] && (tokenizer_is_control(x->t, id) || tokenizer_is_end(x->t, id)))
            open = false;
        else if (out->supervised[i] && x->ids.start[i] < x->out.len)
            open |= chat_is_message(x->out.origin[x->ids.start[i]]);
        if (open && (i + 1 == out->count || !out->supervised[i + 1])) return true;
    }
    return false;
}

// The keys of text parts that were lost when the parts were joined.
static void note_parts(KeyNotes *unread, const Json *message, const Json *rendered) {
    const Json *parts = json_get(message, "content"), *content = json_get(rendered, "content");
    if (!message_has_parts(parts) || content->type != JSON_STRING) return;
    for (size_t i = 0; i < parts->count; i++)
        for (size_t k = 0; k < parts->items[i].count; k++) {
            JsonStr key = parts->items[i].keys[k];
            if (!json_str_is(key, "type") && !json_str_is(key, "text")) key_notes_add(unread, "[].content[].", key);
        }
}

// Adds `unread` without the mask keys (message.h), which are read although the template does not read them.
static void note_unread(KeyNotes *out, const KeyNotes *unread) {
    for (const char *p = key_notes_next(unread, NULL); p; p = key_notes_next(unread, p))
        if (!starts_with(p, "[].") || !message_is_mask_key(p + 3)) key_notes_add(out, "", json_str(p));
    out->more |= unread->more;
}

// Turns of others than the assistant that ask to be trained on: only train_on_inputs and roles_to_train train them.
static void note_roles(KeyNotes *out, const Json *messages, unsigned roles) {
    for (size_t i = 0; i < messages->count; i++) {
        const Json *m = &messages->items[i];
        if (message_training(m) == TRAINED && !message_is_learnt(m, roles))
            key_notes_add(out, "[].", json_str("train (true outside assistant turns)"));
    }
}

static void note_left_out(ChatTokens *out, ChatText *x, const ChatInput *in) {
    const Json *messages = in->messages;
    note_unread(&out->unread, &x->out.unread);
    for (size_t i = 0; i < messages->count; i++) note_parts(&out->unread, &messages->items[i], &x->messages.items[i]);
    chat_find_unrendered(x, &out->unread, out->unrendered, sizeof out->unrendered);
    out->plain_control = tokenizer_spells_control(x->t, x->out.text, x->out.len, x->out.origin);
    out->cannot_stop = in->learnt.eos <= EOS_ALL && cannot_stop(out, x);
}

int chat_tokenize(ChatTokens *out, const ChatTemplate *c, const Tokenizer *t, const ChatInput *in, Err *err) {
    chat_tokens_clear(out);
    AUTO_CHAT_TEXT ChatText x;
    chat_text_start(&x, c, t, in->messages);
    x.in.tools = in->tools;
    x.in.extra = in->extra;
    x.in.add_generation_prompt = in->add_generation_prompt;
    if (chat_text_render(&x, err)) return -1;
    out->count = x.ids.count;
    out->left_out = x.ids.left_out + x.ids.unknown;
    out->supervised = mem_calloc(x.ids.count + 1, 1);
    AUTO_FREE uint8_t *bytes = chat_supervised_bytes(&x, in);
    supervise(out, &x, bytes);
    note_left_out(out, &x, in);
    if (!in->train_on_inputs) note_roles(&out->unread, in->messages, in->learnt.roles);
    out->text_len = x.out.len;
    out->text = mem_take(&x.out.text);
    out->ids = mem_take(&x.ids.ids);
    return 0;
}

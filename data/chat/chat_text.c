// chat_text: renders conversations, and finds messages and control tokens in the text.
#include "chat_internal.h"

#include <string.h>

void chat_text_clear(ChatText *x) {
    jinja_output_clear(&x->out);
    token_ids_clear(&x->ids);
    json_pool_clear(&x->pool);
}

void chat_text_start(ChatText *x, const ChatTemplate *c, const Tokenizer *t, const Json *messages) {
    *x = (ChatText){.c = c, .t = t};
    if (messages->type == JSON_ARRAY)
        chat_forms_apply(&x->messages, &c->forms, &x->pool, messages);
    else
        x->messages = *messages; // rendering refuses it
    x->in = (JinjaInput){.messages = &x->messages, .bos_token = c->bos, .eos_token = c->eos};
}

int chat_text_render(ChatText *x, Err *err) {
    if (jinja_render(x->c->jinja, &x->in, &x->out, err)) return -1;
    tokenizer_encode(x->t, x->out.text, x->out.len, x->out.origin, true, &x->ids);
    return token_ids_check(&x->ids, err);
}

int chat_text_render_part(ChatText *part, const ChatText *x, size_t count, bool add_generation_prompt) {
    *part = (ChatText){.c = x->c, .t = x->t, .in = x->in, .messages = json_list(x->in.messages->items, count)};
    part->in.messages = &part->messages;
    part->in.add_generation_prompt = add_generation_prompt;
    return jinja_render(x->c->jinja, &part->in, &part->out, NULL);
}

int chat_text_probe(ChatText *x, const ChatTemplate *c, const Tokenizer *t, const char *messages, bool add_prompt) {
    AUTO_JSON JsonDoc *doc = NULL;
    CHECK(json_parse(&doc, messages, strlen(messages), "probe", 0, NULL) == 0, "%s", messages);
    chat_text_start(x, c, t, json_root(doc));
    x->in.add_generation_prompt = add_prompt;
    x->in.is_probe = true;
    int rc = chat_text_render(x, NULL);
    x->in.messages = NULL; // they end with the document
    return rc;
}

// ---- finding ----

size_t chat_message_at(const ChatText *x, size_t byte) { return x->out.origin[byte] & JINJA_ORIGIN_INDEX; }

size_t chat_find_message(const ChatText *x, size_t from, size_t to, int64_t index, bool others) {
    for (size_t i = from; i < to; i++) {
        if (!chat_is_message(x->out.origin[i])) continue;
        if (index < 0 || ((int64_t)chat_message_at(x, i) == index) != others) return i;
    }
    return to;
}

size_t chat_token_end(const ChatText *x, size_t token) {
    size_t start = x->ids.start[token], end = token + 1 < x->ids.count ? x->ids.start[token + 1] : x->out.len;
    return end > start ? end : start + 1; // NFC can leave tokens without a byte of their own
}

size_t chat_token_at(const ChatText *x, size_t byte) {
    size_t low = 0, high = x->ids.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (x->ids.start[middle] < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

size_t chat_find_control(const ChatText *x, size_t from, size_t to, int32_t id) {
    for (size_t i = chat_token_at(x, from); i < x->ids.count && x->ids.start[i] < to; i++)
        if (tokenizer_is_control(x->t, x->ids.ids[i]) && (id < 0 || x->ids.ids[i] == id)) return i;
    return x->ids.count;
}

size_t chat_common_prefix(const char *a, size_t a_len, const char *b, size_t b_len) {
    size_t n = 0;
    while (n < a_len && n < b_len && a[n] == b[n]) n++;
    return n;
}

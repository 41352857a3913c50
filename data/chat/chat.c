// chat: templates and conversations to tokens. What is supervised is decided in chat_mask.c.
#include "chat.h"

#include <string.h>

#include "chat_mask.h"
#include "chat_unrendered.h"

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

// ---- what the template writes around turns, found with probe conversations ----

static JsonStr json_text(const char *s) {
    return (JsonStr){.data = s, .len = strlen(s)};
}

// Renders user, assistant, user ... (n messages) with one word each; -1 when the template refuses that.
static int render_probe(ChatText *x, const ChatTemplate *c, const Tokenizer *t, size_t n, bool add_generation_prompt) {
    JsonStr keys[] = {json_text("role"), json_text("content")};
    Json fields[3][2], turns[3];
    CHECK(n <= 3);
    for (size_t i = 0; i < n; i++) {
        fields[i][0] = (Json){.type = JSON_STRING, .str = json_text(i % 2 ? "assistant" : "user")};
        fields[i][1] = (Json){.type = JSON_STRING, .str = json_text("probe")};
        turns[i] = (Json){.type = JSON_OBJECT, .count = 2, .items = fields[i], .keys = keys};
    }
    Json messages = {.type = JSON_ARRAY, .count = n, .items = turns};
    chat_text_start(x, c, t, &messages);
    x->in.add_generation_prompt = add_generation_prompt;
    x->in.is_probe = true;
    int rc = chat_text_render(x, NULL);
    x->in.messages = NULL; // the turns end with this function
    return rc;
}

static size_t behind_probe_word(const ChatText *x) {
    size_t at = x->out.len;
    while (at > 0 && x->out.origin[at - 1] == 0) at--;
    return at;
}

// x: an answer that ends at `from` and a user's turn whose word is at `next`; last: the same answer as the last turn.
// `first`: behind the first control token. Returns the byte of x behind the closing tokens.
static size_t closing_end(const ChatText *x, const ChatText *last, size_t from, size_t next, size_t first) {
    size_t tail = behind_probe_word(last), end = first;
    size_t n = chat_common_prefix(x->out.text + from, next - from, last->out.text + tail, last->out.len - tail);
    for (size_t i = chat_find_control(x, from, from + n, -1); i < x->ids.count && chat_token_end(x, i) <= from + n; i++)
        if (tokenizer_is_control(x->t, x->ids.ids[i])) end = chat_token_end(x, i);
    // In the midst of a header: the template writes one behind the last turn, too, asked or not.
    size_t rest = tail + n;
    bool in_header = rest < last->out.len && !strchr(" \t\r\n", last->out.text[rest]) &&
                     chat_find_control(last, rest, rest + 1, -1) == last->ids.count;
    return in_header ? first : end;
}

// How an answer of the probe is closed: what follows its word both in front of a user's turn and at the end of the
// conversation, up to the last control token. Where the two have none in common: the first control token in front of
// the user's turn. What stands only at the end (an end-of-text token) is not the turn's.
static void probe_closing(ChatTemplate *c, const Tokenizer *t) {
    ChatText x = {0}, last = {0};
    c->closing = mem_strdup("");
    if (render_probe(&x, c, t, 3, false) == 0) {
        size_t answer = chat_find_message(&x, 0, x.out.len, 1, false), from = answer;
        while (from < x.out.len && x.out.origin[from] && chat_message_at(&x, from) == 1) from++;
        size_t next = chat_find_message(&x, answer, x.out.len, 1, true), token = chat_find_control(&x, from, next, -1);
        if (token < x.ids.count) {
            size_t begin = x.ids.start[token], end = chat_token_end(&x, token);
            c->end_of_turn = x.ids.ids[token];
            if (render_probe(&last, c, t, 2, false) == 0) end = closing_end(&x, &last, from, next, end);
            mem_free(c->closing);
            c->closing = mem_strndup(x.out.text + begin, end - begin);
        }
    }
    chat_text_clear(&x);
    chat_text_clear(&last);
}

// What add_generation_prompt adds. Some templates write something else without it (an end-of-text token), so the texts
// behind the user's word are compared, and the header begins with the token in which they part.
static char *probe_header(const ChatTemplate *c, const Tokenizer *t) {
    ChatText with = {0}, without = {0};
    char *header = NULL;
    if (render_probe(&with, c, t, 1, true) == 0 && render_probe(&without, c, t, 1, false) == 0) {
        size_t a = behind_probe_word(&with), b = behind_probe_word(&without);
        while (a < with.out.len && b < without.out.len && with.out.text[a] == without.out.text[b]) a++, b++;
        size_t begin = with.out.len;
        for (size_t i = 0; i < with.ids.count && a < with.out.len; i++) {
            if (with.ids.start[i] <= a) begin = with.ids.start[i];
        }
        header = mem_strndup(with.out.text + begin, with.out.len - begin);
    }
    chat_text_clear(&without);
    chat_text_clear(&with);
    return header ? header : mem_strdup("");
}

// ---- interface ----

static char *token_text(const Tokenizer *t, int32_t id) {
    size_t len;
    if (id < 0) return NULL;
    const char *piece = tokenizer_piece(t, id, &len);
    return mem_strndup(piece, len);
}

int chat_template_new(ChatTemplate **out, const Tokenizer *t, const char *source, Err *err) {
    *out = NULL;
    if (!source) source = tokenizer_chat_template(t);
    if (!source) return err_input(err, "the model has no chat template; give one with chat_template");
    ChatTemplate *c = mem_calloc(1, sizeof *c);
    c->source = mem_strdup(source);
    c->bos = token_text(t, tokenizer_bos(t));
    c->eos = token_text(t, tokenizer_eos(t));
    if (jinja_compile(&c->jinja, source, strlen(source), "chat template", err)) {
        chat_template_free(c);
        return -1;
    }
    chat_forms_find(&c->forms, c->jinja, c->bos, c->eos);
    c->end_of_turn = -1;
    probe_closing(c, t);
    c->header = probe_header(c, t);
    c->known_reasoning = chat_known_reasoning(c, t);
    *out = c;
    return 0;
}

void chat_template_free(ChatTemplate *c) {
    if (!c) return;
    jinja_free(c->jinja);
    mem_free(c->source);
    mem_free(c->bos);
    mem_free(c->eos);
    mem_free(c->header);
    mem_free(c->closing);
    mem_free(c);
}

const char *chat_template_source(const ChatTemplate *c) {
    return c->source;
}

int32_t chat_template_end_of_turn(const ChatTemplate *c) {
    return c->end_of_turn;
}

void chat_tokens_clear(ChatTokens *out) {
    mem_free(out->text);
    mem_free(out->ids);
    mem_free(out->supervised);
    key_notes_clear(&out->unread);
    *out = (ChatTokens){0};
}

// A token is supervised when any of its bytes is: one that reaches over the border of a region has text of the turn in
// it.
static void supervise(ChatTokens *out, const ChatText *x, const uint8_t *bytes) {
    for (size_t i = 0; i < x->ids.count; i++) {
        for (size_t at = x->ids.start[i], end = chat_token_end(x, i); at < end; at++) out->supervised[i] |= bytes[at];
        out->supervised_count += out->supervised[i];
    }
}

// A run of supervised tokens without a control token behind the last text of a message in it.
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

// The keys of text parts that joining them has left out.
static void note_parts(KeyNotes *unread, const Json *message, const Json *rendered) {
    const Json *parts = json_get(message, "content"), *content = json_get(rendered, "content");
    if (!message_has_parts(parts) || content->type != JSON_STRING) return;
    for (size_t i = 0; i < parts->count; i++)
        for (size_t k = 0; k < parts->items[i].count; k++) {
            JsonStr key = parts->items[i].keys[k];
            if (!json_str_is(key, "type") && !json_str_is(key, "text")) key_notes_add(unread, "[].content[].", key);
        }
}

// But for the keys that decide what is trained on: those are read here.
static void note_unread(KeyNotes *out, const KeyNotes *unread) {
    for (const char *p = key_notes_next(unread, NULL); p; p = key_notes_next(unread, p))
        if (!starts_with(p, "[].") || !message_is_mask_key(p + 3)) key_notes_add(out, "", json_str(p));
    out->more |= unread->more;
}

// Turns that ask to be trained on and are not the assistant's: only train_on_inputs does that.
static void note_roles(KeyNotes *out, const Json *messages) {
    for (size_t i = 0; i < messages->count; i++) {
        const Json *m = &messages->items[i];
        if (message_training(m) == TRAINED && !json_is_string(json_get(m, "role"), "assistant"))
            key_notes_add(out, "[].", json_str("train (true outside assistant turns)"));
    }
}

static void note_losses(ChatTokens *out, ChatText *x, const Json *messages) {
    note_unread(&out->unread, &x->out.unread);
    for (size_t i = 0; i < messages->count; i++) note_parts(&out->unread, &messages->items[i], &x->messages.items[i]);
    chat_find_unrendered(x, &out->unread, out->unrendered, sizeof out->unrendered);
    out->plain_control = tokenizer_spells_control(x->t, x->out.text, x->out.len, x->out.origin);
    out->cannot_stop = cannot_stop(out, x);
}

int chat_tokenize(ChatTokens *out, const ChatTemplate *c, const Tokenizer *t, const ChatInput *in, Err *err) {
    chat_tokens_clear(out);
    ChatText x;
    chat_text_start(&x, c, t, in->messages);
    x.in.tools = in->tools;
    x.in.extra = in->extra;
    x.in.add_generation_prompt = in->add_generation_prompt;
    if (chat_text_render(&x, err)) {
        chat_text_clear(&x);
        return -1;
    }
    out->count = x.ids.count;
    out->left_out = x.ids.left_out + x.ids.unknown;
    out->supervised = mem_calloc(x.ids.count + 1, 1);
    uint8_t *bytes = chat_supervised_bytes(&x, in->train_on_inputs);
    supervise(out, &x, bytes);
    mem_free(bytes);
    note_losses(out, &x, in->messages);
    if (!in->train_on_inputs) note_roles(&out->unread, in->messages);
    out->text = x.out.text;
    out->text_len = x.out.len;
    out->ids = x.ids.ids;
    x.out.text = NULL;
    x.ids.ids = NULL;
    chat_text_clear(&x);
    return 0;
}

// chat_template: a chat template with what it writes around turns, found with small probe conversations.
#include "chat_internal.h"

#include <string.h>

// ---- probes: what the template writes around turns ----

#define USER "{\"role\": \"user\", \"content\": \"probe\"}"
#define USER_ASSISTANT USER ", {\"role\": \"assistant\", \"content\": \"probe\"}"

// Renders user, assistant, user ... (n messages) with one word each; -1 when the template refuses that.
static int render_probe(ChatText *x, const ChatTemplate *c, const Tokenizer *t, size_t n, bool add_generation_prompt) {
    static const char *const probes[] = {"[" USER "]", "[" USER_ASSISTANT "]", "[" USER_ASSISTANT ", " USER "]"};
    return chat_text_probe(x, c, t, probes[n - 1], add_generation_prompt);
}

static size_t after_probe_word(const ChatText *x) {
    size_t at = x->out.len;
    while (at > 0 && x->out.origin[at - 1] == 0) at--;
    return at;
}

// Returns the end of the control tokens that close an answer of x. from: end of the answer; first: end of its first
// control token; next: first byte of the next user message; last: the same conversation truncated after the answer.
static size_t closing_end(const ChatText *x, const ChatText *last, size_t from, size_t next, size_t first) {
    size_t tail = after_probe_word(last), end = first;
    size_t n = chat_common_prefix(x->out.text + from, next - from, last->out.text + tail, last->out.len - tail);
    for (size_t i = chat_find_control(x, from, from + n, -1); i < x->ids.count && chat_token_end(x, i) <= from + n; i++)
        if (tokenizer_is_control(x->t, x->ids.ids[i])) end = chat_token_end(x, i);
    // Where the two differ inside a header, the template writes one after the last turn, too.
    size_t rest = tail + n;
    bool in_header = rest < last->out.len && !strchr(" \t\r\n", last->out.text[rest]) &&
                     chat_find_control(last, rest, rest + 1, -1) == last->ids.count;
    return in_header ? first : end;
}

// How an answer of the probe is closed: what follows its word both before a user's turn and at the end of the
// conversation, up to the last control token. Where the two share no control token: the first one before the user's
// turn. A token that appears only at the end (end of text) does not belong to the turn.
static void probe_closing(ChatTemplate *c, const Tokenizer *t) {
    AUTO_CHAT_TEXT ChatText x = {0}, last = {0};
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
}

// What add_generation_prompt adds. Some templates write something else without it (an end-of-text token), so the texts
// after the user's word are compared, and the header begins with the token in which they differ.
static char *probe_header(const ChatTemplate *c, const Tokenizer *t) {
    AUTO_CHAT_TEXT ChatText with = {0}, without = {0};
    if (render_probe(&with, c, t, 1, true) || render_probe(&without, c, t, 1, false)) return mem_strdup("");
    size_t a = after_probe_word(&with), b = after_probe_word(&without), begin = with.out.len;
    a += chat_common_prefix(with.out.text + a, with.out.len - a, without.out.text + b, without.out.len - b);
    for (size_t i = 0; i < with.ids.count && a < with.out.len; i++)
        if (with.ids.start[i] <= a) begin = with.ids.start[i];
    return mem_strndup(with.out.text + begin, with.out.len - begin);
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
    if (!source) source = t->chat_template;
    if (!source) return err_input(err, "the model has no chat template; give one with chat_template");
    AUTO(chat_template_free) ChatTemplate *c = mem_calloc(1, sizeof *c);
    c->source = mem_strdup(source);
    c->bos = token_text(t, t->bos);
    c->eos = token_text(t, t->eos);
    if (jinja_compile(&c->jinja, source, strlen(source), "chat template", err)) return -1;
    chat_forms_find(&c->forms, c->jinja, c->bos, c->eos);
    c->end_of_turn = -1;
    probe_closing(c, t);
    c->header = probe_header(c, t);
    c->known_reasoning = chat_known_reasoning(c, t);
    c->forms.reasoning = c->known_reasoning;
    *out = mem_take(&c);
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

const char *chat_template_source(const ChatTemplate *c) { return c ? c->source : NULL; }

int32_t chat_template_end_of_turn(const ChatTemplate *c) { return c->end_of_turn; }

// chat_mask: the supervised bytes of a conversation, by provenance.
//
// The region of an assistant message begins after the turn's header and ends after its end-of-turn token:
//  - Begin: after the generation prompt, or as much of it as the template wrote there, in the text between the previous
//    message and this message's first byte. So text that the template writes into the turn (`<tool_call>\n{"name": "`,
//    an empty <think> block) is supervised: at inference the model has to write it. Where the generation prompt is not
//    found (or the template has none), the messages before are rendered alone with add_generation_prompt, and the
//    region begins where the full text continues differently. Failing that: at the message's first byte.
//  - End, searched between the message's last byte and the next message's first: after the closing control tokens that
//    the probe found; else after the first control token, and after those that follow it directly if a conversation
//    that ends here has them too. Without a control token: after the message's last byte.
//  - Text of the message that is repeated in a later turn (a call's name before its result) is not part of the region,
//    nor is a copy before the preceding messages (a quotation at the beginning) if the text also follows them.
//  - Of other roles that are learnt (LearntTurns) the region begins at the message's first byte and ends after the
//    token that ends an assistant's turn, where it is found before the next message.
//  - A message without a byte in the text (empty content) has the region from header to end-of-turn token, if both are
//    found between its neighbours; else none: the template dropped it.
// Bytes of other messages inside a region are never supervised. {% generation %} spans replace all this.
#include "chat_internal.h"

#include <string.h>

// ---- where a turn begins ----

// The end of the header in [from, to), or of the longest part of it: at least its first token, a control token. Of
// equal ones the last or the first. SIZE_MAX: none.
static size_t after_header(const ChatText *x, size_t from, size_t to, bool last) {
    size_t len = strlen(x->c->header), found = SIZE_MAX, longest = 0;
    for (size_t i = chat_token_at(x, from); i < x->ids.count && x->ids.start[i] < to; i++) {
        size_t at = x->ids.start[i], n = chat_common_prefix(x->out.text + at, to - at, x->c->header, len);
        if (!tokenizer_is_control(x->t, x->ids.ids[i]) || at + n < chat_token_end(x, i)) continue;
        if (n < longest || (n == longest && !last)) continue;
        longest = n;
        found = at + n;
    }
    return found;
}

// Renders messages[0, index) alone with a generation prompt and compares the text after their last byte with the full
// text in [from, to). SIZE_MAX: cannot be rendered, or nothing in common.
static size_t after_prompt(const ChatText *x, size_t index, size_t from, size_t to) {
    AUTO_CHAT_TEXT ChatText prompt = {0};
    if (index == 0 || chat_text_render_part(&prompt, x, index, true)) return SIZE_MAX;
    size_t tail = prompt.out.len;
    while (tail > 0 && !chat_is_message(prompt.out.origin[tail - 1])) tail--;
    size_t n = chat_common_prefix(prompt.out.text + tail, prompt.out.len - tail, x->out.text + from, to - from);
    return tail > 0 && n > 0 && n == prompt.out.len - tail ? from + n : SIZE_MAX;
}

// Variables of the record may change the header (enable_thinking: false adds an empty thought): then the prompt of the
// messages before is tried first.
static size_t turn_begin(const ChatText *x, size_t index, size_t from, size_t to, bool last) {
    bool may_differ = x->in.extra && x->in.extra->count > 0;
    size_t begin = may_differ ? after_prompt(x, index, from, to) : SIZE_MAX;
    if (begin == SIZE_MAX) begin = after_header(x, from, to, last);
    return begin == SIZE_MAX ? after_prompt(x, index, from, to) : begin;
}

// ---- regions ----

typedef struct Region {
    size_t begin, end; // empty: begin == end
} Region;

static bool is_assistant(const Json *message) {
    const Json *role = json_get(message, "role");
    return json_is_string(role, "assistant") || json_is_string(role, "model") || json_is_string(role, "gpt");
}

static bool is_of(const ChatText *x, size_t at, size_t index) {
    return chat_is_message(x->out.origin[at]) && chat_message_at(x, at) == index;
}

// The end of the turn of messages[index] in x, found by what follows the message's last byte in `turns`, which ends
// with that turn. SIZE_MAX: nothing does, or not in x.
static size_t end_as_in(const ChatText *x, const ChatText *turns, size_t index) {
    size_t last = turns->out.len;
    while (last > 0 && !is_of(turns, last - 1, index)) last--;
    const char *tail = turns->out.text + last;
    size_t n = turns->out.len - last;
    for (size_t at = 1; last && n && at + n <= x->out.len; at++)
        if (is_of(x, at - 1, index) && !is_of(x, at, index) && memcmp(x->out.text + at, tail, n) == 0) return at + n;
    return SIZE_MAX;
}

// How many bytes messages[0, index] alone share with the whole conversation: to the end of the turn, unless the
// template writes earlier turns in another way (drops their thoughts): then, if they differ before the message's own
// text, to the end of the same closing. 0: cannot be rendered.
static size_t turn_prefix(const ChatText *x, size_t index) {
    AUTO_CHAT_TEXT ChatText turns = {0};
    if (index + 1 >= x->in.messages->count) return x->out.len;
    if (chat_text_render_part(&turns, x, index + 1, false)) return 0;
    size_t n = chat_common_prefix(turns.out.text, turns.out.len, x->out.text, x->out.len);
    if (n > chat_find_message(x, 0, x->out.len, (int64_t)index, false)) return n;
    size_t end = end_as_in(x, &turns, index);
    return end == SIZE_MAX ? n : end;
}

typedef struct Turn {
    Region text;   // of the message's bytes; empty: none
    bool closed;   // bytes from here on repeat it in a later turn
    size_t prefix; // turn_prefix; SIZE_MAX: not computed yet
} Turn;

// Text of messages[index] appears again at `to`, after t->text: does it belong to a later turn? Templates repeat a
// call's name before its result.
static bool is_repetition(const ChatText *x, size_t index, Turn *t, size_t to) {
    size_t from = t->text.end;
    if (chat_find_message(x, from, to, -1, false) < to) return true;
    bool may_end_turn = x->c->end_of_turn < 0 || chat_find_control(x, from, to, -1) < x->ids.count;
    if (!may_end_turn) return false;
    if (t->prefix == SIZE_MAX) t->prefix = turn_prefix(x, index);
    if (t->prefix >= from) return t->prefix <= to;
    return x->c->end_of_turn >= 0 && chat_find_control(x, from, to, x->c->end_of_turn) < x->ids.count &&
           after_header(x, from, to, true) == SIZE_MAX;
}

// Where the text of each message begins: at its first byte after the beginning of the previous message, else at its
// first byte. SIZE_MAX: it has none. The caller frees.
static size_t *find_begins(const ChatText *x) {
    size_t n = x->in.messages->count, *begin = mem_alloc(n + 1, sizeof *begin);
    AUTO_FREE size_t *first = mem_alloc(n + 1, sizeof *first);
    AUTO_FREE size_t *before = mem_alloc(n + 1, sizeof *before); // the previous message that has text
    for (size_t i = 0; i < n; i++) begin[i] = first[i] = SIZE_MAX;
    for (size_t at = x->out.len; at-- > 0;)
        if (chat_is_message(x->out.origin[at])) first[chat_message_at(x, at)] = at;
    for (size_t i = 0, last = SIZE_MAX; i < n; i++) {
        before[i] = last;
        if (first[i] != SIZE_MAX) last = i;
    }
    for (size_t at = 0; at < x->out.len; at++) {
        if (!chat_is_message(x->out.origin[at])) continue;
        size_t i = chat_message_at(x, at);
        if (begin[i] == SIZE_MAX && (before[i] == SIZE_MAX || begin[before[i]] != SIZE_MAX)) begin[i] = at;
    }
    for (size_t i = 0; i < n; i++)
        if (begin[i] == SIZE_MAX) begin[i] = first[i];
    return begin;
}

static Turn *find_turns(const ChatText *x) {
    size_t n = x->in.messages->count;
    AUTO_FREE size_t *begin = find_begins(x);
    Turn *turns = mem_calloc(n + 1, sizeof *turns);
    for (size_t i = 0; i < n; i++) turns[i].prefix = SIZE_MAX;
    for (size_t at = 0; at < x->out.len; at++) {
        if (!chat_is_message(x->out.origin[at])) continue;
        size_t i = chat_message_at(x, at);
        Turn *t = &turns[i];
        if (at < begin[i]) continue;
        if (t->text.end == 0) t->text = (Region){at, at};
        if (at > t->text.end && !t->closed && is_assistant(&x->in.messages->items[i]))
            t->closed = is_repetition(x, i, t, at);
        if (!t->closed) t->text.end = at + 1;
    }
    return turns;
}

// The control tokens that close the turn of messages[index], whose text ends at `from`; empty there: none.
static Region turn_closing(const ChatText *x, size_t index, size_t from) {
    size_t limit = chat_find_message(x, from, x->out.len, -1, false), token = x->ids.count;
    if (x->c->end_of_turn >= 0) token = chat_find_control(x, from, limit, x->c->end_of_turn);
    if (token < x->ids.count) {
        size_t at = x->ids.start[token], n = strlen(x->c->closing);
        bool whole = n <= limit - at && memcmp(x->out.text + at, x->c->closing, n) == 0;
        return (Region){at, whole ? at + n : chat_token_end(x, token)};
    }
    if (is_assistant(&x->in.messages->items[index])) token = chat_find_control(x, from, limit, -1);
    if (token == x->ids.count) return (Region){from, from};
    // Closed in another way (a call): by all control tokens in a row that are written before the next turn.
    size_t n = turn_prefix(x, index), begin = x->ids.start[token], end = chat_token_end(x, token);
    for (token++; token < x->ids.count && x->ids.start[token] == end && chat_token_end(x, token) <= n; token++) {
        if (!tokenizer_is_control(x->t, x->ids.ids[token])) break;
        end = chat_token_end(x, token);
    }
    return (Region){begin, end};
}

// A turn: text with what the template writes around it, then the tokens that close it.
typedef struct TurnParts {
    size_t begin;
    Region closing;
} TurnParts;

static TurnParts parts_of_text(const ChatText *x, size_t index, Region span) {
    size_t gap = span.begin;
    while (gap > 0 && !chat_is_message(x->out.origin[gap - 1])) gap--;
    bool answer = is_assistant(&x->in.messages->items[index]);
    size_t begin = answer ? turn_begin(x, index, gap, span.begin, true) : SIZE_MAX;
    return (TurnParts){begin == SIZE_MAX ? span.begin : begin, turn_closing(x, index, span.end)};
}

// Of a message without a byte in the text; `from`: the end of the turn before it.
static TurnParts parts_of_nothing(const ChatText *x, size_t index, size_t from) {
    size_t limit = chat_find_message(x, from, x->out.len, -1, false);
    size_t begin = turn_begin(x, index, from, limit, false);
    if (begin == SIZE_MAX || x->c->end_of_turn < 0 ||
        chat_find_control(x, begin, limit, x->c->end_of_turn) == x->ids.count)
        return (TurnParts){from, {from, from}};
    return (TurnParts){begin, turn_closing(x, index, begin)};
}

// The turns' own bytes and what the template writes in them.
static void mark_region(const ChatText *x, size_t index, Region r, uint8_t value, uint8_t *mask) {
    for (size_t at = r.begin; at < r.end; at++) {
        if (!chat_is_message(x->out.origin[at]) || chat_message_at(x, at) == index) mask[at] = value;
    }
}

// With train_on_inputs: turns that exclude themselves get the value 0.
static void mark_excluded(const ChatText *x, uint8_t *mask) {
    AUTO_FREE Turn *turns = find_turns(x);
    size_t end = 0; // of the turns so far
    for (size_t i = 0; i < x->in.messages->count; i++) {
        const Json *m = &x->in.messages->items[i];
        Region r = turns[i].text;
        if (is_assistant(m)) {
            TurnParts t = r.end > r.begin ? parts_of_text(x, i, r) : parts_of_nothing(x, i, end);
            r = (Region){t.begin, t.closing.end};
        }
        if (message_training(m) == NOT_TRAINED) mark_region(x, i, r, 0, mask);
        if (r.end > end) end = r.end;
    }
}

// Turns that are learnt get the value 1.
static void mark_learnt(const ChatText *x, LearntTurns learnt, uint8_t *mask) {
    AUTO_FREE Turn *turns = find_turns(x);
    size_t end = 0, last = 0; // of the turns so far; the last one that is learnt
    Region last_closing = {0};
    for (size_t i = 0; i < x->in.messages->count; i++) {
        const Json *m = &x->in.messages->items[i];
        Region text = turns[i].text;
        bool wanted = message_is_learnt(m, learnt.roles), has_text = text.end > text.begin;
        TurnParts t = {text.begin, {text.end, text.end}};
        if (has_text && (is_assistant(m) || wanted || learnt.eos == EOS_ALL)) t = parts_of_text(x, i, text);
        if (!has_text && is_assistant(m)) t = parts_of_nothing(x, i, end);
        if (wanted) mark_region(x, i, (Region){t.begin, t.closing.begin}, 1, mask);
        if (learnt.eos == EOS_ALL || (learnt.eos == EOS_TURN && wanted)) mark_region(x, i, t.closing, 1, mask);
        if (wanted) {
            last_closing = t.closing;
            last = i;
        }
        if (t.closing.end > end) end = t.closing.end;
    }
    if (learnt.eos == EOS_LAST) mark_region(x, last, last_closing, 1, mask);
}

// Spans of {% generation %}, without those that hold text of a message that is not trained on.
static void mark_generation(const ChatText *x, uint8_t *mask) {
    for (size_t from = 0, to; from < x->out.len; from = to) {
        bool inside = x->out.generation[from], trained = true;
        for (to = from; to < x->out.len && x->out.generation[to] == inside; to++) {
            if (inside && chat_is_message(x->out.origin[to]))
                trained &= message_is_trained(&x->in.messages->items[chat_message_at(x, to)]);
        }
        memset(mask + from, inside && trained, to - from);
    }
}

uint8_t *chat_supervised_bytes(const ChatText *x, const ChatInput *in) {
    uint8_t *mask = mem_calloc(x->out.len + 1, 1);
    if (in->train_on_inputs) {
        memset(mask, 1, x->out.len + 1);
        mark_excluded(x, mask);
    } else if (x->out.generation && !learnt_turns_differ(in->learnt)) {
        mark_generation(x, mask);
    } else {
        mark_learnt(x, in->learnt, mask);
    }
    return mask;
}

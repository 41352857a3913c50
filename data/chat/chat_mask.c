// chat_mask: the supervised bytes of a conversation, by provenance.
//
// The region of an assistant message begins behind the turn's header and ends behind its end-of-turn token:
//  - begin: behind the generation prompt, or as much of it as stands there, in the text between the message before and
//    this message's first byte. So what the template itself writes into the turn (`<tool_call>\n{"name": "`, an empty
//    <think> block) is supervised: at inference the model has to write it. Where the generation prompt is not found (or
//    the template has none), the messages before are rendered alone with add_generation_prompt, and the region begins
//    where the full text goes on differently. Failing that: at the message's first byte.
//  - end: behind the control tokens that close a turn (found with a probe), if the template wrote them behind the
//    message's last byte and before the next message's first; else behind the first control token there, or several in
//    a row that a conversation ending here has, too; else behind the last byte.
//  - text of the message that comes again in a later turn (a call's name in front of its result) is no part of it, nor
//    is what stands in front of the messages before it (a quotation at the beginning), if it comes behind them too.
//  - a message of which no byte is left (empty content) has the region from header to end-of-turn token, if both are
//    found between its neighbours; else none: the template dropped it.
// Bytes of other messages inside a region are never supervised. {% generation %} spans replace all this.
#include "chat_mask.h"

#include <string.h>

static size_t message_of(uint32_t origin) {
    return origin & JINJA_ORIGIN_INDEX;
}

size_t chat_message_at(const ChatText *x, size_t byte) {
    return message_of(x->out.origin[byte]);
}

size_t chat_find_message(const ChatText *x, size_t from, size_t to, int64_t index, bool others) {
    for (size_t i = from; i < to; i++) {
        uint32_t origin = x->out.origin[i];
        if (!chat_is_message(origin)) continue;
        if (index < 0 || ((int64_t)message_of(origin) == index) != others) return i;
    }
    return to;
}

size_t chat_token_end(const ChatText *x, size_t token) {
    size_t start = x->ids.start[token], end = token + 1 < x->ids.count ? x->ids.start[token + 1] : x->out.len;
    return end > start ? end : start + 1; // NFC can leave tokens without a byte of their own
}

static size_t token_at(const ChatText *x, size_t byte) { // first token that begins at or behind the byte
    size_t low = 0, high = x->ids.count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (x->ids.start[middle] < byte) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

size_t chat_find_control(const ChatText *x, size_t from, size_t to, int32_t id) {
    for (size_t i = token_at(x, from); i < x->ids.count && x->ids.start[i] < to; i++) {
        if (tokenizer_is_control(x->t, x->ids.ids[i]) && (id < 0 || x->ids.ids[i] == id)) return i;
    }
    return x->ids.count;
}

// ---- where a turn begins ----

size_t chat_common_prefix(const char *a, size_t a_len, const char *b, size_t b_len) {
    size_t n = 0;
    while (n < a_len && n < b_len && a[n] == b[n]) n++;
    return n;
}

// Behind the place in [from, to) where the template wrote the header, or most of it: at least its first token, a
// control token. Of equal places the last or the first. SIZE_MAX: not there.
static size_t behind_header(const ChatText *x, size_t from, size_t to, bool last) {
    size_t len = strlen(x->c->header), found = SIZE_MAX, longest = 0;
    for (size_t i = token_at(x, from); i < x->ids.count && x->ids.start[i] < to; i++) {
        size_t at = x->ids.start[i], n = chat_common_prefix(x->out.text + at, to - at, x->c->header, len);
        if (!tokenizer_is_control(x->t, x->ids.ids[i]) || at + n < chat_token_end(x, i)) continue;
        if (n < longest || (n == longest && !last)) continue;
        longest = n;
        found = at + n;
    }
    return found;
}

// Renders messages[0, index) alone with a generation prompt and compares what it has behind its last message byte with
// what the full text has in [from, to). SIZE_MAX: cannot be rendered, or nothing in common.
static size_t behind_prompt(const ChatText *x, size_t index, size_t from, size_t to) {
    ChatText prompt = {.c = x->c, .t = x->t, .in = x->in};
    Json before = *x->in.messages;
    before.count = index;
    prompt.in.messages = &before;
    prompt.in.add_generation_prompt = true;
    size_t found = SIZE_MAX;
    if (index > 0 && jinja_render(x->c->jinja, &prompt.in, &prompt.out, NULL) == 0) {
        size_t tail = prompt.out.len;
        while (tail > 0 && !chat_is_message(prompt.out.origin[tail - 1])) tail--;
        size_t n = chat_common_prefix(prompt.out.text + tail, prompt.out.len - tail, x->out.text + from, to - from);
        if (tail > 0 && n > 0 && n == prompt.out.len - tail) found = from + n;
    }
    jinja_output_clear(&prompt.out);
    return found;
}

// Variables of the record may change the header (enable_thinking: false puts an empty thought behind it): then the
// messages before say it best.
static size_t turn_begin(const ChatText *x, size_t index, size_t from, size_t to, bool last) {
    bool may_differ = x->in.extra && x->in.extra->count > 0;
    size_t begin = may_differ ? behind_prompt(x, index, from, to) : SIZE_MAX;
    if (begin == SIZE_MAX) begin = behind_header(x, from, to, last);
    return begin == SIZE_MAX ? behind_prompt(x, index, from, to) : begin;
}

// ---- regions ----

typedef struct Region {
    size_t begin, end; // empty: begin == end
} Region;

static bool is_assistant(const Json *message) {
    const Json *role = json_get(message, "role");
    return json_is_string(role, "assistant") || json_is_string(role, "model") || json_is_string(role, "gpt");
}

// How far messages[0, index] alone are rendered as the whole conversation is: to the end of the turn, unless the
// template writes earlier turns in another way. 0: cannot be rendered.
static size_t turn_prefix(const ChatText *x, size_t index) {
    ChatText turns = {.c = x->c, .t = x->t, .in = x->in};
    Json upto = *x->in.messages;
    if (index + 1 >= upto.count) return x->out.len;
    upto.count = index + 1;
    turns.in.messages = &upto;
    turns.in.add_generation_prompt = false;
    size_t n = 0;
    if (jinja_render(x->c->jinja, &turns.in, &turns.out, NULL) == 0)
        n = chat_common_prefix(turns.out.text, turns.out.len, x->out.text, x->out.len);
    jinja_output_clear(&turns.out);
    return n;
}

typedef struct Turn {
    Region text;   // where the bytes of the message lie; empty: it has none
    bool closed;   // what comes now is a repetition in a later turn
    size_t prefix; // turn_prefix; SIZE_MAX: not asked yet
} Turn;

// Text of messages[index] ends with t->text and comes again at `to`: is that a repetition in another turn? Templates
// repeat a call's name in front of its result.
static bool is_repetition(const ChatText *x, size_t index, Turn *t, size_t to) {
    size_t from = t->text.end;
    if (chat_find_message(x, from, to, -1, false) < to) return true;
    bool may_end_turn = x->c->end_of_turn < 0 || chat_find_control(x, from, to, -1) < x->ids.count;
    if (!may_end_turn) return false;
    if (t->prefix == SIZE_MAX) t->prefix = turn_prefix(x, index);
    if (t->prefix >= from) return t->prefix <= to;
    return x->c->end_of_turn >= 0 && chat_find_control(x, from, to, x->c->end_of_turn) < x->ids.count &&
           behind_header(x, from, to, true) == SIZE_MAX;
}

// Where the text of each message begins: behind the beginning of the message before, if there is some; else at its
// first byte. SIZE_MAX: it has none. The caller frees.
static size_t *find_begins(const ChatText *x) {
    size_t n = x->in.messages->count, *begin = mem_alloc(n + 1, sizeof *begin),
           *first = mem_alloc(n + 1, sizeof *first);
    size_t *before = mem_alloc(n + 1, sizeof *before); // the nearest message before that has text
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
    mem_free(first);
    mem_free(before);
    return begin;
}

static Turn *find_turns(const ChatText *x) {
    size_t n = x->in.messages->count, *begin = find_begins(x);
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
    mem_free(begin);
    return turns;
}

// Behind the control tokens that close the turn of messages[index], whose text ends at `from`; `from` when none does.
static size_t turn_end(const ChatText *x, size_t index, size_t from) {
    size_t limit = chat_find_message(x, from, x->out.len, -1, false), token = x->ids.count;
    if (x->c->end_of_turn >= 0) token = chat_find_control(x, from, limit, x->c->end_of_turn);
    if (token < x->ids.count) {
        size_t at = x->ids.start[token], n = strlen(x->c->closing);
        bool whole = n <= limit - at && memcmp(x->out.text + at, x->c->closing, n) == 0;
        return whole ? at + n : chat_token_end(x, token);
    }
    token = chat_find_control(x, from, limit, -1);
    if (token == x->ids.count) return from;
    // Closed in its own way (a call): by all control tokens in a row that are there before the next turn is.
    size_t n = turn_prefix(x, index), end = chat_token_end(x, token);
    for (token++; token < x->ids.count && x->ids.start[token] == end && chat_token_end(x, token) <= n; token++) {
        if (!tokenizer_is_control(x->t, x->ids.ids[token])) break;
        end = chat_token_end(x, token);
    }
    return end;
}

static Region region_of_text(const ChatText *x, size_t index, Region span) {
    size_t gap = span.begin;
    while (gap > 0 && !chat_is_message(x->out.origin[gap - 1])) gap--;
    size_t begin = turn_begin(x, index, gap, span.begin, true);
    return (Region){begin == SIZE_MAX ? span.begin : begin, turn_end(x, index, span.end)};
}

// A message of which no byte is in the text; `from`: behind the turn before it.
static Region region_of_nothing(const ChatText *x, size_t index, size_t from) {
    size_t limit = chat_find_message(x, from, x->out.len, -1, false);
    size_t begin = turn_begin(x, index, from, limit, false);
    if (begin == SIZE_MAX || x->c->end_of_turn < 0 ||
        chat_find_control(x, begin, limit, x->c->end_of_turn) == x->ids.count)
        return (Region){from, from};
    return (Region){begin, turn_end(x, index, begin)};
}

// The turns' own bytes and what the template writes in them.
static void mark_region(const ChatText *x, size_t index, Region r, uint8_t value, uint8_t *mask) {
    for (size_t at = r.begin; at < r.end; at++) {
        uint32_t origin = x->out.origin[at];
        if (!chat_is_message(origin) || message_of(origin) == index) mask[at] = value;
    }
}

// Assistant turns that are trained on get the value 1; with `everything`, turns that are not get 0.
static void mark_turns(const ChatText *x, bool everything, uint8_t *mask) {
    Turn *turns = find_turns(x);
    size_t behind = 0; // the turns so far
    for (size_t i = 0; i < x->in.messages->count; i++) {
        const Json *m = &x->in.messages->items[i];
        Region r = turns[i].text;
        bool has_text = r.end > r.begin;
        bool wanted = everything ? message_training(m) == NOT_TRAINED : is_assistant(m) && message_is_trained(m);
        if (is_assistant(m)) r = has_text ? region_of_text(x, i, r) : region_of_nothing(x, i, behind);
        if (wanted) mark_region(x, i, r, !everything, mask);
        if (r.end > behind) behind = r.end;
    }
    mem_free(turns);
}

// Spans of {% generation %}, without those that hold text of a message that is not to be trained.
static void mark_generation(const ChatText *x, uint8_t *mask) {
    for (size_t from = 0, to; from < x->out.len; from = to) {
        bool inside = x->out.generation[from], trained = true;
        for (to = from; to < x->out.len && x->out.generation[to] == inside; to++) {
            uint32_t origin = x->out.origin[to];
            if (inside && chat_is_message(origin)) {
                trained &= message_is_trained(&x->in.messages->items[message_of(origin)]);
            }
        }
        memset(mask + from, inside && trained, to - from);
    }
}

uint8_t *chat_supervised_bytes(const ChatText *x, bool everything) {
    uint8_t *mask = mem_calloc(x->out.len + 1, 1);
    if (everything) memset(mask, 1, x->out.len + 1);
    if (x->out.generation && !everything) {
        mark_generation(x, mask);
    } else {
        mark_turns(x, everything, mask);
    }
    return mask;
}

// chat_unrendered: marks the places of fields that have text in the output, and finds fields without a mark.
#include "chat_internal.h"

#include <stdio.h>
#include <string.h>

const char *const chat_reasoning_keys[REASONING_KEYS] = {"reasoning_content", "reasoning", "thinking"};

static int reasoning_index(JsonStr key) {
    for (int i = 0; i < REASONING_KEYS; i++)
        if (json_str_is(key, chat_reasoning_keys[i])) return i;
    return -1;
}

static bool carries_meaning(JsonStr key) {
    static const char known[] =
        "content tool_calls tools functions reasoning_details images image image_url audio audios "
        "videos video documents citations refusal";
    return is_among(key.data, key.len, known) || reasoning_index(key) >= 0;
}

static bool has_text(const Json *v) {
    if (v->type == JSON_STRING)
        for (size_t i = 0; i < v->str.len; i++)
            if (!json_is_space(v->str.data[i])) return true;
    for (size_t i = 0; v->type >= JSON_ARRAY && i < v->count; i++)
        if ((v->type == JSON_ARRAY || !json_str_is(v->keys[i], "type")) && has_text(&v->items[i])) return true;
    return v->type > JSON_NULL && v->type < JSON_STRING;
}

// ---- places with rendered text ----

typedef struct Places {         // of an object
    bool (*seen)[JINJA_PLACES]; // [key][item]: has text in the output
    size_t count;
    size_t content_key, content_bytes; // of the key "content": its index and how many of its bytes are in the text
} Places;

static Places places_new(size_t keys) {
    size_t n = keys < JINJA_PLACES ? keys : JINJA_PLACES;
    return (Places){mem_calloc(n + 1, sizeof(bool[JINJA_PLACES])), n, SIZE_MAX, 0};
}

static Places message_places(const Json *m) {
    Places p = places_new(m->count);
    for (size_t k = 0; m->type == JSON_OBJECT && k < m->count && k < JINJA_PLACES; k++)
        if (json_str_is(m->keys[k], "content")) p.content_key = k;
    return p;
}

static void places_mark(Places *p, uint32_t origin) {
    size_t key = jinja_place_key(origin), item = jinja_place_item(origin);
    if (key < p->count) p->seen[key][item] = true;
}

static bool places_have(const Places *p, size_t key, size_t item) {
    uint32_t origin = jinja_place(key, item);
    key = jinja_place_key(origin);
    return key < p->count && p->seen[key][jinja_place_item(origin)];
}

static void mark_text(const ChatText *x, Places *messages, Places *data) {
    uint32_t last = 0;
    Places *at = data;
    for (size_t i = 0; i < x->out.len; i++) {
        uint32_t origin = x->out.origin[i];
        if (!origin || json_is_space(x->out.text[i])) continue;
        if (origin != last) at = chat_is_message(origin) ? &messages[chat_message_at(x, i)] : data;
        at->content_bytes += jinja_place_key(origin) == at->content_key;
        if (origin != last) places_mark(at, origin);
        last = origin;
    }
}

// ---- fields without rendered text ----

typedef struct Finder {
    const ChatText *x;
    KeyNotes *names;
    char *first;
    size_t size;
} Finder;

// prefix: of the field's name; place: of the message, where there is one.
static void note(Finder *f, const char *prefix, const char *place, JsonStr key, size_t item, bool may_be) {
    key_notes_add(f->names, prefix, key);
    if (may_be || *f->first) return;
    char index[32] = "";
    if (item < SIZE_MAX) snprintf(index, sizeof index, "[%zu]", item);
    snprintf(f->first, f->size, "%s%.64s%s", place, key.data, index);
}

static void look_at(Finder *f, const Places *p, size_t key, const Json *v, const char *names[2], JsonStr name,
                    bool may_be) {
    bool list = v->type == JSON_ARRAY;
    for (size_t i = 0; i < (list ? v->count : 1); i++)
        if (has_text(list ? &v->items[i] : v) && !places_have(p, key, i)) {
            note(f, names[0], names[1], name, list ? i : SIZE_MAX, may_be);
            return;
        }
}

static size_t count_text(const char *s, size_t len) {
    size_t n = 0;
    for (size_t i = 0; i < len; i++) n += !json_is_space(s[i]);
    return n;
}

// Content "<think>thought</think>answer" of which no more is in the text than the answer has.
static bool cuts_thought(const Places *p, const Json *content) {
    static const char OPEN[] = "<think>", CLOSE[] = "</think>";
    const char *s = content->str.data, *end = NULL;
    if (content->type != JSON_STRING) return false;
    for (const char *next = s; (next = strstr(next, CLOSE)); next += strlen(CLOSE)) end = next;
    if (!end) return false;
    size_t head = (size_t)(end - s), thought = count_text(s, head), after = head + strlen(CLOSE);
    if (strstr(s, OPEN) && thought >= strlen(OPEN)) thought -= strlen(OPEN);
    return thought && p->content_bytes <= count_text(s + after, content->str.len - after);
}

static void look_at_message(Finder *f, const Places *p, size_t index, bool user_follows) {
    const Json *m = &f->x->in.messages->items[index];
    char place[32];
    snprintf(place, sizeof place, "[%zu].", index);
    for (size_t k = 0; m->type == JSON_OBJECT && k < m->count; k++) {
        if (!carries_meaning(m->keys[k])) continue;
        int reasoning = reasoning_index(m->keys[k]);
        bool may_be = reasoning >= 0 && user_follows && (f->x->c->known_reasoning & 1u << reasoning);
        look_at(f, p, k, &m->items[k], (const char *[2]){"[].", place}, m->keys[k], may_be);
        may_be = user_follows && (f->x->c->known_reasoning & 1u << REASONING_KEYS);
        if (k == p->content_key && json_is_string(json_get(m, "role"), "assistant") && cuts_thought(p, &m->items[k]))
            note(f, "[].", place, json_str("content (<think>)"), SIZE_MAX, may_be);
    }
}

void chat_find_unrendered(const ChatText *x, KeyNotes *names, char *first, size_t size) {
    const Json *messages = x->in.messages, *extra = x->in.extra;
    Finder f = {x, names, first, size};
    Places *of_messages = mem_calloc(messages->count + 1, sizeof *of_messages);
    Places data = places_new(extra ? extra->count + 1 : 1);
    for (size_t i = 0; i < messages->count; i++) of_messages[i] = message_places(&messages->items[i]);
    mark_text(x, of_messages, &data);
    *first = 0;
    size_t last_user = messages->count;
    while (last_user > 0 && !json_is_string(json_get(&messages->items[last_user - 1], "role"), "user")) last_user--;
    for (size_t i = 0; i < messages->count; i++) look_at_message(&f, &of_messages[i], i, i < last_user);
    if (x->in.tools) look_at(&f, &data, 0, x->in.tools, (const char *[2]){"", ""}, json_str("tools"), false);
    for (size_t k = 0; extra && k < extra->count; k++)
        if (extra->items[k].type >= JSON_ARRAY)
            look_at(&f, &data, k + 1, &extra->items[k], (const char *[2]){"", ""}, extra->keys[k], false);
    for (size_t i = 0; i < messages->count; i++) mem_free(of_messages[i].seen);
    mem_free(of_messages);
    mem_free(data.seen);
}

// Does the template write the thought of a single answer with these keys (freed here)?
static bool writes_thought(const ChatTemplate *c, const Tokenizer *t, char *keys) {
    AUTO_FREE char *text = mem_printf("[{\"role\": \"user\", \"content\": \"qzquestion\"}, "
                                      "{\"role\": \"assistant\", \"content\": %s}]",
                                      keys);
    mem_free(keys);
    AUTO_CHAT_TEXT ChatText x;
    return chat_text_probe(&x, c, t, text, false) == 0 && strstr(x.out.text, "qzthought");
}

unsigned chat_known_reasoning(const ChatTemplate *c, const Tokenizer *t) {
    unsigned known = writes_thought(c, t, mem_strdup("\"<think>\\nqzthought\\n</think>\\n\\nqzanswer\""));
    known <<= REASONING_KEYS;
    for (int i = 0; i < REASONING_KEYS; i++)
        if (writes_thought(c, t, mem_printf("\"qzanswer\", \"%s\": \"qzthought\"", chat_reasoning_keys[i])))
            known |= 1u << i;
    return known;
}

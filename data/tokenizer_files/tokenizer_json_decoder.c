// tokenizer_json_decoder: the decoder and the post_processor of tokenizer.json.
#include <string.h>

#include "tokenizer_hf_internal.h"

// ---- decoder ----

enum { STRIP_MAX = 1 << 20 };

static int read_replace(JsonTokenizer *t, const JsonReader *r, int variant) {
    JsonStr pattern, content;
    bool literal;
    if (component_keys(r, "pattern content") || component_pattern(&pattern, &literal, r) ||
        component_content(&content, r))
        return -1;
    if (!literal) return err_input(t->err, "pattern: found a Regex; expected a String");
    detokenizer_add(t->out->detokenizer,
                    &(DetokenizerStep){.kind = DETOKENIZE_REPLACE, .from = pattern, .text = content});
    return 0;
}

static int read_strip(JsonTokenizer *t, const JsonReader *r, int variant) {
    JsonStr content;
    int64_t start, stop;
    if (component_keys(r, "content start stop") || json_read_text(r, "content", &content) ||
        json_read_int(r, &(JsonIntRule){"start", NULL, 0, JSON_AS_ABSENT, 0, STRIP_MAX}, &start) ||
        json_read_int(r, &(JsonIntRule){"stop", NULL, 0, JSON_AS_ABSENT, 0, STRIP_MAX}, &stop))
        return -1;
    if (!json_str_is(content, " ") || stop != 0)
        return err_input(t->err, "found content \"%.64s\", stop %ld; expected content \" \", stop 0", content.data,
                         stop);
    detokenizer_add(t->out->detokenizer,
                    &(DetokenizerStep){.kind = DETOKENIZE_STRIP, .count = (size_t)start, .whole = t->fused});
    return 0;
}

static int read_metaspace(JsonTokenizer *t, const JsonReader *r, int variant) {
    DetokenizerStep s = {.kind = DETOKENIZE_METASPACE};
    const Json *scheme = json_given(r->object, "prepend_scheme");
    if (component_keys(r, "replacement str_rep add_prefix_space prepend_scheme split") ||
        json_read_text(r, "replacement", &s.from) || json_read_flag(r, "add_prefix_space", true, &s.whole))
        return -1;
    if (s.from.len == 0) return err_input(t->err, "replacement: found \"\"; expected one character");
    if (scheme) s.whole = !json_is_string(scheme, "never");
    detokenizer_add(t->out->detokenizer, &s);
    return 0;
}

static int read_wordpiece(JsonTokenizer *t, const JsonReader *r, int variant) {
    DetokenizerStep s = {.kind = DETOKENIZE_WORDPIECE};
    if (component_keys(r, "prefix cleanup") || json_read_text(r, "prefix", &s.from) ||
        json_read_flag(r, "cleanup", true, &s.cleanup))
        return -1;
    detokenizer_add(t->out->detokenizer, &s);
    return 0;
}

static int read_bytes(JsonTokenizer *t, const JsonReader *r, int kind) {
    if (component_keys(r, kind == DETOKENIZE_BYTE_LEVEL ? "add_prefix_space trim_offsets use_regex" : "")) return -1;
    detokenizer_add(t->out->detokenizer, &(DetokenizerStep){.kind = (DetokenizerStepKind)kind});
    return 0;
}

static int read_fuse(JsonTokenizer *t, const JsonReader *r, int variant) {
    t->fused = true;
    return 0;
}

static bool is_fused(const JsonTokenizer *t) { return t->fused; }

int tokenizer_json_decoder(JsonTokenizer *t, const Json *v) {
    static const ComponentType types[] = {{"ByteFallback", .read = read_bytes, .variant = DETOKENIZE_BYTE_FALLBACK},
                                          {"ByteLevel", .read = read_bytes, .variant = DETOKENIZE_BYTE_LEVEL},
                                          {"Fuse", .read = read_fuse, .always = true},
                                          {"Metaspace", .read = read_metaspace},
                                          {"Replace", .read = read_replace},
                                          {"Strip", .read = read_strip, .always = true},
                                          {"WordPiece", .read = read_wordpiece},
                                          {"Sequence", .list = "decoders", .always = true}};
    return component_read(t, v,
                          &(ComponentKind){"decoder", types, sizeof types / sizeof *types, is_fused,
                                           "follows Fuse; expected only Strip after Fuse"});
}

// ---- post_processor ----

typedef struct Items {
    PostItem *items;
    int *n;
} Items;

static int add_item(Items to, PostItem item, Err *err) {
    if (*to.n == POST_ITEMS_MAX) return err_input(err, "found more than %d items; expected fewer", POST_ITEMS_MAX);
    to.items[(*to.n)++] = item;
    return 0;
}

// {"id": "A", "type_id": 0}
static int read_text_item(JsonTokenizer *t, const JsonReader *r, Items to, int32_t type) {
    JsonStr id;
    if (json_read_text(r, "id", &id)) return -1;
    if (!json_str_is(id, "A") && !json_str_is(id, "B"))
        return err_input(t->err, "Sequence: found \"%.64s\"; expected A or B", id.data);
    PostKind kind = json_str_is(id, "A") ? POST_TEXT_A : POST_TEXT_B;
    return add_item(to, (PostItem){kind, -1, type}, t->err);
}

// {"id": "[CLS]", "type_id": 0}, its ids looked up in special_tokens.
static int read_token_item(JsonTokenizer *t, const JsonReader *r, const Json *special, Items to, int32_t type) {
    JsonStr name;
    if (json_read_text(r, "id", &name)) return -1;
    const Json *ids = json_get(json_get(special, name.data), "ids");
    if (!ids || ids->type != JSON_ARRAY)
        return err_input(t->err, "special_tokens: \"%.64s\" has no ids; expected an array", name.data);
    for (size_t i = 0; i < ids->count; i++) {
        int32_t one;
        if (component_id(&one, t, &ids->items[i], "special_tokens") ||
            add_item(to, (PostItem){POST_TOKEN, one, type}, t->err))
            return -1;
    }
    return 0;
}

static int read_template(JsonTokenizer *t, const JsonReader *r, const char *key, Items to) {
    const Json *list = component_list(r, key), *special = json_get(r->object, "special_tokens");
    if (!list) return -1;
    for (size_t i = 0; i < list->count; i++) {
        const Json *text = json_get(&list->items[i], "Sequence"), *token = json_get(&list->items[i], "SpecialToken");
        int64_t type = 0;
        if (!text == !token) return err_input(t->err, "%s[%zu]: expected a Sequence or a SpecialToken", key, i);
        const JsonReader item = {text ? text : token, NULL, "", t->err};
        if (json_read_int(&item, &(JsonIntRule){"type_id", NULL, 0, JSON_AS_ABSENT, 0, 1}, &type) ||
            (text ? read_text_item(t, &item, to, (int32_t)type)
                  : read_token_item(t, &item, special, to, (int32_t)type)) != 0)
            return -1;
    }
    return 0;
}

// ["[SEP]", 102]
static int read_pair(JsonTokenizer *t, const JsonReader *r, const char *key, int32_t *id) {
    const Json *pair = json_get(r->object, key);
    if (!pair || pair->type != JSON_ARRAY || pair->count != 2)
        return err_input(t->err, "%s: expected an array of a token and its id", key);
    return component_id(id, t, &pair->items[1], key);
}

// [CLS] A [SEP] and [CLS] A [SEP] B [SEP], the last two of type 1; RoBERTa: <s> A </s> </s> B </s>, all of type 0.
static int read_cls_sep(JsonTokenizer *t, const JsonReader *r, int roberta) {
    PostProcessor *p = &t->out->post;
    int32_t cls = -1, sep = -1, second = roberta ? 0 : 1;
    if (component_keys(r, roberta ? "sep cls trim_offsets add_prefix_space" : "sep cls") ||
        read_pair(t, r, "cls", &cls) || read_pair(t, r, "sep", &sep))
        return -1;
    *p = (PostProcessor){.single = {{POST_TOKEN, cls, 0}, {POST_TEXT_A, -1, 0}, {POST_TOKEN, sep, 0}}, .n_single = 3};
    memcpy(p->pair, p->single, sizeof p->pair);
    p->n_pair = p->n_single;
    if (roberta) p->pair[p->n_pair++] = (PostItem){POST_TOKEN, sep, 0};
    p->pair[p->n_pair++] = (PostItem){POST_TEXT_B, -1, second};
    p->pair[p->n_pair++] = (PostItem){POST_TOKEN, sep, second};
    return 0;
}

static int read_templates(JsonTokenizer *t, const JsonReader *r, int variant) {
    PostProcessor *p = &t->out->post;
    p->n_single = p->n_pair = 0;
    if (component_keys(r, "single pair special_tokens") ||
        read_template(t, r, "single", (Items){p->single, &p->n_single}))
        return -1;
    return read_template(t, r, "pair", (Items){p->pair, &p->n_pair});
}

static int read_offsets(JsonTokenizer *t, const JsonReader *r, int variant) {
    return component_keys(r, "add_prefix_space trim_offsets use_regex");
}

static bool adds_tokens(const JsonTokenizer *t) { return t->out->post.n_single > 0; }

int tokenizer_json_post_processor(JsonTokenizer *t, const Json *v) {
    static const ComponentType types[] = {{"BertProcessing", .read = read_cls_sep, .variant = false},
                                          {"ByteLevel", .read = read_offsets, .always = true},
                                          {"RobertaProcessing", .read = read_cls_sep, .variant = true},
                                          {"TemplateProcessing", .read = read_templates},
                                          {"Sequence", .list = "processors", .always = true}};
    return component_read(t, v,
                          &(ComponentKind){"post_processor", types, sizeof types / sizeof *types, adds_tokens,
                                           "found a second one that adds tokens; expected one"});
}

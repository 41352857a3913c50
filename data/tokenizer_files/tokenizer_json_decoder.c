// tokenizer_json_decoder: the decoder and the post_processor of tokenizer.json.
#include <string.h>

#include "tokenizer_hf_internal.h"

// ---- decoder ----

enum { STRIP_MAX = 1 << 20 };

static int read_replace(JsonTokenizer *t, const Json *v) {
    JsonStr pattern, content;
    bool literal;
    if (component_keys(v, "pattern content", t->err) || component_pattern(&pattern, &literal, v, t->err) ||
        component_content(&content, v, t->err))
        return -1;
    if (!literal) return err_input(t->err, "pattern: found a Regex; expected a String");
    detokenizer_add(t->parts->detokenizer, &(DetokenizerStep){.kind = DETOKENIZE_REPLACE,
                                                              .from = pattern.data,
                                                              .from_len = pattern.len,
                                                              .text = content.data,
                                                              .text_len = content.len});
    return 0;
}

static int read_strip(JsonTokenizer *t, const Json *v) {
    JsonStr content;
    int64_t start, stop;
    if (component_keys(v, "content start stop", t->err) || component_text(&content, v, "content", t->err) ||
        component_count(&start, v, "start", 0, STRIP_MAX, t->err) ||
        component_count(&stop, v, "stop", 0, STRIP_MAX, t->err))
        return -1;
    if (!json_str_is(content, " ") || stop != 0)
        return err_input(t->err, "found content \"%.64s\", stop %lld; expected content \" \", stop 0", content.data,
                         (long long)stop);
    detokenizer_add(t->parts->detokenizer,
                    &(DetokenizerStep){.kind = DETOKENIZE_STRIP, .count = (size_t)start, .whole = t->fused});
    return 0;
}

static int read_metaspace(JsonTokenizer *t, const Json *v) {
    JsonStr replacement;
    const Json *scheme = json_given(v, "prepend_scheme");
    bool prefix;
    if (component_keys(v, "replacement str_rep add_prefix_space prepend_scheme split", t->err) ||
        component_text(&replacement, v, "replacement", t->err) ||
        component_flag(&prefix, v, "add_prefix_space", true, t->err))
        return -1;
    if (replacement.len == 0) return err_input(t->err, "replacement: found \"\"; expected one character");
    detokenizer_add(t->parts->detokenizer,
                    &(DetokenizerStep){.kind = DETOKENIZE_METASPACE,
                                       .from = replacement.data,
                                       .from_len = replacement.len,
                                       .whole = scheme ? !json_is_string(scheme, "never") : prefix});
    return 0;
}

static int read_wordpiece(JsonTokenizer *t, const Json *v) {
    JsonStr prefix;
    bool cleanup;
    if (component_keys(v, "prefix cleanup", t->err) || component_text(&prefix, v, "prefix", t->err) ||
        component_flag(&cleanup, v, "cleanup", true, t->err))
        return -1;
    detokenizer_add(t->parts->detokenizer,
                    &(DetokenizerStep){
                        .kind = DETOKENIZE_WORDPIECE, .from = prefix.data, .from_len = prefix.len, .cleanup = cleanup});
    return 0;
}

static int read_kind(JsonTokenizer *t, const Json *v, DetokenizerStepKind kind, const char *keys) {
    if (component_keys(v, keys, t->err)) return -1;
    detokenizer_add(t->parts->detokenizer, &(DetokenizerStep){.kind = kind});
    return 0;
}

static int read_byte_level(JsonTokenizer *t, const Json *v) {
    return read_kind(t, v, DETOKENIZE_BYTE_LEVEL, "add_prefix_space trim_offsets use_regex");
}

static int read_byte_fallback(JsonTokenizer *t, const Json *v) {
    return read_kind(t, v, DETOKENIZE_BYTE_FALLBACK, "");
}

static int read_fuse(JsonTokenizer *t, const Json *v) {
    (void)v;
    t->fused = true;
    return 0;
}

static bool is_fused(const JsonTokenizer *t) {
    return t->fused;
}

int tokenizer_json_decoder(JsonTokenizer *t, const Json *v) {
    static const ComponentType types[] = {{"ByteFallback", .read = read_byte_fallback},
                                          {"ByteLevel", .read = read_byte_level},
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

static int read_id(int32_t *out, const JsonTokenizer *t, const Json *v, const char *what) {
    int64_t id;
    if (!json_whole(v, &id) || id < 0 || id >= vocab_size(t->parts->vocab))
        return err_input(t->err, "%s: found %s; expected a token id below %d", what,
                         v->str.data ? v->str.data : json_type_name(v), vocab_size(t->parts->vocab));
    *out = (int32_t)id;
    return 0;
}

// {"id": "A", "type_id": 0}
static int read_text_item(JsonTokenizer *t, const Json *v, Items to, int32_t type) {
    JsonStr id;
    if (component_text(&id, v, "id", t->err)) return -1;
    if (!json_str_is(id, "A") && !json_str_is(id, "B"))
        return err_input(t->err, "Sequence: found \"%.64s\"; expected A or B", id.data);
    PostKind kind = json_str_is(id, "A") ? POST_TEXT_A : POST_TEXT_B;
    return add_item(to, (PostItem){kind, -1, type}, t->err);
}

// {"id": "[CLS]", "type_id": 0}, its ids looked up in special_tokens.
static int read_token_item(JsonTokenizer *t, const Json *v, const Json *special, Items to, int32_t type) {
    JsonStr name;
    if (component_text(&name, v, "id", t->err)) return -1;
    const Json *ids = json_get(json_get(special, name.data), "ids");
    if (!ids || ids->type != JSON_ARRAY)
        return err_input(t->err, "special_tokens: \"%.64s\" has no ids; expected an array", name.data);
    for (size_t i = 0; i < ids->count; i++) {
        int32_t one;
        if (read_id(&one, t, &ids->items[i], "special_tokens") ||
            add_item(to, (PostItem){POST_TOKEN, one, type}, t->err))
            return -1;
    }
    return 0;
}

static int read_template(JsonTokenizer *t, const Json *v, const char *key, Items to) {
    const Json *list = component_list(v, key, t->err), *special = json_get(v, "special_tokens");
    if (!list) return -1;
    for (size_t i = 0; i < list->count; i++) {
        const Json *text = json_get(&list->items[i], "Sequence"), *token = json_get(&list->items[i], "SpecialToken");
        int64_t type = 0;
        if (!text == !token) return err_input(t->err, "%s[%zu]: expected a Sequence or a SpecialToken", key, i);
        if (component_count(&type, text ? text : token, "type_id", 0, 1, t->err)) return -1;
        int rc =
            text ? read_text_item(t, text, to, (int32_t)type) : read_token_item(t, token, special, to, (int32_t)type);
        if (rc) return -1;
    }
    return 0;
}

// ["[SEP]", 102]
static int read_pair(JsonTokenizer *t, const Json *v, const char *key, int32_t *id) {
    const Json *pair = json_get(v, key);
    if (!pair || pair->type != JSON_ARRAY || pair->count != 2)
        return err_input(t->err, "%s: expected an array of a token and its id", key);
    return read_id(id, t, &pair->items[1], key);
}

static void put(PostItem *items, int *n, PostKind kind, int32_t id, int32_t type) {
    items[(*n)++] = (PostItem){kind, id, type};
}

// [CLS] A [SEP] and [CLS] A [SEP] B [SEP], the last two of type 1; RoBERTa: <s> A </s> </s> B </s>, all of type 0.
static int read_cls_sep(JsonTokenizer *t, const Json *v, bool roberta) {
    PostProcessor *p = &t->parts->post;
    int32_t cls = -1, sep = -1, second = roberta ? 0 : 1;
    if (component_keys(v, roberta ? "sep cls trim_offsets add_prefix_space" : "sep cls", t->err) ||
        read_pair(t, v, "cls", &cls) || read_pair(t, v, "sep", &sep))
        return -1;
    p->n_single = p->n_pair = 0;
    put(p->single, &p->n_single, POST_TOKEN, cls, 0);
    put(p->single, &p->n_single, POST_TEXT_A, -1, 0);
    put(p->single, &p->n_single, POST_TOKEN, sep, 0);
    memcpy(p->pair, p->single, sizeof p->pair);
    p->n_pair = p->n_single;
    if (roberta) put(p->pair, &p->n_pair, POST_TOKEN, sep, second);
    put(p->pair, &p->n_pair, POST_TEXT_B, -1, second);
    put(p->pair, &p->n_pair, POST_TOKEN, sep, second);
    return 0;
}

static int read_templates(JsonTokenizer *t, const Json *v) {
    PostProcessor *p = &t->parts->post;
    p->n_single = p->n_pair = 0;
    if (component_keys(v, "single pair special_tokens", t->err) ||
        read_template(t, v, "single", (Items){p->single, &p->n_single}))
        return -1;
    return read_template(t, v, "pair", (Items){p->pair, &p->n_pair});
}

static int read_bert(JsonTokenizer *t, const Json *v) {
    return read_cls_sep(t, v, false);
}

static int read_roberta(JsonTokenizer *t, const Json *v) {
    return read_cls_sep(t, v, true);
}

static int read_offsets(JsonTokenizer *t, const Json *v) {
    return component_keys(v, "add_prefix_space trim_offsets use_regex", t->err);
}

static bool adds_tokens(const JsonTokenizer *t) {
    return t->parts->post.n_single > 0;
}

int tokenizer_json_post_processor(JsonTokenizer *t, const Json *v) {
    static const ComponentType types[] = {{"BertProcessing", .read = read_bert},
                                          {"ByteLevel", .read = read_offsets, .always = true},
                                          {"RobertaProcessing", .read = read_roberta},
                                          {"TemplateProcessing", .read = read_templates},
                                          {"Sequence", .list = "processors", .always = true}};
    return component_read(t, v,
                          &(ComponentKind){"post_processor", types, sizeof types / sizeof *types, adds_tokens,
                                           "found a second one that adds tokens; expected one"});
}

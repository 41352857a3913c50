// tokenizer_json: the components of tokenizer.json in their order, and the helpers of their readers.
#include "tokenizer_hf_internal.h"

#include <stdio.h>
#include <string.h>

// ---- helpers ----

// NULL with *err set: it has none.
static const char *component_type(const Json *v, const char *what, Err *err) {
    const Json *t = json_get(v, "type");
    if (v->type != JSON_OBJECT)
        err_input(err, "%s: found %s; expected an object", what, json_type_name(v));
    else if (!t || t->type != JSON_STRING)
        err_input(err, "%s: \"type\" is missing; expected a string", what);
    else
        return t->str.data;
    return NULL;
}

static int read_list(JsonTokenizer *t, const JsonReader *r, const char *key, const ComponentKind *kind) {
    enum { LIST_MAX = 64 }; // nesting is bounded by the JSON reader
    const Json *list = component_list(r, key);
    if (!list) return -1;
    if (list->count > LIST_MAX)
        return err_input(t->err, "%s: found %zu components; expected at most %d", key, list->count, LIST_MAX);
    for (size_t i = 0; i < list->count; i++)
        if (component_read(t, &list->items[i], kind)) return -1;
    return 0;
}

static int refuse_type(const ComponentKind *kind, const char *type, Err *err) {
    AUTO_STR StrBuf known = {0};
    for (size_t i = 0; i < kind->n_types; i++)
        str_printf(&known, "%s%s", !i ? "" : i + 1 < kind->n_types ? ", " : " and ", kind->types[i].name);
    return err_input(err, "%s \"%.64s\" is not supported; known are %s", kind->name, type, known.data);
}

int component_read(JsonTokenizer *t, const Json *v, const ComponentKind *kind) {
    enum { MAX_COMPONENTS = 256 }; // each is run over every text; a Sequence may hold Sequences
    if (++t->n_components > MAX_COMPONENTS)
        return err_input(t->err, "%s: found more than %d components; expected fewer", kind->name, MAX_COMPONENTS);
    const char *name = component_type(v, kind->name, t->err);
    if (!name) return -1;
    const ComponentType *type = kind->types, *end = type + kind->n_types;
    while (type < end && strcmp(type->name, name) != 0) type++;
    if (type == end) return refuse_type(kind, name, t->err);
    const JsonReader r = {v, NULL, "", t->err};
    int rc = 0;
    if (!type->always && kind->is_complete && kind->is_complete(t))
        rc = err_input(t->err, "%s", kind->refusal);
    else
        rc = type->list ? read_list(t, &r, type->list, kind) : type->read(t, &r, type->variant);
    return rc ? err_context(t->err, "%s %.64s", kind->name, name) : 0;
}

int component_keys(const JsonReader *r, const char *keys) {
    for (size_t i = 0; i < r->object->count; i++) {
        JsonStr key = r->object->keys[i];
        if (!json_str_is(key, "type") && !is_among(key.data, key.len, keys))
            return err_input(r->err, "key \"%.64s\" is not known; expected %s", key.data, *keys ? keys : "none");
    }
    return 0;
}

int component_content(JsonStr *out, const JsonReader *r) {
    enum { MAX_CONTENT = 1 << 16 };
    if (json_read_text(r, "content", out)) return -1;
    if (out->len <= MAX_CONTENT) return 0;
    return err_input(r->err, "content: found %zu bytes; expected at most %d", out->len, MAX_CONTENT);
}

const Json *component_list(const JsonReader *r, const char *key) {
    const Json *list = json_get(r->object, key);
    if (list && list->type == JSON_ARRAY) return list;
    json_refuse(r, key, list, "an array");
    return NULL;
}

int component_pattern(JsonStr *out, bool *literal, const JsonReader *r) {
    const Json *p = json_get(r->object, "pattern");
    if (!p || p->type != JSON_OBJECT || p->count != 1 || !(json_get(p, "String") || json_get(p, "Regex")))
        return err_input(r->err, "pattern: expected {\"String\": ...} or {\"Regex\": ...}");
    *literal = json_get(p, "String") != NULL;
    if (json_read_text(&(JsonReader){p, NULL, "pattern.", r->err}, *literal ? "String" : "Regex", out)) return -1;
    if (out->len == 0) return err_input(r->err, "pattern: found an empty one; expected text");
    return 0;
}

int component_id(int32_t *out, const JsonTokenizer *t, const Json *v, const char *what) {
    int64_t id;
    char shown[JSON_SHOWN];
    int32_t n = vocab_size(t->out->vocab);
    if (!json_whole(v, &id) || id < 0 || id >= n)
        return err_input(t->err, "%s: found %s; expected a token id below %d", what, json_show(shown, v), n);
    *out = (int32_t)id;
    return 0;
}

// ---- the file ----

static int read_components(JsonTokenizer *t, const Json *root) {
    const Json *normalizer = json_given(root, "normalizer"), *pre = json_given(root, "pre_tokenizer");
    const Json *decoder = json_given(root, "decoder"), *post = json_given(root, "post_processor");
    const Json *model = json_given(root, "model");
    if (!model) return err_input(t->err, "\"model\" is missing; expected a model of type BPE, Unigram or WordPiece");
    if (normalizer && tokenizer_json_normalizer(t, normalizer)) return -1;
    if (pre && tokenizer_json_pre_tokenizer(t, pre)) return -1;
    if (decoder && tokenizer_json_decoder(t, decoder)) return -1;
    if (tokenizer_json_model(t, model, json_given(root, "added_tokens"))) return -1;
    return post ? tokenizer_json_post_processor(t, post) : 0;
}

int tokenizer_json_read(Tokenizer *out, const Json *root, const NamedTokens *named, Err *err) {
    JsonTokenizer t = {.out = out, .named = named, .err = err};
    if (root->type != JSON_OBJECT) return err_input(err, "found %s; expected an object", json_type_name(root));
    return read_components(&t, root);
}

// tokenizer_json: the components of tokenizer.json in their order, and the helpers of their readers.
#include "tokenizer_hf_internal.h"

#include <stdio.h>
#include <string.h>

// ---- helpers ----

static int component_type(const char **type, const Json *v, const char *what, Err *err) {
    const Json *t = json_get(v, "type");
    *type = NULL;
    if (v->type != JSON_OBJECT) return err_input(err, "%s: found %s; expected an object", what, json_type_name(v));
    if (!t || t->type != JSON_STRING) return err_input(err, "%s: \"type\" is missing; expected a string", what);
    *type = t->str.data;
    return 0;
}

static bool has_word(const char *words, JsonStr word) {
    while (*words) {
        size_t n = strcspn(words, " ");
        if (n == word.len && memcmp(words, word.data, n) == 0) return true;
        words += n + (words[n] == ' ');
    }
    return false;
}

static int read_list(JsonTokenizer *t, const Json *v, const char *key, const ComponentKind *kind) {
    enum { LIST_MAX = 64 }; // nesting is bounded by the JSON reader
    const Json *list = component_list(v, key, t->err);
    if (!list) return -1;
    if (list->count > LIST_MAX)
        return err_input(t->err, "%s: found %zu components; expected at most %d", key, list->count, LIST_MAX);
    for (size_t i = 0; i < list->count; i++)
        if (component_read(t, &list->items[i], kind)) return -1;
    return 0;
}

static int refuse_type(const ComponentKind *kind, const char *type, Err *err) {
    StrBuf known = {0};
    for (size_t i = 0; i < kind->n_types; i++)
        str_printf(&known, "%s%s", !i ? "" : i + 1 < kind->n_types ? ", " : " and ", kind->types[i].name);
    err_input(err, "%s \"%.64s\" is not supported; known are %s", kind->name, type, known.data);
    str_clear(&known);
    return -1;
}

int component_read(JsonTokenizer *t, const Json *v, const ComponentKind *kind) {
    enum { MAX_COMPONENTS = 256 }; // each is run over every text; a Sequence may hold Sequences
    const char *name;
    if (++t->n_components > MAX_COMPONENTS)
        return err_input(t->err, "%s: found more than %d components; expected fewer", kind->name, MAX_COMPONENTS);
    if (component_type(&name, v, kind->name, t->err)) return -1;
    const ComponentType *type = kind->types, *end = type + kind->n_types;
    while (type < end && strcmp(type->name, name) != 0) type++;
    if (type == end) return refuse_type(kind, name, t->err);
    int rc = 0;
    if (!type->always && kind->is_complete && kind->is_complete(t))
        rc = err_input(t->err, "%s", kind->refusal);
    else
        rc = type->list ? read_list(t, v, type->list, kind) : type->read(t, v);
    return rc ? err_context(t->err, "%s %.64s", kind->name, name) : 0;
}

int component_keys(const Json *v, const char *keys, Err *err) {
    for (size_t i = 0; i < v->count; i++)
        if (!json_str_is(v->keys[i], "type") && !has_word(keys, v->keys[i]))
            return err_input(err, "key \"%.64s\" is not known; expected %s", v->keys[i].data, *keys ? keys : "none");
    return 0;
}

int component_text(JsonStr *out, const Json *v, const char *key, Err *err) {
    const Json *s = json_get(v, key);
    if (!s || s->type != JSON_STRING)
        return err_input(err, "%s: found %s; expected a string", key, s ? json_type_name(s) : "nothing");
    *out = s->str;
    return 0;
}

int component_content(JsonStr *out, const Json *v, Err *err) {
    enum { MAX_CONTENT = 1 << 16 };
    if (component_text(out, v, "content", err)) return -1;
    return out->len <= MAX_CONTENT
               ? 0
               : err_input(err, "content: found %zu bytes; expected at most %d", out->len, MAX_CONTENT);
}

int component_flag(bool *out, const Json *v, const char *key, bool absent, Err *err) {
    const Json *b = json_get(v, key);
    *out = absent;
    if (!b || b->type == JSON_NULL) return 0;
    if (b->type != JSON_TRUE && b->type != JSON_FALSE)
        return err_input(err, "%s: found %s; expected true or false", key, json_type_name(b));
    *out = b->type == JSON_TRUE;
    return 0;
}

int component_count(int64_t *out, const Json *v, const char *key, int64_t absent, int64_t most, Err *err) {
    const Json *n = json_given(v, key);
    *out = absent;
    if (!n) return 0;
    if (!json_whole(n, out) || *out < 0 || *out > most)
        return err_input(err, "%s: found %s; expected 0 to %lld", key, n->str.data ? n->str.data : json_type_name(n),
                         (long long)most);
    return 0;
}

const Json *component_list(const Json *v, const char *key, Err *err) {
    const Json *a = json_get(v, key);
    if (a && a->type == JSON_ARRAY) return a;
    err_input(err, "%s: found %s; expected an array", key, a ? json_type_name(a) : "nothing");
    return NULL;
}

int component_pattern(JsonStr *out, bool *literal, const Json *v, Err *err) {
    const Json *p = json_get(v, "pattern");
    if (!p || p->type != JSON_OBJECT || p->count != 1 || !(json_get(p, "String") || json_get(p, "Regex")))
        return err_input(err, "pattern: expected {\"String\": ...} or {\"Regex\": ...}");
    *literal = json_get(p, "String") != NULL;
    if (component_text(out, p, *literal ? "String" : "Regex", err)) return err_context(err, "pattern");
    if (out->len == 0) return err_input(err, "pattern: found an empty one; expected text");
    return 0;
}

// ---- the file ----

static int read_components(JsonTokenizer *t, const Json *root) {
    const Json *normalizer = json_given(root, "normalizer"), *pre = json_given(root, "pre_tokenizer");
    const Json *decoder = json_given(root, "decoder"), *post = json_given(root, "post_processor");
    const Json *model = json_given(root, "model");
    if (!model) return err_input(t->err, "\"model\" is missing; expected a model of type BPE or WordPiece");
    if (normalizer && tokenizer_json_normalizer(t, normalizer)) return -1;
    if (pre && tokenizer_json_pre_tokenizer(t, pre)) return -1;
    if (decoder && tokenizer_json_decoder(t, decoder)) return -1;
    if (tokenizer_json_model(t, model, json_given(root, "added_tokens"))) return -1;
    return post ? tokenizer_json_post_processor(t, post) : 0;
}

int tokenizer_json_read(TokenizerParts *p, const Json *root, const NamedTokens *named, Err *err) {
    JsonTokenizer t = {.parts = p, .named = named, .err = err};
    if (root->type != JSON_OBJECT) return err_input(err, "found %s; expected an object", json_type_name(root));
    return read_components(&t, root);
}

// tokenizer_hf_named: the tokens that the small files next to tokenizer.json name, in the order in which transformers 5
// adds them: those of added_tokens_decoder (without it: of added_tokens.json) by their ids, then the roles, then tokens
// with names of the model's own ("image_token"), then the extra ones. special_tokens_map.json counts only where
// tokenizer_config.json has no added_tokens_decoder; it then goes first.
#include <stdlib.h>
#include <string.h>

#include "tokenizer_hf_internal.h"

static const char *const ROLES[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                    "pad_token", "cls_token", "mask_token"};
enum { N_ROLES = sizeof ROLES / sizeof ROLES[0] };
static const char CONFIG[] = "tokenizer_config.json", MAP[] = "special_tokens_map.json", ADDED[] = "added_tokens.json";

int added_entry_read(AddedEntry *e, const Json *v, bool special, Err *err) {
    const JsonReader r = {v, NULL, "", err};
    *e = (AddedEntry){.id = -1};
    if (v->type != JSON_OBJECT) return err_input(err, "found %s; expected an object", json_type_name(v));
    if (json_read_text(&r, "content", &e->content) || json_read_flag(&r, "special", special, &e->special)) return -1;
    e->special = e->special || special;
    return json_read_flag(&r, "normalized", !e->special, &e->normalized) ||
                   json_read_flag(&r, "single_word", false, &e->single_word) ||
                   json_read_flag(&r, "lstrip", false, &e->lstrip) || json_read_flag(&r, "rstrip", false, &e->rstrip)
               ? -1
               : 0;
}

// A token as text or as an object with "content"; NULL when it is neither.
static const JsonStr *token_text(const Json *v) {
    if (v && v->type == JSON_OBJECT) v = json_get(v, "content");
    return v && v->type == JSON_STRING && v->str.len ? &v->str : NULL;
}

static bool has_decoder(const NamingFiles *f) { return json_given(f->config, "added_tokens_decoder") != NULL; }

// The value of a key that both files may have, and which file it is.
static const Json *named_value(const NamingFiles *f, const char *key, const char **file) {
    const Json *v = has_decoder(f) ? NULL : json_given(f->special_map, key);
    *file = v ? MAP : CONFIG;
    return v ? v : json_given(f->config, key);
}

const JsonStr *named_role(const NamingFiles *f, const char *role) {
    const char *file;
    return token_text(named_value(f, role, &file));
}

void named_tokens_clear(NamedTokens *n) {
    mem_free(n->added);
    mem_free(n->special);
    *n = (NamedTokens){0};
}

// ---- which are special ----

static void name_special(NamedTokens *n, const JsonStr *text) {
    if (!text) return;
    MEM_GROW(n->special, n->special_capacity, n->n_special + 1);
    n->special[n->n_special++] = *text;
}

// False only for an object of tokenizer_config.json (it has "__type") without "special": true.
static bool says_special(const Json *v) {
    const Json *special = json_get(v, "special");
    return v->type == JSON_STRING || !json_get(v, "__type") || (special && special->type == JSON_TRUE);
}

static void name_list(NamedTokens *n, const Json *list) {
    bool whole = list && (list->type == JSON_ARRAY || list->type == JSON_OBJECT);
    for (size_t i = 0; whole && i < list->count; i++)
        if (says_special(&list->items[i])) name_special(n, token_text(&list->items[i]));
}

static void name_lists(NamedTokens *n, const Json *map) {
    name_list(n, json_get(map, "additional_special_tokens"));
    name_list(n, json_get(map, "extra_special_tokens"));
    name_list(n, json_get(map, "model_specific_special_tokens"));
}

static void name_specials(NamedTokens *n, const Json *map) {
    for (int i = 0; map && i < N_ROLES; i++) name_special(n, token_text(json_get(map, ROLES[i])));
    name_lists(n, map);
}

static bool is_special(const NamedTokens *n, JsonStr text) {
    for (size_t i = 0; i < n->n_special; i++)
        if (json_str_equal(n->special[i], text)) return true;
    return false;
}

// ---- which are added ----

static void push(NamedTokens *n, AddedEntry e, const char *file) {
    e.file = file;
    if (e.content.len == 0) return;
    MEM_GROW(n->added, n->added_capacity, n->n_added + 1);
    n->added[n->n_added++] = e;
}

static int compare_ids(const void *a, const void *b) {
    const AddedEntry *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

// {"49152": {"content": ...}}
static int read_decoder(NamedTokens *n, const Json *decoder, Err *err) {
    if (decoder->type != JSON_OBJECT)
        return err_input(err, "added_tokens_decoder: found %s; expected an object", json_type_name(decoder));
    for (size_t i = 0; i < decoder->count; i++) {
        const char *key = decoder->keys[i].data;
        AddedEntry e;
        char *end;
        long long id = strtoll(key, &end, 10);
        if (added_entry_read(&e, &decoder->items[i], false, err))
            return err_context(err, "added_tokens_decoder \"%.32s\"", key);
        if (end == key || *end || id < 0)
            return err_input(err, "added_tokens_decoder: found \"%.32s\" for \"%.64s\"; expected an id", key,
                             e.content.data);
        e.id = id;
        push(n, e, CONFIG);
    }
    return 0;
}

// The token that tokenizer.json adds under an id, NULL: none.
static const JsonStr *tokenizer_added(const NamingFiles *f, int64_t id) {
    const Json *list = json_given(f->tokenizer, "added_tokens");
    for (size_t i = 0; list && list->type == JSON_ARRAY && i < list->count; i++) {
        int64_t own;
        if (json_whole(json_get(&list->items[i], "id"), &own) && own == id) return token_text(&list->items[i]);
    }
    return NULL;
}

// {"<token>": 49152}; named: those that are special there.
static int read_added_ids(NamedTokens *n, const NamedTokens *named, const NamingFiles *f, Err *err) {
    for (size_t i = 0; f->added && i < f->added->count; i++) {
        AddedEntry e = {.content = f->added->keys[i]};
        if (!json_whole(&f->added->items[i], &e.id) || e.id < 0)
            return err_input(err, "\"%.64s\": found %s; expected an id", e.content.data,
                             json_type_name(&f->added->items[i]));
        const JsonStr *other = tokenizer_added(f, e.id);
        if (other && !json_str_equal(*other, e.content))
            return err_input(err, "\"%.64s\" has id %ld, which tokenizer.json gives \"%.64s\"; expected one id each",
                             e.content.data, e.id, other->data);
        if (other) continue; // with its flags there
        e.special = is_special(named, e.content);
        e.normalized = !e.special;
        push(n, e, ADDED);
    }
    return 0;
}

static int read_added(NamedTokens *n, const NamingFiles *f, Err *err) {
    AUTO_CALL(named_tokens_clear) NamedTokens named = {0};
    for (int i = 0; i < N_ROLES; i++) name_special(&named, named_role(f, ROLES[i]));
    name_lists(&named, f->config);
    return read_added_ids(n, &named, f, err);
}

// Is it in tokenizer.json, or among the first n_listed, those of the two lists with ids?
static bool is_listed(const NamedTokens *n, size_t n_listed, const NamingFiles *f, JsonStr text) {
    const Json *list = json_given(f->tokenizer, "added_tokens");
    for (size_t i = 0; i < n_listed; i++)
        if (json_str_equal(n->added[i].content, text)) return true;
    for (size_t i = 0; list && list->type == JSON_ARRAY && i < list->count; i++) {
        const JsonStr *own = token_text(&list->items[i]);
        if (own && json_str_equal(*own, text)) return true;
    }
    return false;
}

static bool is_same(const AddedEntry *a, const AddedEntry *b) {
    return a->as_text == b->as_text && a->special == b->special && a->normalized == b->normalized &&
           a->single_word == b->single_word && a->lstrip == b->lstrip && a->rstrip == b->rstrip &&
           json_str_equal(a->content, b->content);
}

// What names tokens one by one.
typedef struct Naming {
    NamedTokens *out;
    const NamingFiles *f;
    size_t n_listed;
    NamedTokens roles; // .special: the texts of all roles and own names
    Err *err;
} Naming;

// Adds a token that is not listed yet; one with other flags than before is added again.
static int add_named(Naming *n, const Json *v, bool role, const char *file) {
    AddedEntry e = {.special = true, .as_text = true};
    const JsonStr *text = token_text(v);
    if (v && v->type != JSON_NULL && v->type != JSON_STRING && v->type != JSON_OBJECT)
        return err_input(n->err, "%s: found %s; expected a token, as text or as an object", file, json_type_name(v));
    if (role) name_special(&n->roles, text);
    if (!text || is_listed(n->out, n->n_listed, n->f, *text)) return 0;
    e.content = *text;
    if (v->type == JSON_OBJECT && added_entry_read(&e, v, file == MAP || !json_get(v, "__type"), n->err))
        return err_context(n->err, "%s: token \"%.64s\"", file, text->data);
    for (size_t i = n->n_listed; i < n->out->n_added; i++)
        if (is_same(&n->out->added[i], &e)) return 0;
    push(n->out, e, file);
    return 0;
}

// Is the key a name of the model's own ("image_token") for a token in this form?
static bool is_own_name(const JsonStr *key, const Json *v, const char *file) {
    for (int i = 0; i < N_ROLES; i++)
        if (strcmp(key->data, ROLES[i]) == 0) return false;
    if (!ends_with(key->data, "_token")) return false;
    return v->type == JSON_STRING || (v->type == JSON_OBJECT && (file == MAP || json_get(v, "__type")));
}

// Precedence: strings in tokenizer_config.json, then special_tokens_map.json, then objects in tokenizer_config.json.
// Order of adding: the names of those objects, of the map, of those strings.
static int add_own_names(Naming *n, const Json *map) {
    enum { OBJECTS, OF_MAP, STRINGS, SOURCES };
    for (int source = OBJECTS; source < SOURCES; source++) {
        const Json *config = n->f->config, *here = source == OF_MAP ? map : config;
        const char *file = source == OF_MAP ? MAP : CONFIG;
        for (size_t i = 0; here && i < here->count; i++) {
            const Json *v = &here->items[i], *other = NULL;
            if (!is_own_name(&here->keys[i], v, file) || (source == OBJECTS && v->type != JSON_OBJECT) ||
                (source == STRINGS && v->type != JSON_STRING))
                continue;
            if (source == OBJECTS) other = json_given(map, here->keys[i].data);
            if (source == OF_MAP) other = json_given(config, here->keys[i].data);
            if (source == OF_MAP && other && other->type != JSON_STRING) other = NULL;
            const char *other_file = source == OF_MAP ? CONFIG : MAP;
            if (add_named(n, other ? other : v, true, other ? other_file : file)) return -1;
        }
    }
    return 0;
}

static int add_list(Naming *n, const char *key, const Json *list, const char *file) {
    bool names = list && list->type == JSON_OBJECT;
    if (list && !names && list->type != JSON_ARRAY)
        return err_input(n->err, "%s: %s: found %s; expected a list or an object", file, key, json_type_name(list));
    for (size_t i = 0; list && i < list->count; i++)
        if (add_named(n, &list->items[i], names, file)) return -1;
    return 0;
}

// model_specific_special_tokens, as transformers saves such names; it reads the key only if no other key names tokens.
static int add_specific(Naming *n) {
    static const char SPECIFIC[] = "model_specific_special_tokens";
    const Json *config = n->f->config, *extra = json_given(config, "extra_special_tokens");
    for (size_t i = 0; config && i < config->count; i++)
        if (is_own_name(&config->keys[i], &config->items[i], CONFIG)) return 0;
    if (extra && extra->type == JSON_OBJECT && extra->count) return 0;
    return add_list(n, SPECIFIC, json_given(config, SPECIFIC), CONFIG);
}

// The lists: extra_special_tokens, or additional_special_tokens (its older name) where that is empty.
static int add_extra(Naming *n, const Json *map) {
    static const char EXTRA[] = "extra_special_tokens";
    const Json *config = n->f->config, *extra = json_given(config, EXTRA);
    const Json *older = json_given(config, "additional_special_tokens");
    const Json *more = json_given(map, EXTRA);
    bool names = extra && extra->type == JSON_OBJECT;
    bool empty = extra && extra->type == JSON_ARRAY && extra->count == 0;
    if (add_specific(n) || (names && add_list(n, EXTRA, extra, CONFIG)) ||
        add_list(n, EXTRA, extra && !names && !empty ? extra : older, CONFIG))
        return -1;
    if (more) return add_list(n, EXTRA, more, MAP);
    if ((extra && !names) || older) return 0;
    return add_list(n, EXTRA, json_given(map, "additional_special_tokens"), MAP);
}

static int add_all_named(Naming *n) {
    const Json *map = has_decoder(n->f) ? NULL : n->f->special_map;
    for (int i = 0; i < N_ROLES; i++) {
        const char *file;
        const Json *v = named_value(n->f, ROLES[i], &file);
        if (add_named(n, v, true, file)) return -1;
    }
    return add_own_names(n, map) ? -1 : add_extra(n, map);
}

// A token with a role is special, whatever its object says.
static void make_special(NamedTokens *out, const NamedTokens *roles) {
    for (size_t i = 0; i < out->n_added; i++) {
        AddedEntry *e = &out->added[i];
        if (!e->special) e->special = is_special(roles, e->content);
        if (e->special) name_special(out, &e->content);
    }
}

static int check_ids(const NamedTokens *n, Err *err) {
    for (size_t i = 1; i < n->n_added; i++)
        if (n->added[i].id == n->added[i - 1].id)
            return err_input(err, "%s: tokens \"%.64s\" and \"%.64s\" both have id %ld; expected one id each",
                             n->added[i].file, n->added[i - 1].content.data, n->added[i].content.data, n->added[i].id);
    return 0;
}

int named_tokens_read(NamedTokens *out, const NamingFiles *f, Err *err) {
    const Json *decoder = json_given(f->config, "added_tokens_decoder");
    name_specials(out, f->special_map);
    name_specials(out, f->config);
    if (decoder && read_decoder(out, decoder, err)) return err_context(err, "%s", CONFIG);
    if (!decoder && read_added(out, f, err)) return err_context(err, "%s", ADDED);
    if (out->n_added) qsort(out->added, out->n_added, sizeof *out->added, compare_ids);
    if (check_ids(out, err)) return -1;
    Naming n = {.out = out, .f = f, .n_listed = out->n_added, .err = err};
    int rc = add_all_named(&n);
    make_special(out, &n.roles);
    named_tokens_clear(&n.roles);
    return rc;
}

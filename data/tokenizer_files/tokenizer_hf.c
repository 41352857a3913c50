// tokenizer_hf: the tokenizer of a Hugging Face folder: tokenizer.json (tokenizer_json*.c) and the small files next to
// it that say which tokens are special, where an answer ends, and what the chat template is. Without it, BERT's
// vocab.txt or GPT-2's vocab.json and merges.txt.
#include <stdio.h>
#include <string.h>

#include "fileio.h"
#include "path.h"
#include "tokenizer_files.h"
#include "tokenizer_hf_internal.h"

enum { MAX_FILE = 256 << 20 };

// The folder's JSON files, NULL where absent.
typedef struct Folder {
    const char *dir;
    JsonDoc *tokenizer, *config, *special_map, *added, *generation, *model;
    char *vocab_txt; // BERT's, where there is no tokenizer.json
    size_t vocab_txt_size;
    NamedTokens named;
    Err *err;
} Folder;

static const Json *root(const JsonDoc *doc) {
    return doc ? json_root(doc) : NULL;
}

// *doc stays NULL when there is no such file.
static int read_json(Folder *f, JsonDoc **doc, const char *name) {
    char *path = path_join(f->dir, name), *text = NULL;
    size_t size;
    int rc = 0;
    if (path_exists(path)) {
        rc = file_read(&text, &size, path, MAX_FILE, f->err);
        if (!rc) rc = json_parse_data(doc, text, size, path, 1, f->err); // Python writes NaN and Infinity
        if (!rc && json_root(*doc)->type != JSON_OBJECT)
            rc = err_input(f->err, "%s: found %s; expected an object", path, json_type_name(json_root(*doc)));
    }
    mem_free(text);
    mem_free(path);
    return rc;
}

static int read_vocab_txt(Folder *f) {
    char *path = path_join(f->dir, "vocab.txt");
    int rc = path_exists(path) ? file_read(&f->vocab_txt, &f->vocab_txt_size, path, MAX_FILE, f->err) : 0;
    mem_free(path);
    return rc;
}

static int parse_gpt2(Folder *f, const char *vocab, size_t vocab_len, const char *merges, size_t merges_len) {
    JsonDoc *doc = NULL;
    StrBuf text = {0};
    int rc = tokenizer_gpt2_check(root(f->config), root(f->model), f->err);
    if (!rc) rc = json_parse(&doc, vocab, vocab_len, "vocab.json", 1, f->err);
    if (!rc) rc = tokenizer_gpt2_json(&text, root(doc), vocab, vocab_len, merges, merges_len, f->err);
    if (!rc) rc = json_parse(&f->tokenizer, text.data, text.len, "vocab.json and merges.txt", 0, f->err);
    json_free(doc);
    str_clear(&text);
    return rc ? err_context(f->err, "%s", f->dir) : 0;
}

// f->tokenizer stays NULL if one of the two files is missing.
static int read_gpt2(Folder *f) {
    char *vocab_path = path_join(f->dir, "vocab.json"), *merges_path = path_join(f->dir, "merges.txt");
    char *vocab = NULL, *merges = NULL;
    size_t vocab_len, merges_len;
    int rc = 0;
    if (path_exists(vocab_path) && path_exists(merges_path)) {
        rc = file_read(&vocab, &vocab_len, vocab_path, MAX_FILE, f->err);
        if (!rc) rc = file_read(&merges, &merges_len, merges_path, MAX_FILE, f->err);
        if (!rc) rc = parse_gpt2(f, vocab, vocab_len, merges, merges_len);
    }
    mem_free(vocab);
    mem_free(merges);
    mem_free(vocab_path);
    mem_free(merges_path);
    return rc;
}

static int no_tokenizer(const Folder *f) {
    static const char *const others[] = {"tokenizer.model", "vocab.json", "tekken.json", "spiece.model"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char *path = path_join(f->dir, others[i]);
        bool there = path_exists(path);
        mem_free(path);
        if (there)
            return err_input(f->err,
                             "%s: found %s, but no tokenizer.json; expected the latter (AutoTokenizer.from_pretrained("
                             "...).save_pretrained(...) writes it)",
                             f->dir, others[i]);
    }
    return err_input(f->err, "%s: no tokenizer.json; expected one", f->dir);
}

static int open_folder(Folder *f) {
    if (read_json(f, &f->tokenizer, "tokenizer.json")) return -1;
    if (!f->tokenizer && read_vocab_txt(f)) return -1;
    if (read_json(f, &f->config, "tokenizer_config.json") || read_json(f, &f->special_map, "special_tokens_map.json") ||
        read_json(f, &f->added, "added_tokens.json") || read_json(f, &f->generation, "generation_config.json"))
        return -1;
    if (read_json(f, &f->model, "config.json")) return -1;
    if (!f->tokenizer && !f->vocab_txt && read_gpt2(f)) return -1;
    return f->tokenizer || f->vocab_txt ? 0 : no_tokenizer(f);
}

static void close_folder(Folder *f) {
    json_free(f->tokenizer);
    json_free(f->config);
    json_free(f->special_map);
    json_free(f->added);
    json_free(f->generation);
    json_free(f->model);
    mem_free(f->vocab_txt);
    named_tokens_clear(&f->named);
}

// With this flag transformers splits the control tokens of the chat template too, in training and at inference.
static int check_splitting(const Folder *f) {
    bool split;
    if (component_flag(&split, root(f->config), "split_special_tokens", false, f->err))
        return err_context(f->err, "%s/tokenizer_config.json", f->dir);
    if (!split) return 0;
    return err_input(f->err,
                     "%s/tokenizer_config.json: split_special_tokens is true, which makes plain text of control "
                     "tokens, those of the chat template too; expected false",
                     f->dir);
}

// For these classes transformers builds the normalizer from the flags of tokenizer_config.json.
static const Json *bert_flags(const Folder *f) {
    static const char *const classes[] = {"BertTokenizer",      "BertTokenizerFast",       "DistilBertTokenizer",
                                          "MPNetTokenizer",     "DistilBertTokenizerFast", "ElectraTokenizer",
                                          "MPNetTokenizerFast", "ElectraTokenizerFast"};
    const Json *name = json_get(root(f->config), "tokenizer_class");
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (json_is_string(name, classes[i])) return root(f->config);
    return NULL;
}

// ---- special tokens ----

// The id of a role's token: as tokenizer_config.json or special_tokens_map.json name it, -1 when they do not.
static int role_id(const Folder *f, const Vocab *v, const char *role, bool needed, int32_t *id) {
    const JsonStr *text = named_role(&(NamingFiles){root(f->config), root(f->special_map), NULL, NULL}, role);
    *id = text ? vocab_find(v, text->data, text->len) : -1;
    if (text && *id < 0 && needed)
        return err_input(f->err, "%s/tokenizer_config.json: %s \"%.64s\" is not in the vocabulary", f->dir, role,
                         text->data);
    return 0;
}

// ---- ids of the other configs ----

static int read_id(int32_t *out, const Folder *f, const Json *v, const Vocab *vocab, const char *file,
                   const char *key) {
    int64_t id;
    bool good = json_whole(v, &id) && id >= 0 && id < vocab_size(vocab);
    *out = good ? (int32_t)id : -1;
    if (good) return 0;
    return err_input(f->err, "%s/%s: %s: found %s; expected token ids below %d", f->dir, file, key,
                     v->str.data ? v->str.data : json_type_name(v), vocab_size(vocab));
}

// eos_token_id of a config: one id or a list.
static int add_ends(const Folder *f, TokenizerParts *p, const Json *config, const char *file, bool *found) {
    const Json *v = json_get(config, "eos_token_id");
    *found = v && v->type != JSON_NULL;
    if (!*found) return 0;
    const Json *ids = v->type == JSON_ARRAY ? v->items : v;
    size_t n = v->type == JSON_ARRAY ? v->count : 1;
    if (n > TOKENIZER_ENDS_MAX - 1)
        return err_input(f->err, "%s/%s: eos_token_id: found %zu ids; expected at most %d", f->dir, file, n,
                         TOKENIZER_ENDS_MAX - 1);
    for (size_t i = 0; i < n; i++) {
        int32_t id;
        if (read_id(&id, f, &ids[i], p->vocab, file, "eos_token_id")) return -1;
        if (p->eos < 0) p->eos = id;
        tokenizer_parts_add_end(p, id);
    }
    return 0;
}

// bos_token_id of config.json, for folders without tokenizer_config.json.
static int model_bos(const Folder *f, TokenizerParts *p) {
    const Json *v = json_get(root(f->model), "bos_token_id");
    if (p->bos >= 0 || f->config || !v || v->type == JSON_NULL) return 0;
    return read_id(&p->bos, f, v, p->vocab, "config.json", "bos_token_id");
}

static int read_ids(const Folder *f, TokenizerParts *p) {
    const Json *generation = root(f->generation);
    bool found;
    if (role_id(f, p->vocab, "bos_token", true, &p->bos) || role_id(f, p->vocab, "eos_token", true, &p->eos) ||
        role_id(f, p->vocab, "pad_token", false, &p->pad) ||
        add_ends(f, p, generation, "generation_config.json", &found))
        return -1;
    if (!found && add_ends(f, p, root(f->model), "config.json", &found)) return -1;
    return model_bos(f, p);
}

// What is put around a text: the flags of tokenizer_config.json where it has one of them, as transformers does; else
// the post_processor of tokenizer.json.
static int read_flags(const Folder *f, TokenizerParts *p) {
    const Json *config = root(f->config), *bos = json_get(config, "add_bos_token");
    const Json *eos = json_get(config, "add_eos_token");
    bool said = (bos && bos->type != JSON_NULL) || (eos && eos->type != JSON_NULL);
    if (said) {
        if (component_flag(&p->add_bos, config, "add_bos_token", false, f->err) ||
            component_flag(&p->add_eos, config, "add_eos_token", false, f->err))
            return err_context(f->err, "%s/tokenizer_config.json", f->dir);
        p->add_bos = p->add_bos && p->bos >= 0;
        p->add_eos = p->add_eos && p->eos >= 0;
        p->post = (PostProcessor){0};
        return 0;
    }
    int32_t first = post_processor_edge(&p->post, true), last = post_processor_edge(&p->post, false);
    if (p->bos < 0 && !f->config) p->bos = first;
    p->add_bos = p->bos >= 0 && first == p->bos;
    p->add_eos = p->eos >= 0 && last == p->eos;
    return 0;
}

// ---- the chat template ----

// A template that is text, or a list of {"name", "template"}: the one named default.
static int named_template(const Folder *f, const Json *v, TokenizerParts *p) {
    const Json *found = v;
    for (size_t i = 0; v->type == JSON_ARRAY && i < v->count; i++)
        if (json_is_string(json_get(&v->items[i], "name"), "default")) found = json_get(&v->items[i], "template");
    if (found == v && v->type == JSON_ARRAY) return 0;
    if (!found || found->type != JSON_STRING || strlen(found->str.data) != found->str.len)
        return err_input(f->err, "%s/tokenizer_config.json: chat_template: expected text or a list of named ones",
                         f->dir);
    p->chat_template = mem_strdup(found->str.data);
    return 0;
}

static int file_template(const Folder *f, TokenizerParts *p, const char *name, bool *found) {
    char *path = path_join(f->dir, name), *text = NULL;
    size_t size = 0;
    *found = path_exists(path);
    int rc = *found ? file_read(&text, &size, path, MAX_FILE, f->err) : 0;
    if (!rc && *found && (memchr(text, 0, size) || utf8_valid_prefix(text, size) != size)) {
        rc = err_input(f->err, "%s: found a NUL byte or invalid UTF-8; expected text", path);
    } else if (!rc && *found) {
        p->chat_template = text;
        text = NULL;
    }
    mem_free(text);
    mem_free(path);
    return rc;
}

static int read_template(const Folder *f, TokenizerParts *p) {
    static const char *const files[] = {"chat_template.jinja", "additional_chat_templates/default.jinja"};
    const Json *v = json_get(root(f->config), "chat_template");
    bool found;
    if (file_template(f, p, files[0], &found)) return -1;
    if (!found && v && v->type != JSON_NULL) return named_template(f, v, p);
    return found ? 0 : file_template(f, p, files[1], &found);
}

// ---- all of it ----

static int read_parts(Folder *f, TokenizerParts *p) {
    if (open_folder(f) || check_splitting(f)) return -1;
    const NamingFiles naming = {root(f->config), root(f->special_map), root(f->added), root(f->tokenizer)};
    if (named_tokens_read(&f->named, &naming, f->err)) return err_context(f->err, "%s", f->dir);
    f->named.bert = bert_flags(f);
    if (!f->tokenizer) {
        if (tokenizer_vocab_txt_read(p, f->vocab_txt, f->vocab_txt_size, root(f->config), &f->named, f->err))
            return err_context(f->err, "%s/vocab.txt", f->dir);
    } else if (tokenizer_json_read(p, root(f->tokenizer), &f->named, f->err)) {
        return err_context(f->err, "%s/tokenizer.json", f->dir);
    }
    if (read_ids(f, p) || read_flags(f, p)) return -1;
    return read_template(f, p);
}

int tokenizer_from_hf(Tokenizer **t, const char *dir, Err *err) {
    Folder f = {.dir = dir, .err = err};
    TokenizerParts p;
    tokenizer_parts_init(&p);
    int rc = read_parts(&f, &p);
    if (!rc)
        rc = tokenizer_assemble(t, &p, err);
    else
        tokenizer_parts_clear(&p);
    close_folder(&f);
    return rc;
}

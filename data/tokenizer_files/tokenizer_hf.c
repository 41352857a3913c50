// tokenizer_hf: the tokenizer of a Hugging Face folder: tokenizer.json (tokenizer_json*.c) and the small files next to
// it that say which tokens are special, where an answer ends, and what the chat template is. Without it, the older
// files that tokenizer_hf_older.c knows.
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
    const char *from; // the file that the vocabulary is read from
    JsonDoc *tokenizer, *config, *special_map, *added, *generation, *model;
    NamedTokens named;
    Err *err;
} Folder;

static const Json *root(const JsonDoc *doc) { return doc ? json_root(doc) : NULL; }

// *text stays NULL when there is no such file.
static int read_text(const Folder *f, char **text, size_t *size, const char *name) {
    AUTO_FREE char *path = path_join(f->dir, name);
    return path_exists(path) ? file_read(text, size, path, MAX_FILE, f->err) : 0;
}

// *doc stays NULL when there is no such file.
static int read_json(Folder *f, JsonDoc **doc, const char *name) {
    AUTO_FREE char *path = path_join(f->dir, name), *text = NULL;
    size_t size;
    if (read_text(f, &text, &size, name)) return -1;
    if (!text) return 0;
    if (json_parse_data(doc, text, size, path, 1, f->err)) return -1; // Python writes NaN and Infinity
    const Json *v = json_root(*doc);
    if (v->type == JSON_OBJECT) return 0;
    return err_input(f->err, "%s: found %s; expected an object", path, json_type_name(v));
}

static int parse_gpt2(Folder *f, JsonStr vocab, JsonStr merges) {
    AUTO_JSON JsonDoc *doc = NULL;
    AUTO_STR StrBuf text = {0};
    if (tokenizer_gpt2_check(root(f->config), root(f->model), f->err) ||
        json_parse(&doc, vocab.data, vocab.len, "vocab.json", 1, f->err) ||
        tokenizer_gpt2_json(&text, root(doc), vocab, merges, f->err) ||
        json_parse(&f->tokenizer, text.data, text.len, "vocab.json and merges.txt", 0, f->err))
        return err_context(f->err, "%s", f->dir);
    return 0;
}

// f->tokenizer stays NULL if one of the two files is missing.
static int read_gpt2(Folder *f) {
    AUTO_FREE char *vocab = NULL, *merges = NULL;
    size_t vocab_len, merges_len;
    f->from = "vocab.json";
    if (read_text(f, &vocab, &vocab_len, f->from) || read_text(f, &merges, &merges_len, "merges.txt")) return -1;
    return vocab && merges ? parse_gpt2(f, (JsonStr){vocab, vocab_len}, (JsonStr){merges, merges_len}) : 0;
}

static int no_tokenizer(const Folder *f) {
    static const char *const others[] = {"tokenizer.model", "vocab.json", "tekken.json", "spiece.model"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        AUTO_FREE char *path = path_join(f->dir, others[i]);
        if (path_exists(path))
            return err_input(f->err,
                             "%s: found %s, but no tokenizer.json; expected the latter (AutoTokenizer.from_pretrained("
                             "...).save_pretrained(...) writes it)",
                             f->dir, others[i]);
    }
    return err_input(f->err, "%s: no tokenizer.json; expected one", f->dir);
}

// After the small files, which may refuse or change it.
static int read_vocab_txt(Folder *f) {
    AUTO_FREE char *vocab = NULL, *path = path_join(f->dir, "vocab.txt");
    AUTO_STR StrBuf text = {0};
    size_t size;
    if (read_text(f, &vocab, &size, "vocab.txt")) return -1;
    if (!vocab) return no_tokenizer(f);
    f->from = "vocab.txt";
    f->named.bert = root(f->config);
    if (tokenizer_vocab_txt_json(&text, (JsonStr){vocab, size}, root(f->config), &f->named, f->err))
        return err_context(f->err, "%s", path);
    return json_parse(&f->tokenizer, text.data, text.len, path, 1, f->err);
}

static int open_folder(Folder *f) {
    AUTO_FREE char *vocab_txt = path_join(f->dir, "vocab.txt");
    f->from = "tokenizer.json";
    if (read_json(f, &f->tokenizer, f->from) || read_json(f, &f->config, "tokenizer_config.json") ||
        read_json(f, &f->special_map, "special_tokens_map.json") || read_json(f, &f->added, "added_tokens.json") ||
        read_json(f, &f->generation, "generation_config.json") || read_json(f, &f->model, "config.json"))
        return -1;
    return !f->tokenizer && !path_exists(vocab_txt) ? read_gpt2(f) : 0;
}

static void close_folder(Folder *f) {
    json_free(f->tokenizer);
    json_free(f->config);
    json_free(f->special_map);
    json_free(f->added);
    json_free(f->generation);
    json_free(f->model);
    named_tokens_clear(&f->named);
}

// With this flag transformers splits the control tokens of the chat template too, in training and at inference.
static int check_splitting(const JsonReader *config) {
    bool split;
    if (json_read_flag(config, "split_special_tokens", false, &split)) return -1;
    if (!split) return 0;
    return err_input(config->err,
                     "%s: split_special_tokens is true, which makes plain text of control tokens, those of the chat "
                     "template too; expected false",
                     config->path);
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
    char shown[JSON_SHOWN];
    bool good = json_whole(v, &id) && id >= 0 && id < vocab_size(vocab);
    *out = good ? (int32_t)id : -1;
    if (good) return 0;
    return err_input(f->err, "%s/%s: %s: found %s; expected token ids below %d", f->dir, file, key, json_show(shown, v),
                     vocab_size(vocab));
}

// eos_token_id of a config: one id or a list.
static int add_ends(const Folder *f, Tokenizer *p, const Json *config, const char *file, bool *found) {
    const Json *v = json_given(config, "eos_token_id");
    *found = v != NULL;
    if (!v) return 0;
    const Json *ids = v->type == JSON_ARRAY ? v->items : v;
    size_t n = v->type == JSON_ARRAY ? v->count : 1;
    if (n > TOKENIZER_ENDS_MAX - 1)
        return err_input(f->err, "%s/%s: eos_token_id: found %zu ids; expected at most %d", f->dir, file, n,
                         TOKENIZER_ENDS_MAX - 1);
    for (size_t i = 0; i < n; i++) {
        int32_t id;
        if (read_id(&id, f, &ids[i], p->vocab, file, "eos_token_id")) return -1;
        if (p->eos < 0) p->eos = id;
        tokenizer_add_end(p, id);
    }
    return 0;
}

// bos_token_id of config.json, for folders without tokenizer_config.json.
static int model_bos(const Folder *f, Tokenizer *p) {
    const Json *v = json_given(root(f->model), "bos_token_id");
    if (p->bos >= 0 || f->config || !v) return 0;
    return read_id(&p->bos, f, v, p->vocab, "config.json", "bos_token_id");
}

// Classes of transformers have a default for it, which a folder need not name.
static void find_mask(Tokenizer *p) {
    static const char *const names[] = {"[MASK]", "<mask>"};
    for (size_t i = 0; i < 2 && p->mask < 0; i++) {
        int32_t id = vocab_find(p->vocab, names[i], strlen(names[i]));
        if (id >= 0 && vocab_is_control(p->vocab, id)) p->mask = id;
    }
}

static int read_ids(const Folder *f, Tokenizer *p) {
    const Json *generation = root(f->generation);
    bool found;
    if (role_id(f, p->vocab, "bos_token", true, &p->bos) || role_id(f, p->vocab, "eos_token", true, &p->eos) ||
        role_id(f, p->vocab, "pad_token", false, &p->pad) || role_id(f, p->vocab, "mask_token", false, &p->mask) ||
        add_ends(f, p, generation, "generation_config.json", &found))
        return -1;
    if (!found && add_ends(f, p, root(f->model), "config.json", &found)) return -1;
    find_mask(p);
    return model_bos(f, p);
}

// What is put around a text: the flags of tokenizer_config.json where it has one of them, as transformers does; else
// the post_processor of tokenizer.json.
static int read_flags(const JsonReader *config, Tokenizer *p) {
    if (json_given(config->object, "add_bos_token") || json_given(config->object, "add_eos_token")) {
        if (json_read_flag(config, "add_bos_token", false, &p->add_bos) ||
            json_read_flag(config, "add_eos_token", false, &p->add_eos))
            return -1;
        p->add_bos = p->add_bos && p->bos >= 0;
        p->add_eos = p->add_eos && p->eos >= 0;
        p->post = (PostProcessor){0};
        return 0;
    }
    int32_t first = tokenizer_edge(p, true), last = tokenizer_edge(p, false);
    if (p->bos < 0 && !config->object) p->bos = first;
    p->add_bos = p->bos >= 0 && first == p->bos;
    p->add_eos = p->eos >= 0 && last == p->eos;
    return 0;
}

// ---- the chat template ----

// A template that is text, or a list of {"name", "template"}: the one named default.
static int named_template(const Folder *f, const Json *v, Tokenizer *p) {
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

static int file_template(const Folder *f, Tokenizer *p, const char *name) {
    AUTO_FREE char *text = NULL;
    size_t size;
    if (read_text(f, &text, &size, name)) return -1;
    if (text && (memchr(text, 0, size) || utf8_valid_prefix(text, size) != size))
        return err_input(f->err, "%s/%s: found a NUL byte or invalid UTF-8; expected text", f->dir, name);
    p->chat_template = mem_take(&text);
    return 0;
}

static int read_template(const Folder *f, Tokenizer *p) {
    const Json *v = json_given(root(f->config), "chat_template");
    if (file_template(f, p, "chat_template.jinja")) return -1;
    if (p->chat_template) return 0;
    return v ? named_template(f, v, p) : file_template(f, p, "additional_chat_templates/default.jinja");
}

// ---- all of it ----

static int read_parts(Folder *f, Tokenizer *t) {
    AUTO_FREE char *config_path = path_join(f->dir, "tokenizer_config.json");
    if (open_folder(f)) return -1;
    const JsonReader config = {root(f->config), config_path, "", f->err};
    const NamingFiles naming = {config.object, root(f->special_map), root(f->added), root(f->tokenizer)};
    if (check_splitting(&config)) return -1;
    if (named_tokens_read(&f->named, &naming, f->err)) return err_context(f->err, "%s", f->dir);
    f->named.bert = bert_flags(f);
    if (!f->tokenizer && read_vocab_txt(f)) return -1;
    if (tokenizer_json_read(t, root(f->tokenizer), &f->named, f->err))
        return err_context(f->err, "%s/%s", f->dir, f->from);
    return read_ids(f, t) || read_flags(&config, t) ? -1 : read_template(f, t);
}

int tokenizer_from_hf(Tokenizer **out, const char *dir, Err *err) {
    AUTO_CALL(close_folder) Folder f = {.dir = dir, .err = err};
    AUTO_TOKENIZER Tokenizer *t = tokenizer_begin();
    if (read_parts(&f, t) || tokenizer_finish(t, err)) return -1;
    *out = mem_take(&t);
    return 0;
}

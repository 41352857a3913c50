#include "sentence_folder.h"

#include <string.h>

#include "fileio.h"
#include "json.h"
#include "model_internal.h"
#include "path.h"

enum { MAX_FILE = 1 << 20 };

void sentence_folder_clear(SentenceFolder *s) {
    mem_free(s->other);
    mem_free(s->prompt);
    *s = (SentenceFolder){0};
}

// *doc stays NULL where the folder has no such file.
static int read_json(JsonDoc **doc, const char *dir, const char *name, Err *err) {
    AUTO_FREE char *path = mem_printf("%s/%s", dir, name), *text = NULL;
    size_t size;
    *doc = NULL;
    if (!path_exists(path)) return 0;
    if (file_read(&text, &size, path, MAX_FILE, err) || json_parse(doc, text, size, path, 1, err)) return -1;
    if (json_root(*doc)->type == JSON_OBJECT || json_root(*doc)->type == JSON_ARRAY) return 0;
    return err_input(err, "%s: found %s; expected an object", path, json_type_name(json_root(*doc)));
}

// ---- pooling ----

static void set_pooling(SentenceFolder *s, const char *name, size_t len) {
    static const struct {
        const char *name;
        Pooling pooling;
    } known[] = {{"cls", POOLING_CLS}, {"mean", POOLING_MEAN}, {"lasttoken", POOLING_LAST}};
    bool first = s->pooling == POOLING_AUTO && !s->other;
    Pooling found = POOLING_AUTO;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strlen(known[i].name) == len && memcmp(known[i].name, name, len) == 0) found = known[i].pooling;
    if (first && found) {
        s->pooling = found;
        return;
    }
    const char *before = s->other ? s->other : s->pooling ? ENUM_WORDS(POOLINGS)[s->pooling].word : "";
    char *both = mem_printf("%s%s%.*s", before, first ? "" : " + ", (int)(len < 64 ? len : 64), name);
    mem_free(s->other);
    s->other = both;
    s->pooling = POOLING_AUTO;
}

// The keys of version 5 and before, in their order.
static void read_old_pooling(SentenceFolder *s, const Json *config) {
    static const char *const modes[][2] = {{"pooling_mode_cls_token", "cls"},
                                           {"pooling_mode_max_tokens", "max"},
                                           {"pooling_mode_mean_tokens", "mean"},
                                           {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens"},
                                           {"pooling_mode_weightedmean_tokens", "weightedmean"},
                                           {"pooling_mode_lasttoken", "lasttoken"}};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        const Json *v = json_get(config, modes[i][0]);
        if (v && v->type == JSON_TRUE) set_pooling(s, modes[i][1], strlen(modes[i][1]));
    }
    if (!s->pooling && !s->other) s->pooling = POOLING_MEAN;
}

static int read_pooling(SentenceFolder *s, const char *dir, const char *module, Err *err) {
    AUTO_JSON JsonDoc *doc = NULL;
    AUTO_FREE char *name = mem_printf("%s/config.json", module);
    if (read_json(&doc, dir, name, err)) return -1;
    if (!doc) return 0;
    const Json *mode = json_given(json_root(doc), "pooling_mode");
    if (!mode) {
        read_old_pooling(s, json_root(doc));
    } else if (mode->type == JSON_STRING) {
        set_pooling(s, mode->str.data, mode->str.len);
    } else if (mode->type == JSON_ARRAY) {
        for (size_t i = 0; i < mode->count; i++)
            if (json_is_text(&mode->items[i])) set_pooling(s, mode->items[i].str.data, mode->items[i].str.len);
    } else {
        return err_input(err, "%s/%s: pooling_mode: found %s; expected a text", dir, name, json_type_name(mode));
    }
    return 0;
}

// ---- modules ----

static bool is_module(const Json *type, const char *name) {
    const char *dot = strrchr(type->str.data, '.');
    return strcmp(dot ? dot + 1 : type->str.data, name) == 0;
}

static int read_module(SentenceFolder *s, const char *dir, const Json *module, Err *err) {
    const Json *type = json_get(module, "type"), *path = json_get(module, "path");
    if (!type || !json_is_text(type) || (path && !json_is_text(path)))
        return err_input(err, "%s/modules.json: found a module without type and path", dir);
    if (is_module(type, "Transformer")) return 0;
    if (is_module(type, "Normalize")) {
        s->normalize = true;
        return 0;
    }
    if (!is_module(type, "Pooling"))
        return err_input(err, "%s/modules.json: found the module %.128s; expected Transformer, Pooling and Normalize",
                         dir, type->str.data);
    if (!path || strchr(path->str.data, '/') || strstr(path->str.data, ".."))
        return err_input(err, "%s/modules.json: path of Pooling: expected the name of a folder in it", dir);
    return read_pooling(s, dir, path->str.data, err);
}

static int read_modules(SentenceFolder *s, const char *dir, Err *err) {
    AUTO_JSON JsonDoc *doc = NULL;
    if (read_json(&doc, dir, "modules.json", err)) return -1;
    if (!doc) return read_pooling(s, dir, "1_Pooling", err);
    const Json *modules = json_root(doc);
    if (modules->type != JSON_ARRAY) return err_input(err, "%s/modules.json: expected a list of modules", dir);
    for (size_t i = 0; i < modules->count; i++)
        if (read_module(s, dir, &modules->items[i], err)) return -1;
    return 0;
}

static int read_settings(SentenceFolder *s, const char *dir, Err *err) {
    AUTO_JSON JsonDoc *transformer = NULL, *settings = NULL, *tokenizer = NULL;
    if (read_json(&transformer, dir, "sentence_bert_config.json", err) ||
        read_json(&tokenizer, dir, "tokenizer_config.json", err) ||
        read_json(&settings, dir, "config_sentence_transformers.json", err))
        return -1;
    const Json *most = transformer ? json_given(json_root(transformer), "max_seq_length") : NULL;
    if (!most && tokenizer) most = json_given(json_root(tokenizer), "model_max_length"); // 1e30: unknown
    int64_t n;
    if (most && json_whole(most, &n) && n > 0) s->max_tokens = n;
    const Json *name = settings ? json_given(json_root(settings), "default_prompt_name") : NULL;
    if (!name || !json_is_text(name)) return 0;
    const Json *prompt = json_get(json_get(json_root(settings), "prompts"), name->str.data);
    if (!prompt || !json_is_text(prompt))
        return err_input(err, "%s/config_sentence_transformers.json: default_prompt_name: no prompt \"%.64s\"", dir,
                         name->str.data);
    if (prompt->str.len) s->prompt = mem_strdup(prompt->str.data);
    return 0;
}

// ---- GGUF: LLAMA_POOLING_TYPE ----

static int read_gguf(SentenceFolder *s, const Model *m, Err *err) {
    static const char *const names[] = {NULL, "mean", "cls", "lasttoken", "rank"};
    const Gguf *g = m->file->source->gguf;
    GgufStr arch;
    int64_t type = 0;
    if (gguf_string(g, "general.architecture", true, &arch, err)) return -1;
    AUTO_FREE char *key = mem_printf("%.*s.pooling_type", (int)arch.len, arch.data);
    if (gguf_i64(g, key, false, &type, err) < 0) return -1;
    if (type > 0 && type < (int64_t)(sizeof names / sizeof *names)) set_pooling(s, names[type], strlen(names[type]));
    return 0;
}

int sentence_folder_read(SentenceFolder *s, const Model *m, Err *err) {
    const char *dir = m->file->source->dir;
    int rc = !dir ? read_gguf(s, m, err) : read_modules(s, dir, err) ? -1 : read_settings(s, dir, err);
    if (rc && err) err->kind = ERR_INPUT;
    return rc;
}

int sentence_pooling(Pooling *p, Pooling asked, const SentenceFolder *s, const Model *m, Err *err) {
    *p = asked ? asked : s->pooling;
    if (!*p && s->other)
        return err_input(err, "%s: its pooling is %s; expected cls, mean or last, or pooling given", m->path, s->other);
    if (!*p) *p = m->config.arch->encoder ? POOLING_MEAN : POOLING_LAST;
    return 0;
}

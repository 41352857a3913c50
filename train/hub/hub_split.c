#include "hub_split.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "data_files.h"
#include "fileio.h"
#include "hub_listing.h"
#include "json_read.h"
#include "yaml_read.h"

char *hub_split_names(const NameList *names, const bool *wanted) {
    enum { SHOWN = 400 };
    StrBuf out = {0};
    str_puts(&out, "");
    for (size_t i = 0; i < names->count && out.len < SHOWN; i++)
        if (!wanted || wanted[i]) str_printf(&out, "%s%s", out.len ? ", " : "", names->items[i]);
    if (out.len >= SHOWN) str_puts(&out, ", ...");
    return out.data;
}

static bool is_data(const char *path) { return data_kind(path) != DATA_UNKNOWN; }

static size_t count_wanted(const bool *wanted, size_t n) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++) count += wanted[i];
    return count;
}

// ---- by names ----

static bool path_has_word(const char *path, const char *words) {
    for (const char *p = path; *p;) {
        size_t n = strcspn(p, "-._ 0123456789/");
        if (n && is_among_nocase(p, n, words)) return true;
        p += n + (p[n] != 0);
    }
    return false;
}

// The split of a part, "train_sft" of "data/train_sft-00000-of-00002.jsonl"; *len 0: it is no part of one.
static const char *split_of_part(const char *path, size_t *len) {
    const char *name = path_name(path);
    size_t stem = hub_part_stem(path), before = (size_t)(name - path);
    *len = stem > before && !memchr(name, '-', stem - before) ? stem - before : 0;
    return name;
}

static bool is_of_split(const char *path, const char *split) {
    size_t len;
    const char *part = split_of_part(path, &len);
    if (len)
        return (strlen(split) == len && memcmp(part, split, len) == 0) || is_among(part, len, data_split_words(split));
    AUTO_FREE char *stem = mem_strndup(path_name(path), strcspn(path_name(path), "."));
    return strcmp(stem, split) == 0 || path_has_word(path, data_split_words(split));
}

static bool names_a_split(const char *path) {
    size_t len;
    split_of_part(path, &len);
    return len || is_of_split(path, "train") || is_of_split(path, "validation") || is_of_split(path, "test");
}

// The folder and the suffix of both are the same.
static bool same_kind(const char *a, const char *b) {
    AUTO_FREE char *folder_a = path_parent(a), *folder_b = path_parent(b);
    return strcmp(folder_a, folder_b) == 0 && strcmp(strrchr(a, '.'), strrchr(b, '.')) == 0;
}

static int choose_by_names(bool *wanted, const NameList *all, const char *split, Err *err) {
    const char *first = NULL;
    bool none = true, mixed = false;
    for (size_t i = 0; i < all->count; i++) none &= !is_data(all->items[i]) || !names_a_split(all->items[i]);
    for (size_t i = 0; i < all->count; i++) {
        const char *name = all->items[i];
        wanted[i] = is_data(name) && (none ? is_among("train", 5, data_split_words(split)) : is_of_split(name, split));
        if (!wanted[i]) continue;
        if (first && !same_kind(first, name)) mixed = true;
        first = name;
    }
    if (!mixed) return 0;
    AUTO_FREE char *names = hub_split_names(all, wanted);
    return err_input(
        err, "split %s: found files of several kinds or folders; expected the name of one, as owner/name/%s: %s", split,
        first, names);
}

// ---- by README.md ----
//
// Between two lines "---" at its beginning is YAML:
//   configs: [{config_name, default, data_files: "*.jsonl", or a list of these, or [{split, path: the same}]}]

enum { MAX_README = 8 << 20, MAX_PATTERNS = 1000 };

// *doc NULL: README.md is absent or has no such lines.
static int read_front(JsonDoc **doc, const char *snapshot, Err *err) {
    AUTO_FREE char *path = path_join(snapshot, "README.md"), *text = NULL;
    size_t size;
    *doc = NULL;
    if (!path_exists(path)) return 0;
    if (file_read(&text, &size, path, MAX_README, err)) return -1;
    size_t begin = starts_with(text, "---\n") ? 4 : starts_with(text, "---\r\n") ? 5 : 0;
    const char *end = begin ? strstr(text + begin - 1, "\n---") : NULL;
    if (!end) return 0;
    return yaml_parse_config(doc, text + begin, (size_t)(end + 1 - text) - begin, path, err);
}

// The config that is used where none is named; NULL: none, or *many.
static const Json *standard_config(const Json *configs, bool *many) {
    const Json *only = NULL;
    *many = false;
    if (!configs || configs->type != JSON_ARRAY) return NULL;
    for (size_t i = 0; i < configs->count; i++) {
        const Json *c = &configs->items[i], *is_default = json_given(c, "default");
        if ((is_default && is_default->type == JSON_TRUE) || json_is_string(json_given(c, "config_name"), "default"))
            return c;
        only = c;
    }
    *many = configs->count > 1;
    return *many ? NULL : only;
}

static void want_pattern(bool *wanted, const NameList *all, const Json *pattern) {
    if (!pattern || pattern->type != JSON_STRING) return;
    const char *text = pattern->str.data;
    int flags = strstr(text, "**") ? 0 : FNM_PATHNAME; // '*' is within a folder
    for (size_t i = 0; i < all->count; i++)
        wanted[i] |= is_data(all->items[i]) && fnmatch(text, all->items[i], flags) == 0;
}

static void want_patterns(bool *wanted, const NameList *all, const Json *v) {
    if (v && v->type == JSON_ARRAY && v->count <= MAX_PATTERNS)
        for (size_t i = 0; i < v->count; i++) want_pattern(wanted, all, &v->items[i]);
    want_pattern(wanted, all, v);
}

// *known: README.md says which files are which split.
static int choose_by_readme(bool *wanted, bool *known, const NameList *all, const char *snapshot, const char *split,
                            Err *err) {
    AUTO_JSON JsonDoc *doc = NULL;
    Err why;
    bool many;
    *known = false;
    if (read_front(&doc, snapshot, &why)) {
        log_warn("%s; its configs are not read, the split is looked for in the names of the files", why.msg);
        return 0;
    }
    const Json *configs = doc ? json_given(json_root(doc), "configs") : NULL, *config = standard_config(configs, &many),
               *files = json_given(config, "data_files");
    if (many) return err_input(err, "README.md has several configs; expected the name of a file, as owner/name/FILE");
    if (!files) return 0;
    *known = true;
    bool by_split = files->type == JSON_ARRAY && files->count && files->items[0].type == JSON_OBJECT;
    if (!by_split && is_among("train", 5, data_split_words(split))) want_patterns(wanted, all, files);
    for (size_t i = 0; by_split && i < files->count && i < MAX_PATTERNS; i++)
        if (json_is_string(json_given(&files->items[i], "split"), split))
            want_patterns(wanted, all, json_given(&files->items[i], "path"));
    return 0;
}

// ---- both ----

// Of 00000-of-00002 both must be there: a part of a split is never trained as the whole.
static int check_parts(const bool *wanted, const NameList *all, Err *err) {
    for (size_t i = 0; i < all->count; i++) {
        const char *name = all->items[i];
        size_t stem = hub_part_stem(name), there = 0;
        if (!wanted[i] || !stem) continue;
        unsigned long of = strtoul(name + stem + 10, NULL, 10); // after "-00000-of-"
        for (size_t k = 0; k < all->count; k++)
            there += wanted[k] && hub_part_stem(all->items[k]) == stem && strncmp(all->items[k], name, stem) == 0;
        if (there != of)
            return err_input(err, "%s: found %zu of %lu parts; expected all (\"lorac pull\" fetches them)", name, there,
                             of);
    }
    return 0;
}

int hub_split_choose(bool *wanted, const NameList *all, const char *snapshot, const char *split, Err *err) {
    bool known;
    if (choose_by_readme(wanted, &known, all, snapshot, split, err) ||
        (!known && choose_by_names(wanted, all, split, err)))
        return -1;
    if (count_wanted(wanted, all->count)) return check_parts(wanted, all, err);
    AUTO_FREE char *names = hub_split_names(all, NULL);
    return err_input(err,
                     "split %s: no file of it in the hub's cache; expected one of its splits (\"lorac pull\" fetches "
                     "what is missing); found %s",
                     split, names);
}

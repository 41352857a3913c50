#include "hub_listing.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "data_files.h"
#include "json_read.h"
#include "path.h"

// ---- the hub's answers ----

static bool is_hex(JsonStr s, size_t digits) { return s.len == digits && strspn(s.data, "0123456789abcdef") == digits; }

int hub_listing_read_commit(HubListing *l, const char *text, size_t len, const char *name, Err *err) {
    AUTO_JSON JsonDoc *doc = NULL;
    JsonStr commit;
    if (json_parse(&doc, text, len, name, 0, err)) return -1;
    JsonReader r = {json_root(doc), name, "", err};
    if (json_root(doc)->type != JSON_OBJECT)
        return err_input(err, "%s: found %s; expected an object", name, json_type_name(json_root(doc)));
    if (json_read_text(&r, "sha", &commit)) return -1;
    if (!is_hex(commit, HUB_COMMIT_DIGITS)) return json_refuse(&r, "sha", NULL, "a commit of 40 hex digits");
    memcpy(l->commit, commit.data, sizeof l->commit);
    return 0;
}

// {"type": "file", "path", "size", "oid"}, large files with "lfs": {"oid", "size"}.
static int add_file(HubListing *l, const Json *entry, const char *name, Err *err) {
    JsonReader r = {entry, name, "", err}, large = {NULL, name, "lfs.", err};
    JsonIntRule size = {.key = "size", .absent = JSON_REQUIRED, .null = JSON_NOT_NULL, .max = INT64_C(1) << 50};
    JsonStr path, hash;
    int64_t bytes;
    if (json_read_text(&r, "path", &path) || json_read_object(&r, "lfs", &large.object)) return -1;
    const JsonReader *of = large.object ? &large : &r;
    if (json_read_int(of, &size, &bytes) || json_read_text(of, "oid", &hash)) return -1;
    size_t digits = large.object ? HUB_HASH_DIGITS : HUB_COMMIT_DIGITS;
    if (!is_hex(hash, digits)) return json_refuse(of, "oid", NULL, "%zu hex digits", digits);
    if (l->count == HUB_MAX_FILES) return err_input(err, "%s: more than %d files", name, HUB_MAX_FILES);
    MEM_GROW(l->files, l->capacity, l->count + 1);
    HubFile *f = &l->files[l->count++];
    *f = (HubFile){.path = mem_strndup(path.data, path.len), .size = bytes};
    if (strlen(f->path) != path.len) f->path[0] = 0; // a NUL byte: no name
    memcpy(f->hash, hash.data, digits + 1);
    return 0;
}

int hub_listing_add_page(HubListing *l, const char *text, size_t len, const char *name, Err *err) {
    AUTO_JSON JsonDoc *doc = NULL;
    if (json_parse(&doc, text, len, name, 0, err)) return -1;
    const Json *root = json_root(doc);
    if (root->type != JSON_ARRAY)
        return err_input(err, "%s: found %s; expected a list of files", name, json_type_name(root));
    for (size_t i = 0; i < root->count; i++)
        if (json_is_string(json_get(&root->items[i], "type"), "file") && add_file(l, &root->items[i], name, err))
            return -1;
    return 0;
}

void hub_listing_clear(HubListing *l) {
    for (size_t i = 0; i < l->count; i++) mem_free(l->files[i].path);
    mem_free(l->files);
    *l = (HubListing){0};
}

// ---- selection ----

static bool matches(const char *path, const char *pattern) {
    size_t n = strlen(pattern);
    AUTO_FREE char *folder = n && pattern[n - 1] == '/' ? mem_printf("%s*", pattern) : NULL;
    return fnmatch(folder ? folder : pattern, path, 0) == 0;
}

static bool matches_any(const char *path, const char *const *patterns, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (matches(path, patterns[i])) return true;
    return false;
}

size_t hub_part_stem(const char *path) {
    const char *of = strstr(path, "-of-"), *last = of;
    for (; of; of = strstr(of + 1, "-of-")) last = of;
    if (!last || strspn(last + 4, "0123456789") != 5 || last - path < 6) return 0;
    const char *number = last - 6;
    return *number == '-' && strspn(number + 1, "0123456789") == 5 ? (size_t)(number - path) : 0;
}

static bool has_file(const HubListing *l, const char *path) {
    for (size_t i = 0; i < l->count; i++)
        if (strcmp(l->files[i].path, path) == 0) return true;
    return false;
}

// Of a Hugging Face folder: small files of its top and the weights; what is in subfolders is of other programs.
static bool is_of_model(const char *path, bool sharded) {
    static const char *const weights[] = {"adapter_model.safetensors"}, *const small[] = {"*.json", "*.jinja",
                                                                                          "*.txt",  "*.model",
                                                                                          "*.md",   "LICENSE*"};
    if (strchr(path, '/')) return false;
    return matches(path, sharded ? "model-*.safetensors" : "model.safetensors") || matches_any(path, weights, 1) ||
           matches_any(path, small, sizeof small / sizeof *small);
}

static bool is_gguf(const char *path) { return ends_with_nocase(path, strlen(path), ".gguf"); }

static void list_files(StrBuf *out, const HubListing *l, bool (*wants)(const char *)) {
    enum { SHOWN = 400 };
    for (size_t i = 0; i < l->count; i++) {
        if (!wants(l->files[i].path)) continue;
        if (out->len > SHOWN) {
            str_puts(out, ", ...");
            return;
        }
        str_printf(out, "%s%s", out->len ? ", " : "", l->files[i].path);
    }
}

static bool is_weights(const char *path) {
    return matches_any(
        path, (const char *const[]){"*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack", "*.onnx", "*.safetensors"},
        8);
}

// The GGUF files whose name holds `choice`: one, or the parts of one.
static int select_gguf(HubListing *l, const HubName *n, Err *err) {
    const HubFile *first = NULL;
    for (size_t i = 0; i < l->count; i++) {
        HubFile *f = &l->files[i];
        if (!is_gguf(f->path) || (n->choice && !strcasestr(path_name(f->path), n->choice))) continue;
        size_t stem = first ? hub_part_stem(first->path) : 0;
        if (first && !(stem && hub_part_stem(f->path) == stem && strncmp(f->path, first->path, stem) == 0)) {
            AUTO_STR StrBuf names = {0};
            list_files(&names, l, is_gguf);
            return err_input(err,
                             "%s: found several GGUF files; expected the choice of one, as in \"lorac pull %s:Q4_K_M\" "
                             "or --include: %s",
                             n->repository, n->repository, names.data);
        }
        if (!first) first = f;
        f->selected = true;
    }
    return 0;
}

static int select_model(HubListing *l, const HubName *n, Err *err) {
    bool sharded = has_file(l, "model.safetensors.index.json"),
         weights = sharded || has_file(l, "model.safetensors") || has_file(l, "adapter_model.safetensors");
    if (n->choice || !weights) return select_gguf(l, n, err);
    for (size_t i = 0; i < l->count; i++) l->files[i].selected = is_of_model(l->files[i].path, sharded);
    return 0;
}

static bool is_data_file(const char *path) { return data_kind(path) != DATA_UNKNOWN; }

static int select_by_default(HubListing *l, const HubName *n, Err *err) {
    if (n->type == HUB_MODEL && !n->path) return select_model(l, n, err);
    for (size_t i = 0; i < l->count; i++) {
        const char *path = l->files[i].path;
        l->files[i].selected =
            n->path ? strcmp(path, n->path) == 0 : is_data_file(path) || strcmp(path, "README.md") == 0;
    }
    return 0;
}

static bool is_any(const char *path) { return true; }

static int refuse_none(const HubListing *l, const HubName *n, const HubPatterns *p, Err *err) {
    AUTO_STR StrBuf names = {0};
    if (p->n_include || p->n_exclude || n->path || n->choice)
        return err_input(
            err,
            "%s: has %zu file%s, of which none is wanted; expected patterns or a name that match at least one "
            "(lorac pull %s --dry_run --include \"*\" lists them)",
            n->repository, l->count, plural(l->count), n->repository);
    list_files(&names, l, n->type == HUB_MODEL ? is_weights : is_any);
    return err_input(err, "%s: found no %s among its %zu file%s; expected %s%s%s", n->repository,
                     n->type == HUB_MODEL ? "weights that lorac reads" : "data files", l->count, plural(l->count),
                     n->type == HUB_MODEL ? "model.safetensors, its shards, or a .gguf file"
                                          : "files of a kind that \"lorac help inspect\" lists",
                     names.len ? "; it has " : "", names.len ? names.data : "");
}

static int compare_paths(const void *a, const void *b) {
    return strcmp(((const HubFile *)a)->path, ((const HubFile *)b)->path);
}

int hub_select(HubListing *l, const HubName *n, const HubPatterns *p, Err *err) {
    size_t selected = 0;
    if (l->count) qsort(l->files, l->count, sizeof *l->files, compare_paths);
    if (!p->n_include && select_by_default(l, n, err)) return -1;
    for (size_t i = 0; i < l->count; i++) {
        HubFile *f = &l->files[i];
        if (p->n_include) f->selected = matches_any(f->path, p->include, p->n_include);
        f->selected = f->selected && !matches_any(f->path, p->exclude, p->n_exclude);
        if (!f->selected) continue;
        selected++;
        if (!hub_path_is_valid(f->path))
            return err_input(
                err,
                "%s: found a file named \"%.200s\"; expected a relative path without \"..\" and control characters",
                n->repository, f->path);
        if (i && strcmp(f->path, l->files[i - 1].path) == 0)
            return err_input(err, "%s: the hub lists %.200s twice", n->repository, f->path);
    }
    return selected ? 0 : refuse_none(l, n, p, err);
}

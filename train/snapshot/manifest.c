// manifest: manifest.json of a snapshot. Written last, so a folder with a manifest that verifies is a complete
// snapshot.
#include "snapshot_internal.h"

#include <dirent.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fileio.h"
#include "hash.h"
#include "json_read.h"
#include "json_save.h"
#include "path.h"

// TrainerState field by field; reading and writing walk the same table.
typedef struct StateField {
    const char *name;
    size_t offset;
    bool is_double, is_optional; // optional: 0 where an older version has not written it
} StateField;
#define COUNTER(f)                                                                                                     \
    { #f, offsetof(TrainerState, f), false, false }
#define NUMBER(f)                                                                                                      \
    { #f, offsetof(TrainerState, f), true, false }
#define LATER_COUNTER(f)                                                                                               \
    { #f, offsetof(TrainerState, f), false, true }
static const StateField state_fields[] = {
    COUNTER(step),           COUNTER(updates),          COUNTER(tokens),
    COUNTER(supervised),     COUNTER(skipped),          COUNTER(skipped_in_a_row),
    COUNTER(evaluated_step), COUNTER(best_step),        COUNTER(evals_since_best),
    COUNTER(stopped_early),  NUMBER(best_loss),         NUMBER(last_loss),
    NUMBER(last_eval_loss),  NUMBER(elapsed),           NUMBER(loss_scale),
    COUNTER(good_steps),     LATER_COUNTER(grown_from), LATER_COUNTER(grown_at),
};
enum { N_STATE_FIELDS = sizeof state_fields / sizeof *state_fields };

// ---- writing ----

static cJSON *add_object(cJSON *parent, const char *key) { return mem_checked(cJSON_AddObjectToObject(parent, key)); }

static void add_state(cJSON *root, const TrainerState *s) {
    cJSON *state = add_object(root, "state");
    for (int i = 0; i < N_STATE_FIELDS; i++) {
        const StateField *f = &state_fields[i];
        const void *at = (const char *)s + f->offset;
        double number = f->is_double ? *(const double *)at : 0;
        if (f->is_double)
            json_add_number(state, f->name, 17, isfinite(number) ? number : 0);
        else
            json_add_int(state, f->name, *(const int64_t *)at);
    }
}

static void add_split(cJSON *root, const SnapshotSplit *s) {
    cJSON *split = add_object(root, "split");
    json_add_int(split, "rows_per_step", s->rows_per_step);
    json_add_int(split, "rows_per_rank", s->rows_per_rank);
    json_add_int(split, "ranks", s->ranks);
}

static void add_identity(cJSON *root, const RunIdentity *id) {
    cJSON *identity = add_object(root, "identity");
    for (int i = 0; i < IDENTITY_KEYS; i++)
        if (id->values[i][0]) cJSON_AddStringToObject(identity, identity_names[i], id->values[i]);
}

static int add_file(cJSON *files, const char *path, const char *name, Err *err) {
    char hash[33];
    struct stat st;
    if (hash_file(hash, path, err)) return -1;
    if (stat(path, &st)) return err_runtime(err, "%s: cannot stat", path);
    cJSON *file = add_object(files, name);
    json_add_int(file, "size", st.st_size);
    cJSON_AddStringToObject(file, "xxh3", hash);
    return 0;
}

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static int is_visible(const struct dirent *e) { return e->d_name[0] != '.'; }

// Files of dir/below ("" for dir itself) and of its folders.
static int add_files(cJSON *files, const char *dir, const char *below, Err *err) {
    AUTO_FREE char *here = below[0] ? path_join(dir, below) : mem_strdup(dir);
    struct dirent **entries;
    int n = scandir(here, &entries, is_visible, by_name), rc = 0;
    if (n < 0) rc = err_runtime(err, "%s: cannot be listed", here);
    for (int i = 0; i < n; i++) {
        AUTO_FREE char *name = path_join(below, entries[i]->d_name), *path = path_join(dir, name);
        if (!rc) rc = path_is_dir(path) ? add_files(files, dir, name, err) : add_file(files, path, name, err);
        free(entries[i]);
    }
    if (n >= 0) free(entries);
    return rc;
}

// The last member is the hash of every byte before it, so that damage to the manifest itself is detected.
static const char OWN_HASH[] = "  \"xxh3\": \"";
static const char END[] = "\"\n}\n";
enum { HASH_DIGITS = 32, TAIL_BYTES = sizeof OWN_HASH - 1 + HASH_DIGITS + sizeof END - 1 };

// root, deleted, as text that ends with its own hash.
static StrBuf print_hashed(cJSON *root) {
    static const char close[] = "\n}\n";
    AUTO_FREE char *text = json_text(root);
    char hash[33];
    StrBuf out = {0};
    str_add(&out, text, strlen(text) - (sizeof close - 1));
    str_puts(&out, ",\n");
    hash_bytes(hash, out.data, out.len);
    str_printf(&out, "%s%s%s", OWN_HASH, hash, END);
    return out;
}

static bool own_hash_matches(const char *text, size_t size) {
    char tail[TAIL_BYTES + 1], hash[33];
    if (size < TAIL_BYTES) return false;
    hash_bytes(hash, text, size - TAIL_BYTES);
    snprintf(tail, sizeof tail, "%s%s%s", OWN_HASH, hash, END);
    return memcmp(text + size - TAIL_BYTES, tail, TAIL_BYTES) == 0;
}

int manifest_write(const char *dir, const TrainerState *s, const SnapshotSplit *split, const RunIdentity *id,
                   Err *err) {
    cJSON *root = mem_checked(cJSON_CreateObject());
    json_add_int(root, "format", SNAPSHOT_FORMAT);
    add_identity(root, id);
    add_split(root, split);
    add_state(root, s);
    int rc = add_files(add_object(root, "files"), dir, "", err);
    AUTO_STR StrBuf text = print_hashed(root);
    AUTO_FREE char *path = path_join(dir, "manifest.json");
    if (!rc) rc = file_write_whole(path, text.data, text.len, NULL, err);
    return rc;
}

// ---- reading ----

static int bad(const char *what, Err *err) { return err_input(err, "manifest.json: %s", what); }

static int read_count(const JsonReader *r, const char *key, int64_t min, int64_t max, int64_t *out) {
    return json_read_int(r, &(JsonIntRule){key, NULL, JSON_REQUIRED, JSON_REQUIRED, min, max}, out);
}

// An object of the manifest, with its name as the prefix of its keys.
static int open_object(JsonReader *inner, const JsonReader *root, const char *key, const char *prefix) {
    *inner = (JsonReader){.path = root->path, .prefix = prefix, .err = root->err};
    if (json_read_object(root, key, &inner->object)) return -1;
    return inner->object ? 0 : json_refuse(root, key, NULL, "an object");
}

static int read_state(TrainerState *s, const JsonReader *root) {
    JsonReader r;
    if (open_object(&r, root, "state", "state.")) return -1;
    for (int i = 0; i < N_STATE_FIELDS; i++) {
        const StateField *f = &state_fields[i];
        void *at = (char *)s + f->offset;
        if (f->is_optional && !json_get(r.object, f->name)) continue;
        if (f->is_double ? json_read_number(&r, f->name, at) : read_count(&r, f->name, -1, INT64_MAX, at)) return -1;
    }
    if (s->step < 0 || s->updates < 0 || s->updates > s->step || s->tokens < 0 || s->supervised < 0 ||
        s->evaluated_step > s->step || s->best_step > s->step || !(s->loss_scale >= 1 && s->loss_scale <= 0x1p24) ||
        s->good_steps < 0 || s->grown_at < 0 || s->grown_at > s->step || s->grown_from < s->grown_at)
        return bad("state contradicts itself", root->err);
    return 0;
}

static int read_split(SnapshotSplit *s, const JsonReader *root) {
    const int64_t most = (int64_t)1 << 40;
    JsonReader r;
    if (open_object(&r, root, "split", "split.") || read_count(&r, "rows_per_step", 1, most, &s->rows_per_step) ||
        read_count(&r, "rows_per_rank", 1, most, &s->rows_per_rank))
        return -1;
    return read_count(&r, "ranks", 1, most, &s->ranks);
}

static int read_identity(RunIdentity *id, const JsonReader *root) {
    JsonReader r;
    if (open_object(&r, root, "identity", "identity.")) return -1;
    for (int i = 0; i < IDENTITY_KEYS; i++) {
        JsonStr text = {"", 0};
        if (json_get(r.object, identity_names[i]) && json_read_text(&r, identity_names[i], &text)) return -1;
        if (text.len >= sizeof id->values[i]) return bad("identity: expected short strings", root->err);
        memcpy(id->values[i], text.data, text.len + 1);
    }
    return 0;
}

// Plain relative names only: no "..", no absolute path, at most one folder deep.
static bool is_safe_name(const JsonStr *name) {
    if (name->len == 0 || name->len >= sizeof((ManifestFile *)0)->name || strlen(name->data) != name->len) return false;
    const char *slash = strchr(name->data, '/');
    if (name->data[0] == '.' || name->data[0] == '/') return false;
    return !slash || (slash[1] != '.' && slash[1] != 0 && !strchr(slash + 1, '/'));
}

static int read_file_entry(ManifestFile *f, const JsonStr *name, const Json *entry, const JsonReader *files) {
    JsonReader r = {entry, files->path, files->prefix, files->err};
    JsonStr hash;
    if (!is_safe_name(name)) return bad("files: found a name that is not a plain relative path", r.err);
    if (read_count(&r, "size", 0, INT64_MAX, &f->size) || json_read_text(&r, "xxh3", &hash)) return -1;
    if (hash.len != sizeof f->hash - 1)
        return err_input(r.err, "manifest.json: %s: expected a hash of %zu digits", name->data, sizeof f->hash - 1);
    memcpy(f->name, name->data, name->len + 1);
    memcpy(f->hash, hash.data, sizeof f->hash);
    return 0;
}

static int read_files(Manifest *m, const JsonReader *root) {
    JsonReader r;
    if (open_object(&r, root, "files", "files.")) return -1;
    if (r.object->count > MANIFEST_MAX_FILES)
        return err_input(root->err, "manifest.json: files: %zu entries; expected at most %d", r.object->count,
                         MANIFEST_MAX_FILES);
    for (size_t i = 0; i < r.object->count; i++)
        if (read_file_entry(&m->files[i], &r.object->keys[i], &r.object->items[i], &r)) return -1;
    m->file_count = (int)r.object->count;
    return 0;
}

static int check_file(const ManifestFile *f, const char *dir, bool hashes, Err *err) {
    AUTO_FREE char *path = path_join(dir, f->name);
    char hash[33];
    struct stat st;
    if (stat(path, &st) || !S_ISREG(st.st_mode)) return err_input(err, "%s: missing", f->name);
    if (st.st_size != f->size)
        return err_input(err, "%s: %ld byte%s; expected %ld", f->name, st.st_size, plural(st.st_size), f->size);
    if (!hashes) return 0;
    if (hash_file(hash, path, err)) return -1;
    return strcmp(hash, f->hash) == 0 ? 0 : err_input(err, "%s: its hash does not match", f->name);
}

static int read_tree(Manifest *m, const Json *root, Err *err) {
    JsonReader r = {root, "manifest.json", "", err};
    int64_t format;
    if (read_count(&r, "format", 0, INT64_MAX, &format)) return -1;
    m->is_of_another_version = format != SNAPSHOT_FORMAT;
    if (m->is_of_another_version)
        return err_input(err,
                         "manifest.json: format version %ld, this lorac reads %d; expected the lorac that wrote it, or "
                         "another output_dir",
                         format, SNAPSHOT_FORMAT);
    if (read_state(&m->state, &r) || read_identity(&m->identity, &r) || read_split(&m->split, &r)) return -1;
    return read_files(m, &r);
}

static int read_all(Manifest *m, const char *dir, bool hashes, Err *err) {
    AUTO_FREE char *path = path_join(dir, "manifest.json"), *text = NULL;
    AUTO_JSON JsonDoc *doc = NULL;
    size_t size;
    if (file_read(&text, &size, path, MANIFEST_MAX_BYTES, err)) return -1;
    if (!own_hash_matches(text, size)) return bad("damaged or cut off: its own hash does not match", err);
    if (json_parse(&doc, text, size, "manifest.json", 1, err) || read_tree(m, json_root(doc), err)) return -1;
    for (int i = 0; i < m->file_count; i++)
        if (check_file(&m->files[i], dir, hashes, err)) return -1;
    return 0;
}

int manifest_read(Manifest *m, const char *dir, bool hashes, Err *err) {
    *m = (Manifest){0};
    int rc = read_all(m, dir, hashes, err);
    if (rc && err) err->kind = ERR_INPUT;
    return rc;
}

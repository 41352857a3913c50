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
#include "json.h"
#include "json_save.h"
#include "path.h"

// TrainerState field by field; reading and writing walk the same table.
typedef struct StateField {
    const char *name;
    size_t offset;
    bool is_double;
} StateField;
#define COUNTER(f)                                                                                                     \
    { #f, offsetof(TrainerState, f), false }
#define NUMBER(f)                                                                                                      \
    { #f, offsetof(TrainerState, f), true }
static const StateField state_fields[] = {
    COUNTER(step),           COUNTER(updates),   COUNTER(tokens),
    COUNTER(supervised),     COUNTER(skipped),   COUNTER(skipped_in_a_row),
    COUNTER(evaluated_step), COUNTER(best_step), COUNTER(evals_since_best),
    COUNTER(stopped_early),  NUMBER(best_loss),  NUMBER(last_loss),
    NUMBER(last_eval_loss),  NUMBER(elapsed),    NUMBER(loss_scale),
    COUNTER(good_steps),
};
enum { N_STATE_FIELDS = sizeof state_fields / sizeof *state_fields };

// ---- writing ----

static cJSON *add_object(cJSON *parent, const char *key) {
    return mem_checked(cJSON_AddObjectToObject(parent, key));
}

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

static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_visible(const struct dirent *e) {
    return e->d_name[0] != '.';
}

// Files of dir/below ("" for dir itself) and of its folders.
static int add_files(cJSON *files, const char *dir, const char *below, Err *err) {
    char *here = below[0] ? path_join(dir, below) : mem_strdup(dir);
    struct dirent **entries;
    int n = scandir(here, &entries, is_visible, by_name), rc = 0;
    if (n < 0) rc = err_runtime(err, "%s: cannot be listed", here);
    for (int i = 0; i < n; i++) {
        char *name = below[0] ? path_join(below, entries[i]->d_name) : mem_strdup(entries[i]->d_name);
        char *path = path_join(dir, name);
        if (!rc) rc = path_is_dir(path) ? add_files(files, dir, name, err) : add_file(files, path, name, err);
        mem_free(path);
        mem_free(name);
        free(entries[i]);
    }
    if (n >= 0) free(entries);
    mem_free(here);
    return rc;
}

// The last member is the hash of every byte before it, so that damage to the manifest itself is detected.
static const char OWN_HASH[] = "  \"xxh3\": \"";
static const char END[] = "\"\n}\n";
enum { HASH_DIGITS = 32, TAIL_BYTES = sizeof OWN_HASH - 1 + HASH_DIGITS + sizeof END - 1 };

// root, deleted, as text that ends with its own hash.
static StrBuf print_hashed(cJSON *root) {
    static const char close[] = "\n}\n";
    char *text = json_text(root), hash[33];
    StrBuf out = {0};
    str_add(&out, text, strlen(text) - (sizeof close - 1));
    str_puts(&out, ",\n");
    hash_bytes(hash, out.data, out.len);
    str_printf(&out, "%s%s%s", OWN_HASH, hash, END);
    mem_free(text);
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
    StrBuf text = print_hashed(root);
    char *path = path_join(dir, "manifest.json");
    if (!rc) rc = file_write_whole(path, text.data, text.len, NULL, err);
    mem_free(path);
    str_clear(&text);
    return rc;
}

// ---- reading ----

static int bad(const char *what, Err *err) {
    return err_input(err, "manifest.json: %s", what);
}

static int read_state(TrainerState *s, const Json *state, Err *err) {
    for (int i = 0; i < N_STATE_FIELDS; i++) {
        const StateField *f = &state_fields[i];
        const Json *v = json_get(state, f->name);
        if (!v || (v->type != JSON_INT && !(f->is_double && v->type == JSON_FLOAT)))
            return err_input(err, "manifest.json: state.%s is %s; expected %s", f->name,
                             v ? json_type_name(v) : "missing", f->is_double ? "a number" : "an integer");
        void *at = (char *)s + f->offset;
        if (f->is_double) {
            *(double *)at = v->number;
        } else {
            *(int64_t *)at = v->integer;
        }
    }
    if (s->step < 0 || s->updates < 0 || s->updates > s->step || s->tokens < 0 || s->supervised < 0 ||
        s->evaluated_step > s->step || s->best_step > s->step || !(s->loss_scale >= 1 && s->loss_scale <= 0x1p24) ||
        s->good_steps < 0)
        return bad("state contradicts itself", err);
    return 0;
}

static int read_split(SnapshotSplit *s, const Json *split, Err *err) {
    const struct {
        const char *name;
        int64_t *to;
    } parts[] = {{"rows_per_step", &s->rows_per_step}, {"rows_per_rank", &s->rows_per_rank}, {"ranks", &s->ranks}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const Json *v = split && split->type == JSON_OBJECT ? json_get(split, parts[i].name) : NULL;
        if (!v || v->type != JSON_INT || v->integer < 1 || v->integer > 1LL << 40)
            return err_input(err, "manifest.json: split.%s: expected a number above 0", parts[i].name);
        *parts[i].to = v->integer;
    }
    return 0;
}

static int read_identity(RunIdentity *id, const Json *identity, Err *err) {
    if (!identity || identity->type != JSON_OBJECT) return bad("identity: expected an object", err);
    for (int i = 0; i < IDENTITY_KEYS; i++) {
        const Json *v = json_get(identity, identity_names[i]);
        if (!v) continue;
        if (v->type != JSON_STRING || v->str.len >= sizeof id->values[i])
            return bad("identity: expected short strings", err);
        memcpy(id->values[i], v->str.data, v->str.len + 1);
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

static int read_file_entry(ManifestFile *f, const JsonStr *name, const Json *entry, Err *err) {
    const Json *size = json_get(entry, "size"), *hash = json_get(entry, "xxh3");
    if (!is_safe_name(name)) return bad("files: found a name that is not a plain relative path", err);
    if (!size || size->type != JSON_INT || size->integer < 0 || !hash || hash->type != JSON_STRING ||
        hash->str.len != sizeof f->hash - 1)
        return err_input(err, "manifest.json: %s: expected size and hash", name->data);
    memcpy(f->name, name->data, name->len + 1);
    f->size = size->integer;
    memcpy(f->hash, hash->str.data, sizeof f->hash);
    return 0;
}

static int read_files(Manifest *m, const Json *files, Err *err) {
    if (!files || files->type != JSON_OBJECT || files->count > MANIFEST_MAX_FILES)
        return bad("files: expected an object", err);
    for (size_t i = 0; i < files->count; i++) {
        if (read_file_entry(&m->files[i], &files->keys[i], &files->items[i], err)) return -1;
    }
    m->file_count = (int)files->count;
    return 0;
}

static int check_file(const ManifestFile *f, const char *dir, bool hashes, Err *err) {
    char *path = path_join(dir, f->name), hash[33];
    struct stat st;
    int rc = 0;
    if (stat(path, &st) || !S_ISREG(st.st_mode)) {
        rc = err_input(err, "%s: missing", f->name);
    } else if (st.st_size != f->size) {
        rc = err_input(err, "%s: %lld bytes; expected %lld", f->name, (long long)st.st_size, (long long)f->size);
    } else if (hashes) {
        rc = hash_file(hash, path, err);
        if (!rc && strcmp(hash, f->hash) != 0) rc = err_input(err, "%s: its hash does not match", f->name);
    }
    mem_free(path);
    return rc;
}

static int read_tree(Manifest *m, const Json *root, Err *err) {
    const Json *format = json_get(root, "format");
    if (!format || format->type != JSON_INT) return bad("format: expected a version number", err);
    m->is_of_another_version = format->integer != SNAPSHOT_FORMAT;
    if (m->is_of_another_version)
        return err_input(
            err,
            "manifest.json: format version %lld, this lorac reads %d; expected the lorac that wrote it, or "
            "another output_dir",
            (long long)format->integer, SNAPSHOT_FORMAT);
    const Json *state = json_get(root, "state");
    if (!state || state->type != JSON_OBJECT) return bad("state: expected an object", err);
    if (read_state(&m->state, state, err) || read_identity(&m->identity, json_get(root, "identity"), err)) return -1;
    if (read_split(&m->split, json_get(root, "split"), err)) return -1;
    return read_files(m, json_get(root, "files"), err);
}

int manifest_read(Manifest *m, const char *dir, bool hashes, Err *err) {
    char *path = path_join(dir, "manifest.json"), *text = NULL;
    size_t size;
    JsonDoc *doc = NULL;
    *m = (Manifest){0};
    int rc = file_read(&text, &size, path, MANIFEST_MAX_BYTES, err);
    if (!rc && !own_hash_matches(text, size)) rc = bad("damaged or cut off: its own hash does not match", err);
    if (!rc) rc = json_parse(&doc, text, size, "manifest.json", 1, err);
    if (!rc) rc = read_tree(m, json_root(doc), err);
    json_free(doc);
    for (int i = 0; i < m->file_count && !rc; i++) rc = check_file(&m->files[i], dir, hashes, err);
    mem_free(text);
    mem_free(path);
    if (rc && err) err->kind = ERR_INPUT;
    return rc;
}

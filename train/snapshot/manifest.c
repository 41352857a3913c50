// manifest: manifest.json of a snapshot. Written last, so a folder with a manifest that verifies is a whole snapshot.
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
#include "path.h"

// RunState field by field; reading and writing walk the same table.
typedef struct StateField {
    const char *name;
    size_t offset;
    bool is_double;
} StateField;
#define COUNTER(f)                                                                                                     \
    { #f, offsetof(RunState, f), false }
#define NUMBER(f)                                                                                                      \
    { #f, offsetof(RunState, f), true }
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

static void put_state(StrBuf *out, const RunState *s) {
    str_puts(out, "  \"state\": {");
    for (int i = 0; i < N_STATE_FIELDS; i++) {
        const StateField *f = &state_fields[i];
        const void *at = (const char *)s + f->offset;
        str_printf(out, "%s\n    \"%s\": ", i ? "," : "", f->name);
        double number = f->is_double ? *(const double *)at : 0;
        if (!isfinite(number)) number = 0;
        if (f->is_double) {
            str_printf(out, "%.17g", number);
        } else {
            str_printf(out, "%lld", (long long)*(const int64_t *)at);
        }
    }
    str_puts(out, "\n  },\n");
}

static void put_split(StrBuf *out, const RunSplit *s) {
    str_printf(out, "  \"split\": {\"rows_per_step\": %lld, \"rows_per_rank\": %lld, \"ranks\": %lld},\n",
               (long long)s->rows_per_step, (long long)s->rows_per_rank, (long long)s->ranks);
}

static void put_identity(StrBuf *out, const RunIdentity *id) {
    str_puts(out, "  \"identity\": {");
    for (int i = 0; i < id->count; i++) {
        str_printf(out, "%s\n    \"%s\": ", i ? "," : "", id->items[i].name);
        json_quote(out, id->items[i].value, strlen(id->items[i].value));
    }
    str_puts(out, "\n  },\n");
}

static int put_file(StrBuf *out, int *count, const char *dir, const char *name, Err *err) {
    char *path = path_join(dir, name), hash[33];
    struct stat st;
    int status = hash_file(hash, path, err);
    if (!status && stat(path, &st)) status = err_runtime(err, "%s: cannot stat", path);
    if (!status) {
        str_printf(out, "%s\n    ", (*count)++ ? "," : "");
        json_quote(out, name, strlen(name));
        str_printf(out, ": {\"size\": %lld, \"xxh3\": \"%s\"}", (long long)st.st_size, hash);
    }
    mem_free(path);
    return status;
}

static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_visible(const struct dirent *e) {
    return e->d_name[0] != '.';
}

// Files of dir/below ("" for dir itself) and of its folders.
static int put_files(StrBuf *out, int *count, const char *dir, const char *below, Err *err) {
    char *here = below[0] ? path_join(dir, below) : mem_strdup(dir);
    struct dirent **entries;
    int n = scandir(here, &entries, is_visible, by_name), status = 0;
    if (n < 0) status = err_runtime(err, "%s: cannot be listed", here);
    for (int i = 0; i < n; i++) {
        char *name = below[0] ? path_join(below, entries[i]->d_name) : mem_strdup(entries[i]->d_name);
        char *full = path_join(dir, name);
        if (!status)
            status = path_is_dir(full) ? put_files(out, count, dir, name, err) : put_file(out, count, dir, name, err);
        mem_free(full);
        mem_free(name);
        free(entries[i]);
    }
    if (n >= 0) free(entries);
    mem_free(here);
    return status;
}

// The last member is the hash of every byte before it: the manifest notices its own damage too.
static const char OWN_HASH[] = "  \"xxh3\": \"";
static const char END[] = "\"\n}\n";
enum { HASH_DIGITS = 32, TAIL_BYTES = sizeof OWN_HASH - 1 + HASH_DIGITS + sizeof END - 1 };

static void put_own_hash(StrBuf *out) {
    char hash[33];
    hash_bytes(hash, out->data, out->len);
    str_printf(out, "%s%s%s", OWN_HASH, hash, END);
}

static bool own_hash_is_right(const char *text, size_t size) {
    char tail[TAIL_BYTES + 1], hash[33];
    if (size < TAIL_BYTES) return false;
    hash_bytes(hash, text, size - TAIL_BYTES);
    snprintf(tail, sizeof tail, "%s%s%s", OWN_HASH, hash, END);
    return memcmp(text + size - TAIL_BYTES, tail, TAIL_BYTES) == 0;
}

int manifest_write(const char *dir, const RunState *s, const RunSplit *split, const RunIdentity *id, Err *err) {
    StrBuf out = {0};
    int count = 0;
    str_printf(&out, "{\n  \"format\": %d,\n", SNAPSHOT_FORMAT);
    put_identity(&out, id);
    put_split(&out, split);
    put_state(&out, s);
    str_puts(&out, "  \"files\": {");
    int status = put_files(&out, &count, dir, "", err);
    str_puts(&out, "\n  },\n");
    put_own_hash(&out);
    char *path = path_join(dir, "manifest.json");
    if (!status) status = file_write_whole(path, out.data, out.len, NULL, err);
    mem_free(path);
    str_clear(&out);
    return status;
}

// ---- reading ----

static int bad(const char *what, Err *err) {
    return err_input(err, "manifest.json: %s", what);
}

static int read_state(RunState *s, const Json *state, Err *err) {
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
        return bad("state does not agree with itself", err);
    return 0;
}

static int read_split(RunSplit *s, const Json *split, Err *err) {
    const struct {
        const char *name;
        int64_t *to;
    } parts[] = {{"rows_per_step", &s->rows_per_step}, {"rows_per_rank", &s->rows_per_rank}, {"ranks", &s->ranks}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const Json *v = split && split->type == JSON_OBJECT ? json_get(split, parts[i].name) : NULL;
        if (!v || v->type != JSON_INT || v->integer < 1 || v->integer > 1LL << 40)
            return err_input(err, "manifest.json: split.%s: no number above 0", parts[i].name);
        *parts[i].to = v->integer;
    }
    return 0;
}

static int read_identity(Manifest *m, const Json *identity, Err *err) {
    if (!identity || identity->type != JSON_OBJECT || identity->count > IDENTITY_MAX) return bad("no identity", err);
    for (size_t i = 0; i < identity->count; i++) {
        const JsonStr *key = &identity->keys[i];
        const Json *v = &identity->items[i];
        if (v->type != JSON_STRING || key->len >= sizeof m->names[0] || v->str.len >= sizeof m->identity[0].value)
            return bad("identity holds something else than short strings", err);
        memcpy(m->names[i], key->data, key->len + 1);
        m->identity[i].name = m->names[i];
        memcpy(m->identity[i].value, v->str.data, v->str.len + 1);
    }
    m->identity_count = (int)identity->count;
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
    if (!is_safe_name(name)) return bad("a file name that is not plain", err);
    if (!size || size->type != JSON_INT || size->integer < 0 || !hash || hash->type != JSON_STRING ||
        hash->str.len != sizeof f->hash - 1)
        return err_input(err, "manifest.json: %s: no size or hash", name->data);
    memcpy(f->name, name->data, name->len + 1);
    f->size = size->integer;
    memcpy(f->hash, hash->str.data, sizeof f->hash);
    return 0;
}

static int read_files(Manifest *m, const Json *files, Err *err) {
    if (!files || files->type != JSON_OBJECT || files->count > MANIFEST_MAX_FILES) return bad("no list of files", err);
    for (size_t i = 0; i < files->count; i++) {
        if (read_file_entry(&m->files[i], &files->keys[i], &files->items[i], err)) return -1;
    }
    m->file_count = (int)files->count;
    return 0;
}

static int check_file(const ManifestFile *f, const char *dir, bool hashes, Err *err) {
    char *path = path_join(dir, f->name), hash[33];
    struct stat st;
    int status = 0;
    if (stat(path, &st) || !S_ISREG(st.st_mode)) {
        status = err_input(err, "%s: missing", f->name);
    } else if (st.st_size != f->size) {
        status = err_input(err, "%s: %lld bytes; expected %lld", f->name, (long long)st.st_size, (long long)f->size);
    } else if (hashes) {
        status = hash_file(hash, path, err);
        if (!status && strcmp(hash, f->hash) != 0) status = err_input(err, "%s: its hash differs", f->name);
    }
    mem_free(path);
    return status;
}

static int read_tree(Manifest *m, const Json *root, Err *err) {
    const Json *format = json_get(root, "format");
    if (!format || format->type != JSON_INT) return bad("no format version", err);
    m->is_of_another_version = format->integer != SNAPSHOT_FORMAT;
    if (m->is_of_another_version)
        return err_input(
            err,
            "manifest.json: format version %lld, this lorac reads %d; expected the lorac that wrote it, or "
            "another output_dir",
            (long long)format->integer, SNAPSHOT_FORMAT);
    const Json *state = json_get(root, "state");
    if (!state || state->type != JSON_OBJECT) return bad("no state", err);
    if (read_state(&m->state, state, err) || read_identity(m, json_get(root, "identity"), err)) return -1;
    if (read_split(&m->split, json_get(root, "split"), err)) return -1;
    return read_files(m, json_get(root, "files"), err);
}

int manifest_read(Manifest *m, const char *dir, bool hashes, Err *err) {
    char *path = path_join(dir, "manifest.json"), *text = NULL;
    size_t size;
    JsonDoc *doc = NULL;
    *m = (Manifest){0};
    int status = file_read(&text, &size, path, MANIFEST_MAX_BYTES, err);
    if (!status && !own_hash_is_right(text, size)) status = bad("damaged or cut off: its own hash differs", err);
    if (!status) status = json_parse(&doc, text, size, "manifest.json", 1, err);
    if (!status) status = read_tree(m, json_root(doc), err);
    json_free(doc);
    for (int i = 0; i < m->file_count && !status; i++) status = check_file(&m->files[i], dir, hashes, err);
    mem_free(text);
    mem_free(path);
    if (status && err) err->kind = ERR_INPUT;
    return status;
}

#include "hub_cache.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fileio.h"
#include "hub_split.h"
#include "temporary.h"

// ---- a snapshot ----

static bool is_commit(const char *text, size_t n) {
    return n == HUB_COMMIT_DIGITS && strspn(text, "0123456789abcdef") >= HUB_COMMIT_DIGITS;
}

// The folder of a revision; NULL: none.
static char *find_snapshot(const HubName *n, const char *revision) {
    AUTO_FREE char *folder = hub_folder(n), *ref = NULL, *text = NULL;
    size_t size = 0;
    if (!revision) revision = n->revision ? n->revision : "main";
    if (!hub_revision_is_valid(revision)) return NULL;
    ref = mem_printf("%s/refs/%s", folder, revision);
    if (is_commit(revision, strlen(revision)))
        text = mem_strdup(revision);
    else if (file_read(&text, &size, ref, 256, NULL) || !is_commit(text, strcspn(text, "\r\n")))
        return NULL;
    AUTO_FREE char *snapshot = mem_printf("%s/snapshots/%.*s", folder, HUB_COMMIT_DIGITS, text);
    return path_is_dir(snapshot) ? path_absolute(snapshot) : NULL;
}

// Names of files in a folder and those below it, relative to it, sorted.
static int list_below(NameList *files, const char *folder, const char *below, int depth, Err *err) {
    enum { MAX_DEPTH = 16 };
    AUTO_NAMES NameList names = {0};
    AUTO_FREE char *dir = path_join(folder, below);
    if (depth > MAX_DEPTH) return err_input(err, "%s: found more than %d folders in each other", folder, MAX_DEPTH);
    if (dir_list(&names, dir, err)) return -1;
    for (size_t i = 0; i < names.count; i++) {
        AUTO_FREE char *name = path_join(below, names.items[i]), *path = path_join(folder, name);
        if (names.items[i][0] == '.') continue;
        if (path_is_dir(path) && list_below(files, folder, name, depth + 1, err)) return -1;
        if (path_is_dir(path) || !path_exists(path)) continue; // a link whose blob is gone
        name_list_add(files, mem_take(&name));
    }
    return 0;
}

static int list_snapshot(NameList *files, const char *snapshot, Err *err) {
    if (list_below(files, snapshot, "", 0, err)) return -1;
    name_list_sort(files, 0);
    return 0;
}

bool hub_is_name(const char *text, HubType type) {
    AUTO_HUB_NAME HubName n = {0};
    return !path_exists(text) && hub_name_read(&n, text, type) && n.type == type;
}

// ---- models ----

// *file: the GGUF file that `choice` names, the first of its parts; NULL: there is none.
static int find_gguf(char **file, const char *snapshot, const HubName *n, Err *err) {
    AUTO_NAMES NameList all = {0};
    AUTO_NAMES NameList found = {0};
    *file = NULL;
    if (list_snapshot(&all, snapshot, err)) return -1;
    for (size_t i = 0; i < all.count; i++) {
        const char *name = all.items[i], *last = found.count ? found.items[found.count - 1] : NULL;
        size_t stem = last ? hub_part_stem(last) : 0;
        if (!ends_with_nocase(name, strlen(name), ".gguf") || (n->choice && !strcasestr(path_name(name), n->choice)))
            continue;
        if (stem && hub_part_stem(name) == stem && strncmp(name, last, stem) == 0) continue;
        name_list_add(&found, mem_strdup(name));
    }
    AUTO_FREE char *names = hub_split_names(&found, NULL);
    if (found.count > 1)
        return err_input(
            err, "%s: found several GGUF files; expected the choice of one, as in \"%s/%s\" or \"%s:Q4_K_M\": %s",
            snapshot, n->repository, found.items[0], n->repository, names);
    if (found.count) *file = path_join(snapshot, found.items[0]);
    return 0;
}

static bool has_weights(const char *snapshot) {
    AUTO_NAMES NameList names = {0};
    dir_list(&names, snapshot, NULL);
    for (size_t i = 0; i < names.count; i++)
        if (ends_with(names.items[i], ".safetensors")) return true;
    return false;
}

int hub_find_model(char **path, const char *revision, Err *err) {
    AUTO_HUB_NAME HubName n = {0};
    if (!hub_is_name(*path, HUB_MODEL) || !hub_name_read(&n, *path, HUB_MODEL)) return 0;
    AUTO_FREE char *snapshot = find_snapshot(&n, revision), *found = NULL;
    if (!snapshot) return 0;
    if (n.path)
        found = path_join(snapshot, n.path);
    else if (!n.choice && has_weights(snapshot))
        found = mem_strdup(snapshot);
    else if (find_gguf(&found, snapshot, &n, err))
        return -1;
    if (!found || !path_exists(found)) return 0;
    mem_free(*path);
    *path = mem_take(&found);
    return 0;
}

char *hub_revision_of(const char *folder) {
    static const char middle[] = "/snapshots/";
    AUTO_FREE char *repository = hub_repository_of(folder), *text = NULL;
    size_t size;
    if (!repository) return NULL;
    const char *stop = strstr(strstr(folder, "models--"), middle), *commit = stop + strlen(middle);
    AUTO_FREE char *ref = mem_printf("%.*s/refs/main", (int)(stop - folder), folder);
    if (!is_commit(commit, strcspn(commit, "/"))) return NULL;
    if (file_read(&text, &size, ref, 256, NULL) == 0 && strncmp(text, commit, HUB_COMMIT_DIGITS) == 0) return NULL;
    return mem_strndup(commit, HUB_COMMIT_DIGITS);
}

char *hub_hint(const char *text, HubType type) {
    AUTO_HUB_NAME HubName n = {0};
    if (path_exists(text) || !hub_name_read(&n, text, type)) return mem_strdup("");
    AUTO_FREE char *cache = hub_cache();
    bool prefix = n.type == HUB_DATASET && !starts_with(text, "datasets/") && !starts_with(text, "hf://");
    return mem_printf(", nor in the hub's cache %s; \"lorac pull %s%s\" fetches it", cache, prefix ? "datasets/" : "",
                      text);
}

// ---- data sets ----

int hub_find_data(NameList *files, bool *found, const char *text, const char *split, Err *err) {
    AUTO_HUB_NAME HubName n = {0};
    AUTO_NAMES NameList all = {0};
    *found = false;
    if (!hub_is_name(text, HUB_DATASET) || !hub_name_read(&n, text, HUB_DATASET)) return 0;
    AUTO_FREE char *snapshot = find_snapshot(&n, NULL);
    if (!snapshot) return 0;
    if (n.path) {
        *found = dir_has(snapshot, n.path);
        if (*found) name_list_add(files, path_join(snapshot, n.path));
        return 0;
    }
    if (list_snapshot(&all, snapshot, err)) return -1;
    AUTO_FREE bool *wanted = mem_calloc(all.count + 1, sizeof *wanted);
    if (hub_split_choose(wanted, &all, snapshot, n.choice ? n.choice : split, err))
        return err_context(err, "%s", n.repository);
    for (size_t i = 0; i < all.count; i++)
        if (wanted[i]) name_list_add(files, path_join(snapshot, all.items[i]));
    *found = true;
    return 0;
}

// ---- writing ----

// A link appears whole: made under a temporary name.
static int put_link(const char *snapshot, const HubFile *f, Err *err) {
    AUTO_FREE char *path = path_join(snapshot, f->path), *dir = path_parent(path), *temporary = NULL;
    AUTO_STR StrBuf target = {0};
    char now[256];
    if (dir_make_parents(dir, err)) return -1;
    for (const char *p = f->path; (p = strchr(p, '/')); p++) str_puts(&target, "../");
    str_printf(&target, "../../blobs/%s", f->hash);
    ssize_t n = readlink(path, now, sizeof now);
    if (n == (ssize_t)target.len && memcmp(now, target.data, target.len) == 0) return 0;
    temporary = temporary_name(path, "tmp");
    if (symlink(target.data, temporary)) return err_runtime(err, "%s: cannot be made: %s", temporary, strerror(errno));
    if (rename(temporary, path) == 0) return 0;
    int why = errno;
    unlink(temporary);
    return err_runtime(err, "%s: cannot be made: %s", path, strerror(why));
}

// A ref is a small file that holds a commit.
static int own_ref(const char *path, Err *err) {
    AUTO_FREE char *text = NULL;
    size_t size;
    if (file_read(&text, &size, path, 256, err)) return -1;
    return is_commit(text, strcspn(text, "\r\n")) ? 0 : overwrite_refuse(path, "a commit", err);
}

int hub_snapshot_install(const char *folder, const HubListing *l, const char *revision, Err *err) {
    AUTO_FREE char *snapshot = mem_printf("%s/snapshots/%s", folder, l->commit),
                   *ref = mem_printf("%s/refs/%s", folder, revision), *refs = path_parent(ref);
    for (size_t i = 0; i < l->count; i++)
        if (l->files[i].selected && put_link(snapshot, &l->files[i], err)) return -1;
    if (strcmp(revision, l->commit) == 0) return 0;
    return dir_make_parents(refs, err) || file_write_whole(ref, l->commit, HUB_COMMIT_DIGITS, own_ref, err) ? -1 : 0;
}

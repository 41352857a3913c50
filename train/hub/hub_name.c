#include "hub_name.h"

#include <stdlib.h>
#include <string.h>

#include "fileio.h"
#include "path.h"
#include "say.h"

static const char *const folder_start[] = {[HUB_MODEL] = "models--", [HUB_DATASET] = "datasets--"};

// ---- names ----

// huggingface_hub's rule of one part: letters, digits, '-', '_' and '.', neither of "--" and "..", no '-' or '.' at its
// ends.
static size_t part_length(const char *text) {
    size_t n = 0;
    for (; text[n]; n++) {
        char c = text[n];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
        if (!letter && !((c == '-' || c == '.') && n && text[n - 1] != c)) break;
    }
    bool ends = n && text[n - 1] != '-' && text[n - 1] != '.';
    return ends && n <= 96 ? n : 0;
}

bool hub_revision_is_valid(const char *revision) { return !strpbrk(revision, ":@") && hub_path_is_valid(revision); }

bool hub_path_is_valid(const char *path) {
    size_t n = strlen(path);
    if (!n || n > 1024) return false;
    for (const char *p = path; *p;) {
        size_t part = strcspn(p, "/");
        if (!part || part > 255 || (p[0] == '.' && (part == 1 || (part == 2 && p[1] == '.')))) return false;
        p += part;
        if (*p && !*++p) return false; // a slash at the end
    }
    for (size_t i = 0; i < n;) {
        bool safe;
        if (path[i] == '\n' || path[i] == '\t' || path[i] == '\\') return false;
        i += say_character(path + i, n - i, &safe);
        if (!safe) return false;
    }
    return true;
}

// Takes what follows `mark` in *text, up to one of `stops`. False: empty.
static bool take_part(char **part, const char **text, char mark, const char *stops) {
    if (**text != mark) return true;
    size_t n = strcspn(++*text, stops);
    *part = mem_strndup(*text, n);
    *text += n;
    return n > 0;
}

// "data/train.jsonl" is a path, whether it exists or not.
static bool is_file_name(const char *name, size_t n) {
    static const char kinds[] =
        "jsonl json txt csv tsv parquet gz zst tgz tzst tar gguf safetensors jinja yaml yml bin pt";
    const char *dot = memrchr(name, '.', n);
    return dot && is_among_nocase(dot + 1, n - (size_t)(dot + 1 - name), kinds);
}

static bool read_name(HubName *n, const char *text, HubType type) {
    bool marked = starts_with(text, "hf://");
    n->type = type;
    if (marked) text += 5, n->type = HUB_MODEL;
    const char *rest = text;
    if (starts_with(rest, "datasets/"))
        rest += 9, n->type = HUB_DATASET;
    else if (starts_with(rest, "models/"))
        rest += 7, n->type = HUB_MODEL;
    size_t owner = part_length(rest), name = rest[owner] == '/' ? part_length(rest + owner + 1) : 0;
    if (rest != text && !name) { // "models/x": a path
        if (marked) return false;
        n->type = type;
        rest = text;
        owner = part_length(rest), name = rest[owner] == '/' ? part_length(rest + owner + 1) : 0;
    }
    if (!owner || !name || (!marked && rest == text && is_file_name(rest + owner + 1, name))) return false;
    n->repository = mem_strndup(rest, owner + 1 + name);
    rest += owner + 1 + name;
    if (!take_part(&n->revision, &rest, '@', ":/") || !take_part(&n->choice, &rest, ':', "/")) return false;
    if (*rest == '/') n->path = mem_strdup(rest + 1);
    return (!*rest || n->path) && (!n->path || hub_path_is_valid(n->path)) &&
           (!n->revision || hub_revision_is_valid(n->revision)) && (!n->choice || hub_path_is_valid(n->choice));
}

bool hub_name_read(HubName *n, const char *text, HubType type) {
    *n = (HubName){0};
    if (read_name(n, text, type)) return true;
    hub_name_clear(n);
    return false;
}

void hub_name_clear(HubName *n) {
    mem_free(n->repository);
    mem_free(n->revision);
    mem_free(n->choice);
    mem_free(n->path);
    *n = (HubName){0};
}

char *hub_repository_of(const char *folder) {
    const char *start = folder_start[HUB_MODEL], *name = strstr(folder, start),
               *stop = name ? strstr(name, "/snapshots/") : NULL;
    if (!stop || memchr(name, '/', (size_t)(stop - name))) return NULL;
    name += strlen(start);
    const char *dashes = strstr(name, "--");
    if (!dashes || dashes >= stop) return NULL;
    return mem_printf("%.*s/%.*s", (int)(dashes - name), name, (int)(stop - dashes - 2), dashes + 2);
}

// ---- the environment ----

static const char *variable(const char *name) {
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

// With the home folder for "~".
static char *expand(const char *path) {
    const char *home = variable("HOME");
    return path[0] == '~' && path[1] == '/' && home ? path_join(home, path + 2) : mem_strdup(path);
}

static char *hub_home(void) {
    const char *set = variable("HF_HOME"), *xdg = variable("XDG_CACHE_HOME");
    AUTO_FREE char *cache = set ? NULL : expand(xdg ? xdg : "~/.cache");
    return set ? expand(set) : path_join(cache, "huggingface");
}

char *hub_cache(void) {
    const char *set = variable("HF_HUB_CACHE");
    if (!set) set = variable("HUGGINGFACE_HUB_CACHE");
    AUTO_FREE char *home = set ? NULL : hub_home();
    return set ? expand(set) : path_join(home, "hub");
}

char *hub_folder(const HubName *n) {
    AUTO_FREE char *cache = hub_cache();
    size_t owner = strcspn(n->repository, "/");
    return mem_printf("%s/%s%.*s--%s", cache, folder_start[n->type], (int)owner, n->repository,
                      n->repository + owner + 1);
}

char *hub_endpoint(void) {
    const char *set = variable("HF_ENDPOINT");
    if (!set) set = HUB_PUBLIC;
    size_t n = strlen(set);
    while (n && set[n - 1] == '/') n--;
    return mem_strndup(set, n);
}

// A token becomes part of a header.
static int check_token(const char *token, const char *from, Err *err) {
    for (const char *p = token; *p; p++)
        if (*p <= ' ' || *p > '~') return err_input(err, "%s: found a token with a character that no token has", from);
    return 0;
}

int hub_token(char **token, Err *err) {
    enum { MAX_TOKEN = 4096 };
    const char *set = variable("HF_TOKEN"), *path = variable("HF_TOKEN_PATH");
    AUTO_FREE char *home = hub_home(), *file = path ? expand(path) : path_join(home, "token"), *text = NULL;
    size_t size;
    *token = NULL;
    if (!set) set = variable("HUGGING_FACE_HUB_TOKEN");
    if (!set && !path_exists(file)) return 0;
    if (set)
        text = mem_strdup(set);
    else if (file_read(&text, &size, file, MAX_TOKEN, err))
        return -1;
    size_t begin = strspn(text, " \t\r\n"), end = strlen(text);
    while (end > begin && strchr(" \t\r\n", text[end - 1])) end--;
    if (end == begin) return 0;
    *token = mem_strndup(text + begin, end - begin);
    if (!check_token(*token, set ? "HF_TOKEN" : file, err)) return 0;
    mem_free(*token);
    *token = NULL;
    return -1;
}

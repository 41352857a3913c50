#include "hub_pull.h"

#include <signal.h>
#include <string.h>
#include <sys/statvfs.h>

#include "hub_blob.h"
#include "hub_cache.h"
#include "path.h"
#include "say.h"
#include "signals.h"

enum { MAX_INFO = 32 << 20, MAX_PAGE = 64 << 20 };

typedef struct Pull {
    const HubPull *p;
    HubClient client;
    HubListing listing;
    const char *revision;
    char *folder;
} Pull;

static void pull_clear(Pull *pull) {
    hub_client_close(&pull->client);
    hub_listing_clear(&pull->listing);
    mem_free(pull->folder);
}

// ---- URLs ----

static void add_escaped(StrBuf *url, const char *text, const char *plain) {
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-_.~", c);
        str_printf(url, letter || strchr(plain, c) ? "%c" : "%%%02X", c);
    }
}

// ENDPOINT/api/models/OWNER/NAME/WORD/REVISION
static void api_url(StrBuf *url, const Pull *pull, const char *word, const char *revision) {
    const HubName *n = pull->p->name;
    str_printf(url, "%s/api/%s/%s/%s/", pull->client.endpoint, n->type == HUB_MODEL ? "models" : "datasets",
               n->repository, word);
    add_escaped(url, revision, "");
}

static void file_url(StrBuf *url, const Pull *pull, const char *path) {
    const HubName *n = pull->p->name;
    str_printf(url, "%s/%s%s/resolve/%s/", pull->client.endpoint, n->type == HUB_MODEL ? "" : "datasets/",
               n->repository, pull->listing.commit);
    add_escaped(url, path, "/");
}

// ---- the listing ----

static int read_pages(Pull *pull, const char *what, Err *err) {
    AUTO_STR StrBuf url = {0}, text = {0};
    HttpHead head;
    api_url(&url, pull, "tree", pull->listing.commit);
    str_puts(&url, "?recursive=true&expand=false");
    for (size_t before = 0;; before = pull->listing.count) {
        if (hub_request_text(&pull->client, url.data, what, &text, MAX_PAGE, &head, err) ||
            hub_listing_add_page(&pull->listing, text.data, text.len, what, err))
            return -1;
        if (!head.next[0]) return 0;
        size_t n = strlen(pull->client.endpoint);
        if (strncmp(head.next, pull->client.endpoint, n) != 0 || head.next[n] != '/')
            return err_input(err, "%s: the next page is %.200s; expected one of %s", what, head.next,
                             pull->client.endpoint);
        if (pull->listing.count == before)
            return err_input(err, "%s: a page without files has a next page; expected the end", what);
        str_clear(&url);
        str_puts(&url, head.next);
    }
}

static int read_listing(Pull *pull, Err *err) {
    const HubName *n = pull->p->name;
    AUTO_STR StrBuf url = {0}, text = {0};
    AUTO_FREE char *what = mem_printf("%s, revision %s", n->repository, pull->revision);
    api_url(&url, pull, "revision", pull->revision);
    if (hub_request_text(&pull->client, url.data, what, &text, MAX_INFO, NULL, err) ||
        hub_listing_read_commit(&pull->listing, text.data, text.len, what, err))
        return -1;
    return read_pages(pull, what, err) || hub_select(&pull->listing, n, &pull->p->patterns, err) ? -1 : 0;
}

// ---- the files ----

// "861 B", "271.4 MB"
static const char *size_text(char buf[24], int64_t bytes) {
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    double n = (double)bytes;
    int unit = 0;
    for (; unit < 4 && n >= 999.95; unit++) n /= 1000;
    snprintf(buf, 24, unit ? "%.1f %s" : "%.0f %s", n, units[unit]);
    return buf;
}

typedef struct Sum {
    size_t files, missing;
    int64_t bytes, missing_bytes;
} Sum;

static Sum sum_up(const Pull *pull) {
    Sum s = {0};
    for (size_t i = 0; i < pull->listing.count; i++) {
        const HubFile *f = &pull->listing.files[i];
        bool missing = f->selected && !hub_blob_exists(pull->folder, f);
        s.files += f->selected;
        s.bytes += f->selected ? f->size : 0;
        s.missing += missing;
        s.missing_bytes += missing ? f->size : 0;
    }
    return s;
}

static int check_space(const Pull *pull, int64_t bytes, Err *err) {
    struct statvfs disk;
    AUTO_FREE char *cache = path_parent(pull->folder);
    if (dir_make_parents(pull->folder, err)) return -1;
    if (statvfs(cache, &disk) || (double)disk.f_bavail * (double)disk.f_frsize >= (double)bytes) return 0;
    char is_free[24], needed[24];
    return err_runtime(err, "%s: %s are free; expected %s for %s (HF_HUB_CACHE names another place)", cache,
                       size_text(is_free, (int64_t)(disk.f_bavail * disk.f_frsize)), size_text(needed, bytes),
                       pull->p->name->repository);
}

static void print_file(const HubFile *f, const char *note) {
    char size[24];
    say("  %-48s %10s%s\n", f->path, size_text(size, f->size), note);
    fflush(stdout);
}

static int get_file(Pull *pull, const HubFile *f, Err *err) {
    AUTO_STR StrBuf url = {0};
    AUTO_FREE char *what = mem_printf("%s: %s", pull->p->name->repository, f->path);
    int64_t fetched;
    file_url(&url, pull, f->path);
    HubBlob b = {f, pull->folder, url.data, what};
    if (hub_blob_get(&pull->client, &b, &fetched, err)) return -1;
    print_file(f, fetched == f->size ? "" : fetched ? "  (resumed)" : "  (found)");
    return 0;
}

static int get_files(Pull *pull, Err *err) {
    for (size_t i = 0; i < pull->listing.count; i++) {
        const HubFile *f = &pull->listing.files[i];
        if (f->selected && !hub_blob_exists(pull->folder, f) && get_file(pull, f, err)) return -1;
    }
    return hub_snapshot_install(pull->folder, &pull->listing, pull->revision, err);
}

static void print_list(const Pull *pull) {
    for (size_t i = 0; i < pull->listing.count; i++) {
        const HubFile *f = &pull->listing.files[i];
        if (f->selected) print_file(f, hub_blob_exists(pull->folder, f) ? "  (in the cache)" : "");
    }
}

static int pull_all(Pull *pull, Err *err) {
    const HubName *n = pull->p->name;
    char all[24], missing[24];
    if (hub_client_open(&pull->client, pull->p->retries, pull->p->timeout, err) || read_listing(pull, err)) return -1;
    Sum s = sum_up(pull);
    say("%s %s, revision %s, commit %s\n", n->type == HUB_MODEL ? "model   " : "data set", n->repository,
        pull->revision, pull->listing.commit);
    say("files    %zu of %zu, %s; %zu to fetch, %s\n", s.files, pull->listing.count, size_text(all, s.bytes), s.missing,
        size_text(missing, s.missing_bytes));
    fflush(stdout);
    if (pull->p->list_only) {
        print_list(pull);
        return 0;
    }
    if (check_space(pull, s.missing_bytes, err) || get_files(pull, err)) return -1;
    say("cache    %s/snapshots/%s\n", pull->folder, pull->listing.commit);
    return 0;
}

int hub_pull(const HubPull *p, Err *err) {
    AUTO_CALL(pull_clear)
    Pull pull = {.p = p, .revision = p->name->revision ? p->name->revision : "main", .folder = hub_folder(p->name)};
    sigset_t stops, before;
    signals_stop_set(&stops); // `train` has blocked them: until a run begins, they end the process
    pthread_sigmask(SIG_UNBLOCK, &stops, &before);
    int rc = pull_all(&pull, err);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

int hub_pull_named(const char *text, HubType type, const char *revision, Err *err) {
    AUTO_HUB_NAME HubName n = {0};
    if (!hub_name_read(&n, text, type) || n.type != type)
        return err_input(err, "%s: no such file or folder, and no name of a %s on the hub; expected \"owner/name\"",
                         text, type == HUB_MODEL ? "model" : "data set");
    if (revision) {
        mem_free(n.revision);
        n.revision = mem_strdup(revision);
    }
    return hub_pull(&(HubPull){.name = &n, .retries = 5, .timeout = 30}, err);
}

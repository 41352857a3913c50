#include "hub_blob.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nettle/sha1.h>
#include <nettle/sha2.h>

#include "path.h"
#include "say.h"
#include "temporary.h"

// ---- hashes ----

typedef struct Hash {
    bool is_sha256;
    struct sha256_ctx sha256;
    struct sha1_ctx sha1;
} Hash;

static void hash_add(Hash *h, const void *data, size_t size) {
    if (h->is_sha256)
        sha256_update(&h->sha256, size, data);
    else
        sha1_update(&h->sha1, size, data);
}

// Git's hash of a blob begins with its size.
static void hash_start(Hash *h, const HubFile *f) {
    char header[32];
    h->is_sha256 = strlen(f->hash) == HUB_HASH_DIGITS;
    sha256_init(&h->sha256);
    sha1_init(&h->sha1);
    int n = snprintf(header, sizeof header, "blob %ld", f->size);
    if (!h->is_sha256) hash_add(h, header, (size_t)n + 1);
}

static void hash_end(Hash *h, char hex[HUB_HASH_DIGITS + 1]) {
    uint8_t digest[SHA256_DIGEST_SIZE];
    size_t n = h->is_sha256 ? SHA256_DIGEST_SIZE : SHA1_DIGEST_SIZE;
    if (h->is_sha256)
        sha256_digest(&h->sha256, n, digest);
    else
        sha1_digest(&h->sha1, n, digest);
    for (size_t i = 0; i < n; i++) snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

// ---- the growing file ----

typedef struct Growing {
    const HubBlob *b;
    int fd;
    char *path;
    Hash hash;
    int64_t size, fetched;
    bool begun; // this try has brought bytes
    bool live;  // stdout is a terminal
    double shown;
} Growing;

static int file_error(const Growing *g, const char *what, Err *err) {
    return err_runtime(err, "%s: cannot be %s: %s", g->path, what, strerror(errno));
}

static int restart(Growing *g, Err *err) {
    hash_start(&g->hash, g->b->file);
    g->size = 0;
    return ftruncate(g->fd, 0) || lseek(g->fd, 0, SEEK_SET) < 0 ? file_error(g, "emptied", err) : 0;
}

// What an earlier process left is hashed again; more than the whole file is of no use.
static int open_growing(Growing *g, Err *err) {
    enum { PIECE = 1 << 20 };
    struct stat st;
    g->path = mem_printf("%s/blobs/%s.incomplete", g->b->folder, g->b->file->hash);
    g->live = isatty(STDOUT_FILENO);
    g->fd = open(g->path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0666);
    if (g->fd < 0 || fstat(g->fd, &st)) return file_error(g, "opened", err);
    if (!S_ISREG(st.st_mode))
        return err_runtime(err, "%s: found no regular file; expected one, or nothing there", g->path);
    hash_start(&g->hash, g->b->file);
    if (st.st_size > g->b->file->size) return restart(g, err);
    AUTO_FREE uint8_t *piece = mem_alloc(PIECE, 1);
    for (ssize_t n; (n = TEMP_FAILURE_RETRY(read(g->fd, piece, PIECE))) != 0; g->size += n) {
        if (n < 0) return file_error(g, "read", err);
        hash_add(&g->hash, piece, (size_t)n);
    }
    return 0;
}

static void close_growing(Growing *g) {
    if (g->fd >= 0) close(g->fd);
    mem_free(g->path);
}

// ---- an answer ----

static int64_t begin(void *user, int status) {
    Growing *g = user;
    if (status == 416) restart(g, NULL); // it is not there from that byte on; a failure shows at the next write
    g->begun = false;
    return g->size;
}

static int check_length(const Growing *g, const HttpHead *h, int64_t length, Err *err) {
    if (length < 0 || length == g->b->file->size) return 0;
    return err_runtime(err, "%s: the server offers %ld bytes%s; expected %ld, which the hub lists", g->b->what, length,
                       h->is_html ? " of HTML" : "", g->b->file->size);
}

static int check_head(Growing *g, const HttpHead *h, Err *err) {
    if (h->status == 206) {
        if (h->range_start != g->size)
            return err_runtime(err, "%s: the server sends byte %ld and those after it; expected byte %ld", g->b->what,
                               h->range_start, g->size);
        return check_length(g, h, h->range_total, err);
    }
    return check_length(g, h, h->length, err) || (g->size && restart(g, err)) ? -1 : 0;
}

static void show(Growing *g) {
    double now = time_now();
    if (!g->live || now - g->shown < 0.2) return;
    g->shown = now;
    say_clear_line();
    say("  %s  %.1f of %.1f MB", g->b->file->path, (double)g->size / 1e6, (double)g->b->file->size / 1e6);
    fflush(stdout);
}

static int take(void *user, const HttpHead *head, const void *data, size_t size, Err *err) {
    Growing *g = user;
    if (!g->begun && check_head(g, head, err)) return -1;
    g->begun = true;
    if ((int64_t)size > g->b->file->size - g->size)
        return err_runtime(err, "%s: the server sends more than %ld bytes; expected as many, which the hub lists",
                           g->b->what, g->b->file->size);
    const char *at = data;
    for (size_t left = size; left;) {
        ssize_t n = TEMP_FAILURE_RETRY(write(g->fd, at, left));
        if (n < 0) return file_error(g, "written", err);
        at += n;
        left -= (size_t)n;
    }
    hash_add(&g->hash, data, size);
    g->size += (int64_t)size;
    g->fetched += (int64_t)size;
    show(g);
    return 0;
}

// ---- the whole file ----

static int check_whole(Growing *g, Err *err) {
    const HubFile *f = g->b->file;
    char hash[HUB_HASH_DIGITS + 1];
    if (g->size != f->size)
        return err_runtime(err, "%s: %ld bytes came; expected %ld, which the hub lists", g->b->what, g->size, f->size);
    hash_end(&g->hash, hash);
    if (strcmp(hash, f->hash) == 0) return 0;
    return err_runtime(err,
                       "%s: its %s is %.12s...; expected %.12s..., which the hub lists: the file was damaged on its "
                       "way, and is removed; try again",
                       g->b->what, g->hash.is_sha256 ? "SHA-256" : "Git hash", hash, f->hash);
}

static int fetch(HubClient *c, Growing *g, Err *err) {
    HttpHead head;
    if (g->size < g->b->file->size && hub_request(c, g->b->url, g->b->what, &(HubSink){begin, take, g}, &head, err))
        return -1;
    return check_whole(g, err);
}

static int install(const Growing *g, Err *err) {
    AUTO_FREE char *blobs = path_join(g->b->folder, "blobs"), *path = path_join(blobs, g->b->file->hash);
    if (fsync(g->fd) || rename(g->path, path)) return file_error(g, "renamed", err);
    AUTO_FD int dir = open(blobs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir >= 0) fsync(dir);
    return 0;
}

bool hub_blob_exists(const char *folder, const HubFile *f) {
    AUTO_FREE char *path = mem_printf("%s/blobs/%s", folder, f->hash);
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == f->size;
}

static int lock(const HubBlob *b, Err *err) {
    AUTO_FREE char *cache = path_parent(b->folder), *dir = mem_printf("%s/.locks/%s", cache, path_name(b->folder)),
                   *path = mem_printf("%s/%s.lock", dir, b->file->hash);
    if (dir_make_parents(dir, err)) return -1;
    for (bool told = false;; told = true) {
        int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0666);
        if (fd < 0) return err_runtime(err, "%s: cannot be opened: %s", path, strerror(errno));
        if (!temporary_hold(fd, path)) return fd;
        close(fd);
        if (!told) log_warn("%s: another process fetches it; waiting for it", b->what);
        usleep(100000);
    }
}

int hub_blob_get(HubClient *c, const HubBlob *b, int64_t *fetched, Err *err) {
    AUTO_CALL(close_growing) Growing g = {.b = b, .fd = -1};
    *fetched = 0;
    AUTO_FD int held = lock(b, err);
    if (held < 0) return -1;
    if (hub_blob_exists(b->folder, b->file)) return 0;
    AUTO_FREE char *blobs = path_join(b->folder, "blobs");
    if (dir_make_parents(blobs, err) || open_growing(&g, err)) return -1;
    bool resumed = g.size > 0;
    int rc = fetch(c, &g, err);
    if (rc && g.size == b->file->size && resumed) { // what was left there may have been damaged
        log_warn("%s: what an earlier process left is damaged; fetching all of it", b->what);
        rc = restart(&g, err) || fetch(c, &g, err) ? -1 : 0;
    }
    if (g.live) say_clear_line();
    *fetched = g.fetched;
    if (rc && (g.size == b->file->size || !g.size)) unlink(g.path);
    return rc || install(&g, err) ? -1 : 0;
}

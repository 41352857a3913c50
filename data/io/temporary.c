#include "temporary.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fileio.h"
#include "hash.h"
#include "path.h"

enum { MACHINE_DIGITS = 8, RANDOM_DIGITS = 16, HOUR = 60 * 60 };
static const char HEX[] = "0123456789abcdef";

// ---- names ----

// Names the running kernel: all its processes see each other's locks, in any container. All 0: unknown.
static void machine_name(char name[MACHINE_DIGITS + 1]) {
    AUTO_FREE char *id = NULL;
    char hash[33];
    size_t size;
    memset(name, '0', MACHINE_DIGITS);
    name[MACHINE_DIGITS] = 0;
    if (file_read(&id, &size, "/proc/sys/kernel/random/boot_id", 4096, NULL)) return;
    hash_bytes(hash, id, size);
    memcpy(name, hash, MACHINE_DIGITS);
}

char *temporary_name(const char *path, const char *tag) {
    char machine[MACHINE_DIGITS + 1];
    uint64_t random;
    machine_name(machine);
    CHECK(getrandom(&random, sizeof random, 0) == sizeof random, "no random bytes");
    return mem_printf("%s.%s-%s-%016lx", path, tag, machine, random);
}

typedef struct Parts {
    size_t stem; // bytes before the dot of the tag; 0: not the name of a temporary
    const char *machine;
    bool is_old; // moved aside
} Parts;

static Parts split(const char *name) {
    size_t n = strlen(name);
    if (n <= MACHINE_DIGITS + RANDOM_DIGITS + 6) return (Parts){0};
    const char *random = name + n - RANDOM_DIGITS, *machine = random - 1 - MACHINE_DIGITS, *tag = machine - 5;
    bool is_named = strspn(random, HEX) == RANDOM_DIGITS && random[-1] == '-' &&
                    strspn(machine, HEX) == MACHINE_DIGITS &&
                    (memcmp(tag, ".tmp-", 5) == 0 || memcmp(tag, ".old-", 5) == 0);
    return is_named ? (Parts){(size_t)(tag - name), machine, tag[1] == 'o'} : (Parts){0};
}

size_t temporary_stem(const char *name) { return split(name).stem; }

// ---- locks ----

int temporary_hold(int fd, const char *path) {
    struct stat open, named;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) return -1; // other failures: no locks here
    bool same =
        fstat(fd, &open) == 0 && lstat(path, &named) == 0 && open.st_dev == named.st_dev && open.st_ino == named.st_ino;
    return same ? 0 : -1;
}

// Takes the lock of fd, so that no writer can hold what is then removed.
static bool is_dead(int fd, const struct stat *st, const Parts *p, bool alone) {
    char machine[MACHINE_DIGITS + 1];
    bool locked = flock(fd, LOCK_EX | LOCK_NB) == 0;
    if (!locked && errno == EWOULDBLOCK) return false;
    if (alone) return true;
    machine_name(machine);
    bool here = strspn(machine, "0") < MACHINE_DIGITS && memcmp(p->machine, machine, MACHINE_DIGITS) == 0;
    return (locked && here) || st->st_mtim.tv_sec + HOUR < time(NULL);
}

// ---- sweep ----

static void sweep_one(const Sweep *s, const char *path, const Parts *p) {
    struct stat st;
    if (lstat(path, &st) != 0 || (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))) return;
    bool is_dir = S_ISDIR(st.st_mode);
    // Opened for writing: network file systems need it for an exclusive lock.
    int fd = open(path, (is_dir ? O_RDONLY | O_DIRECTORY : O_RDWR) | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return;
    if (fstat(fd, &st) == 0 && is_dead(fd, &st, p, s->alone)) {
        if (!is_dir)
            unlink(path);
        else if (!p->is_old) // its name proves that lorac made it
            dir_remove(path, NULL);
        else if (s->names)
            folder_remove_known(path, s->names, NULL, NULL);
    }
    close(fd);
}

void temporary_sweep(const Sweep *s) {
    AUTO_NAMES NameList names = {0};
    dir_list(&names, s->dir, NULL);
    for (size_t i = 0; i < names.count; i++) {
        Parts p = split(names.items[i]);
        if (!p.stem) continue;
        AUTO_FREE char *stem = mem_strndup(names.items[i], p.stem), *path = path_join(s->dir, names.items[i]);
        if (s->wants(stem, s->user)) sweep_one(s, path, &p);
    }
}

// cgroup: v1 (memory.limit_in_bytes, cpu.cfs_quota_us), v2 (memory.max, memory.high, cpu.max), and both at once.
#include "cgroup.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// The search at each level. `best` is the minimum so far.
typedef struct Search {
    const char *root, *controller;
    void (*look)(const char *dir, bool v2, uint64_t *best);
    uint64_t best;
    const char *group; // of the hierarchy being searched
    bool v2;
} Search;

// ---- files of a level ----

// The start of a file of a level; empty where it cannot be read.
static void read_text(char *text, size_t size, const char *dir, const char *name) {
    AUTO_FREE char *path = mem_printf("%s/%s", dir, name);
    AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, size - 1);
    text[n > 0 ? n : 0] = 0;
}

// Reads the numbers that the file begins with, at most two; returns their count. "max" is not a number.
static int read_numbers(long number[2], const char *dir, const char *name) {
    char text[128], *at = text, *end;
    int n = 0;
    read_text(text, sizeof text, dir, name);
    for (; n < 2; n++, at = end) {
        number[n] = strtol(at, &end, 10);
        if (end == at) break;
    }
    return n;
}

static uint64_t number_in(const char *dir, const char *name, uint64_t otherwise) {
    long n[2];
    return read_numbers(n, dir, name) && n[0] >= 0 ? (uint64_t)n[0] : otherwise;
}

// Reclaimable page cache: the kernel drops it before it kills a process.
static uint64_t reclaimable(const char *dir, const char *field) {
    char text[8192], name[64];
    text[0] = '\n'; // each field begins a line
    read_text(text + 1, sizeof text - 1, dir, "memory.stat");
    snprintf(name, sizeof name, "\n%s ", field);
    const char *at = strstr(text, name);
    return at ? strtoull(at + strlen(name), NULL, 10) : 0;
}

// v1 writes a number near 2^63 for no limit.
static void look_at_memory(const char *dir, bool v2, uint64_t *best) {
    uint64_t limit = number_in(dir, v2 ? "memory.max" : "memory.limit_in_bytes", UINT64_MAX);
    uint64_t high = v2 ? number_in(dir, "memory.high", UINT64_MAX) : UINT64_MAX; // above it a process is slowed down
    if (high < limit) limit = high;
    if (limit >= UINT64_C(1) << 62) return;
    uint64_t used = number_in(dir, v2 ? "memory.current" : "memory.usage_in_bytes", 0);
    uint64_t idle = reclaimable(dir, v2 ? "inactive_file" : "total_inactive_file");
    used -= idle < used ? idle : used;
    uint64_t left = limit > used ? limit - used : 0;
    if (left < *best) *best = left;
}

static void look_at_cpus(const char *dir, bool v2, uint64_t *best) {
    long quota[2], period[2];
    int n = read_numbers(quota, dir, v2 ? "cpu.max" : "cpu.cfs_quota_us");
    if (v2 ? n < 2 : n < 1 || !read_numbers(period, dir, "cpu.cfs_period_us")) return;
    if (v2) period[0] = quota[1];
    if (quota[0] <= 0 || period[0] <= 0) return; // -1: no quota
    uint64_t cpus = (uint64_t)quota[0] / (uint64_t)period[0] + (quota[0] % period[0] != 0);
    if (cpus < *best) *best = cpus;
}

// ---- levels ----

// From the group up to the mount point. A missing level has no limit.
static void climb(Search *s, const char *mount, const char *group) {
    size_t top = strlen(s->root) + strlen(mount);
    AUTO_FREE char *dir = mem_printf("%s%s%s", s->root, mount, strstr(group, "/..") ? "" : group);
    for (char *end = dir + strlen(dir); end && end >= dir + top; end = strrchr(dir, '/')) {
        *end = 0;
        s->look(dir, s->v2, &s->best);
    }
}

static bool has_word(const char *list, const char *word) {
    size_t n = strlen(word);
    for (const char *at = list; (at = strstr(at, word)); at += n)
        if ((at == list || at[-1] == ',') && (at[n] == 0 || at[n] == ',')) return true;
    return false;
}

// mountinfo writes blanks and the like as \040.
static void unescape(char *text) {
    char *to = text;
    for (const char *p = text; *p;) {
        bool octal = p[0] == '\\' && p[1] >= '0' && p[1] <= '3' && p[2] && p[3];
        *to++ = octal ? (char)((p[1] - '0') * 64 + (p[2] - '0') * 8 + (p[3] - '0')) : *p;
        p += octal ? 4 : 1;
    }
    *to = 0;
}

// Calls fn for each line of /proc/self/`file`.
static void each_line(Search *s, const char *file, void (*fn)(Search *s, char *line)) {
    AUTO_FREE char *path = mem_printf("%s/proc/self/%s", s->root, file);
    AUTO_FILE FILE *f = fopen(path, "re");
    char *line = NULL;
    size_t size = 0;
    while (f && getline(&line, &size, f) > 0) {
        line[strcspn(line, "\n")] = 0;
        fn(s, line);
    }
    free(line);
}

// "31 23 0:28 /top /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw,memory": the group as it is named below that mount.
static void climb_mount(Search *s, char *line) {
    char *field[10] = {NULL}, *tail = strstr(line, " - "), *kind[3] = {NULL}, *rest = line;
    if (!tail) return;
    *tail = 0, tail += 3;
    for (int i = 0; i < 5; i++) field[i] = strsep(&rest, " ");
    for (int i = 0; i < 3; i++) kind[i] = strsep(&tail, " ");
    if (!field[4] || !kind[2] || strcmp(kind[0], s->v2 ? "cgroup2" : "cgroup") != 0) return;
    if (!s->v2 && !has_word(kind[2], s->controller)) return;
    char *top = field[3], *mount = field[4];
    unescape(top), unescape(mount);
    size_t n = strlen(top);
    bool below = n > 1 && !strncmp(s->group, top, n) && (s->group[n] == 0 || s->group[n] == '/');
    climb(s, mount, below ? s->group + n : s->group);
}

// "0::/path" (v2) or "4:cpu,cpuacct:/path" (v1). Also climbs from the usual mount points: /proc/self/mountinfo does not
// always match what a container sees.
static void climb_group(Search *s, char *line) {
    char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!group) return;
    controllers++, *group++ = 0;
    s->v2 = !*controllers;
    s->group = strcmp(group, "/") ? group : "";
    if (!s->v2 && !has_word(controllers, s->controller)) return;
    each_line(s, "mountinfo", climb_mount);
    AUTO_FREE char *usual = mem_printf("/sys/fs/cgroup%s%s", s->v2 ? "" : "/", s->v2 ? "" : s->controller);
    climb(s, usual, s->group);
}

size_t cgroup_memory_left(const char *root) {
    Search s = {.root = root, .controller = "memory", .look = look_at_memory, .best = UINT64_MAX};
    each_line(&s, "cgroup", climb_group);
    return (size_t)s.best;
}

int64_t cgroup_cpus(const char *root) {
    Search s = {.root = root, .controller = "cpu", .look = look_at_cpus, .best = INT64_MAX};
    each_line(&s, "cgroup", climb_group);
    return (int64_t)s.best;
}

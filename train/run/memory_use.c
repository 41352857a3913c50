#include "memory_use.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Reads the start of a small file into buf, without allocating: the step loop asks for the peak.
static bool read_small(const char *path, char *buf, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t n = read(fd, buf, size - 1);
    close(fd);
    buf[n > 0 ? n : 0] = 0;
    return n > 0;
}

// "VmHWM:   1234 kB" in a file of such lines.
static size_t field_kib(const char *path, const char *field) {
    char buf[4096];
    if (!read_small(path, buf, sizeof buf)) return 0;
    const char *at = strstr(buf, field);
    return at ? (size_t)strtoull(at + strlen(field), NULL, 10) * 1024 : 0;
}

size_t memory_peak(void) {
    return field_kib("/proc/self/status", "VmHWM:");
}

size_t memory_device(Backend *b) {
    return b->k->memory(b).used;
}

size_t memory_resident(void) {
    return field_kib("/proc/self/status", "VmRSS:");
}

// A limit of "max" (v2) or near 2^63 (v1) means none.
static size_t cgroup_left(const char *limit_path, const char *usage_path) {
    char limit[64], usage[64];
    if (!read_small(limit_path, limit, sizeof limit) || !read_small(usage_path, usage, sizeof usage)) return SIZE_MAX;
    if (strncmp(limit, "max", 3) == 0) return SIZE_MAX;
    unsigned long long l = strtoull(limit, NULL, 10), u = strtoull(usage, NULL, 10);
    if (l >= 1ull << 62) return SIZE_MAX;
    return l > u ? (size_t)(l - u) : 0;
}

size_t memory_free(void) {
    size_t least = field_kib("/proc/meminfo", "MemAvailable:");
    size_t v2 = cgroup_left("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current");
    size_t v1 =
        cgroup_left("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes");
    if (v2 < least) least = v2;
    return v1 < least ? v1 : least;
}

#include "memory_use.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cgroup.h"

// Reads the start of a small file into buf, without allocating: the step loop asks for the peak.
static bool read_small(const char *path, char *buf, size_t size) {
    AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, buf, size - 1);
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

size_t memory_peak(void) { return field_kib("/proc/self/status", "VmHWM:"); }

size_t memory_device(Backend *b) { return b->k->memory(b).used; }

size_t memory_resident(void) { return field_kib("/proc/self/status", "VmRSS:"); }

size_t memory_free(void) {
    size_t available = field_kib("/proc/meminfo", "MemAvailable:"), left = cgroup_memory_left("");
    return left < available ? left : available;
}

size_t memory_room(Backend *b, int64_t max_memory) {
    DeviceMemory m = b->k->memory(b);
    size_t used = b->host_memory ? memory_resident() : m.used, left = b->host_memory ? memory_free() : m.free;
    size_t most = (size_t)max_memory;
    if (!most) return left ? left / 10 * 9 : SIZE_MAX; // 0: unknown
    size_t room = most > used ? most - used : 0;
    return b->host_memory || room < left ? room : left;
}

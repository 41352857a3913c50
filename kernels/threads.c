// threads: affinity mask, control group quota (v2: cpu.max, v1: cpu.cfs_quota_us), OMP_NUM_THREADS.
#include "threads.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"

enum { PATH_SIZE = 4096 };

// CPUs for `quota` microseconds of every `period`, rounded up: threads share a fraction of a CPU evenly.
static int quota_cpus(long long quota, long long period) {
    if (quota <= 0 || period <= 0) return NO_QUOTA;
    long long cpus = (quota + period - 1) / period;
    return cpus < NO_QUOTA ? (int)cpus : NO_QUOTA;
}

// Two numbers from one file ("150000 100000") or, in v1, from two. "max" and -1 mean no limit.
static int directory_cpus(const char *dir, bool v2) {
    char path[PATH_SIZE + 32];
    long long quota = 0, period = 0;
    snprintf(path, sizeof path, "%s/%s", dir, v2 ? "cpu.max" : "cpu.cfs_quota_us");
    FILE *f = fopen(path, "re");
    if (!f) return NO_QUOTA;
    int got = fscanf(f, "%lld %lld", &quota, &period);
    fclose(f);
    if (got < 1) return NO_QUOTA;
    if (v2) return got == 2 ? quota_cpus(quota, period) : NO_QUOTA;
    snprintf(path, sizeof path, "%s/cpu.cfs_period_us", dir);
    f = fopen(path, "re");
    if (!f) return NO_QUOTA;
    got = fscanf(f, "%lld", &period);
    fclose(f);
    return got == 1 ? quota_cpus(quota, period) : NO_QUOTA;
}

// A limit may sit on the group or on any of its ancestors. Inside a container the path that the kernel tells may not
// exist; then only the mount point itself, the container's own group, is left.
static int group_cpus(const char *mount, const char *group, bool v2) {
    char dir[PATH_SIZE];
    size_t root = strlen(mount);
    if (snprintf(dir, sizeof dir, "%s%s", mount, group) >= (int)sizeof dir) return NO_QUOTA;
    int least = NO_QUOTA;
    for (;;) {
        int cpus = directory_cpus(dir, v2);
        if (cpus < least) least = cpus;
        char *slash = strrchr(dir, '/');
        if (!slash || slash < dir + root) return least;
        *slash = 0;
    }
}

// A line of /proc/self/cgroup is "0::/path" (v2) or "4:cpu,cpuacct:/path" (v1).
static int line_cpus(char *line) {
    line[strcspn(line, "\n")] = 0;
    char *controllers = strchr(line, ':');
    char *group = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!group) return NO_QUOTA;
    controllers++;
    *group++ = 0;
    if (!*controllers) return group_cpus("/sys/fs/cgroup", group, true);
    char *rest = controllers;
    for (char *name; (name = strsep(&rest, ","));)
        if (!strcmp(name, "cpu")) return group_cpus("/sys/fs/cgroup/cpu", group, false);
    return NO_QUOTA;
}

int threads_quota(void) {
    FILE *f = fopen("/proc/self/cgroup", "re");
    if (!f) return NO_QUOTA;
    char line[PATH_SIZE];
    int least = NO_QUOTA;
    while (fgets(line, sizeof line, f)) {
        int cpus = line_cpus(line);
        if (cpus < least) least = cpus;
    }
    fclose(f);
    return least;
}

int threads_available(void) {
    if (getenv("OMP_NUM_THREADS")) return omp_get_max_threads();
    int cpus = omp_get_num_procs(), quota = threads_quota(); // num_procs: the affinity mask
    return quota < cpus ? quota : cpus;
}

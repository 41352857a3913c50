#include "cores.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cgroup.h"
#include "fnv.h"
#include "kernels.h"

// The first line of a file; empty if it cannot be read.
static void read_line(char *line, size_t size, const char *path) {
    AUTO_FILE FILE *f = fopen(path, "re");
    if (!f || !fgets(line, (int)size, f)) line[0] = 0;
    line[strcspn(line, "\n")] = 0;
}

static void read_boot(char boot[64]) { read_line(boot, 64, "/proc/sys/kernel/random/boot_id"); }

void cores_machine(char name[CORES_MACHINE]) {
    char host[65] = "", boot[64], network[64] = "";
    if (gethostname(host, sizeof host - 1)) host[0] = 0;
    if (readlink("/proc/self/ns/net", network, sizeof network - 1) < 0) network[0] = 0;
    read_boot(boot);
    snprintf(name, CORES_MACHINE, "%s %s %s", host, boot, network);
}

static bool may_use(const Cores *c, int cpu) { return c->mask[cpu / 64] >> cpu % 64 & 1; }

static int count_cpus(const Cores *c) {
    int n = 0;
    for (int i = 0; i < CORES_MAX / 64; i++) n += __builtin_popcountll(c->mask[i]);
    return n;
}

// Requests all CPUs: the kernel grants those that the control groups allow.
static int granted_cpus(const Cores *bound) {
    Cores all;
    memset(all.mask, 0xff, sizeof all.mask);
    if (sched_setaffinity(0, sizeof all.mask, (cpu_set_t *)all.mask)) return 0;
    memset(all.mask, 0, sizeof all.mask);
    int n = sched_getaffinity(0, sizeof all.mask, (cpu_set_t *)all.mask) ? 0 : count_cpus(&all);
    if (sched_setaffinity(0, sizeof bound->mask,
                          (const cpu_set_t *)bound->mask)) // those CPUs were removed meanwhile
        log_warn("this process is no longer bound to its CPUs: %s", strerror(errno));
    return n;
}

// Containers may all have the group "/": the host name distinguishes them.
static uint64_t name_control_group(void) {
    char machine[CORES_MACHINE], bytes[512];
    cores_machine(machine);
    uint64_t h = fnv64(FNV64_START, machine, strlen(machine));
    AUTO_FILE FILE *f = fopen("/proc/self/cgroup", "re");
    for (size_t n; f && (n = fread(bytes, 1, sizeof bytes, f)) > 0;) h = fnv64(h, bytes, n);
    return h;
}

Cores cores_own(void) {
    Cores c;
    memset(&c, 0, sizeof c);
    read_boot(c.boot);
    c.control = name_control_group();
    c.quota = (int32_t)min64(cgroup_cpus(""), NO_QUOTA);
    c.plain = threads_available();
    if (getenv("OMP_NUM_THREADS")) c.asked = c.plain;
    if (sched_getaffinity(0, sizeof c.mask, (cpu_set_t *)c.mask)) memset(c.mask, 0, sizeof c.mask);
    if (count_cpus(&c) > 0) c.granted = granted_cpus(&c);
    return c;
}

// Ranks on the same CPUs; same_quota: also in the same control group.
static int ranks_sharing(const Cores *all, int ranks, int of, bool same_quota) {
    int n = 0;
    for (int r = 0; r < ranks; r++)
        n += !strcmp(all[r].boot, all[of].boot) && (!same_quota || all[r].control == all[of].control);
    return n;
}

// Whole threads in a share of CPUs and of the quota.
static int threads_in(double cpus, const Cores *all, int ranks, int of) {
    double quota = (double)all[of].quota / ranks_sharing(all, ranks, of, true);
    double n = cpus < quota ? cpus : quota;
    return n < 1 ? 1 : (int)(n + 1e-6); // tolerates the rounding of shares
}

int cores_threads(const Cores *all, int ranks, int of) {
    const Cores *c = &all[of];
    double share = 0;
    if (c->asked > 0) return c->asked;
    for (int cpu = 0; cpu < CORES_MAX; cpu++) {
        int sharers = 0;
        if (!may_use(c, cpu)) continue;
        for (int r = 0; r < ranks; r++) sharers += !strcmp(all[r].boot, c->boot) && may_use(&all[r], cpu);
        share += 1.0 / sharers;
    }
    if (share == 0) share = (double)c->plain / ranks_sharing(all, ranks, of, false);
    return threads_in(share, all, ranks, of);
}

bool cores_warning(StrBuf *out, const Cores *all, int ranks) {
    for (int r = 0; r < ranks; r++) {
        int here = ranks_sharing(all, ranks, r, false), bound = count_cpus(&all[r]);
        int could = threads_in((double)all[r].granted / here, all, ranks, r);
        if (all[r].asked > 0 || cores_threads(all, ranks, r) >= could) continue;
        str_printf(
            out,
            "rank %d is bound to %d of %d cores, which %d rank%s could share; \"mpirun --bind-to none\" would let it "
            "use %d",
            r, bound, all[r].granted, here, plural(here), could);
        return true;
    }
    return false;
}

int cores_share(Group *g, bool cpu, int *threads, Err *err) {
    *threads = threads_available();
    if (g->ranks == 1) return 0;
    Cores mine = cores_own();
    AUTO_FREE Cores *all = mem_calloc((size_t)g->ranks, sizeof *all);
    AUTO_STR StrBuf warning = {0};
    if (group_gather(g, all, &mine, sizeof mine, err)) return -1;
    for (int r = 0; r < g->ranks; r++) GROUP_END_TEXT(all[r].boot);
    *threads = cores_threads(all, g->ranks, g->rank);
    if (cpu && g->rank == 0 && cores_warning(&warning, all, g->ranks)) log_warn("%s", warning.data);
    return 0;
}

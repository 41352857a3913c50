// What control groups leave to a process, read from folders that look like /proc and /sys/fs/cgroup of v1, v2, both at
// once, containers, Slurm and systemd.
#include "scratch.h"

#include <sys/stat.h>

#include "cgroup.h"

static void put(const char *path, const char *text) {
    char folder[512];
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(folder, sizeof folder, "%.*s", (int)(slash - path), path);
        mkdir(folder, 0755);
    }
    scratch_put(path, text, strlen(text));
}

#define V2_MOUNT "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
#define V1_MOUNTS                                                                                                      \
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"                                                                \
    "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:12 master:3 - cgroup cgroup rw,memory\n"                    \
    "36 31 0:33 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"

static void world(const char *groups, const char *mounts) {
    put("f/proc/self/cgroup", groups);
    put("f/proc/self/mountinfo", mounts);
}

static void memory_v2(const char *group, const char *most, const char *used) {
    char path[512];
    snprintf(path, sizeof path, "f/sys/fs/cgroup%s/memory.max", group);
    put(path, most);
    snprintf(path, sizeof path, "f/sys/fs/cgroup%s/memory.current", group);
    put(path, used);
}

static void memory_v1(const char *group, const char *most, const char *used) {
    char path[512];
    snprintf(path, sizeof path, "f/sys/fs/cgroup/memory%s/memory.limit_in_bytes", group);
    put(path, most);
    snprintf(path, sizeof path, "f/sys/fs/cgroup/memory%s/memory.usage_in_bytes", group);
    put(path, used);
}

static void assert_left(size_t want) {
    size_t got = cgroup_memory_left("f");
    if (got != want) fail_msg("%zu bytes are left; expected %zu", got, want);
}

static void test_cgroup_v2_own_group_and_all_above(void **state) {
    (void)state;
    world("0::/system.slice/slurmstepd.scope/job_1/step_0\n", V2_MOUNT);
    assert_left(SIZE_MAX);
    assert_true(cgroup_cpus("f") == INT64_MAX);
    memory_v2("/system.slice/slurmstepd.scope/job_1/step_0", "max\n", "50\n");
    memory_v2("/system.slice/slurmstepd.scope/job_2", "1\n", "1\n"); // somebody else's
    assert_left(SIZE_MAX);
    memory_v2("/system.slice/slurmstepd.scope/job_1", "200000000\n", "50000000\n");
    assert_left(150000000);
    memory_v2("/system.slice", "300000000\n", "290000000\n");
    assert_left(10000000);
    memory_v2("", "5000\n", "7000\n"); // more is used than there may be
    assert_left(0);
}

static void test_cgroup_v2_high_and_reclaimable(void **state) {
    (void)state;
    world("0::/user.slice/run-r1.scope\n", V2_MOUNT);
    memory_v2("/user.slice/run-r1.scope", "900\n", "500\n");
    put("f/sys/fs/cgroup/user.slice/run-r1.scope/memory.high", "800\n");
    assert_left(300);
    put("f/sys/fs/cgroup/user.slice/run-r1.scope/memory.stat", "anon 100\nfile 400\ninactive_file 150\n");
    assert_left(450);
    put("f/sys/fs/cgroup/user.slice/run-r1.scope/memory.stat", "inactive_file 99999\n");
    assert_left(800);
}

static void test_cgroup_v1(void **state) {
    (void)state;
    world("9:name=systemd:/x\n4:memory:/slurm/uid_7/job_8\n1:cpu,cpuacct:/slurm/uid_7\n", V1_MOUNTS);
    memory_v1("", "9223372036854771712\n", "123456\n");
    assert_left(SIZE_MAX);
    memory_v1("/slurm/uid_7", "1000\n", "400\n");
    memory_v1("/slurm/uid_7/job_8", "900\n", "400\n");
    assert_left(500);
    put("f/sys/fs/cgroup/memory/slurm/uid_7/job_8/memory.stat", "inactive_file 1\ntotal_inactive_file 50\n");
    assert_left(550);
    put("f/sys/fs/cgroup/cpu,cpuacct/slurm/uid_7/cpu.cfs_quota_us", "-1\n");
    put("f/sys/fs/cgroup/cpu,cpuacct/slurm/uid_7/cpu.cfs_period_us", "100000\n");
    assert_true(cgroup_cpus("f") == INT64_MAX);
    put("f/sys/fs/cgroup/cpu,cpuacct/slurm/cpu.cfs_quota_us", "250000\n");
    put("f/sys/fs/cgroup/cpu,cpuacct/slurm/cpu.cfs_period_us", "100000\n");
    assert_int_equal(cgroup_cpus("f"), 3);
}

// The memory controller is in v1, the process is also in a group of v2 that limits nothing, or the CPU.
static void test_cgroup_both(void **state) {
    (void)state;
    world("4:memory:/docker/a\n0::/docker/a\n",
          V1_MOUNTS "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
    memory_v1("/docker/a", "700\n", "200\n");
    put("f/sys/fs/cgroup/unified/docker/a/cpu.max", "max 100000\n");
    put("f/sys/fs/cgroup/unified/docker/cpu.max", "50000 100000\n");
    assert_left(500);
    assert_int_equal(cgroup_cpus("f"), 1);
}

// A container: the group is named as outside, the mount shows it as its top; or it names itself "/".
static void test_cgroup_in_a_container(void **state) {
    (void)state;
    const char *const tops[] = {"/docker/0a1b", "/"}, *const groups[] = {"/docker/0a1b", "/", "/../other",
                                                                         "/elsewhere"};
    memory_v1("", "600\n", "100\n");
    memory_v1("/inner", "600\n", "200\n");
    for (int t = 0; t < 2; t++)
        for (int g = 0; g < 4; g++) {
            char line[256], mount[256];
            snprintf(line, sizeof line, "4:memory:%s\n", groups[g]);
            snprintf(mount, sizeof mount, "35 31 0:32 %s /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
                     tops[t]);
            world(line, mount);
            assert_left(500);
        }
    world("4:memory:/docker/0a1b/inner\n",
          "35 31 0:32 /docker/0a1b /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
    assert_left(400);
}

static void test_cgroup_mounted_elsewhere(void **state) {
    (void)state;
    world("0::/a b/job\n", "30 23 0:26 / /mnt/all\\040groups rw - cgroup2 cgroup2 rw\n");
    put("f/mnt/all groups/a b/memory.max", "80\n");
    put("f/mnt/all groups/a b/memory.current", "30\n");
    assert_left(50);
}

static void test_cgroup_nonsense(void **state) {
    (void)state;
    assert_left(SIZE_MAX); // no files at all
    static const char *const lines[] = {"", "\n", "0\n", "0:\n", "0::\n", ":::::\n", "4:memory\n", "4:memory:\n", "x"};
    static const char *const mounts[] = {"",
                                         " - \n",
                                         "1 2 3 4 5 - cgroup2\n",
                                         "1 2 3 - cgroup2 cgroup2 rw\n",
                                         "1 2 3 \\0 \\777 - cgroup2 x rw\n",
                                         "1 2 3 / / - cgroup c memory,\n"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        for (size_t m = 0; m < sizeof mounts / sizeof *mounts; m++) {
            world(lines[i], mounts[m]);
            assert_left(SIZE_MAX);
            assert_true(cgroup_cpus("f") == INT64_MAX);
        }
    world("0::/g\n", V2_MOUNT);
    memory_v2("/g", "lots\n", "few\n");
    put("f/sys/fs/cgroup/g/cpu.max", "0 0\n");
    assert_left(SIZE_MAX);
    assert_true(cgroup_cpus("f") == INT64_MAX);
}

TEST_MAIN(SCRATCH_TEST(test_cgroup_v2_own_group_and_all_above), SCRATCH_TEST(test_cgroup_v2_high_and_reclaimable),
          SCRATCH_TEST(test_cgroup_v1), SCRATCH_TEST(test_cgroup_both), SCRATCH_TEST(test_cgroup_in_a_container),
          SCRATCH_TEST(test_cgroup_mounted_elsewhere), SCRATCH_TEST(test_cgroup_nonsense))

// How ranks share the cores of their machines.
#include "test.h"

#include <sched.h>

#include "cores.h"
#include "kernels.h"

enum { RANKS = 4 };

// Ranks of one machine with `granted` cores, none of them bound.
static void machine(Cores *all, int ranks, int granted) {
    memset(all, 0, (size_t)ranks * sizeof *all);
    for (int r = 0; r < ranks; r++) {
        strcpy(all[r].boot, "boot");
        all[r].quota = NO_QUOTA, all[r].granted = all[r].plain = granted;
        for (int cpu = 0; cpu < granted; cpu++) all[r].mask[cpu / 64] |= UINT64_C(1) << cpu % 64;
    }
}

static void bind_to(Cores *c, int first, int count) {
    memset(c->mask, 0, sizeof c->mask);
    for (int cpu = first; cpu < first + count; cpu++) c->mask[cpu / 64] |= UINT64_C(1) << cpu % 64;
}

static void test_cores_are_shared(void **state) {
    (void)state;
    Cores all[RANKS];
    for (int granted = 1; granted <= 200; granted++) {
        machine(all, RANKS, granted);
        for (int r = 0; r < RANKS; r++)
            assert_int_equal(cores_threads(all, RANKS, r), granted < RANKS ? 1 : granted / RANKS);
    }
    machine(all, 3, 3); // three thirds are one
    assert_int_equal(cores_threads(all, 3, 0), 1);
}

static void test_cores_of_bound_ranks(void **state) {
    (void)state;
    Cores all[RANKS];
    machine(all, RANKS, 64);
    for (int r = 0; r < RANKS; r++) bind_to(&all[r], 60 + r, 1); // as mpirun does with two ranks
    assert_int_equal(cores_threads(all, RANKS, 2), 1);
    for (int r = 0; r < RANKS; r++) bind_to(&all[r], r * 16, 16); // srun --cpus-per-task
    assert_int_equal(cores_threads(all, RANKS, 2), 16);
    for (int r = 0; r < RANKS; r++) bind_to(&all[r], r / 2 * 32, 32); // a socket for two ranks
    assert_int_equal(cores_threads(all, RANKS, 2), 16);
    bind_to(&all[3], 0, 64); // one is free to take from both
    assert_int_equal(cores_threads(all, RANKS, 2), 16);
    assert_int_equal(cores_threads(all, RANKS, 3), 32 / 3 + 32 / 2);
}

static void test_cores_of_several_machines(void **state) {
    (void)state;
    Cores all[RANKS];
    machine(all, RANKS, 8);
    strcpy(all[3].boot, "another");
    assert_int_equal(cores_threads(all, RANKS, 0), 2);
    assert_int_equal(cores_threads(all, RANKS, 3), 8);
}

static void test_cores_of_a_quota(void **state) {
    (void)state;
    Cores all[RANKS];
    machine(all, RANKS, 64);
    for (int r = 0; r < RANKS; r++) all[r].quota = 8; // a container for all
    assert_int_equal(cores_threads(all, RANKS, 1), 2);
    for (int r = 0; r < RANKS; r++) all[r].control = (uint64_t)r; // a container for each
    assert_int_equal(cores_threads(all, RANKS, 1), 8);
}

static void test_cores_the_users_word(void **state) {
    (void)state;
    Cores all[RANKS];
    machine(all, RANKS, 8);
    all[1].asked = 5;
    assert_int_equal(cores_threads(all, RANKS, 0), 2);
    assert_int_equal(cores_threads(all, RANKS, 1), 5);
    memset(all[2].mask, 0, sizeof all[2].mask); // more CPUs than a mask holds
    assert_int_equal(cores_threads(all, RANKS, 2), 2);
}

static bool warns(const Cores *all, const char *part) {
    StrBuf text = {0};
    bool warned = cores_warning(&text, all, RANKS);
    if (warned && part && !strstr(text.data, part)) fail_msg("\"%s\" lacks \"%s\"", text.data, part);
    str_clear(&text);
    return warned;
}

static void test_cores_warning(void **state) {
    (void)state;
    Cores all[RANKS];
    machine(all, RANKS, 64);
    assert_false(warns(all, NULL));
    bind_to(&all[2], 5, 1);
    assert_true(warns(all,
                      "rank 2 is bound to 1 of 64 cores, which 4 ranks could share; \"mpirun --bind-to none\" would "
                      "let it use 16"));
    all[2].asked = 1; // the user has said so
    assert_false(warns(all, NULL));
    for (int r = 0; r < RANKS; r++) bind_to(&all[r], r * 16, 16);
    assert_false(warns(all, NULL));
    for (int r = 0; r < RANKS; r++) bind_to(&all[r], r, 1), all[r].quota = 4, all[r].asked = 0;
    assert_false(warns(all, NULL)); // a container may use no more
    machine(all, RANKS, 2);
    for (int r = 0; r < RANKS; r++) bind_to(&all[r], r % 2, 1);
    assert_false(warns(all, NULL));
}

static void test_cores_own(void **state) {
    (void)state;
    cpu_set_t before, after;
    char machine_name[CORES_MACHINE];
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    cpu_set_t one;
    CPU_ZERO(&one);
    for (int cpu = 0; CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET(cpu, &before)) CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    Cores c = cores_own();
    assert_int_equal(sched_getaffinity(0, sizeof after, &after), 0);
    assert_true(CPU_EQUAL(&one, &after)); // it looked, and put everything back
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    assert_true(c.granted >= CPU_COUNT(&before));
    assert_true(c.boot[0] && c.control && c.plain >= 1);
    assert_int_equal(memcmp(c.mask, &one, sizeof one), 0);
    cores_machine(machine_name);
    assert_non_null(strstr(machine_name, c.boot));
}

TEST_MAIN(TEST(test_cores_are_shared), TEST(test_cores_of_bound_ranks), TEST(test_cores_of_several_machines),
          TEST(test_cores_of_a_quota), TEST(test_cores_the_users_word), TEST(test_cores_warning), TEST(test_cores_own))

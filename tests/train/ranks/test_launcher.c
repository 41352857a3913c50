// What the environments of launchers are taken for.
#include "test.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "launcher.h"

static void set_environment(const char *words) {
    char copy[1024], *rest = copy;
    assert_true(strlen(words) < sizeof copy);
    strcpy(copy, words);
    clearenv();
    for (char *word; (word = strsep(&rest, " "));) {
        char *value = strchr(word, '=');
        if (!value) continue;
        *value = 0;
        setenv(word, value + 1, 1);
    }
}

#define TORCHRUN "RANK=3 WORLD_SIZE=8 LOCAL_RANK=1 LOCAL_WORLD_SIZE=2 MASTER_ADDR=node-0 MASTER_PORT=29500"
#define BATCH_SHELL "SLURM_JOB_ID=7 SLURM_NTASKS=8 SLURM_PROCID=0 SLURM_LOCALID=0"
#define STEP "SLURM_NTASKS=8 SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=4 SLURM_PROCID=2 "
#define POD "PET_NNODES=3 PET_NODE_RANK=2 PET_NPROC_PER_NODE=4 PET_MASTER_ADDR=pod-0 PET_MASTER_PORT=29400"

static void test_launcher_kinds(void **state) {
    (void)state;
    static const struct {
        const char *environment;
        LaunchKind kind;
        int rank, ranks, local_rank, local_ranks, port;
        const char *master;
    } table[] = {
        {"", LAUNCH_ALONE, 0, 1, -1, -1, 0, ""},
        {"PATH=/bin OMP_NUM_THREADS=2", LAUNCH_ALONE, 0, 1, -1, -1, 0, ""},
        // Open MPI's mpirun, also inside Slurm and with a script's leftovers of torch
        {"OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=4 PMIX_RANK=1", LAUNCH_MPI, 1, 4, -1, -1, 0, ""},
        {"OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=4 " STEP, LAUNCH_MPI, 1, 4, -1, -1, 0, ""},
        {"OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=4 WORLD_SIZE=9 MASTER_ADDR=x", LAUNCH_MPI, 1, 4, -1, -1, 0, ""},
        {"OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=1", LAUNCH_ALONE, 0, 1, -1, -1, 0, ""},
        // srun --mpi=pmix
        {"PMIX_RANK=2 " STEP, LAUNCH_MPI, 2, 4, -1, -1, 0, ""},
        {"PMIX_RANK=2 SLURM_NTASKS=8", LAUNCH_MPI, 2, 8, -1, -1, 0, ""},
        {"PMIX_RANK=0 SLURM_STEP_NUM_TASKS=1 SLURM_NTASKS=8", LAUNCH_ALONE, 0, 1, -1, -1, 0, ""},
        {"PMIX_RANK=2", LAUNCH_MPI, 2, 0, -1, -1, 0, ""},
        {"PMI_RANK=1 PMI_SIZE=2", LAUNCH_MPI, 1, 2, -1, -1, 0, ""},
        // Slurm without ranks: a batch script's shell, a step of one task
        {BATCH_SHELL, LAUNCH_ALONE, 0, 1, -1, -1, 0, ""},
        {"SLURM_STEP_ID=0 SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=1 SLURM_NTASKS=8", LAUNCH_ALONE, 0, 1, -1, -1, 0, ""},
        // torchrun
        {TORCHRUN, LAUNCH_TCP, 3, 8, 1, 2, 29500, "node-0"},
        {TORCHRUN " TORCHELASTIC_USE_AGENT_STORE=True", LAUNCH_TCP, 3, 8, 1, 2, 29501, "node-0"},
        {TORCHRUN " TORCHELASTIC_USE_AGENT_STORE=False", LAUNCH_TCP, 3, 8, 1, 2, 29500, "node-0"},
        {TORCHRUN " TORCHELASTIC_USE_AGENT_STORE=True LORAC_PORT=4000", LAUNCH_TCP, 3, 8, 1, 2, 4000, "node-0"},
        {TORCHRUN " " STEP, LAUNCH_TCP, 3, 8, 1, 2, 29500, "node-0"},
        {TORCHRUN " TORCHELASTIC_RUN_ID=j " POD, LAUNCH_TCP, 3, 8, 1, 2, 29500, "node-0"},
        // mpirun or srun, one torchrun a node: torchrun is the inner one
        {TORCHRUN " TORCHELASTIC_RUN_ID=j OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=4", LAUNCH_TCP, 3, 8, 1, 2, 29500,
         "node-0"},
        {"RANK=1 WORLD_SIZE=2 MASTER_ADDR=::1 MASTER_PORT=1", LAUNCH_TCP, 1, 2, -1, -1, 1, "::1"},
        {"RANK=1 WORLD_SIZE=2 MASTER_ADDR=a LORAC_PORT=9", LAUNCH_TCP, 1, 2, -1, -1, 9, "a"},
        {"RANK=0 WORLD_SIZE=1", LAUNCH_ALONE, 0, 1, -1, -1, 0, ""},
        {"MASTER_ADDR=a MASTER_PORT=1", LAUNCH_ALONE, 0, 1, -1, -1, 0, ""},
        {"RANK= WORLD_SIZE=", LAUNCH_ALONE, 0, 1, -1, -1, 0, ""},
        // Kubeflow
        {POD, LAUNCH_PET, 2, 3, -1, 4, 29400, "pod-0"},
        {"PET_NPROC_PER_NODE=gpu", LAUNCH_PET, 0, 1, -1, 0, 0, ""},
        {"PET_NPROC_PER_NODE=auto PET_NNODES=1", LAUNCH_PET, 0, 1, -1, 0, 0, ""},
        {"PET_NPROC_PER_NODE=2 PET_NNODES=1", LAUNCH_PET, 0, 1, -1, 2, 0, ""},
        {"PET_NPROC_PER_NODE=1 PET_NNODES=1", LAUNCH_ALONE, 0, 1, -1, -1, 0, ""},
        {"PET_NNODES=2 PET_NODE_RANK=0 PET_MASTER_ADDR=a PET_MASTER_PORT=5", LAUNCH_PET, 0, 2, -1, 1, 5, "a"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        Launch l;
        Err err = {0};
        set_environment(table[i].environment);
        if (launch_detect(&l, &err)) fail_msg("%s: %s", table[i].environment, err.msg);
        bool same = l.kind == table[i].kind && l.rank == table[i].rank && l.ranks == table[i].ranks &&
                    l.local_rank == table[i].local_rank && l.local_ranks == table[i].local_ranks &&
                    l.port == table[i].port && !strcmp(l.master, table[i].master) && l.listener == -1;
        if (!same)
            fail_msg("%s: kind %d, rank %d of %d, local %d of %d, %s:%d", table[i].environment, (int)l.kind, l.rank,
                     l.ranks, l.local_rank, l.local_ranks, l.master, l.port);
    }
}

static void test_launcher_refuses(void **state) {
    (void)state;
    static const struct {
        const char *environment, *part;
    } table[] = {
        {"RANK=2 WORLD_SIZE=2 MASTER_ADDR=a MASTER_PORT=1",
         "RANK=2 and WORLD_SIZE=2 in the environment; expected a rank"},
        {"RANK=x WORLD_SIZE=2 MASTER_ADDR=a MASTER_PORT=1", "RANK=x in the environment; expected a number from 0"},
        {"RANK=-1 WORLD_SIZE=2 MASTER_ADDR=a MASTER_PORT=1", "RANK=-1 in the environment"},
        {"RANK=1 WORLD_SIZE=2x MASTER_ADDR=a MASTER_PORT=1", "WORLD_SIZE=2x in the environment"},
        {"RANK=1 WORLD_SIZE=99999999999999999999 MASTER_ADDR=a MASTER_PORT=1", "WORLD_SIZE=9999999999"},
        {"RANK=1 WORLD_SIZE=0 MASTER_ADDR=a MASTER_PORT=1", "WORLD_SIZE=0 in the environment"},
        {"RANK=1", "WORLD_SIZE is not set, though other variables of its launcher are"},
        {"WORLD_SIZE=2", "RANK is not set"},
        {"RANK=1 WORLD_SIZE=2", "MASTER_ADDR is not set"},
        {"RANK=1 WORLD_SIZE=2 MASTER_ADDR=a", "MASTER_PORT is not set"},
        {"RANK=1 WORLD_SIZE=2 MASTER_ADDR=a MASTER_PORT=65536", "MASTER_PORT=65536 in the environment"},
        {"RANK=1 WORLD_SIZE=2 MASTER_ADDR=a MASTER_PORT=65535 TORCHELASTIC_USE_AGENT_STORE=True",
         "MASTER_PORT=65535 in the environment; expected a number from 1 to 65534"},
        {"RANK=1 WORLD_SIZE=2 MASTER_ADDR=a,b MASTER_PORT=1", "MASTER_ADDR=a,b in the environment"},
        {"RANK=1 WORLD_SIZE=2 MASTER_ADDR=a MASTER_PORT=1 LORAC_PORT=0", "LORAC_PORT=0 in the environment"},
        {TORCHRUN " LOCAL_RANK=2", "LOCAL_RANK=2 in the environment; expected a number from 0 to 1"},
        {TORCHRUN " LOCAL_WORLD_SIZE=9", "LOCAL_WORLD_SIZE=9 in the environment"},
        {TORCHRUN " LORAC_LISTENER=1000", "LORAC_LISTENER=1000 in the environment; expected a listening socket"},
        {TORCHRUN " LORAC_LISTENER=0", "LORAC_LISTENER=0 in the environment; expected"},
        {"OMPI_COMM_WORLD_RANK=4 OMPI_COMM_WORLD_SIZE=4", "OMPI_COMM_WORLD_RANK=4 and OMPI_COMM_WORLD_SIZE=4"},
        {"OMPI_COMM_WORLD_RANK=0", "OMPI_COMM_WORLD_SIZE is not set"},
        {"PMIX_RANK=4 SLURM_STEP_NUM_TASKS=4", "PMIX_RANK=4 and SLURM_STEP_NUM_TASKS=4"},
        {STEP, "srun started 4 tasks without PMIx; expected srun --mpi=pmix"},
        {STEP "PMI_RANK=2 PMI_SIZE=4", "expected srun --mpi=pmix"},
        {"PET_NNODES=1:4", "PET_NNODES=1:4 in the environment; expected a number"},
        {"PET_NPROC_PER_NODE=cpu", "PET_NPROC_PER_NODE=cpu in the environment"},
        {"PET_NNODES=2 PET_NPROC_PER_NODE=1", "PET_NODE_RANK is not set"},
        {"PET_NNODES=2 PET_NODE_RANK=2", "PET_NODE_RANK=2 and PET_NNODES=2"},
        {"PET_NNODES=2 PET_NODE_RANK=1", "PET_MASTER_ADDR is not set"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        Launch l;
        Err err = {0};
        set_environment(table[i].environment);
        ASSERT_REFUSED(launch_detect(&l, &err), &err, table[i].part);
        assert_int_equal(err.kind, ERR_INPUT);
    }
}

static void test_launcher_tells_jobs_apart(void **state) {
    (void)state;
    Launch none, a, b, own;
    Err err = {0};
    set_environment(TORCHRUN);
    ASSERT_OK(launch_detect(&none, &err), &err);
    set_environment(TORCHRUN " TORCHELASTIC_RUN_ID=a");
    ASSERT_OK(launch_detect(&a, &err), &err);
    set_environment(TORCHRUN " TORCHELASTIC_RUN_ID=b");
    ASSERT_OK(launch_detect(&b, &err), &err);
    set_environment(TORCHRUN " TORCHELASTIC_RUN_ID=b LORAC_RUN_ID=c");
    ASSERT_OK(launch_detect(&own, &err), &err);
    const Launch *all[] = {&none, &a, &b, &own};
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < i; k++) assert_memory_not_equal(all[i]->key, all[k]->key, GROUP_KEY);
    assert_true(!none.secret && !own.secret);
}

static void test_launcher_takes_the_parents_socket(void **state) {
    (void)state;
    Launch l;
    Err err = {0};
    char words[512];
    struct sockaddr_in any = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0 && !bind(fd, (struct sockaddr *)&any, sizeof any));
    snprintf(words, sizeof words, TORCHRUN " LORAC_LISTENER=%d", fd);
    set_environment(words);
    ASSERT_REFUSED(launch_detect(&l, &err), &err, "expected a listening socket");
    assert_int_equal(listen(fd, 1), 0);
    ASSERT_OK(launch_detect(&l, &err), &err);
    assert_int_equal(l.listener, fd);
    close(fd);
}

TEST_MAIN(TEST(test_launcher_kinds), TEST(test_launcher_refuses), TEST(test_launcher_tells_jobs_apart),
          TEST(test_launcher_takes_the_parents_socket))

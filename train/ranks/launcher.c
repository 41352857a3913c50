#include "launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proof.h"

enum { MAX_RANKS = 1 << 20, MAX_PORT = 65535 };

// ---- variables ----

// Empty counts as unset.
static const char *variable(const char *name) {
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static int number_in(int *out, const char *name, int least, int most, Err *err) {
    const char *text = variable(name);
    char *end;
    if (!text) return err_input(err, "%s is not set, though other variables of its launcher are", name);
    errno = 0;
    long n = strtol(text, &end, 10);
    if (*end || end == text || errno || n < least || n > most)
        return err_input(err, "%s=%.40s in the environment; expected a number from %d to %d", name, text, least, most);
    *out = (int)n;
    return 0;
}

static int number_or(int *out, int otherwise, const char *name, int least, int most, Err *err) {
    *out = otherwise;
    return variable(name) ? number_in(out, name, least, most, err) : 0;
}

static int rank_of(int *rank, int *ranks, const char *rank_name, const char *ranks_name, Err *err) {
    if (number_in(ranks, ranks_name, 1, MAX_RANKS, err) || number_in(rank, rank_name, 0, MAX_RANKS, err)) return -1;
    if (*rank < *ranks) return 0;
    return err_input(err, "%s=%d and %s=%d in the environment; expected a rank below the number of ranks", rank_name,
                     *rank, ranks_name, *ranks);
}

static int alone(Launch *l) {
    *l = (Launch){.kind = LAUNCH_ALONE, .ranks = 1, .local_rank = -1, .local_ranks = -1, .listener = -1};
    return 0;
}

// ---- the secret ----

static int check_file(int fd, const char *path, Err *err) {
    struct stat s;
    if (fstat(fd, &s)) return err_input(err, "LORAC_SECRET_FILE=%.200s: %s", path, strerror(errno));
    if (!S_ISREG(s.st_mode)) return err_input(err, "LORAC_SECRET_FILE=%.200s: not a regular file", path);
    if (s.st_uid != geteuid() && s.st_uid != 0)
        return err_input(err, "LORAC_SECRET_FILE=%.200s belongs to user %u; expected this user or root", path,
                         (unsigned)s.st_uid);
    if (!(s.st_mode & 077)) return 0;
    return err_input(err, "LORAC_SECRET_FILE=%.200s: other users may access it (mode %04o); expected 0600", path,
                     (unsigned)s.st_mode & 07777);
}

// O_NONBLOCK: opening a pipe must not block.
static int read_file(char secret[SECRET_MOST + 1], size_t *n, const char *path, Err *err) {
    AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) return err_input(err, "LORAC_SECRET_FILE=%.200s: %s", path, strerror(errno));
    if (check_file(fd, path, err)) return -1;
    *n = 0;
    for (ssize_t got = 1; got > 0 && *n <= SECRET_MOST; *n += (size_t)got) {
        got = read(fd, secret + *n, SECRET_MOST + 1 - *n);
        if (got < 0) return err_input(err, "LORAC_SECRET_FILE=%.200s: %s", path, strerror(errno));
    }
    return 0;
}

int secret_key(unsigned char key[GROUP_KEY], bool *secret, const char *job, Err *err) {
    const char *text = variable("LORAC_SECRET"), *path = variable("LORAC_SECRET_FILE");
    char bytes[SECRET_MOST + 1];
    size_t n = 0;
    *secret = text || path;
    if (text && path) return err_input(err, "LORAC_SECRET and LORAC_SECRET_FILE are both set; expected one of them");
    if (text) n = strnlen(text, sizeof bytes), memcpy(bytes, text, n);
    if (path && read_file(bytes, &n, path, err)) return -1;
    if (n > SECRET_MOST) return err_input(err, "%s: more than %d bytes", text ? "LORAC_SECRET" : path, SECRET_MOST);
    // NOLINTNEXTLINE(bugprone-not-null-terminated-result): a null byte is not white space
    while (n > 0 && memchr(" \t\r\n", bytes[n - 1], 4)) n--;
    if (*secret && n < SECRET_LEAST)
        return err_input(err, "%s: a secret of %zu bytes; expected at least %d, e.g. from \"openssl rand -hex 16\"",
                         text ? "LORAC_SECRET" : path, n, SECRET_LEAST);
    proof_key(key, bytes, n, job ? job : "", job ? strlen(job) : 0);
    return 0;
}

// ---- torchrun, and ranks that lorac starts ----

static int master_from(Launch *l, const char *host_name, const char *port_name, int next, Err *err) {
    const char *host = variable(host_name);
    if (!host) return err_input(err, "%s is not set, though other variables of its launcher are", host_name);
    if (strlen(host) >= sizeof l->master || strchr(host, ','))
        return err_input(err, "%s=%.40s in the environment; expected the name or address of one host", host_name, host);
    snprintf(l->master, sizeof l->master, "%s", host);
    if (variable("LORAC_PORT")) return number_in(&l->port, "LORAC_PORT", 1, MAX_PORT, err);
    if (number_in(&l->port, port_name, 1, MAX_PORT - next, err)) return -1;
    l->port += next;
    return 0;
}

static int inherited_listener(Launch *l, Err *err) {
    int listens = 0;
    socklen_t size = sizeof listens;
    if (number_or(&l->listener, -1, "LORAC_LISTENER", 3, INT_MAX, err)) return -1;
    if (l->listener < 0) return 0;
    if (getsockopt(l->listener, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) || !listens)
        return err_input(err, "LORAC_LISTENER=%d in the environment; expected a listening socket", l->listener);
    (void)fcntl(l->listener, F_SETFD, FD_CLOEXEC);
    return 0;
}

static int from_torchrun(Launch *l, Err *err) {
    if (rank_of(&l->rank, &l->ranks, "RANK", "WORLD_SIZE", err)) return -1;
    if (l->ranks == 1) return alone(l);
    l->kind = LAUNCH_TCP;
    if (number_or(&l->local_ranks, -1, "LOCAL_WORLD_SIZE", 1, l->ranks, err) ||
        number_or(&l->local_rank, -1, "LOCAL_RANK", 0, (l->local_ranks > 0 ? l->local_ranks : l->ranks) - 1, err))
        return -1;
    const char *store = variable("TORCHELASTIC_USE_AGENT_STORE");
    bool agent = store && !strcmp(store, "True"); // then torchrun's agent listens at MASTER_PORT
    const char *job = variable("LORAC_RUN_ID") ? variable("LORAC_RUN_ID") : variable("TORCHELASTIC_RUN_ID");
    if (secret_key(l->key, &l->secret, job, err) || master_from(l, "MASTER_ADDR", "MASTER_PORT", agent ? 1 : 0, err) ||
        inherited_listener(l, err))
        return -1;
    if (l->local_ranks == l->ranks)
        snprintf(l->master, sizeof l->master, "127.0.0.1"); // independent of how this host's name resolves
    return 0;
}

// ---- a pod of Kubeflow ----

static int ranks_of_a_pod(int *ranks, Err *err) {
    const char *text = variable("PET_NPROC_PER_NODE");
    *ranks = 0;
    if (text && (!strcmp(text, "gpu") || !strcmp(text, "auto"))) return 0;
    return number_or(ranks, 1, "PET_NPROC_PER_NODE", 1, MAX_RANKS, err);
}

static int from_pod(Launch *l, Err *err) {
    if (number_or(&l->ranks, 1, "PET_NNODES", 1, MAX_RANKS, err) || ranks_of_a_pod(&l->local_ranks, err)) return -1;
    if (l->ranks == 1 && l->local_ranks == 1) return alone(l);
    l->kind = LAUNCH_PET;
    if (l->ranks == 1) return 0;
    if (rank_of(&l->rank, &l->ranks, "PET_NODE_RANK", "PET_NNODES", err)) return -1;
    return master_from(l, "PET_MASTER_ADDR", "PET_MASTER_PORT", 0, err);
}

// ---- MPI ----

static int from_mpi(Launch *l, const char *rank, const char *ranks, Err *err) {
    if (rank_of(&l->rank, &l->ranks, rank, ranks, err)) return -1;
    l->kind = LAUNCH_MPI;
    return l->ranks == 1 ? alone(l) : secret_key(l->key, &l->secret, NULL, err);
}

// PMIx sets the rank only; Slurm sets the number of ranks.
static int from_pmix(Launch *l, Err *err) {
    const char *ranks = variable("SLURM_STEP_NUM_TASKS") ? "SLURM_STEP_NUM_TASKS" : "SLURM_NTASKS";
    if (variable(ranks)) return from_mpi(l, "PMIX_RANK", ranks, err);
    l->kind = LAUNCH_MPI;
    l->ranks = 0;
    if (number_in(&l->rank, "PMIX_RANK", 0, MAX_RANKS, err)) return -1;
    return secret_key(l->key, &l->secret, NULL, err);
}

// A task of srun. (A batch script has SLURM_NTASKS too, but is not a step.)
static int from_slurm(Launch *l, Err *err) {
    int tasks;
    if (number_or(&tasks, 1, "SLURM_STEP_NUM_TASKS", 1, MAX_RANKS, err)) return -1;
    if (tasks == 1) return alone(l);
    return err_input(err, "srun started %d tasks without PMIx; expected srun --mpi=pmix", tasks);
}

// ---- which one ----

static bool any(const char *a, const char *b) { return variable(a) || variable(b); }

// Launchers may be nested; the innermost counts. torchrun and lorac itself pass a job name to their ranks.
static bool is_named_job(void) { return variable("RANK") && any("LORAC_RUN_ID", "TORCHELASTIC_RUN_ID"); }

int launch_detect(Launch *l, Err *err) {
    alone(l);
    if (is_named_job()) return from_torchrun(l, err);
    if (any("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"))
        return from_mpi(l, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", err);
    if (variable("PMIX_RANK")) return from_pmix(l, err);
    if (any("RANK", "WORLD_SIZE")) return from_torchrun(l, err);
    if (any("PET_NNODES", "PET_NPROC_PER_NODE")) return from_pod(l, err);
    if (variable("SLURM_STEP_ID") && variable("SLURM_PROCID")) return from_slurm(l, err);
    if (any("PMI_RANK", "PMI_SIZE")) return from_mpi(l, "PMI_RANK", "PMI_SIZE", err);
    return 0;
}

// threads: affinity mask, control group quota, OMP_NUM_THREADS.
#include "threads.h"

#include <omp.h>
#include <stdlib.h>

#include "cgroup.h"

int threads_quota(void) {
    int64_t cpus = cgroup_cpus("");
    return cpus < NO_QUOTA ? (int)cpus : NO_QUOTA;
}

int threads_available(void) {
    if (getenv("OMP_NUM_THREADS")) return omp_get_max_threads();
    int cpus = omp_get_num_procs(), quota = threads_quota(); // num_procs: the affinity mask
    return quota < cpus ? quota : cpus;
}

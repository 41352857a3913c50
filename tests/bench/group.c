// bench_group: how long the ranks of an MPI job take to add up a vector: no computing, so no waiting for each other.
// usage: mpirun ... bench_group NUMBERS [TIMES]: rank 0 prints one JSON object.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "module.h"

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int measure(Group *g, int64_t numbers, int times, Err *err) {
    int64_t *data = mem_calloc((size_t)numbers, sizeof *data);
    double *seconds = mem_alloc((size_t)times, sizeof *seconds);
    int rc = group_sum(g, data, numbers, err); // connections are made
    for (int i = 0; i < times && !rc; i++) {
        rc = group_barrier(g, err);
        double start = time_now();
        if (!rc) rc = group_sum(g, data, numbers, err);
        seconds[i] = time_now() - start;
    }
    qsort(seconds, (size_t)times, sizeof *seconds, by_size);
    if (!rc && g->rank == 0)
        printf("{\"ranks\": %d, \"bytes\": %lld, \"least\": %.6f, \"median\": %.6f}\n", g->ranks,
               (long long)numbers * 8, seconds[0], seconds[times / 2]);
    mem_free(data);
    mem_free(seconds);
    return rc;
}

int main(int argc, char **argv) {
    Err err = {0};
    Group g = group_alone();
    __typeof__(lorac_mpi_open) *open;
    int64_t numbers = argc > 1 ? atoll(argv[1]) : 0;
    int times = argc > 2 ? atoi(argv[2]) : 11;
    if (numbers < 1 || times < 1) {
        fprintf(stderr, "usage: bench_group NUMBERS [TIMES]\n");
        return 2;
    }
    int rc = module_symbol(&open, "lorac-mpi.so", "lorac_mpi_open", "libopenmpi-dev", &err);
    if (!rc) rc = open(&g, 60, &err);
    if (!rc) rc = measure(&g, numbers, times, &err);
    if (rc) fprintf(stderr, "bench_group: %s\n", err.msg);
    group_close(&g, rc != 0);
    return rc ? 1 : 0;
}

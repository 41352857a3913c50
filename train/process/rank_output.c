#include "rank_output.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "line_prefix.h"

static void drop_stdout(void) {
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (null < 0) return; // then this rank repeats the output of rank 0
    fflush(stdout);
    dup2(null, STDOUT_FILENO);
    close(null);
}

void rank_output(const Group *g, bool each_rank_logs) {
    char rank[24];
    if (g->rank == 0) return;
    snprintf(rank, sizeof rank, "[rank %d] ", g->rank);
    log_as(rank, !each_rank_logs);
    if (each_rank_logs)
        line_prefix_set(line_prefix_open(), rank);
    else
        drop_stdout();
}

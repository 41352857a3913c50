// rank_output: the output of ranks above 0: discarded, since rank 0 reports everything once; or, with
// log_on_each_rank, printed with the rank's number before each line.
#pragma once

#include "group.h"

// Once, before other threads exist. Rank 0: no effect.
void rank_output(const Group *g, bool each_rank_logs);

// rank_output: where the output of a rank goes that is not the first: nowhere, since rank 0 says all that there is to
// be said once; or, where every rank is asked to log, to the same place with its number in front of each line.
#pragma once

#include "group.h"

// Said once, before there are threads. Rank 0: nothing changes.
void rank_output(const Group *g, bool each_rank_logs);

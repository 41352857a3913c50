// records: how the device ran its passes: recorded once as a graph and replayed, or call by call (record.c).
#pragma once

#include "kernels.h"

C_BEGIN

typedef struct RecordCounts {
    int64_t replayed, recorded;
    int64_t dropped; // recorded ones, to make room for others
    int64_t refused; // not recorded: there was no room, and making room had cost too much time already
    double seconds;  // spent on recording
    size_t bytes;    // of the device, that the recorded passes take now
} RecordCounts;
RecordCounts cuda_record_counts(const Backend *b);

C_END

// hot_swap: engines get each new version of the adapter of a run, in the background. A thread for each engine tells it
// the newest version and tries again after failures; versions that it was too slow for are left out. Nothing of it
// delays or ends the run, or changes its results.
#pragma once

#include "config.h"
#include "swap.h"

typedef struct HotSwap HotSwap;

// Starts the threads for the engines of hot_swap_url; *h NULL: there are none. Engines that answer within seconds are
// asked what they are: an adapter that they do not compute is refused (ERR_INPUT), everything else is a warning.
// a and m are borrowed until hot_swap_close.
int hot_swap_open(HotSwap **h, const Config *c, const char *run_name, const Adapter *a, const Model *m, Err *err);
// Writes the adapter as it is now and tells the threads. A failure to write it is a warning.
void hot_swap_publish(HotSwap *h, int64_t step, const char *card);
// Waits until all engines have the newest version or were given up, at most `seconds`; then the threads end.
void hot_swap_end(HotSwap *h, double seconds);
void hot_swap_close(HotSwap *h); // NULL is allowed; ends the threads at once

typedef struct HotSwapEvent {
    const char *url, *engine; // valid as long as h
    char name[160];           // of the version
    int64_t step;
    bool loaded, warn; // warn: the first failure of this engine
    double seconds;
    char message[600]; // of a failure
} HotSwapEvent;
bool hot_swap_next_event(HotSwap *h, HotSwapEvent *e); // false: nothing new. h may be NULL

// swap: one engine is told of a new version of an adapter, in the order in which no request is answered by a mixture of
// two: the new one is loaded under a new name from a new path, the list of the engine is read, then the old ones are
// unloaded.
#pragma once

#include "engine.h"
#include "swap_version.h"

typedef struct SwapResult {
    char name[160];    // under which the engine has the version now; "": it does not
    bool sent, listed; // it was asked to load the version; list is what it has
    EngineList list;
} SwapResult;
void swap_result_clear(SwapResult *r);

// The engine's kind is known (engine_find). Errors as of engine.h. r is set as far as it came; clear it in any case.
int swap_load(Engine *e, const SwapVersion *v, const SwapLine *line, SwapResult *r, Err *err);
// Unloads all versions of the line; *count: how many there were. llama.cpp: no adapter is selected any more.
int swap_unload(Engine *e, const SwapLine *line, size_t *count, Err *err);
bool swap_has(const EngineList *l, const SwapVersion *v);

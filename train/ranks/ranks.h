// ranks: opens the group of the ranks that a launcher has started.
#pragma once

#include "heartbeat.h"
#include "launcher.h"

// The other ranks of a run; borrowed by all that work with them.
typedef struct RankContext {
    Group *group;
    Heartbeat *heartbeat; // NULL: alone
    int stages;           // pipeline_parallel_size; 0 is 1
} RankContext;

// Pipelines of `stages` ranks each, over which the rows of a step are divided. The ranks of a stage follow each other:
// rank r has stage r / pipelines of pipeline r % pipelines.
static inline int ranks_stages(const RankContext *r) { return r->stages > 1 ? r->stages : 1; }
static inline int ranks_pipelines(const RankContext *r) { return r->group->ranks / ranks_stages(r); }
static inline int ranks_pipeline(const RankContext *r) { return r->group->rank % ranks_pipelines(r); }
static inline int ranks_stage(const RankContext *r) { return r->group->rank / ranks_pipelines(r); }

// The share of ddp_timeout after which a missing or silent rank is given up; the rest is for reporting and exiting.
static const double RANKS_TIMEOUT_SHARE = 0.8;

// Alone: *g = group_alone(), without loading MPI. `seconds`: deadline for the other ranks, here and in each call of the
// group until its heartbeat runs (heartbeat_open). Fills node and local ranks too.
int ranks_open(Group *g, const Launch *l, double seconds, Err *err);

// ---- consistency.c: before the first step, all ranks have the same values. Ranks that differ would train something
// unintended, or deadlock ----

typedef struct ConsistencyItem {
    const char *name, *value;
    const char *hint; // advice where it differs; may be NULL
} ConsistencyItem;

// Collective. 0: all ranks have the same; else -1 on all of them (ERR_INPUT), and on rank 0 the message names the first
// item that differs, a rank with its host, and both values (empty elsewhere, as group_agree).
int consistency_check(Group *g, const ConsistencyItem *items, int n, Err *err);

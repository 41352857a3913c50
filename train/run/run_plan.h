// run_plan: the memory by category and the estimated time of a run, or of several over one base model, for each level
// of recomputation, without running it. The data is read, the weights are not: they may be absent.
#pragma once

#include "roofline.h"
#include "trainer.h"

typedef struct PlanLevel {
    Recompute level;
    size_t arena, kept, offloaded, total; // kept: copies of weights; total: of the process, or of its device memory
    size_t end;                           // at the end of the run, when the adapter is verified; 0 on a device
    double tokens_per_second;             // of all runs, on one GPU; 0: unknown (a GPU that is not in the table)
    RoofTime pass;                        // of the largest passes of all runs
    bool allowed, fits;                   // by gradient_checkpointing; into `limit`
} PlanLevel;

enum { PLAN_LEVELS = RECOMPUTE_OFFLOAD + 1 };
typedef struct PlanRun { // one run over the base model
    const Config *config;
    Adapter *adapter, *reference;
    Teacher *teacher;
    RunData data;
    Trainer *trainer;
} PlanRun;

typedef struct RunPlan {
    Group group; // of the pipeline's ranks, never called
    RankContext ranks;
    Backend *backend;
    Model *model;
    PlanRun *runs; // usually one
    size_t count;
    PassTeam team;      // of several runs in host memory
    BatchHint hint;     // of one run; at the chosen level
    const GpuSpec *gpu; // NULL: the CPU, or a GPU that is not in the table
    int gpus;           // num_gpus, each with the memory below; 1 on the CPU
    bool assumed_rows;  // without data, or without the tokenizer to read it: rows of max_seq_length, all supervised
    size_t base, adapter_state, others; // others: tokens, inputs and workspaces; on the CPU the process itself
    size_t teacher;                     // of its own model
    MemoryBudget budget;
    PlanLevel levels[PLAN_LEVELS];
    int chosen; // the lightest that is allowed and fits; -1: none
} RunPlan;

// runs: [count], over one base model (config_runs). gpu: NULL, or the GPU to plan for instead of the config's device.
// After a failure too, run_plan_close is the caller's.
// With pipeline_parallel_size above 1 it is that of rank `stage` of a single pipeline.
int run_plan_open_stage(RunPlan *p, const Config *runs, const GpuSpec *gpu, int stage, Err *err);
int run_plan_open(RunPlan *p, const Config *runs, size_t count, const GpuSpec *gpu, Err *err);
void run_plan_close(RunPlan *p);

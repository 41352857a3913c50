// lorac train [CONFIG.json] [overrides]
#include "cli.h"

#include <stdio.h>

#include "config.h"
#include "rank_output.h"
#include "ranks.h"
#include "say.h"
#include "signals.h"
#include "spawn.h"
#include "train_run.h"

typedef struct Options {
    bool pull;
} Options;

static const Key options[] = {
    OPTION(BOOL, pull,
           .help = "Fetch the model and the data sets that the config names as owner/name and the hub's cache lacks."),
};

// One rank of a run, or the only one. `bad`: its config is refused; the other ranks must learn that.
static int run_rank(const Config *c, const ConfigList *runs, const Launch *l, int bad, Err *err) {
    Group g = group_alone();
    Err apart;
    // Before MPI starts threads: a signal that one of them receives would end the process.
    if (signals_install(&apart) || ranks_open(&g, l, RANKS_TIMEOUT_SHARE * (double)c->ddp_timeout, &apart)) {
        if (!bad) *err = apart;
        return -1;
    }
    int rc = group_agree(&g, bad, err);
    if (!rc) {
        rank_output(&g, c->log_on_each_rank);
        say("config   (value and source)\n");
        config_print(c, stdout);
        rc = train_run(c, runs, &g, err);
    }
    group_close(&g, rc < 0);
    return rc;
}

static int run_train(const void *given, int argc, char **argv, Err *err) {
    const Options *o = given;
    AUTO_CALL(config_clear) Config c = {.pull = o->pull};
    AUTO_CALL(config_list_clear) ConfigList runs = {0};
    Launch l;
    if (launch_detect(&l, err)) return -1;
    int to_start = 0, bad = config_load(&c, argc, argv, CONFIG_FOR_TRAIN, err), rc;
    if (!bad) bad = config_runs(&runs, &c, err);
    if (!bad) bad = spawn_count(&to_start, &l, c.num_gpus, c.device, err);
    bool has_others = l.kind == LAUNCH_MPI || l.kind == LAUNCH_TCP;
    if (to_start > 0)
        rc = spawn_ranks(&l, to_start, SPAWN_GRACE, (double)c.ddp_timeout, err);
    else
        rc = bad && !has_others ? -1 : run_rank(&c, &runs, &l, bad, err);
    return rc;
}

const Verb verb_train = {
    .name = "train",
    .usage = "lorac train [CONFIG] [-m MODEL] [--pull] [--key value | --key=value | key=value ...]",
    .summary = "Train an adapter",
    .help =
        "Reads the config (\"lorac help config\" lists its keys), then the overrides; the last one wins. output_dir\n"
        "receives adapter/ (PEFT), adapter.gguf (llama.cpp), Modelfile, report.html, train_log.jsonl,\n"
        "config.json and snapshots checkpoint-N/.\n\n"
        "Rerun the same command to resume a run that was stopped or killed; the result is bit-identical to that of an\n"
        "uninterrupted run. On a finished run the command verifies the output. SIGTERM, SIGINT, SIGHUP, SIGUSR1 and\n"
        "similar signals stop the run with its state saved (exit status 75); a second SIGTERM, SIGINT, SIGQUIT,\n"
        "SIGUSR1 or SIGUSR2 ends it at once.\n\n"
        "--dashboard 7860 serves a page that follows the run, and metrics for Prometheus.\n\n"
        "Under mpirun, srun or torchrun each process is a rank; num_gpus starts one rank for each GPU. The ranks\n"
        "share the rows of every step. The result is bit-identical to that of one process with as many rows per\n"
        "step, and a run can resume with any number of ranks. configs/cluster has scripts for Slurm, Kubernetes and\n"
        "ssh. On several machines set LORAC_SECRET, or LORAC_SECRET_FILE, to the same value for all ranks: other\n"
        "processes cannot connect without it.",
    .example =
        "lorac train configs/smollm2-tool-calls.json\n"
        "  mpirun -np 4 lorac train configs/smollm2-tool-calls.json\n"
        "  lorac train --model_name_or_path M.gguf --train_file train.jsonl --output_dir out --learning_rate 1e-3",
    OPTIONS(options),
    .takes_config = true,
    .run = run_train,
};

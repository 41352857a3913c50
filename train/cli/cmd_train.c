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

// One rank of a run, or the only one. `bad`: its config is not good, which the others have to hear.
static int run_rank(const Config *c, const Launch *l, int bad, Err *err) {
    Group g = group_alone();
    Err apart;
    // Before MPI has threads: each of them would take a signal as its end.
    if (signals_install(&apart) || ranks_open(&g, l, RANKS_TIMEOUT_SHARE * (double)c->ddp_timeout, &apart)) {
        if (!bad) *err = apart;
        return -1;
    }
    int rc = group_agree(&g, bad, err);
    if (!rc) {
        rank_output(&g, c->log_on_each_rank);
        say("config   (value, and where it comes from)\n");
        config_print(c, stdout);
        rc = train_run(c, &g, err);
    }
    group_close(&g, rc < 0);
    return rc;
}

static int run_train(int argc, char **argv, Err *err) {
    Config c = {0};
    Launch l;
    if (launch_detect(&l, err)) return -1;
    int to_start = 0, bad = config_load(&c, argc, argv, CONFIG_FOR_TRAIN, err), rc;
    if (!bad) bad = spawn_count(&to_start, &l, c.num_gpus, c.device, err);
    bool has_others = l.kind == LAUNCH_MPI || l.kind == LAUNCH_TCP;
    if (to_start > 0)
        rc = spawn_ranks(&l, to_start, SPAWN_GRACE, (double)c.ddp_timeout, err);
    else
        rc = bad && !has_others ? -1 : run_rank(&c, &l, bad, err);
    config_clear(&c);
    return rc;
}

const Verb verb_train = {
    .name = "train",
    .usage = "lorac train [CONFIG.json] [--key value | --key=value | key=value ...]",
    .summary = "Train an adapter",
    .help =
        "Reads the config (\"lorac help config\" lists its keys), then the overrides; the last one wins. What it\n"
        "leaves in output_dir: adapter/ (PEFT), adapter.gguf (llama.cpp, Ollama), Modelfile, report.html,\n"
        "train_log.jsonl, config.json, and snapshots checkpoint-N/.\n\n"
        "The same command goes on where a run was stopped or killed, with the same result bit for bit; on a finished\n"
        "run it verifies what is there. SIGTERM, SIGINT, SIGHUP, SIGUSR1 and the like stop it with its state saved "
        "(exit\n"
        "status 75); a second SIGTERM, SIGINT, SIGQUIT, SIGUSR1 or SIGUSR2 ends it at once.\n\n"
        "Under mpirun, srun or torchrun each process is a rank, and num_gpus starts one for each GPU: they share the\n"
        "rows of every step and come to the bits of one process that takes as many rows a step. A run goes on with\n"
        "any number of ranks. configs/cluster has scripts for Slurm, Kubernetes and ssh. On several machines give all\n"
        "ranks the same LORAC_SECRET in the environment, or LORAC_SECRET_FILE: it keeps strangers out.\n\n"
        "  lorac train configs/smollm2-tool-calls.json\n"
        "  mpirun -np 4 lorac train configs/smollm2-tool-calls.json\n"
        "  lorac train --model_name_or_path M.gguf --train_file train.jsonl --output_dir out --learning_rate 1e-3\n",
    .run = run_train,
};

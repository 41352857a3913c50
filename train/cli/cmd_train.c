// lorac train [CONFIG.json] [overrides]
#include "cli.h"

#include <stdio.h>

#include "config.h"
#include "train_run.h"

static int run_train(int argc, char **argv, Err *err) {
    Config c = {0};
    int status = EXIT_INPUT;
    if (config_load(&c, argc, argv, CONFIG_FOR_TRAIN, err) == 0) {
        printf("config   (value, and where it comes from)\n");
        config_print(&c, stdout);
        status = train_run(&c, err);
    }
    config_clear(&c);
    return status;
}

const Verb verb_train = {
    .name = "train",
    .usage = "lorac train [CONFIG.json] [--key value | --key=value | key=value ...]",
    .summary = "Train an adapter",
    .help =
        "Reads the config (\"lorac help config\" lists its keys), then the overrides; the last one wins. What it\n"
        "leaves in output_dir: adapter/ (PEFT), adapter.gguf (llama.cpp, Ollama), Modelfile, report.html,\n"
        "train_log.jsonl, config.json, and snapshots checkpoint-N/.\n\n"
        "The same command goes on where a run was stopped (exit status 75 after SIGTERM, SIGINT or SIGUSR1) or\n"
        "killed, with the same result bit for bit; on a finished run it verifies what is there.\n\n"
        "  lorac train configs/smollm2-tool-calls.json\n"
        "  lorac train --model_name_or_path M.gguf --train_file train.jsonl --output_dir out --learning_rate 1e-3\n",
    .run = run_train,
};

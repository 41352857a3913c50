// lorac verify ADAPTER [--model_name_or_path M]
#include <stdio.h>

#include "hub_cache.h"
#include "run_folder.h"
#include "say.h"
#include "verify.h"

typedef struct Options {
    LoadOptions load;
} Options;

static const Key options[] = {MODEL_OPTION, DEVICE_OPTIONS};

static int run_verify(const void *given, int argc, char **argv, Err *err) {
    const Options *o = given;
    AUTO_CALL(loaded_close) Loaded l = {0};
    LoadOptions load;
    AUTO_FREE char *adapter = mem_strdup(argv[0]);
    if (hub_find_model(&adapter, NULL, err)) return -1;
    if (run_folder_names(&load, &l, &o->load, adapter, err)) return -1;
    load.adapter_name_or_path = NULL; // each form is loaded by adapter_verify
    if (loaded_open(&l, &load, &(ModelOptions){.classifier = true, .masked_lm = true}, err)) return -1;
    if (adapter_verify(l.model, adapter, stdout, err) || loaded_check(&l, err)) {
        err->kind = ERR_RUNTIME; // also for a damaged file, which is input elsewhere
        return -1;
    }
    say("verified\n");
    return 0;
}

const Verb verb_verify = {
    .name = "verify",
    .usage = "lorac verify ADAPTER [--model_name_or_path M]",
    .summary = "Reload written adapter files; check that they are complete, fit the base model and agree",
    .help = "ADAPTER is an output_dir (adapter/ and adapter.gguf; M is known from its run), a PEFT folder or a GGUF\n"
            "adapter. Each form is loaded as a user would load it. It must be finite and not zero, and it must change "
            "the logits of M on a\n"
            "fixed sequence. If both forms exist, their logits are compared and the largest difference is printed. A\n"
            "classifier has only the PEFT form: it must be finite, and its LoRA matrices must change its logits.\n"
            "Exit status 1 if any check fails.",
    .example = "lorac verify out/run",
    OPTIONS(options),
    .operand = "ADAPTER",
    .run = run_verify,
};

// lorac verify ADAPTER --model_name_or_path M
#include <stdio.h>

#include "cli.h"
#include "loaded.h"
#include "say.h"
#include "verify.h"

static int run_verify(int argc, char **argv, Err *err) {
    const char *model = NULL, *path = NULL;
    size_t n_words;
    DeviceWords on = {0};
    const ArgSpec specs[] = {MODEL_ARGS(&model), DEVICE_ARGS(&on)};
    if (args_parse(argc, argv, specs, sizeof specs / sizeof *specs, &path, 1, &n_words, err)) return -1;
    if (!n_words) return err_input(err, "verify: no adapter named; expected a folder or a .gguf file");
    Loaded l = {0};
    int rc = loaded_open(&l, &on, model, NULL, &(ModelOptions){.classifier = true}, err);
    if (!rc && (adapter_verify(l.model, path, stdout, err) || loaded_check(&l, err))) {
        err->kind = ERR_RUNTIME; // a bad adapter is what verify is for
        rc = -1;
    }
    if (!rc) say("verified\n");
    loaded_close(&l);
    return rc;
}

const Verb verb_verify = {
    .name = "verify",
    .usage = "lorac verify ADAPTER --model_name_or_path M",
    .summary = "Reload written adapter files and prove that they are whole, fit the base model and agree",
    .help = "ADAPTER is an output_dir (adapter/ and adapter.gguf), a PEFT folder or a GGUF adapter. Each form is\n"
            "loaded as a user would; it must be finite, not zero, and change the logits of M on a fixed sequence.\n"
            "Where both forms are there, their logits are compared; the largest difference is printed. A classifier\n"
            "has one form only: it must be finite, and its LoRA matrices change its logits.\n"
            "Exit status 1 if anything is wrong.\n" DEVICE_HELP "\n"
            "  lorac verify out/run --model_name_or_path base.gguf\n",
    .run = run_verify,
};

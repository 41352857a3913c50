// lorac merge --model_name_or_path M --adapter_name_or_path A --out P [--dtype f32/f16/bf16/q8_0]
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "loaded.h"
#include "merge.h"
#include "merge_check.h"
#include "say.h"

typedef struct MergeArgs {
    const char *model, *adapter, *out, *validation_file;
    MergeOptions options;
} MergeArgs;

static int parse_dtype(DType *t, const char *name, Err *err) {
    static const struct {
        const char *name;
        DType dtype;
    } names[] = {{"f32", DTYPE_F32},   {"float32", DTYPE_F32},   {"f16", DTYPE_F16},  {"float16", DTYPE_F16},
                 {"bf16", DTYPE_BF16}, {"bfloat16", DTYPE_BF16}, {"q8_0", DTYPE_Q8_0}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i].name) != 0) continue;
        *t = names[i].dtype;
        return 0;
    }
    return err_input(err, "merge: --dtype is %s; expected f32, f16, bf16 or q8_0", name);
}

static int parse_args(MergeArgs *a, int argc, char **argv, Err *err) {
    const char *dtype = NULL;
    const ArgSpec specs[] = {MODEL_ARGS(&a->model),
                             {"adapter_name_or_path", ARG_STRING, &a->adapter, NULL},
                             {"out", ARG_STRING, &a->out, NULL},
                             {"dtype", ARG_STRING, &dtype, NULL},
                             {"validation_file", ARG_STRING, &a->validation_file, NULL}};
    if (args_parse(argc, argv, specs, sizeof specs / sizeof *specs, NULL, 0, NULL, err)) return -1;
    if (!a->adapter) return err_input(err, "merge: --adapter_name_or_path is missing; expected a trained adapter");
    if (!a->out) return err_input(err, "merge: --out is missing; expected where to write");
    a->options.dtype = DTYPE_COUNT;
    return dtype ? parse_dtype(&a->options.dtype, dtype, err) : 0;
}

// What was written is loaded as a user would.
static int check_result(const Loaded *l, const char *out, const MergeCheck *check, Err *err) {
    Model *merged;
    if (model_load(&merged, out, l->backend, NULL, err)) return -1;
    say("%s: %.1f MB of weights\n", out, (double)merged->weight_bytes / 1e6);
    int rc = merge_check_compare(check, merged, err);
    model_free(merged);
    return rc;
}

static int run_merge(int argc, char **argv, Err *err) {
    MergeArgs a = {0};
    Loaded l = {0};
    MergeCheck check = {0};
    if (parse_args(&a, argc, argv, err)) return -1;
    // A classifier's base loads too, so that it is the adapter that is refused.
    int rc = loaded_open(&l, &on_the_cpu, a.model, a.adapter, &(ModelOptions){.classifier = true}, err);
    if (rc == 0) rc = loaded_refuse_classifier(l.adapter, a.adapter, err);
    if (rc == 0) rc = model_merge_check(l.model, a.out, &a.options, err);
    if (rc == 0) rc = merge_check_open(&check, l.model, l.adapter, a.validation_file, err);
    if (rc == 0) rc = model_merge(l.model, l.adapter, a.out, &a.options, err);
    if (rc == 0) rc = check_result(&l, a.out, &check, err);
    merge_check_close(&check);
    loaded_close(&l);
    return rc;
}

const Verb verb_merge = {
    .name = "merge",
    .usage = "lorac merge --model_name_or_path M --adapter_name_or_path A --out P [--dtype f32/f16/bf16/q8_0]\n"
             "              [--validation_file F]",
    .summary = "Write the base model with an adapter folded into its weights",
    .help =
        "A Hugging Face folder merges into a folder (shards of 5 GB, tokenizer and all small files copied), a GGUF\n"
        "file into a .gguf file (all metadata kept; q8_0 is for these). W + scale * B A is computed in float32 and\n"
        "rounded once. Without --dtype every tensor keeps its type; matrices of a quantised base become f16.\n"
        "A chat_template.jinja of the adapter takes the place of the base's template. The result is loaded and "
        "compared\n"
        "with base and adapter on a fixed text, and on --validation_file:\n"
        "exit status 1 if it differs by more than the rounding explains. P must not be there yet.\n\n"
        "  lorac merge --model_name_or_path base.gguf --adapter_name_or_path out/run/adapter --out merged.gguf\n",
    .run = run_merge,
};

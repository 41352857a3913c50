// lorac merge --model_name_or_path M --adapter_name_or_path A --out P [--dtype f32/f16/bf16/q8_0]
#include "loaded.h"
#include "merge.h"
#include "merge_check.h"
#include "say.h"

#define MERGE_DTYPES(X)                                                                                                \
    X(DTYPE_COUNT, "keep", "every tensor keeps its type; matrices of a quantised base become f16")                     \
    X(DTYPE_F32, "f32", NULL)                                                                                          \
    X(DTYPE_F16, "f16", NULL)                                                                                          \
    X(DTYPE_BF16, "bf16", NULL)                                                                                        \
    X(DTYPE_Q8_0, "q8_0", "for .gguf files only")                                                                      \
    X(DTYPE_F32, "float32", "the same as f32")                                                                         \
    X(DTYPE_F16, "float16", "the same as f16")                                                                         \
    X(DTYPE_BF16, "bfloat16", "the same as bf16")
static const DType dtypes[] = {MERGE_DTYPES(ENUM_CONSTANT)};

typedef struct Options {
    LoadOptions load;
    char *out, *validation_file;
    int dtype; // index of dtypes
} Options;

static const Key options[] = {
    MODEL_OPTION,
    LOAD_OPTION(PATH, adapter_name_or_path, .flags = OPTION_REQUIRED,
                .help = "Adapter: a PEFT folder or a .gguf file. Required."),
    OPTION(PATH, out, .flags = OPTION_REQUIRED, .help = "Where the model is written; must not exist yet. Required."),
    OPTION_CHOICE(dtype, MERGE_DTYPES, .standard = "\"keep\"", .help = "Type of the written weights."),
    OPTION(PATH, validation_file, .help = "Data on which the result is compared, too."),
};

// What was written is loaded as a user would.
static int check_result(const Loaded *l, const char *out, const MergeCheck *check, Err *err) {
    Model *merged;
    if (model_load(&merged, out, l->backend, NULL, err)) return -1;
    say("%s: %.1f MB of weights\n", out, (double)merged->weight_bytes / 1e6);
    int rc = merge_check_compare(check, merged, err);
    model_free(merged);
    return rc;
}

static int run_merge(const void *given, int argc, char **argv, Err *err) {
    const Options *o = given;
    MergeOptions how = {.dtype = dtypes[o->dtype]};
    LoadOptions load = o->load;
    AUTO_CALL(loaded_close) Loaded l = {0};
    MergeCheck check = {0};
    (void)argc, (void)argv;
    load.device = "cpu";
    // A classifier's base loads too, so that the message is about the adapter.
    int rc = loaded_open(&l, &load, &(ModelOptions){.classifier = true}, err);
    if (!rc) rc = loaded_refuse_classifier(l.adapter, load.adapter_name_or_path, err);
    if (!rc) rc = model_merge_check(l.model, o->out, &how, err);
    if (!rc) rc = merge_check_open(&check, l.model, l.adapter, o->validation_file, err);
    if (!rc) rc = model_merge(l.model, l.adapter, o->out, &how, err);
    if (!rc) rc = check_result(&l, o->out, &check, err);
    merge_check_close(&check);
    return rc;
}

const Verb verb_merge = {
    .name = "merge",
    .usage = "lorac merge --model_name_or_path M --adapter_name_or_path A --out P [--dtype f32/f16/bf16/q8_0]\n"
             "              [--validation_file F]",
    .summary = "Write the base model with an adapter folded into its weights",
    .help =
        "A Hugging Face folder is merged into a folder (shards of 5 GB; the tokenizer and all small files are\n"
        "copied), a GGUF file into a .gguf file (all metadata is kept). W + scale * B A is computed in float32 and\n"
        "rounded once. A chat_template.jinja of the adapter replaces the base model's template. The result is\n"
        "loaded and compared with base and adapter on a fixed text and on --validation_file: exit status 1 if it\n"
        "differs by more than rounding explains.",
    .example = "lorac merge --model_name_or_path base.gguf --adapter_name_or_path out/run/adapter --out merged.gguf",
    OPTIONS(options),
    .run = run_merge,
};

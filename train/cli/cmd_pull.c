// lorac pull REPOSITORY [--revision R] [--type dataset] [--include P ...]
#include <string.h>

#include "cli.h"
#include "hub_pull.h"

#define HUB_TYPES(X)                                                                                                   \
    X(HUB_MODEL, "model", NULL)                                                                                        \
    X(HUB_DATASET, "dataset", NULL)

typedef struct Options {
    HubType type;
    char *revision;
    StrList include, exclude;
    bool dry_run;
    int64_t retries;
    double timeout;
} Options;

static const Key options[] = {
    OPTION_CHOICE(type, HUB_TYPES, .standard = "\"model\"",
                  .help = "What the name is of, unless it begins with datasets/ or models/."),
    OPTION(STRING, revision, .help = "Branch, tag or commit; without it main."),
    OPTION(TEXTS, include,
           .help = "Only files of this pattern, such as \"*Q4_K_M*.gguf\" or \"data/\". May be given several times."),
    OPTION(TEXTS, exclude, .help = "No files of this pattern. May be given several times."),
    OPTION(BOOL, dry_run, .help = "Print the files and their sizes, fetch nothing."),
    OPTION(INT, retries, .standard = HUB_RETRIES, .max = 1000,
           .help = "How often a request is repeated after a lost connection, or a server that is busy or fails."),
    OPTION(FLOAT, timeout, .standard = HUB_TIMEOUT, .min = 1, .max = 3600,
           .help = "Seconds without a byte after which a connection is lost."),
};

static int run_pull(const void *given, int argc, char **argv, Err *err) {
    const Options *o = given;
    AUTO_HUB_NAME HubName n = {0};
    if (!hub_name_read(&n, argv[0], o->type))
        return err_input(err, "%.200s: expected \"owner/name\", as on the hub", argv[0]);
    if (o->revision && n.revision)
        return err_input(err, "--revision: the name has a revision, too, %s; expected one of them", n.revision);
    if (o->revision && !hub_revision_is_valid(o->revision))
        return err_input(err, "--revision: \"%.200s\"; expected a branch, tag or commit", o->revision);
    if (o->revision) n.revision = mem_strdup(o->revision);
    const HubPull p = {.name = &n,
                       .patterns = {(const char *const *)o->include.items, (const char *const *)o->exclude.items,
                                    o->include.count, o->exclude.count},
                       .list_only = o->dry_run,
                       .retries = o->retries,
                       .timeout = o->timeout};
    return hub_pull(&p, err);
}

const Verb verb_pull = {
    .name = "pull",
    .usage = "lorac pull REPOSITORY [--revision R] [--type model/dataset] [--include P ...] [--exclude P ...]",
    .summary = "Fetch a model or a data set from the hub into its cache",
    .help = "REPOSITORY is owner/name, datasets/owner/name, or with more: owner/name@REVISION, owner/name:Q4_K_M (the "
            "GGUF\n"
            "file whose name holds that), owner/name/path/of/a/file. Without --include these files are fetched: of a "
            "model\n"
            "configuration, tokenizer and safetensors, or its one GGUF file; of a data set its data files.\n\n"
            "They go into the cache of huggingface_hub (HF_HUB_CACHE, HF_HOME), where Python programs find them, too. "
            "Then\n"
            "model_name_or_path, train_file and validation_file take the same names, without any network.\n\n"
            "HF_ENDPOINT names another hub, HF_TOKEN (or the file of a login) is sent to it and to no other host. "
            "Sizes and\n"
            "hashes are checked before a file appears. A pull that was stopped is resumed by the same command.",
    .example = "lorac pull HuggingFaceTB/SmolLM2-135M-Instruct\n"
               "  lorac pull datasets/owner/name --include \"*.jsonl\"",
    OPTIONS(options),
    .operand = "REPOSITORY",
    .run = run_pull,
};

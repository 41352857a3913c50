// lorac inspect: detects the kind of a path and prints it; inspect.h has the views.
#include <string.h>

#include "cli.h"
#include "fileio.h"
#include "hub_cache.h"
#include "inspect.h"
#include "json.h"
#include "path.h"
#include "words.h"
#include "yaml_read.h"

typedef InspectOptions Options;

static const Key options[] = {
    OPTION(INT, show, .max = 0x1p53,
           .help = "Print the first N samples (of a data file: records). Supervised text is green on a terminal, in "
                   "[[...]] elsewhere."),
    OPTION(BOOL, audit, .standard = "true",
           .help = "Search data for duplicates, leaks, empty answers, e-mail addresses, keys and phone numbers."),
};

typedef enum { JSON_DATA, JSON_MODEL, JSON_TRAINING } JsonKind;

// A file that is not strict JSON is a training config: those may have comments.
static int json_kind(JsonKind *kind, const char *path, Err *err) {
    enum { MAX_CONFIG_BYTES = 16 << 20 };
    AUTO_MAP FileMap map = {0};
    JsonDoc *doc;
    Err ignored;
    if (file_map(&map, path, err)) return -1;
    const char *p = (const char *)map.data, *end = p + map.size;
    while (p < end && *p && strchr(" \t\r\n", *p)) p++;
    *kind = map.size > MAX_CONFIG_BYTES || (p < end && *p == '[') ? JSON_DATA : JSON_TRAINING;
    const char *line_end = *kind == JSON_TRAINING && p < end ? memchr(p, '\n', (size_t)(end - p)) : NULL;
    if (*kind == JSON_TRAINING && map.size && json_parse_data(&doc, p, (size_t)(end - p), path, 1, &ignored) == 0) {
        if (json_get(json_root(doc), "model_type") || json_get(json_root(doc), "architectures")) *kind = JSON_MODEL;
        json_free(doc);
    } else if (line_end && json_parse_data(&doc, p, (size_t)(line_end - p), path, 1, &ignored) == 0) {
        *kind = JSON_DATA; // a complete value on the first line and more after it: JSONL
        json_free(doc);
    }
    return 0;
}

static int inspect_json(int argc, char **argv, const Options *o, Err *err) {
    JsonKind kind;
    if (json_kind(&kind, argv[0], err)) return -1;
    if (kind == JSON_TRAINING) return inspect_run_data(argc, argv, o, err);
    if (kind == JSON_DATA) return inspect_data_file(argv[0], o, err);
    return inspect_model_config(argv[0], err);
}

static int inspect_path(int argc, char **argv, const Options *o, Err *err) {
    const char *path = argv[0];
    size_t n = strlen(path);
    bool is_json = ends_with_nocase(path, n, ".json") && !path_is_dir(path);
    if (!path_exists(path) && strpbrk(path, "*?[{")) return inspect_data_files(path, o, err);
    if (!path_exists(path)) {
        bool found;
        int rc = inspect_hub_data(&found, path, o, err);
        if (rc || found) return rc;
        AUTO_FREE char *hint = hub_hint(path, HUB_MODEL);
        return err_input(err, "%s: no such file or folder%s", path, hint);
    }
    bool is_yaml = yaml_is_name(path) && !path_is_dir(path);
    if (argc > 1 && !is_json && !is_yaml) return err_input(err, "unexpected argument \"%s\"", argv[1]);
    if (path_is_dir(path)) return inspect_folder(path, o, err);
    if (ends_with_nocase(path, n, ".gguf")) return inspect_gguf(path, err);
    if (ends_with_nocase(path, n, ".safetensors")) return inspect_safetensors(path, err);
    if (is_json) return inspect_json(argc, argv, o, err);
    if (is_yaml) return inspect_run_data(argc, argv, o, err);
    return inspect_data_file(path, o, err);
}

static int run_inspect(const void *given, int argc, char **argv, Err *err) {
    if (!argc || word_split(argv[0]).is_key)
        return err_input(err, "inspect: no path; expected a model, an adapter, a snapshot, a data file or a config");
    AUTO_FREE char *path = mem_strdup(argv[0]);
    if (hub_find_model(&path, NULL, err)) return -1;
    argv[0] = path;
    return inspect_path(argc, argv, given, err);
}

const Verb verb_inspect = {
    .name = "inspect",
    .usage = "lorac inspect PATH [--show N] [--audit false]",
    .summary = "Describe a model, adapter, snapshot or data file; for a config, the data as the trainer sees it",
    .help =
        "PATH is one of\n"
        "  base.gguf, a model folder, config.json, owner/name of the hub's cache\n"
        "                          architecture, sizes, dtypes, target modules, tokenizer, chat template\n"
        "  an adapter              a PEFT folder or a .gguf file: rank, targets, sizes\n"
        "  a snapshot, an output_dir, a .safetensors file\n"
        "  data.jsonl, .csv, ...   the detected format, the number of records, and which of their keys are used; also\n"
        "                          of a folder, of a pattern, of owner/name:SPLIT in the hub's cache\n"
        "  CONFIG.json [overrides] the data as the trainer sees it: counts, lengths, supervised tokens, rows, and the\n"
        "                          unused keys of records\n\n"
        "Data is audited, with the places of what is found: refused records; records that repeat an earlier one or "
        "are\n"
        "similar to it (MinHash estimate of the Jaccard similarity of word triples, at least 0.8); validation records\n"
        "that are in the training data; empty answers; e-mail addresses, keys and phone numbers (masked); scripts.\n\n"
        "Data files, for train_file and validation_file too:\n"
        "  .jsonl, .json, .txt     one record per line; an array of records; one document\n"
        "  .csv, .tsv              the first row names the columns; each other row is a record\n"
        "  .parquet                each row is a record; needs lorac-parquet.so (make parquet)\n"
        "  .tar                    a WebDataset shard: members with the same key are a record: .json,\n"
        "                          .txt (its text), .cls (its label); others are counted and ignored\n"
        "  .gz, .zst               any of the others compressed (.tgz, .tzst too), read as a stream\n"
        "  shard-{000..099}.tar    a counted pattern; data-*.jsonl a matched one; ** matches folders\n"
        "  data/                   a folder: all its data files, of one kind\n"
        "  {\"path\": P, \"weight\": W}  in a list of train_file: the samples of P, W times per epoch;\n"
        "                          a fraction is a fixed subset that depends on the seed\n\n"
        "Tokens are cached in $XDG_CACHE_HOME/lorac, else ~/.cache/lorac: at most 20 GiB, the least recently used are\n"
        "removed first. Removing the folder is always safe.",
    .example = "lorac inspect configs/smollm2-tool-calls.json --show 3",
    OPTIONS(options),
    .takes_config = true,
    .run = run_inspect,
};

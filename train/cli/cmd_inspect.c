// lorac inspect: says what a path is; for a training config, what the trainer will learn from.
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "fileio.h"
#include "inspect.h"
#include "json.h"
#include "path.h"
#include "words.h"

// Takes `--show N` out of the words; the rest belongs to the config.
static int take_show(int *argc, char **argv, int64_t *n_shown, Err *err) {
    int kept = 0;
    for (int i = 0; i < *argc; i++) {
        Word w = word_split(argv[i]);
        if (!w.is_key || strcmp(w.key, "show") != 0) {
            argv[kept++] = argv[i];
            continue;
        }
        const char *value = w.value ? w.value : i + 1 < *argc ? argv[++i] : "";
        char *end;
        *n_shown = strtoll(value, &end, 10);
        if (!*value || *end || *n_shown < 0)
            return err_input(err, "--show: \"%s\"; expected a number of samples", value);
    }
    *argc = kept;
    return 0;
}

typedef enum { JSON_DATA, JSON_MODEL, JSON_TRAINING } JsonKind;

// A training config may hold comments, which strict JSON refuses: then it is one.
static int json_kind(JsonKind *kind, const char *path, Err *err) {
    enum { MAX_CONFIG_BYTES = 16 << 20 };
    FileMap map;
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
        *kind = JSON_DATA; // a whole value on the first line and more behind it: JSONL
        json_free(doc);
    }
    file_unmap(&map);
    return 0;
}

static int inspect_json(int argc, char **argv, int64_t n_shown, Err *err) {
    JsonKind kind;
    if (json_kind(&kind, argv[0], err)) return -1;
    if (kind == JSON_TRAINING) return inspect_run_data(argc, argv, n_shown, stdout, err);
    if (kind == JSON_DATA) return inspect_data_file(argv[0], n_shown, stdout, err);
    return inspect_model_config(argv[0], stdout, err);
}

static int inspect_path(int argc, char **argv, int64_t n_shown, Err *err) {
    const char *path = argv[0];
    size_t n = strlen(path);
    bool is_json = ends_with_nocase(path, n, ".json") && !path_is_dir(path);
    if (!path_exists(path)) return err_input(err, "%s: there is no such file or folder", path);
    if (argc > 1 && !is_json) return err_input(err, "\"%s\": one word too many on the command line", argv[1]);
    if (path_is_dir(path)) return inspect_folder(path, stdout, err);
    if (ends_with_nocase(path, n, ".gguf")) return inspect_gguf(path, stdout, err);
    if (ends_with_nocase(path, n, ".safetensors")) return inspect_safetensors(path, stdout, err);
    if (is_json) return inspect_json(argc, argv, n_shown, err);
    return inspect_data_file(path, n_shown, stdout, err);
}

static int run_inspect(int argc, char **argv, Err *err) {
    int64_t n_shown = 0;
    if (take_show(&argc, argv, &n_shown, err)) return -1;
    if (!argc || word_split(argv[0]).is_key)
        return err_input(err, "inspect: no path; expected a model, an adapter, a snapshot, a data file or a config");
    return inspect_path(argc, argv, n_shown, err);
}

const Verb verb_inspect = {
    .name = "inspect",
    .usage = "lorac inspect PATH [--show N]",
    .summary = "Say what a model, adapter, snapshot or data file is; for a config, what will be learned from",
    .help =
        "PATH is one of\n"
        "  base.gguf, a model folder, config.json\n"
        "                          architecture, sizes, dtypes, target modules, tokenizer, chat template\n"
        "  an adapter              a PEFT folder or a .gguf file: rank, targets, sizes\n"
        "  a snapshot, an output_dir, a .safetensors file\n"
        "  data.jsonl, .json, ...  the format it is read as, its records, and which of their keys are used (kinds of\n"
        "                          files: below)\n"
        "  CONFIG.json [overrides] the data as the trainer sees it: counts, lengths, supervised tokens, rows\n"
        "                          and the keys of records that nothing reads (\"not used\")\n\n"
        "  --show N                print the first N samples (of a data file: records); supervised text is green\n"
        "                          on a terminal, in [[...]] elsewhere\n\n"
        "Data files, for train_file and validation_file too:\n"
        "  .jsonl, .json, .txt     one record a line; an array of records; one document\n"
        "  .tar                    a WebDataset shard: members of one key are a record: .json, .txt (its text), .cls\n"
        "                          (its label); other members are counted and left alone\n"
        "  .gz, .zst               any of these compressed (.tgz, .tzst too), read as a stream\n"
        "  shard-{000..099}.tar    counted, or matched (data-*.jsonl)\n"
        "  {\"path\": P, \"weight\": W}  in a list of train_file: P's samples W times an epoch; of a fraction, a part\n"
        "                          of the samples that the seed chooses once\n\n"
        "Tokens are kept in $XDG_CACHE_HOME/lorac, else ~/.cache/lorac: at most 20 GiB, what was not used for longest "
        "goes\n"
        "first. Removing the folder is always safe.\n\n"
        "  lorac inspect configs/smollm2-tool-calls.json --show 3\n",
    .run = run_inspect,
};

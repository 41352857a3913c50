// lorac inspect: detects the kind of a path and prints it; inspect.h has the views.
#include <string.h>

#include "cli.h"
#include "data_files.h"
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
    OPTION(STRING, split, .help = "Of the data at PATH a split or a part: \"test\", \"train[:90%]\"."),
    OPTION(STRING, format, .help = "Format of the records at PATH, as dataset_format."),
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

// ---- data ----

static bool is_data_key(const char *argument) {
    const char *implied;
    Word w = word_split(argument);
    const Key *k = w.is_key ? keys_find(&config_table, w.key, &implied) : NULL;
    return k && strcmp(k->name, "train_file") == 0;
}

// `path` as train_file, with the split and the format that are given for it.
static char *data_word(const char *path, const Options *o) {
    const char *const members[][2] = {{"path", path}, {"split", o->split}, {"format", o->format}};
    AUTO_STR StrBuf word = {0};
    str_puts(&word, "--train_file=[{");
    for (size_t i = 0; i < 3; i++) {
        if (!members[i][1]) continue;
        str_printf(&word, "%s\"%s\":", i ? "," : "", members[i][0]);
        json_quote(&word, members[i][1], strlen(members[i][1]));
    }
    str_puts(&word, "}]");
    return mem_take(&word.data);
}

static int inspect_path(int argc, char **argv, const Options *o, Err *err);

// Of a path that is no data.
static int refuse_data_options(const Options *o, Err *err) {
    const char *name = o->split ? "split" : "format";
    if (!o->split && !o->format) return 0;
    return err_input(err, "--%s: found no PATH of data; expected one, or \"%s\" in an entry of train_file", name, name);
}

static int refuse_options(int argc, char **argv, const Options *o, Err *err) {
    if (argc > 1) return err_input(err, "%s: unexpected argument \"%s\"; options are for data", argv[0], argv[1]);
    return refuse_data_options(o, err);
}

// Options without a config. With a model and data as the trainer sees it; of a model alone the model. given: the path
// that is train_file; NULL: none.
static int inspect_options(int argc, char **argv, const char *given, const Options *o, Err *err) {
    AUTO_CALL(config_clear) Config c = {0};
    if (config_load(&c, argc, argv, CONFIG_FOR_BENCH, err)) return -1;
    if (!given && refuse_data_options(o, err)) return -1;
    if (c.model_name_or_path && c.train_file.count) return inspect_run_data(argc, argv, o, err);
    if (c.train_file.count) return inspect_data_files(&c, given, o, err);
    if (c.model_name_or_path) return inspect_path(1, &c.model_name_or_path, o, err);
    return err_input(err, "inspect: no path; expected a model, an adapter, a snapshot, a data file or a config, or "
                          "--train_file");
}

static int inspect_data(int argc, char **argv, const Options *o, Err *err) {
    AUTO_FREE char *word = data_word(argv[0], o), **words = mem_alloc((size_t)argc, sizeof *words);
    int other = config_operand(argc - 1, argv + 1);
    if (other >= 0) return err_input(err, "inspect: unexpected argument \"%s\"", argv[other + 1]);
    for (int i = 1; i < argc; i++) {
        words[i] = argv[i];
        if (is_data_key(argv[i]))
            return err_input(err, "inspect: found %s and train_file; expected one of them", argv[0]);
    }
    words[0] = word;
    return inspect_options(argc, words, argv[0], o, err);
}

// ---- by the kind of the path ----

static int inspect_config(int argc, char **argv, const Options *o, Err *err) {
    return refuse_data_options(o, err) ? -1 : inspect_run_data(argc, argv, o, err);
}

static int inspect_json(int argc, char **argv, const Options *o, Err *err) {
    JsonKind kind;
    if (json_kind(&kind, argv[0], err)) return -1;
    if (kind == JSON_DATA) return inspect_data(argc, argv, o, err);
    if (kind == JSON_TRAINING) return inspect_config(argc, argv, o, err);
    return refuse_options(argc, argv, o, err) ? -1 : inspect_model_config(argv[0], err);
}

// A pattern, or a data set of the hub.
static int inspect_absent(int argc, char **argv, const Options *o, Err *err) {
    AUTO_NAMES NameList files = {0};
    bool found = strpbrk(argv[0], "*?[{");
    size_t n = o->split ? strcspn(o->split, "[") : 0;
    AUTO_FREE char *split = n ? mem_strndup(o->split, n) : mem_strdup("train"), *hint = hub_hint(argv[0], HUB_MODEL);
    if (!found && hub_find_data(&files, &found, argv[0], split, err)) return -1;
    return found ? inspect_data(argc, argv, o, err) : err_input(err, "%s: no such file or folder%s", argv[0], hint);
}

static int inspect_dir(int argc, char **argv, const Options *o, Err *err) {
    Err why;
    if (!inspect_is_data_folder(argv[0])) return refuse_options(argc, argv, o, err) ? -1 : inspect_folder(argv[0], err);
    AUTO_NAMES NameList files = {0};
    AUTO_STR StrBuf left = {0};
    if (!data_files_expand(&files, (DataName){argv[0], o->split, o->split ? strcspn(o->split, "[") : 0}, &left, &why))
        return inspect_data(argc, argv, o, err);
    if (o->split) return err_input(err, "%s", why.msg); // only data has it
    return err_input(err,
                     "%s: found none of adapter_config.json (adapter), manifest.json (snapshot), config.json (model, "
                     "output of a run); as data: %s",
                     argv[0], why.msg);
}

static int inspect_path(int argc, char **argv, const Options *o, Err *err) {
    const char *path = argv[0];
    size_t n = strlen(path);
    bool is_dir = path_is_dir(path), is_gguf = !is_dir && ends_with_nocase(path, n, ".gguf"),
         is_safetensors = !is_dir && ends_with_nocase(path, n, ".safetensors");
    if (!path_exists(path)) return inspect_absent(argc, argv, o, err);
    if (!is_dir && ends_with_nocase(path, n, ".json")) return inspect_json(argc, argv, o, err);
    if (!is_dir && yaml_is_name(path)) return inspect_config(argc, argv, o, err);
    if (is_dir) return inspect_dir(argc, argv, o, err);
    if (!is_gguf && !is_safetensors) return inspect_data(argc, argv, o, err);
    if (refuse_options(argc, argv, o, err)) return -1;
    return is_gguf ? inspect_gguf(path, err) : inspect_safetensors(path, err);
}

static int run_inspect(const void *given, int argc, char **argv, Err *err) {
    int at = config_operand(argc, argv);
    if (at < 0) return inspect_options(argc, argv, NULL, given, err);
    AUTO_FREE char *path = mem_strdup(argv[at]);
    if (hub_find_model(&path, NULL, err)) return -1;
    memmove(argv + 1, argv, (size_t)at * sizeof *argv); // the path comes first
    argv[0] = path;
    return inspect_path(argc, argv, given, err);
}

const Verb verb_inspect = {
    .name = "inspect",
    .usage = "lorac inspect PATH [--show N] [--audit false] [--key value ...]",
    .summary = "Describe a model, adapter, snapshot or data file; for a config, the data as the trainer sees it",
    .help =
        "PATH is one of\n"
        "  base.gguf, a model folder, config.json, owner/name of the hub's cache\n"
        "                          architecture, sizes, dtypes, target modules, tokenizer, chat template\n"
        "  an adapter              a PEFT folder or a .gguf file: rank, targets, sizes\n"
        "  a snapshot, an output_dir, a .safetensors file\n"
        "  data.jsonl, .csv, ...   the detected format, the number of records, and which of their keys are used; also\n"
        "                          of a folder, of a pattern, of owner/name:SPLIT in the hub's cache. The keys of a\n"
        "                          config decide how it is read: --columns '{\"prompt\": \"question\"}', --task, ...;\n"
        "                          with --model_name_or_path as the trainer sees it\n"
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

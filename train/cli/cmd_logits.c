// lorac logits --model_name_or_path M [--adapter_name_or_path A] --input_ids 1,2,3 --out F.safetensors: all logits of a
// sequence; lorac logits CONFIG --out F.safetensors: a teacher's largest logits of a config's data.
#include <string.h>

#include "logits.h"
#include "run_folder.h"
#include "safetensors.h"
#include "teacher_file.h"
#include "weight_source.h"

typedef struct Options {
    LoadOptions load;
    IntList input_ids;
    char *out;
} Options;

static const Key options[] = {
    MODEL_OPTION,
    ADAPTER_OPTION,
    OPTION(INTS, input_ids, .max = INT32_MAX, .expected = "token ids with commas between them",
           .help = "Token ids with commas between them. Without them the data of CONFIG."),
    OPTION(PATH, out,
           .help =
               "The file. With --input_ids an existing one is replaced if lorac wrote it as such a file; of CONFIG it "
               "must be free, and is teacher_logits unless it is given."),
    DEVICE_OPTIONS,
};

static const char *const mark[] = {"lorac.written", "logits"};

// The mark distinguishes the file from logits of other programs, which have the same tensor name.
static int logits_own(const char *path, Err *err) {
    Safetensors *s;
    bool own = false;
    if (safetensors_open(&s, path, NULL) == 0) {
        const char *written = safetensors_metadata(s, mark[0]);
        const SafetensorsTensor *t = safetensors_get(s, "logits");
        own = t && safetensors_count(s) == 1 && written && strcmp(written, mark[1]) == 0;
        safetensors_close(s);
    }
    return own ? 0 : overwrite_refuse(path, "a file of logits that lorac wrote", err);
}

static int check_out(const char *out, const char *model, const char *adapter, Err *err) {
    AUTO_INPUTS InputSet inputs = {0};
    weight_source_add_inputs(&inputs, model);
    input_set_add(&inputs, adapter);
    return overwrite_file(out, logits_own, &inputs, err);
}

static int write_logits(const Loaded *l, const int32_t *ids, int64_t n, const char *path, Err *err) {
    int64_t labels = l->adapter ? l->adapter->config.labels : 0;
    if (!labels && !l->model->head.rows)
        return err_input(err, "%s: no language-model head; expected an adapter with a classifier", l->model->path);
    bool tokens = labels && l->adapter->config.problem == PROBLEM_TOKENS;
    int64_t rows = labels && !tokens ? 1 : n, cols = labels ? labels : l->model->config.vocab;
    AUTO_FREE float *logits = mem_alloc((size_t)rows * (size_t)cols, sizeof *logits);
    SafetensorsEntry e = {"logits", DTYPE_F32, 2, {rows, cols}, logits};
    if ((tokens   ? model_token_logits(l->model, l->adapter, ids, n, logits, err)
         : labels ? model_class_logits(l->model, l->adapter, ids, n, n, logits, err)
                  : model_logits(l->model, l->adapter, ids, n, logits, err)) ||
        loaded_check(l, err))
        return -1;
    return safetensors_save(path, &e, 1, mark, 1, logits_own, err);
}

// ---- of a sequence ----

static int sequence_logits(const Options *o, int argc, char **argv, Err *err) {
    if (argc > 1 || (argc && argv[0][0] == '-'))
        return err_input(err, "unexpected argument \"%s\" with --input_ids", argv[argc > 1]);
    if (!o->out) return err_input(err, "logits: --out is missing");
    AUTO_CALL(loaded_close) Loaded l = {0};
    LoadOptions load;
    if (run_folder_names(&load, &l, &o->load, argc ? argv[0] : NULL, err) ||
        check_out(o->out, load.model_name_or_path, load.adapter_name_or_path, err))
        return -1;
    int64_t n = (int64_t)o->input_ids.count;
    AUTO_FREE int32_t *ids = mem_alloc((size_t)n, sizeof *ids);
    for (int64_t i = 0; i < n; i++) ids[i] = (int32_t)o->input_ids.items[i];
    ModelOptions model = {.max_positions = n, .classifier = true, .masked_lm = true};
    return loaded_open(&l, &load, &model, err) || write_logits(&l, ids, n, o->out, err) ? -1 : 0;
}

// ---- of a config's data ----

// The config's words, and those that are options of the verb, too.
static void add_word(RunWords *all, const char *key, const char *value, const char *standard) {
    if (!value || strcmp(value, standard) == 0) return;
    all->words[all->count++] = (char *)key;
    all->words[all->count++] = (char *)value;
}

static int data_logits(const Options *o, int argc, char **argv, Err *err) {
    const LoadOptions *l = &o->load;
    AUTO_CALL(run_words_clear) RunWords w = run_folder_words(argc, argv);
    AUTO_CALL(config_clear) Config c = {0};
    AUTO_FREE char **words = mem_alloc((size_t)w.count + 10, sizeof *words);
    memcpy(words, w.words, (size_t)w.count * sizeof *words);
    RunWords all = {.words = words, .count = w.count};
    add_word(&all, "--model_name_or_path", l->model_name_or_path, "");
    add_word(&all, "--adapter_name_or_path", l->adapter_name_or_path, "");
    add_word(&all, "--device", l->device, "auto");
    add_word(&all, "--dtype", ENUM_WORDS(DTYPE_WORDS)[l->dtype].word, "auto");
    add_word(&all, "--float32_matmul_precision", ENUM_WORDS(PRECISIONS)[l->float32_matmul_precision].word, "highest");
    if (!argc) return err_input(err, "logits: --input_ids is missing; expected them, or a config with a teacher");
    if (config_load(&c, all.count, all.words, CONFIG_FOR_DATA, err)) return -1;
    const char *out = o->out ? o->out : c.teacher_logits;
    return out ? teacher_file_write(&c, out, err) : err_input(err, "logits: --out is missing");
}

static int run_logits(const void *given, int argc, char **argv, Err *err) {
    const Options *o = given;
    return (o->input_ids.count ? sequence_logits : data_logits)(o, argc, argv, err);
}

const Verb verb_logits = {
    .name = "logits",
    .usage = "lorac logits (RUN / --model_name_or_path M [--adapter_name_or_path A]) --input_ids 1,2,3\n"
             "             --out F.safetensors\n"
             "       lorac logits CONFIG [--out F.safetensors]",
    .summary = "Write the logits of a token sequence, or a teacher's of a config's data",
    .help =
        "Writes tensor `logits`, float32: [T, V], one row for each position of the sequence; for a classifier\n"
        "[1, labels]. Token ids are checked against the vocabulary.\n"
        "Of CONFIG: the kd_top_k largest logits of its teacher for every supervised token of its data, the file of\n"
        "its key teacher_logits (train/RUNS.md, Distillation).",
    OPTIONS(options),
    .takes_config = true,
    .run = run_logits,
};

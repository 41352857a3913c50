// lorac logits --model_name_or_path M [--adapter_name_or_path A] --input_ids 1,2,3 --out F.safetensors
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "loaded.h"
#include "logits.h"
#include "safetensors.h"
#include "weight_source.h"

// "1,2,3", blanks allowed. Values are checked against the vocabulary where they are used.
static int parse_ids(const char *text, int32_t **ids, int64_t *n, Err *err) {
    size_t count = 0, capacity = 0;
    *ids = NULL;
    for (const char *p = text;; p++) {
        char *end;
        errno = 0;
        long v = strtol(p, &end, 10);
        while (*end == ' ') end++;
        if (end == p || errno || v < 0 || v > INT32_MAX || (*end != ',' && *end != 0))
            return err_input(err, "--input_ids: \"%.40s\"; expected token ids with commas between them", p);
        MEM_GROW(*ids, capacity, count + 1);
        (*ids)[count++] = (int32_t)v;
        *n = (int64_t)count;
        if (*end == 0) return 0;
        p = end;
    }
}

static const char *const mark[] = {"lorac.written", "logits"};

// With the mark: other programs save their logits under the same name, to be compared.
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
    InputSet inputs = {0};
    weight_source_add_inputs(&inputs, model);
    input_set_add(&inputs, adapter);
    int rc = overwrite_file(out, logits_own, &inputs, err);
    input_set_clear(&inputs);
    return rc;
}

static int write_logits(const Loaded *l, const int32_t *ids, int64_t n, const char *path, Err *err) {
    int64_t labels = l->adapter ? l->adapter->config.labels : 0;
    if (!labels && !l->model->head.rows)
        return err_input(err, "%s: no language-model head; expected an adapter with a classifier", l->model->path);
    int64_t rows = labels ? 1 : n, cols = labels ? labels : l->model->config.vocab;
    float *logits = mem_alloc((size_t)rows * (size_t)cols, sizeof *logits);
    int rc = (labels ? model_class_logits : model_logits)(l->model, l->adapter, ids, n, logits, err);
    if (rc == 0) rc = loaded_check(l, err);
    SafetensorsEntry e = {"logits", DTYPE_F32, 2, {rows, cols}, logits};
    if (rc == 0) rc = safetensors_save(path, &e, 1, mark, 1, logits_own, err);
    mem_free(logits);
    return rc;
}

static int run_logits(int argc, char **argv, Err *err) {
    const char *model = NULL, *adapter = NULL, *text = NULL, *out = NULL;
    DeviceWords on = {0};
    const ArgSpec specs[] = {MODEL_ARGS(&model),
                             DEVICE_ARGS(&on),
                             {"adapter_name_or_path", ARG_STRING, &adapter, NULL},
                             {"input_ids", ARG_STRING, &text, NULL},
                             {"out", ARG_STRING, &out, NULL}};
    if (args_parse(argc, argv, specs, sizeof specs / sizeof *specs, NULL, 0, NULL, err)) return -1;
    if (!text || !out) return err_input(err, "logits: --%s is missing", text ? "out" : "input_ids");
    Loaded l = {0};
    int32_t *ids = NULL;
    int64_t n = 0;
    int rc = parse_ids(text, &ids, &n, err) || check_out(out, model, adapter, err) ? -1 : 0;
    if (rc == 0)
        rc = loaded_open(&l, &on, model, adapter, &(ModelOptions){.max_positions = n, .classifier = true}, err);
    if (rc == 0) rc = write_logits(&l, ids, n, out, err);
    loaded_close(&l);
    mem_free(ids);
    return rc;
}

const Verb verb_logits = {
    .name = "logits",
    .usage = "lorac logits --model_name_or_path M [--adapter_name_or_path A] --input_ids 1,2,3 --out F.safetensors",
    .summary = "The logits of a token sequence, to compare with any other engine",
    .help = "Writes tensor `logits` [T, V], float32: one row for each position of the sequence. With a classifier\n"
            "[1, labels]: what it says of the sequence. F is replaced only if it is such a file.\n" DEVICE_HELP,
    .run = run_logits,
};

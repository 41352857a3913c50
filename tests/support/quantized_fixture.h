// quantized_fixture: the checkpoints of golden/quantized as model folders, and the logits that their oracle computed.
#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include "family_fixture.h"
#include "fileio.h"
#include "logits.h"
#include "path.h"
#include "relative_error.h"
#include "scratch.h"

static int replace_quantized(const char *path, Err *err) {
    (void)path, (void)err;
    return 0;
}

static void copy_quantized(const char *from, const char *dir, const char *file) {
    char *data;
    size_t n;
    Err err;
    AUTO_FREE char *to = path_join(dir, file);
    ASSERT_OK(file_read(&data, &n, from, 1 << 20, &err), &err);
    ASSERT_OK(file_write_whole(to, data, n, replace_quantized, &err), &err);
    mem_free(data);
}

// A folder in the working directory with the checkpoint's files and a tokenizer.
static void quantized_folder(const char *name, const char *dir) {
    static const char *const files[] = {"config.json", "model.safetensors"};
    assert_int_equal(mkdir(dir, 0777), 0);
    for (int i = 0; i < 2; i++) {
        AUTO_FREE char *from = mem_printf(TEST_DIR "/golden/quantized/%s/%s", name, files[i]);
        copy_quantized(from, dir, files[i]);
    }
    copy_quantized(TEST_DIR "/golden/families/tokenizer.json", dir, "tokenizer.json");
}

static const char *const quantized_names[] = {
    "bnb-nf4",    "bnb-nf4-double", "bnb-fp4-double",   "bnb-int8",    "fp8-block",
    "fp8-tensor", "gptq-4",         "gptq-4-order",     "gptq-8-v2",   "awq",
    "ct-float",   "ct-packed-4",    "ct-packed-4-zero", "ct-packed-8", "ct-int"};
enum { QUANTIZED_NAMES = sizeof quantized_names / sizeof *quantized_names };

// The logits of a model made from it, of one relative error.
static void check_quantized_logits(const Model *m, const char *name, double limit) {
    Err err;
    Safetensors *golden;
    AUTO_FREE char *path = mem_printf(TEST_DIR "/golden/quantized/%s/golden.safetensors", name);
    ASSERT_OK(safetensors_open(&golden, path, &err), &err);
    const SafetensorsTensor *ids = safetensors_get(golden, "ids"), *want = safetensors_get(golden, "logits");
    size_t n = want->bytes / sizeof(float), tokens = ids->bytes / sizeof(int32_t);
    float *got = mem_alloc(n, sizeof *got), *expected = mem_alloc(n, sizeof *expected);
    int32_t *row = mem_alloc(tokens, sizeof *row);
    memcpy(row, ids->data, ids->bytes);
    memcpy(expected, want->data, want->bytes);
    ASSERT_OK(model_logits(m, NULL, row, (int64_t)tokens, got, &err), &err);
    double error = relative_error(got, expected, n);
    if (!(error <= limit)) fail_msg("%s: relative error %g of its logits", name, error);
    mem_free(row);
    mem_free(got);
    mem_free(expected);
    safetensors_close(golden);
}

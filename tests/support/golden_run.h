// golden_run: runs that are compared with another implementation step by step: the adapter that both start from, and
// the numbers of the steps.
#pragma once

#include "cli_runner.h"
#include "family_fixture.h"

// Writes the adapter of f's golden values, for the model at `path`, as the PEFT folder `adapter`.
static inline void put_start(const Family *f, const char *path, const ModelOptions *options, const char *adapter) {
    Backend *b;
    Model *m;
    Err err;
    ASSERT_OK(backend_open(&b, "cpu", 1, &err), &err);
    ASSERT_OK(model_load(&m, path, b, options, &err), &err);
    Adapter *a = family_adapter(f, m);
    ASSERT_OK(adapter_save_peft(a, m, adapter, "", &err), &err);
    adapter_free(a);
    model_free(m);
    backend_close(b);
}

// out [steps][n]: the numbers behind `keys` (with quotes and colon, in the log's order) of steps 1, 2, ... of the run.
static inline void read_steps(const char *run, int steps, const char *const *keys, int n, double *out) {
    AUTO_FREE char *path = mem_printf("%s/train_log.jsonl", run), *text = scratch_read(path);
    const char *log = text;
    for (int i = 0; i < steps; i++) {
        AUTO_FREE char *step = mem_printf("{\"step\":%d,", i + 1);
        log = strstr(log, step);
        if (!log) fail_msg("%s: no step %d", path, i + 1);
        for (int k = 0; k < n; k++) {
            const char *at = strstr(log, keys[k]);
            if (!at) fail_msg("%s, step %d: no %s", path, i + 1, keys[k]);
            out[i * n + k] = strtod(at + strlen(keys[k]), NULL);
        }
    }
}

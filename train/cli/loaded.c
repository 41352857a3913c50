// loaded: see loaded.h.
#include "loaded.h"

#include "keys.h"
#include "run_device.h"

const DeviceWords on_the_cpu = {.device = "cpu"};

int loaded_refuse_classifier(const Adapter *a, const char *path, Err *err) {
    if (!a->config.labels) return 0;
    return err_input(err, "%s: a classifier of %lld classes; expected an adapter that generates text", path,
                     (long long)a->config.labels);
}

int device_words_open(Backend **b, const DeviceWords *on, Err *err) {
    int dtype = on->dtype ? words_index(ENUM_WORDS(DTYPE_WORDS), on->dtype) : DTYPE_WORD_AUTO;
    if (dtype < 0) return err_input(err, "--dtype: \"%s\"; expected auto, f32, tf32, bf16, f16 or fp8", on->dtype);
    if (on->device && !run_device_is_word(on->device))
        return err_input(err, "--device: \"%s\"; expected " RUN_DEVICE_EXPECTED, on->device);
    return run_device_open(b, on->device, (DtypeWord)dtype, NULL, err);
}

int loaded_open(Loaded *l, const DeviceWords *on, const char *model_path, const char *adapter_path,
                const ModelOptions *options, Err *err) {
    if (!model_path) return err_input(err, "--model_name_or_path is missing; expected the base model's file");
    if (device_words_open(&l->backend, on, err) || model_load(&l->model, model_path, l->backend, options, err))
        return -1;
    if (adapter_path && adapter_load(&l->adapter, l->model, adapter_path, false, err)) return -1;
    if (run_device_check(l->backend, err)) return -1;
    bool classifier = options && options->classifier;
    return l->adapter && !classifier ? loaded_refuse_classifier(l->adapter, adapter_path, err) : 0;
}

int loaded_check(const Loaded *l, Err *err) {
    return l->backend->k->status(l->backend, err);
}

void loaded_close(Loaded *l) {
    adapter_free(l->adapter);
    model_free(l->model);
    backend_close(l->backend);
    *l = (Loaded){0};
}

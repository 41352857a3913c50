// loaded: see loaded.h.
#include "loaded.h"

#include "run_device.h"

const DeviceWords on_the_cpu = {.device = "cpu"};

int loaded_refuse_classifier(const Adapter *a, const char *path, Err *err) {
    if (!a->config.labels) return 0;
    return err_input(err, "%s: a classifier of %lld classes; expected an adapter that generates text", path,
                     (long long)a->config.labels);
}

int loaded_open(Loaded *l, const DeviceWords *on, const char *model_path, const char *adapter_path,
                const ModelOptions *options, Err *err) {
    if (!model_path) return err_input(err, "--model_name_or_path is missing; expected the base model's file");
    if (run_device_open_words(&l->backend, on->device, on->dtype, err) ||
        model_load(&l->model, model_path, l->backend, options, err))
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

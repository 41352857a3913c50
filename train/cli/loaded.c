#include "loaded.h"

int loaded_refuse_classifier(const Adapter *a, const char *path, Err *err) {
    if (!a->config.labels) return 0;
    return err_input(err, "%s: a classifier of %ld classes; expected an adapter that generates text", path,
                     a->config.labels);
}

int loaded_open(Loaded *l, const LoadOptions *load, const ModelOptions *options, Err *err) {
    const char *adapter = load->adapter_name_or_path;
    if (run_device_open(&l->backend, load->device, load->dtype, NULL, err) ||
        model_load(&l->model, load->model_name_or_path, l->backend, options, err))
        return -1;
    if (adapter && adapter_load(&l->adapter, l->model, adapter, false, err)) return -1;
    if (run_device_check(l->backend, err)) return -1;
    bool classifier = options && options->classifier;
    return l->adapter && !classifier ? loaded_refuse_classifier(l->adapter, adapter, err) : 0;
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

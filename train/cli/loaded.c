// loaded: see loaded.h.
#include "loaded.h"

int loaded_open(Loaded *l, const char *model_path, const char *adapter_path, int64_t positions, Err *err) {
    if (!model_path) return err_input(err, "--model_name_or_path is missing; expected the base model's file");
    if (backend_open(&l->backend, "cpu", 0, err) ||
        model_load(&l->model, model_path, l->backend, &(ModelOptions){.max_positions = positions}, err))
        return -1;
    return adapter_path ? adapter_load(&l->adapter, l->model, adapter_path, false, err) : 0;
}

void loaded_close(Loaded *l) {
    adapter_free(l->adapter);
    model_free(l->model);
    backend_close(l->backend);
    *l = (Loaded){0};
}

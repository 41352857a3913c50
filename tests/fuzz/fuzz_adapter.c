// Bytes as a PEFT adapter of a tiny base: adapter_config.json, labels.json and chat_template.jinja, each followed by a
// record separator (0x1E), then adapter_model.safetensors. What is read is saved and is read back as the same values.
#include "adapter.h"
#include "fuzz.h"
#include "tiny_model.h"

static Backend *cpu; // of all inputs
static Model *model;

static void close_model(void) {
    model_free(model);
    backend_close(cpu);
}

static void open_model(void) {
    AUTO_FREE char *path = path_join(fuzz_folder(), "tiny.gguf");
    TinyModel tiny = TINY_MODEL;
    ModelOptions o = {.max_positions = 16, .classifier = true};
    Err err;
    tiny_model_write(path, &tiny);
    CHECK(backend_open(&cpu, "cpu", 1, &err) == 0, "%s", err.msg);
    CHECK(model_load(&model, path, cpu, &o, &err) == 0, "%s", err.msg);
    atexit(close_model);
}

// The next part, as a file where it is not empty.
static void put_part(const char *name, const uint8_t **data, size_t *size) {
    const uint8_t *end = memchr(*data, 0x1E, *size);
    size_t n = end ? (size_t)(end - *data) : *size, taken = end ? n + 1 : n;
    if (n) mem_free(fuzz_put(name, *data, n));
    *data += taken;
    *size -= taken;
}

static void save_and_load(const Adapter *a, const char *dir) {
    AUTO(adapter_free) Adapter *again = NULL;
    AUTO_FREE char *path = path_join(dir, "saved");
    Err err;
    CHECK(mkdir(path, 0700) == 0);
    CHECK(adapter_save_peft(a, model, path, NULL, &err) == 0, "%s", err.msg);
    if (adapter_load_peft(&again, model, path, false, &err) == 0)
        CHECK(again->count == a->count && memcmp(again->params, a->params, (size_t)a->count * sizeof *a->params) == 0);
    dir_remove(path, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const names[] = {"adapter_config.json", "labels.json", "chat_template.jinja"};
    if (!model) open_model();
    AUTO_FREE char *dir = path_join(fuzz_folder(), "a");
    AUTO(adapter_free) Adapter *a = NULL;
    Err err;
    CHECK(mkdir(dir, 0700) == 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        AUTO_FREE char *name = path_join("a", names[i]);
        put_part(name, &data, &size);
    }
    mem_free(fuzz_put("a/adapter_model.safetensors", data, size));
    if (adapter_load_peft(&a, model, dir, false, &err) == 0) {
        fuzz_touch(a->params, (size_t)a->count * sizeof *a->params);
        save_and_load(a, dir);
    }
    dir_remove(dir, &err);
    return 0;
}

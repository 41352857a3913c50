// Bytes as the beginning of a .gguf file whose tensors may be missing, as `lorac plan` opens it: their shapes and sizes
// are known, no address of an absent one is read; then the model that a plan is made of. A whole file gives the same
// header in both ways.
#include "fuzz.h"
#include "gguf.h"
#include "model.h"

static void check_header(const char *path) {
    Gguf *part, *all;
    bool whole;
    Err err;
    if (gguf_open_header(&part, path, &whole, &err)) return;
    for (int64_t i = 0; i < gguf_tensor_count(part); i++) {
        const GgufTensor *t = gguf_tensor_at(part, i);
        CHECK(gguf_tensor(part, t->name) == t);
        CHECK(t->data || !whole);
        if (t->data) fuzz_touch(t->data, t->bytes);
    }
    if (gguf_open(&all, path, &err) == 0) {
        CHECK(whole && gguf_tensor_count(all) == gguf_tensor_count(part));
        gguf_close(all);
    } else {
        CHECK(!whole || gguf_tensor_count(part) == 0, "%s", err.msg);
    }
    gguf_close(part);
}

static void load_outline(const char *path) {
    static Backend *cpu;
    ModelOptions options = {.outline = true, .classifier = true};
    ModelConfig c;
    Model *m;
    Err err;
    if (!cpu) CHECK(backend_open(&cpu, "cpu", 1, &err) == 0, "%s", err.msg);
    if (model_read_config(&c, path, &options, &err)) return;
    options.max_positions = c.context < 16 ? c.context : 16;
    if (model_load(&m, path, cpu, &options, &err) == 0) model_free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *path = fuzz_put("x.gguf", data, size);
    check_header(path);
    load_outline(path);
    mem_free(path);
    return 0;
}

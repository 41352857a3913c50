// Bytes as a .safetensors file.
#include "fuzz.h"
#include "safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *path = fuzz_put("x.safetensors", data, size);
    Safetensors *s;
    Err err;
    if (safetensors_open(&s, path, &err) == 0) {
        for (size_t i = 0; i < safetensors_count(s); i++) {
            const SafetensorsTensor *t = safetensors_at(s, i);
            CHECK(safetensors_get(s, t->name) == t);
            fuzz_touch(t->data, t->bytes);
        }
        safetensors_metadata(s, "format");
        safetensors_close(s);
    }
    mem_free(path);
    return 0;
}

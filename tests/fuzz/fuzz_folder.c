// Bytes as the config.json, then as the model.safetensors.index.json of a Hugging Face folder.
#include "fuzz.h"
#include "model_config.h"
#include "path.h"
#include "safetensors.h"
#include "weight_source.h"

static void read_config(const uint8_t *data, size_t size) {
    char *path = fuzz_put("config.json", data, size);
    StrBuf noise = {0};
    ModelConfig c;
    Err err;
    if (model_config_hf_read(&c, fuzz_folder(), &err) == 0) {
        CHECK(c.layers >= 1 && c.layers <= MODEL_MAX_LAYERS && c.heads % c.kv_heads == 0);
        CHECK(c.rope.rotated >= 0 && c.rope.rotated <= c.head_size);
        CHECK(c.experts_used <= c.experts);
    }
    model_config_hf_training_noise(&noise, fuzz_folder(), &err);
    str_clear(&noise);
    mem_free(path);
}

// The shards that the seeds name: "1" and "2" with the tensors a, b and c.
static void put_shards(void) {
    static const float zero = 0;
    const SafetensorsEntry entries[] = {
        {"a", DTYPE_F32, 1, {1}, &zero}, {"b", DTYPE_F32, 1, {1}, &zero}, {"c", DTYPE_F32, 1, {1}, &zero}};
    Err err;
    char *one = path_join(fuzz_folder(), "1"), *two = path_join(fuzz_folder(), "2");
    CHECK(safetensors_save(one, entries, 2, NULL, 0, NULL, &err) == 0);
    CHECK(safetensors_save(two, entries + 2, 1, NULL, 0, NULL, &err) == 0);
    mem_free(one);
    mem_free(two);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool ready;
    if (!ready) put_shards();
    ready = true;
    read_config(data, size);
    char *path = fuzz_put("model.safetensors.index.json", data, size);
    WeightSource *s;
    Err err;
    if (weight_source_open(&s, fuzz_folder(), &err) == 0) {
        for (size_t i = 0; i < s->n_tensors; i++) fuzz_touch(s->tensors[i].data, sizeof(float));
        weight_source_close(s);
    }
    mem_free(path);
    return 0;
}

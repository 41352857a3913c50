// Bytes as the model.safetensors of a quantised checkpoint, whose matrices are joined and read; the first byte chooses
// the method.
#include "fuzz.h"
#include "model_config.h"
#include "quantized.h"

static const char *const configs[] = {
    "{\"quantization_config\":{\"quant_method\":\"bitsandbytes\",\"load_in_4bit\":true}}",
    "{\"quantization_config\":{\"quant_method\":\"fp8\",\"weight_block_size\":[2,8]}}",
    "{\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":8}}",
    "{\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":8,\"group_size\":-1}}",
    "{\"quantization_config\":{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":8}}",
    "{\"quantization_config\":{\"quant_method\":\"compressed-tensors\",\"format\":\"pack-quantized\",\"config_groups\":"
    "{\"g\":{\"weights\":{\"num_bits\":4,\"group_size\":8}}}}}",
};
enum { CONFIGS = sizeof configs / sizeof *configs };

static void read_matrix(const SourceTensor *t) {
    WeightSegment s;
    Err err;
    AUTO_FREE void *memory = mem_alloc(quantized_bytes(t), 1);
    AUTO_FREE float *row = mem_alloc((size_t)t->shape[1], sizeof *row);
    if (quantized_read(&s, t, memory, &err)) return;
    size_t row_bytes;
    CHECK(dtype_bytes(s.dtype, (size_t)t->shape[1], &row_bytes));
    for (int64_t n = 0; n < s.rows; n++) {
        DTypeGroups groups = dtype_groups_row(s.groups, n);
        dtype_expand_groups(s.dtype, row, (const char *)s.data + (size_t)n * row_bytes, &groups, 0, t->shape[1]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    const char *config = configs[data[0] % CONFIGS];
    AUTO_FREE char *config_path = fuzz_put("config.json", config, strlen(config));
    AUTO_FREE char *path = fuzz_put("model.safetensors", data + 1, size - 1);
    WeightSource *s;
    Err err;
    if (weight_source_open(&s, fuzz_folder(), &err)) return 0;
    for (size_t i = 0; i < s->n_tensors; i++)
        if (s->tensors[i].quantized) read_matrix(&s->tensors[i]);
    weight_source_close(s);
    return 0;
}

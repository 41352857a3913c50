// Bytes as a .gguf file: header, keys, tensors; then what a base model's loader reads of it: the configuration and the
// tokenizer.
#include "fuzz.h"
#include "gguf.h"
#include "model_config.h"
#include "tokenizer.h"
#include "tokenizer_files.h"

static void read_keys(const Gguf *g) {
    for (size_t i = 0; i < gguf_key_count(g); i++) {
        char shown[64];
        GgufStr name = gguf_key_at(g, i, shown, sizeof shown), text, *texts;
        char *key = mem_strndup(name.data, name.len);
        uint64_t number;
        float real, *reals;
        int32_t *integers;
        bool truth;
        size_t n;
        Err err;
        gguf_u64(g, key, true, &number, &err);
        gguf_f32(g, key, true, &real, &err);
        gguf_bool(g, key, true, &truth, &err);
        if (gguf_string(g, key, true, &text, &err) == 0) fuzz_touch(text.data, text.len);
        if (gguf_i32_array(g, key, true, &integers, &n, &err) == 0) mem_free(integers);
        if (gguf_f32_array(g, key, true, &reals, &n, &err) == 0) mem_free(reals);
        if (gguf_string_array(g, key, true, &texts, &n, &err) == 0) {
            for (size_t k = 0; k < n; k++) fuzz_touch(texts[k].data, texts[k].len);
            mem_free(texts);
        }
        mem_free(key);
    }
}

static void encode(const Tokenizer *t) {
    static const char text[] = "he in <s>Ab9 \xC3\xA4\xE4\xB8\xAD\xFF";
    TokenIds ids = {0};
    StrBuf out = {0};
    tokenizer_encode(t, text, sizeof text - 1, NULL, true, &ids);
    tokenizer_decode(t, ids.ids, ids.count, true, &out);
    token_ids_clear(&ids);
    str_clear(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *path = fuzz_put("x.gguf", data, size);
    WeightSource *s;
    Err err;
    if (weight_source_open(&s, path, &err) == 0) {
        ModelConfig c;
        Tokenizer *t;
        const Gguf *g = s->gguf;
        read_keys(g);
        for (size_t i = 0; i < s->n_tensors; i++) {
            const SourceTensor *x = &s->tensors[i];
            CHECK(weight_source_get(s, x->name) == x);
            fuzz_touch(x->data, x->bytes);
        }
        model_config_gguf_read(&c, s, &err);
        if (tokenizer_from_gguf(&t, g, &err) == 0) {
            encode(t);
            tokenizer_free(t);
        }
        weight_source_close(s);
    }
    mem_free(path);
    return 0;
}

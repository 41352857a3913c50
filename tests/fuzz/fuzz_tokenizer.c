// Bytes as the tokenizer.json of a Hugging Face folder; after a record separator (0x1E) there may be its
// tokenizer_config.json. What loads must encode and decode any text.
#include "fuzz.h"
#include "path.h"
#include "tokenizer.h"
#include "tokenizer_files.h"

static void use(const Tokenizer *t, const char *text, size_t len) {
    TokenIds ids = {0};
    StrBuf out = {0};
    tokenizer_encode(t, text, len, NULL, true, &ids);
    for (size_t i = 0; i < ids.count; i++) {
        size_t piece;
        CHECK(ids.ids[i] >= 0 && ids.ids[i] < t->vocab_size);
        CHECK(ids.start[i] <= len && (!i || ids.start[i] >= ids.start[i - 1]));
        fuzz_touch(tokenizer_piece(t, ids.ids[i], &piece), 1);
    }
    tokenizer_decode(t, ids.ids, ids.count, true, &out);
    token_ids_clear(&ids);
    str_clear(&out);
}

static void use_pair(const Tokenizer *t) {
    TokenIds ids = {0};
    size_t second;
    tokenizer_encode_pair(t, &(TokenizerPair){"he in", "Ab", 5, 2, false}, &ids, &second);
    CHECK(second <= ids.count);
    token_ids_clear(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char text[] = "he  in\n<s>Ab9 don't \xC3\xA4\xCC\x88\xE4\xB8\xAD\xF0\x9F\x98\x80\xE2\x96\x81\xFF\x00x";
    const uint8_t *cut = size ? memchr(data, 0x1E, size) : NULL;
    size_t len = cut ? (size_t)(cut - data) : size;
    char *json = fuzz_put("tokenizer.json", data, len), *config = path_join(fuzz_folder(), "tokenizer_config.json");
    Tokenizer *t;
    Err err;
    if (cut)
        mem_free(fuzz_put("tokenizer_config.json", cut + 1, size - len - 1));
    else
        unlink(config);
    if (tokenizer_from_hf(&t, fuzz_folder(), &err) == 0) {
        use(t, text, sizeof text - 1);
        use(t, (const char *)data, size < 256 ? size : 256);
        use_pair(t);
        tokenizer_free(t);
    }
    mem_free(config);
    mem_free(json);
    return 0;
}

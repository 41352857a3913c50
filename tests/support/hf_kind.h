// hf_kind: the tokenizers of golden/tokenizer_hf, each the tokenizer.json of a family with a small vocabulary.
#pragma once

#include "fileio.h"
#include "hf_folder.h"
#include "tokenizer_fixture.h"

#define HF TEST_DIR "/golden/tokenizer_hf/"

// text with every `what` replaced.
static inline char *replaced(const char *text, const char *what, const char *by) {
    StrBuf out = {0};
    for (const char *hit; (hit = strstr(text, what)); text = hit + strlen(what)) {
        str_add(&out, text, (size_t)(hit - text));
        str_puts(&out, by);
    }
    str_puts(&out, text);
    return out.data;
}

static inline void fill_shape(char **shape, const char *source) {
    char path[512], entries[32], merges[32];
    snprintf(path, sizeof path, HF "%s.model", source);
    snprintf(entries, sizeof entries, "\"@%s\":0", source);
    snprintf(merges, sizeof merges, "[\"@%s\"]", source);
    Lines model = lines_open(path);
    char *with_vocab = replaced(*shape, entries, lines_need(&model));
    StrBuf list = {0};
    str_printf(&list, "[%s]", lines_need(&model));
    mem_free(*shape);
    *shape = replaced(with_vocab, merges, list.data);
    mem_free(with_vocab);
    str_clear(&list);
    lines_close(&model);
}

static inline Tokenizer *kind_tokenizer(const char *kind) {
    char path[512], *shape;
    size_t size;
    Err err;
    snprintf(path, sizeof path, HF "%s.json", kind);
    ASSERT_OK(file_read(&shape, &size, path, 1 << 20, &err), &err);
    fill_shape(&shape, "bytes");
    fill_shape(&shape, "chars");
    folder_put("tokenizer.json", shape);
    mem_free(shape);
    return folder_tokenizer();
}

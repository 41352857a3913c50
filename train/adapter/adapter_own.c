// adapter_own: recognises adapter files that lorac wrote and may replace (overwrite.h). They have a mark; files of
// earlier versions are recognised by their form.
#include <stdio.h>
#include <string.h>

#include "adapter.h"
#include "card_mark.h"
#include "fileio.h"
#include "gguf.h"
#include "path.h"
#include "safetensors.h"

enum { MAX_TEXT = 1 << 20 };

// ---- PEFT folder ----

// If the tensor file is unreadable, README.md alone decides.
static bool tensors_are_own(const char *path, bool *readable) {
    Safetensors *s;
    *readable = safetensors_open(&s, path, NULL) == 0;
    if (!*readable) return false;
    const char *mark = safetensors_metadata(s, ADAPTER_MARK_KEY);
    bool own = mark && strcmp(mark, ADAPTER_MARK) == 0;
    safetensors_close(s);
    return own;
}

static CardOrigin origin_of(const char *path) {
    char *text;
    size_t size;
    if (!path_exists(path)) return CARD_ABSENT;
    if (file_read(&text, &size, path, MAX_TEXT, NULL)) return CARD_FOREIGN;
    CardOrigin origin = card_origin(text, size);
    mem_free(text);
    return origin;
}

static int peft_own(const char *dir, Err *err) {
    char *tensors = path_join(dir, "adapter_model.safetensors"), *card = path_join(dir, "README.md");
    bool readable, marked = tensors_are_own(tensors, &readable);
    CardOrigin origin = origin_of(card);
    int rc = 0;
    if (marked && origin == CARD_FOREIGN)
        rc = overwrite_refuse(card, "the README.md that lorac wrote", err);
    else if (!marked && origin != CARD_BEFORE_MARKS && (readable || origin != CARD_OWN))
        rc = overwrite_refuse(dir, "an adapter folder that lorac wrote", err);
    mem_free(tensors);
    mem_free(card);
    return rc;
}

static const char *const peft_names[] = {"adapter_config.json", "adapter_model.safetensors", "labels.json",
                                         "README.md",           "chat_template.jinja",       NULL};
const OwnFolder adapter_peft_own = {peft_own, peft_names};

// ---- GGUF ----

static bool is_string(const Gguf *g, const char *key, const char *value) {
    GgufStr s;
    return gguf_string(g, key, false, &s, NULL) == 0 && s.len == strlen(value) && memcmp(s.data, value, s.len) == 0;
}

// Without a mark: exactly these keys in this order. llama.cpp's converter begins with the architecture.
static bool has_former_keys(const Gguf *g) {
    static const char *const keys[] = {
        "general.type", "general.architecture", "general.name",    "general.file_type", "general.quantization_version",
        "adapter.type", "adapter.lora.alpha",   "lorac.lora.rank", "lorac.lora.targets"};
    enum { PLAIN = 7, FUSED = 9 };
    size_t n = gguf_key_count(g);
    if (n != PLAIN && n != FUSED) return false;
    for (size_t i = 0; i < n; i++) {
        char ignored[8];
        GgufStr key = gguf_key_at(g, i, ignored, sizeof ignored);
        if (key.len != strlen(keys[i]) || memcmp(key.data, keys[i], key.len) != 0) return false;
    }
    return true;
}

int adapter_gguf_own(const char *path, Err *err) {
    Gguf *g;
    bool own = false;
    if (gguf_open(&g, path, NULL) == 0) {
        own = is_string(g, "general.type", "adapter") &&
              (is_string(g, ADAPTER_MARK_KEY, ADAPTER_MARK) || has_former_keys(g));
        gguf_close(g);
    }
    return own ? 0 : overwrite_refuse(path, "a GGUF adapter that lorac wrote", err);
}

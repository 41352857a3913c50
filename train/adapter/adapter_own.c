// adapter_own: recognises adapter files that lorac wrote, by their marks; those it may replace (overwrite.h).
#include <string.h>

#include "adapter.h"
#include "fileio.h"
#include "gguf.h"
#include "hash.h"
#include "path.h"
#include "safetensors.h"

// ---- PEFT folder ----

// Markdown shows no comment. With the hash of the text before it: an edited file is not lorac's.
static char *card_mark(const char *text, size_t size) {
    char hash[33];
    hash_bytes(hash, text, size);
    return mem_printf("\n<!-- written by lorac %s -->\n", hash);
}

char *adapter_card_marked(const char *text) {
    AUTO_FREE char *mark = card_mark(text, strlen(text));
    return mem_printf("%s%s", text, mark);
}

static bool card_is_own(const char *path) {
    enum { MAX_TEXT = 1 << 20, TAIL = sizeof "\n<!-- written by lorac  -->\n" - 1 + 32 };
    AUTO_FREE char *text = NULL;
    size_t size;
    if (file_read(&text, &size, path, MAX_TEXT, NULL) || size <= TAIL) return false;
    AUTO_FREE char *mark = card_mark(text, size - TAIL);
    return memcmp(text + size - TAIL, mark, TAIL) == 0;
}

// If the tensor file is unreadable, README.md alone decides.
static int peft_own(const char *dir, Err *err) {
    AUTO_FREE char *tensors = path_join(dir, "adapter_model.safetensors"), *card = path_join(dir, "README.md");
    AUTO_SAFETENSORS Safetensors *s = NULL;
    bool has_card = path_exists(card), own_card = has_card && card_is_own(card);
    bool readable = safetensors_open(&s, tensors, NULL) == 0;
    const char *mark = readable ? safetensors_metadata(s, ADAPTER_MARK_KEY) : NULL;
    if (!mark || strcmp(mark, ADAPTER_MARK) != 0)
        return !readable && own_card ? 0 : overwrite_refuse(dir, "an adapter folder that lorac wrote", err);
    return has_card && !own_card ? overwrite_refuse(card, "the README.md that lorac wrote", err) : 0;
}

static const char *const peft_names[] = {"adapter_config.json", "adapter_model.safetensors", "labels.json",
                                         "README.md",           "chat_template.jinja",       NULL};
const OwnFolder adapter_peft_own = {peft_own, peft_names};

// ---- GGUF ----

int adapter_gguf_own(const char *path, Err *err) {
    AUTO_GGUF Gguf *g = NULL;
    GgufStr type, mark;
    bool own = gguf_open(&g, path, NULL) == 0 && gguf_string(g, "general.type", false, &type, NULL) == 0 &&
               gguf_str_is(type, "adapter") && gguf_string(g, ADAPTER_MARK_KEY, false, &mark, NULL) == 0 &&
               gguf_str_is(mark, ADAPTER_MARK);
    return own ? 0 : overwrite_refuse(path, "a GGUF adapter that lorac wrote", err);
}

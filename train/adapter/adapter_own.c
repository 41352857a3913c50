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

enum { MAX_CARD = 1 << 20, MARK_BYTES = sizeof "\n<!-- written by lorac  -->\n" - 1 + 32 };

// NULL: there is none, or it is not as lorac wrote it. The caller frees.
static char *own_card(const char *path) {
    AUTO_FREE char *text = NULL;
    size_t size;
    if (file_read(&text, &size, path, MAX_CARD, NULL) || size <= MARK_BYTES) return NULL;
    AUTO_FREE char *mark = card_mark(text, size - MARK_BYTES);
    return memcmp(text + size - MARK_BYTES, mark, MARK_BYTES) == 0 ? mem_take(&text) : NULL;
}

char *adapter_card_with_files(const char *card, const char *list) {
    size_t size = strlen(card);
    CHECK(size > MARK_BYTES, "a card has a mark");
    AUTO_FREE char *text =
        mem_printf("%.*s\n<!-- copied from the base model: %s -->\n", (int)(size - MARK_BYTES), card, list);
    return adapter_card_marked(text);
}

#define TOKENIZER_NAMES                                                                                                \
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",           \
        "merges.txt", "vocab.txt", "tokenizer.model"
const char *const adapter_tokenizer_names[] = {TOKENIZER_NAMES, NULL};

// A copied file is lorac's as long as its hash is the one in the card.
static int check_copies(const char *dir, const char *card, Err *err) {
    for (const char *const *name = adapter_tokenizer_names; *name; name++) {
        AUTO_FREE char *path = path_join(dir, *name);
        char hash[33];
        if (!path_exists(path)) continue;
        if (hash_file(hash, path, err)) return -1;
        AUTO_FREE char *entry = mem_printf("%s %s", *name, hash);
        if (!card || !strstr(card, entry)) return overwrite_refuse(path, "the copy that lorac made of the base's", err);
    }
    return 0;
}

// If the tensor file is unreadable, README.md alone decides.
static int peft_own(const char *dir, Err *err) {
    AUTO_FREE char *tensors = path_join(dir, "adapter_model.safetensors"), *card = path_join(dir, "README.md");
    AUTO_SAFETENSORS Safetensors *s = NULL;
    AUTO_FREE char *text = own_card(card);
    bool readable = safetensors_open(&s, tensors, NULL) == 0;
    const char *mark = readable ? safetensors_metadata(s, ADAPTER_MARK_KEY) : NULL;
    bool marked = mark && strcmp(mark, ADAPTER_MARK) == 0;
    if (!marked && (readable || !text)) return overwrite_refuse(dir, "an adapter folder that lorac wrote", err);
    if (path_exists(card) && !text) return overwrite_refuse(card, "the README.md that lorac wrote", err);
    return check_copies(dir, text, err);
}

static const char *const peft_names[] = {"adapter_config.json",
                                         "adapter_model.safetensors",
                                         "labels.json",
                                         "README.md",
                                         "chat_template.jinja",
                                         TOKENIZER_NAMES,
                                         NULL};
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

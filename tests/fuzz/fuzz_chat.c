// Bytes as a chat template and, after a record separator (0x1E), a record: probed, rendered in the template's forms,
// tokenised, masked, and asked what was left out.
#include "chat.h"
#include "dialog.h"
#include "fuzz.h"
#include "path.h"
#include "tiny_model.h"
#include "tokenizer_files.h"

static const char usual[] =
    "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":"
    "\"b\"}]},"
    "{\"role\":\"assistant\",\"content\":\"c\",\"thinking\":\"t\",\"tool_calls\":[{\"type\":\"function\",\"id\":\"c1\","
    "\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"x\\\": "
    "1}\"}}]},{\"role\":\"tool\",\"content\":{\"h\":[1.5,null]}},"
    "{\"role\":\"assistant\",\"content\":\"ok\"},{\"role\":\"user\",\"content\":\"<|im_end|>\"},"
    "{\"role\":\"assistant\",\"content\":\"d\"}],\"tools\":[{\"name\":\"f\"}],\"chat_template_kwargs\":{\"k\":true}}";

static Tokenizer *make_tokenizer(Gguf **file) {
    TinyModel tiny = TINY_MODEL;
    char *path = path_join(fuzz_folder(), "tiny.gguf");
    Tokenizer *t;
    Err err;
    tiny.vocab_only = true;
    tiny_model_write(path, &tiny);
    CHECK(gguf_open(file, path, &err) == 0, "%s", err.msg);
    CHECK(tokenizer_from_gguf(&t, *file, &err) == 0, "%s", err.msg);
    mem_free(path);
    return t;
}

static void encode(const ChatTemplate *c, const Tokenizer *t, const Json *record) {
    Dialog d = {.template = chat_template_source(c)};
    ChatTokens out = {0};
    Err err;
    if (dialog_read(&d, record, FORMAT_MESSAGES, true, false, &err) == 0)
        for (int prompt = 0; prompt < 2; prompt++) {
            ChatInput in = {&d.messages, d.tools, d.extra, .add_generation_prompt = prompt};
            if (chat_tokenize(&out, c, t, &in, &err)) continue;
            fuzz_touch(out.text, out.text_len + 1);
            size_t supervised = 0;
            for (size_t i = 0; i < out.count; i++) supervised += out.supervised[i];
            CHECK(supervised == out.supervised_count && strlen(out.unrendered) < sizeof out.unrendered);
        }
    chat_tokens_clear(&out);
    dialog_clear(&d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static Gguf *file; // both are kept for the whole process
    static Tokenizer *t;
    if (!t) t = make_tokenizer(&file);
    const uint8_t *cut = size ? memchr(data, 0x1E, size) : NULL;
    const char *record = cut ? (const char *)cut + 1 : usual;
    char *source = mem_strndup((const char *)data, cut ? (size_t)(cut - data) : size);
    size_t len = cut ? size - (size_t)(cut - data) - 1 : sizeof usual - 1;
    ChatTemplate *c;
    JsonDoc *doc;
    Err err;
    if (chat_template_new(&c, t, source, &err) == 0) {
        if (json_parse_data(&doc, record, len, "record", 1, &err) == 0) {
            encode(c, t, json_root(doc));
            json_free(doc);
        }
        chat_template_free(c);
    }
    mem_free(source);
    return 0;
}

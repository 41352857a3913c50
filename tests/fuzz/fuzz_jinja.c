// Bytes as a chat template. Behind a record separator (0x1E) may stand what it is rendered with: a JSON object with
// messages, tools and further variables.
#include "fuzz.h"
#include "jinja.h"

static const char usual[] =
    "{\"messages\":[{\"role\":\"system\",\"content\":\"Be kind.\"},{\"role\":\"user\",\"content\":\"H\xC3\xA9 2\"},"
    "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"type\":\"function\",\"id\":\"c1\",\"function\":"
    "{\"name\":\"f\",\"arguments\":{\"x\":1.5,\"y\":[true,null]}}}]},{\"role\":\"tool\",\"content\":\"7\"},"
    "{\"role\":\"assistant\",\"content\":\"ok\"}],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\","
    "\"description\":\"d\",\"parameters\":{\"type\":\"object\",\"properties\":{\"x\":{\"type\":\"number\"}}}}}],"
    "\"enable_thinking\":false}";

static void render(const JinjaTemplate *t, const char *record, size_t len) {
    JsonDoc *doc;
    Err err;
    if (json_parse(&doc, record, len, "record", 1, &err)) return;
    const Json *root = json_root(doc), *messages = json_get(root, "messages"), *tools = json_get(root, "tools");
    if (root->type == JSON_OBJECT && messages && messages->type == JSON_ARRAY && messages->count < JINJA_MAX_MESSAGES) {
        for (int prompt = 0; prompt < 2; prompt++) {
            JinjaInput in = {.messages = messages,
                             .tools = tools && tools->type == JSON_ARRAY ? tools : NULL,
                             .extra = root,
                             .add_generation_prompt = prompt,
                             .bos_token = "<s>",
                             .eos_token = "</s>"};
            JinjaOutput out = {0};
            if (jinja_render(t, &in, &out, &err) == 0) {
                fuzz_touch(out.text, out.len + 1);
                fuzz_touch(out.origin, out.len * sizeof *out.origin);
            }
            jinja_output_clear(&out);
        }
    }
    json_free(doc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *cut = size ? memchr(data, 0x1E, size) : NULL;
    size_t len = cut ? (size_t)(cut - data) : size;
    JinjaTemplate *t;
    Err err;
    if (jinja_compile(&t, (const char *)data, len, "template", &err)) return 0;
    if (cut)
        render(t, (const char *)cut + 1, size - len - 1);
    else
        render(t, usual, sizeof usual - 1);
    jinja_free(t);
    return 0;
}

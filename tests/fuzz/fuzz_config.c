// Bytes as a config file: JSON where they begin as an object or a comment, else YAML. Whatever is read can be saved and
// is read back as the same config.
#include "config.h"
#include "fuzz.h"

static void load(Config *c, const char *path, bool must) {
    Err err = {0};
    char *argv[] = {(char *)path};
    int rc = config_load(c, 1, argv, CONFIG_FOR_BENCH, &err);
    CHECK(!must || rc == 0, "%s", err.msg);
    CHECK(rc == 0 || err.kind == ERR_INPUT, "kind %d: %s", err.kind, err.msg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const names[] = {"c.yaml", "c.json"};
    bool json = size && (*data == '{' || *data == '/');
    char *path = fuzz_put(names[json], data, size);
    Config c = {0}, again = {0};
    Err err = {0};
    char *argv[] = {path};
    log_as("", true); // several problems are several lines
    if (config_load(&c, 1, argv, CONFIG_FOR_BENCH, &err) == 0) {
        char *text = config_json(&c);
        char *saved = fuzz_put("saved.json", (const uint8_t *)text, strlen(text));
        load(&again, saved, true);
        char *same = config_json(&again);
        CHECK(strcmp(text, same) == 0, "saved as\n%s\nread as\n%s", text, same);
        mem_free(same);
        mem_free(saved);
        mem_free(text);
    } else {
        CHECK(err.kind == ERR_INPUT, "kind %d: %s", err.kind, err.msg);
    }
    config_clear(&again);
    config_clear(&c);
    mem_free(path);
    return 0;
}

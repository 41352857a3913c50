// Bytes as the body of a request to `lorac serve`: of a chat, of a completion, for tokens.
#include "fuzz.h"
#include "json.h"
#include "serve_request.h"
#include "tiny_model.h"

enum { CONTEXT = 64 };

static Backend *cpu; // of all inputs
static Model *model;
static ServedModels *models;

static void close_model(void) {
    served_models_free(models);
    model_free(model);
    backend_close(cpu);
}

static void open_model(void) {
    AUTO_FREE char *path = path_join(fuzz_folder(), "tiny.gguf");
    TinyModel tiny = TINY_MODEL;
    ModelOptions o = {.max_positions = CONTEXT};
    Err err;
    tiny_model_write(path, &tiny);
    CHECK(backend_open(&cpu, "cpu", 1, &err) == 0, "%s", err.msg);
    CHECK(model_load(&model, path, cpu, &o, &err) == 0, "%s", err.msg);
    models = served_models_new(model, "base", (ServedLimits){.max_adapters = 1, .room = 1 << 20});
    atexit(close_model);
}

static void read_tokens(const Json *root, const ServedModel *served) {
    AUTO_CALL(serve_request_clear) ServeRequest r = {0};
    Err err;
    if (serve_request_tokens(&r, root, model, served, &err) == 0) fuzz_touch(r.ids, (size_t)r.count * sizeof *r.ids);
}

static void read_request(const Json *root, const ServedModel *served, bool chat) {
    AUTO_CALL(serve_request_clear) ServeRequest r = {.chat = chat};
    Err err;
    if (serve_request_read(&r, root, models, served, CONTEXT, &err)) {
        CHECK(err.kind == ERR_INPUT, "kind %d: %s", err.kind, err.msg);
        return;
    }
    CHECK(r.count >= 1 && r.count + r.how.max_new_tokens <= CONTEXT && r.how.max_new_tokens >= 1);
    for (int64_t i = 0; i < r.count; i++) CHECK(r.ids[i] >= 0 && r.ids[i] < model->config.vocab);
    for (size_t i = 0; i < r.n_stops; i++) CHECK(r.stops[i].len > 0);
    fuzz_touch(r.how.stop, r.how.n_stop * sizeof *r.how.stop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!models) open_model();
    AUTO_JSON JsonDoc *doc = NULL;
    const char *name;
    Err err;
    AUTO_FREE char *body = mem_strndup((const char *)data, size); // NUL-terminated, as the server's
    if (json_parse(&doc, body, size, "the body", 0, &err)) return 0;
    const Json *root = json_root(doc);
    if (serve_request_model(&name, root, &err)) return 0;
    ServedModel *served = served_models_hold(models, NULL);
    read_request(root, served, true);
    read_request(root, served, false);
    read_tokens(root, served);
    served_models_release(models, served);
    return 0;
}

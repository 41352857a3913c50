// lorac serve [RUN] [--model_name_or_path M] [--adapter NAME=PATH ...]
#include <stdlib.h>

#include "decode_batch.h"
#include "memory_use.h"
#include "named_adapter.h"
#include "path.h"
#include "run_folder.h"
#include "serve.h"
#include "signals.h"

typedef struct Options {
    LoadOptions load;
    StrList adapter;
    char *served_model_name, *host;
    int64_t port, max_num_seqs, max_adapters, max_queue;
    ContextOptions room;
} Options;

static const Key options[] = {
    MODEL_OPTION,
    OPTION(TEXTS, adapter, .aliases = "adapter_name_or_path a lora_modules",
           .help = "PATH (or owner/name) or NAME=PATH of an adapter; its name is that of a model for requests."),
    OPTION(TEXT, served_model_name,
           .help = "Name of the base model for requests; without it owner/name or its file's."),
    OPTION(TEXT, host, .standard = "\"127.0.0.1\"",
           .help = "Address to listen on; one that other machines reach needs LORAC_API_KEY in the environment."),
    OPTION(INT, port, .standard = "8000", .max = 65535, .help = "0: a free one."),
    OPTION(INT, max_num_seqs, .aliases = "parallel", .standard = "16", .min = 1, .max = 1024,
           .help = "Requests that are computed at once."),
    OPTION(INT, max_queue, .standard = "256", .min = 1, .max = 65536,
           .help = "Requests that wait; above it: status 503."),
    OPTION(INT, max_adapters, .aliases = "max_loras", .standard = "64", .min = 0, .max = 4096,
           .help = "Adapters at once."),
    CONTEXT_OPTIONS("Longest prompt with its answer"),
    DEVICE_OPTIONS,
};

// As requests name it: the file's or folder's name without .gguf, unless the model is known by another.
static char *base_name(const Options *o, const Model *m) {
    if (o->served_model_name) return mem_strdup(o->served_model_name);
    if (m->repository) return mem_strdup(m->repository);
    AUTO_FREE char *whole = path_absolute(m->path);
    char *name = mem_strdup(path_name(whole));
    if (ends_with(name, ".gguf")) name[strlen(name) - 5] = 0;
    return name;
}

static int add_adapter(ServedModels *models, const char *text, Err *err) {
    AUTO_FREE char *name = NULL, *path = NULL;
    if (named_adapter_parse(&name, &path, text, err)) return -1;
    return served_models_add(models, name, path, err);
}

static int add_adapters(ServedModels *models, const Options *o, const char *of_run, Err *err) {
    if (of_run && add_adapter(models, of_run, err)) return -1;
    for (size_t i = 0; i < o->adapter.count; i++)
        if (add_adapter(models, o->adapter.items[i], err)) return -1;
    return 0;
}

static int open_base(Loaded *base, const Options *o, const char *folder, Err *err) {
    LoadOptions load;
    if (run_folder_names(&load, base, &o->load, folder, err)) return -1;
    load.adapter_name_or_path = NULL; // loaded by name
    return loaded_open(base, &load, NULL, err);
}

// Adapters have what the model and the requests leave.
static ServedLimits adapter_limits(const Options *o, const Model *m, const ServeOptions *how) {
    size_t room = memory_room(m->backend, o->room.max_memory);
    size_t taken = decode_batch_bytes(m, how->streams, how->context, how->streams);
    return (ServedLimits){.max_adapters = (int)o->max_adapters, .room = room > taken ? room - taken : 0};
}

static int run_serve(const void *given, int argc, char **argv, Err *err) {
    const Options *o = given;
    AUTO_CALL(loaded_close) Loaded base = {0};
    if (signals_install(err) || open_base(&base, o, argc ? argv[0] : NULL, err)) return -1;
    const char *key = getenv("LORAC_API_KEY");
    ServeOptions how = {.http = {.address = o->host, .port = (int)o->port, .token = key && *key ? key : NULL},
                        .streams = o->max_num_seqs,
                        .max_queue = o->max_queue};
    AUTO_FREE char *name = base_name(o, base.model);
    if (choose_context(&how.context, base.model, how.streams, &o->room, err)) return -1;
    ServedModels *models = served_models_new(base.model, name, adapter_limits(o, base.model, &how));
    int rc = add_adapters(models, o, base.run_adapter, err);
    if (!rc) rc = serve(base.model, models, &how, err);
    if (!rc) rc = loaded_check(&base, err);
    served_models_free(models);
    return rc;
}

const Verb verb_serve = {
    .name = "serve",
    .usage = "lorac serve [RUN] [--model_name_or_path M] [--adapter NAME=PATH ...] [--host A] [--port P]",
    .summary = "Answer requests of OpenAI's API with a model and its adapters",
    .help =
        "RUN is the output_dir of a run: its base model is served, and its adapter under the name of the folder.\n"
        "Requests of several adapters are computed together; \"model\" names one, or the base. Routes:\n"
        "/v1/chat/completions, /v1/completions (whole, or \"stream\": true), /v1/models, /health, and, as in vLLM,\n"
        "/tokenize, /v1/load_lora_adapter and /v1/unload_lora_adapter. A field that would change the answer and that "
        "lorac does\n"
        "not have is refused. LORAC_API_KEY in the environment is the key that requests must bring.",
    .example =
        "lorac serve out/library\n"
        "  curl http://127.0.0.1:8000/v1/chat/completions -H 'Content-Type: application/json' \\\n"
        "    -d '{\"model\": \"library\", \"messages\": [{\"role\": \"user\", \"content\": \"When do you open?\"}]}'",
    OPTIONS(options),
    .operand = "[RUN]",
    .run = run_serve,
};

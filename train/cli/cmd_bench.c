// lorac bench [MODEL | CONFIG.json]: the peaks of this machine, and the speed and memory of training with each dtype.
#include "cli.h"

#include <stdio.h>
#include <stdlib.h>

#include "bench_machine.h"
#include "bench_train.h"
#include "launcher.h"
#include "model.h"
#include "path.h"
#include "roofline.h"
#include "run_device.h"
#include "say.h"
#include "signals.h"
#include "words.h"
#include "yaml_read.h"

typedef struct Options {
    bool json;
    double seconds;
} Options;

static const Key options[] = {
    OPTION(BOOL, json, .help = "Print one JSON object."),
    OPTION(FLOAT, seconds, .standard = "12", .min = ABOVE_0, .max = 1e6, .help = "Seconds of training for each dtype."),
};

typedef struct Bench {
    Config config;
    bool json;
    BenchMachine machine;
    ModelConfig model; // arch NULL: none is given
    BenchTrain train;
    cJSON *root, *dtypes; // json
} Bench;

// ---- the machine ----

static void print_machine(Bench *b) {
    const BenchMachine *m = &b->machine;
    if (!b->json) {
        say("cpu        %s, %d thread%s; %s\n", m->name, m->threads, plural(m->threads), m->isa);
        say("memory     %.1f GB/s (reading %.1f GB)\n", m->read / 1e9, (double)m->read_size / 1e9);
        return;
    }
    cJSON_AddStringToObject(b->root, "cpu", m->name);
    cJSON_AddStringToObject(b->root, "isa", m->isa);
    cJSON_AddNumberToObject(b->root, "threads", m->threads);
    cJSON_AddNumberToObject(b->root, "read_bytes_per_second", m->read);
}

// ---- the model ----

static int open_model(Bench *b, Err *err) {
    enum { TOKENS = 512 };
    const Config *c = &b->config;
    if (c->task != TASK_CAUSAL_LM)
        return err_input(err, "bench: task %s; expected a config of task causal_lm", ENUM_WORDS(TASKS)[c->task].word);
    if (model_read_config(&b->model, c->model_name_or_path, &(ModelOptions){0}, err)) return -1;
    b->train.tokens = min64(config_is_set(c, CONFIG_max_seq_length) ? c->max_seq_length : TOKENS, b->model.context);
    return bench_rows_write(b->train.dir, b->train.tokens, b->model.vocab, err);
}

static void print_model(const Bench *b) {
    const Config *c = &b->config;
    if (!b->json) {
        say("model      %s, LoRA r=%ld on ", path_name(c->model_name_or_path), c->lora_r);
        for (size_t i = 0; i < c->lora_target_modules.count; i++)
            say("%s%s", i ? ", " : "", c->lora_target_modules.items[i]);
        say("; steps of one row of %ld token%s\n", b->train.tokens, plural(b->train.tokens));
        return;
    }
    cJSON_AddStringToObject(b->root, "model", path_name(c->model_name_or_path));
    cJSON_AddNumberToObject(b->root, "lora_r", (double)c->lora_r);
    cJSON_AddNumberToObject(b->root, "tokens_per_step", (double)b->train.tokens);
}

// ---- each dtype ----

typedef struct DtypeResult {
    const char *dtype;
    double products; // FLOP/s
    BenchSpeed speed;
} DtypeResult;

static void print_dtype(const Bench *b, const DtypeResult *r) {
    const BenchSpeed *s = &r->speed;
    if (!b->json) {
        say("%-10s %8.0f", r->dtype, r->products / 1e9);
        if (b->model.arch) say(" %14.1f %12.0f %8ld", s->tokens_per_second, s->peak_memory_bytes / 1e6, s->steps);
        say("\n");
        (void)fflush(stdout);
        return;
    }
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "dtype", r->dtype);
    cJSON_AddNumberToObject(o, "product_flop_per_second", r->products);
    if (b->model.arch) {
        cJSON_AddNumberToObject(o, "tokens_per_second", s->tokens_per_second);
        cJSON_AddNumberToObject(o, "peak_memory_bytes", s->peak_memory_bytes);
        cJSON_AddNumberToObject(o, "steps", (double)s->steps);
    }
    cJSON_AddItemToArray(b->dtypes, o);
}

// 1: the device does not support it, as *err says.
static int measure_dtype(Bench *b, DtypeWord dtype, Err *err) {
    Backend *backend;
    if (run_device_open(&backend, b->config.device, dtype, NULL, err)) return 1;
    DtypeResult r = {.dtype = run_device_dtype(backend), .products = product_rate(backend)};
    int rc = run_device_check(backend, err);
    backend_close(backend);
    if (!rc && b->model.arch) rc = bench_train(&r.speed, &b->train, dtype, err);
    if (!rc) print_dtype(b, &r);
    return rc < 0 ? err_context(err, "dtype %s", r.dtype) : rc;
}

static int measure_dtypes(Bench *b, Err *err) {
    DtypeWord only = config_dtype(&b->config);
    int measured = 0;
    if (!b->json)
        say("%-10s %8s%s\n", "dtype", "GFLOP/s", b->model.arch ? "       tokens/s      peak MB    steps" : "");
    for (DtypeWord dtype = DTYPE_WORD_F32; dtype < N_DTYPE_WORDS; dtype++) {
        if (only != DTYPE_WORD_AUTO && only != dtype) continue;
        int rc = measure_dtype(b, dtype, err);
        if (rc < 0 || rc == EXIT_INTERRUPTED) return rc;
        measured += rc == 0;
    }
    return measured ? 0 : -1;
}

// ---- the verb ----

static int measure(Bench *b, Err *err) {
    if (b->config.model_name_or_path && open_model(b, err)) return -1;
    bench_machine(&b->machine);
    print_machine(b);
    if (b->model.arch) print_model(b);
    if (b->json) b->dtypes = cJSON_AddArrayToObject(b->root, "dtypes");
    int rc = measure_dtypes(b, err);
    if (!rc && !b->model.arch && !b->json)
        say("For the speed of training, name a model: lorac bench MODEL.gguf, or a config: lorac bench CONFIG.json\n");
    return rc;
}

static int measure_in_temporary(Bench *b, Err *err) {
    const char *parent = getenv("TMPDIR");
    AUTO_FREE char *dir = path_join(parent && *parent ? parent : "/tmp", "lorac-bench-XXXXXX");
    if (!mkdtemp(dir)) return err_runtime(err, "%s: cannot be created", dir);
    setenv("XDG_CACHE_HOME", dir, 1); // of the child's tokens
    b->train.dir = dir;
    b->root = b->json ? cJSON_CreateObject() : NULL;
    int rc = measure(b, err);
    Err left;
    if (dir_remove(dir, &left)) log_warn("%s", left.msg);
    if (b->json && !rc)
        print_json(b->root);
    else
        cJSON_Delete(b->root);
    return rc;
}

// `lorac bench MODEL`: a first word that is neither an override nor a config is the model.
static char *first_word(char *word) {
    bool is_model = !word_split(word).is_key && !ends_with(word, ".json") && !yaml_is_name(word);
    return is_model ? mem_printf("--model_name_or_path=%s", word) : mem_strdup(word);
}

static int run_bench(const void *given, int argc, char **argv, Err *err) {
    const Options *o = given;
    Launch launch;
    if (launch_detect(&launch, err)) return -1;
    if (launch.kind != LAUNCH_ALONE)
        return err_input(err, "bench: this process is a rank of a launcher; expected a process of its own");
    AUTO_FREE char *first = argc ? first_word(argv[0]) : NULL;
    if (argc) argv[0] = first;
    Bench b = {.json = o->json, .train = {.words = argv, .n_words = argc, .seconds = o->seconds}};
    int rc = config_load(&b.config, argc, argv, CONFIG_FOR_BENCH, err);
    if (!rc) rc = signals_install(err);
    if (!rc) rc = measure_in_temporary(&b, err);
    config_clear(&b.config);
    return rc;
}

const Verb verb_bench = {
    .name = "bench",
    .usage = "lorac bench [MODEL | CONFIG.json] [--key value ...] [--seconds N] [--json]",
    .summary = "Measure this machine: its peaks, and the speed and memory of training a model with each dtype",
    .help = "Takes less than a minute on a CPU. Without a model it prints the peaks of the machine alone: reads of\n"
            "memory, and for each dtype of the device the product of rows [512, 1024] by a frozen matrix\n"
            "[1024, 1024]. With a model or a config it runs \"lorac train\" on rows of synthetic tokens\n"
            "(max_seq_length, by default 512; all supervised) in a temporary folder for some seconds with each dtype,\n"
            "or with the one that is given. tokens/s is the median of the steps after the first, peak MB that of the\n"
            "process.\n"
            "Data, steps and schedule of a config are ignored; its adapter, device and memory keys are used.",
    .example = "lorac bench models/SmolLM2-135M-Instruct.Q4_1.gguf\n"
               "  lorac bench my.json --dtype f32 --max_seq_length 1024",
    OPTIONS(options),
    .takes_config = true,
    .run = run_bench,
};

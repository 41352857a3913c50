// lorac swap ADAPTER --url URL [--off] [--check N]
#include <string.h>

#include "export.h"
#include "path.h"
#include "run_folder.h"
#include "say.h"
#include "swap.h"
#include "swap_check.h"

typedef struct Options {
    LoadOptions load;
    StrList url;
    EngineKind engine;
    char *name;
    bool off;
    double timeout;
    SwapCheck check;
} Options;

#define CHECK_OPTION(name_, field, ...)                                                                                \
    { .name = (name_), .type = KEY_INT, .offset = offsetof(Options, check.field), __VA_ARGS__ }

static const Key options[] = {
    OPTION(TEXTS, url, .flags = OPTION_REQUIRED, .help = "The server, http://host:port. May be given several times."),
    OPTION_CHOICE(engine, ENGINE_KINDS, .standard = "\"auto\"", .help = "What runs there."),
    OPTION(STRING, name, .help = "Name of the adapter there, NAME-1a2b3c4d; without it that of the run or folder."),
    OPTION(BOOL, off, .help = "Unload all versions of the adapter; llama.cpp: select none."),
    CHECK_OPTION("check", prompts, .max = 100000,
                 .help =
                     "Then ask the server and lorac the same N held-out prompts of the run, greedily, and print how "
                     "many answers agree."),
    CHECK_OPTION("max_new_tokens", max_new_tokens, .standard = "64", .min = 1, .max = 1 << 20,
                 .help = "With --check: longest answer, in tokens."),
    CHECK_OPTION("show", show, .max = 100000, .help = "With --check: print the first N answers that differ."),
    OPTION(FLOAT, timeout, .standard = "60", .min = 0.1, .max = 3600, .help = "Seconds of one request."),
    MODEL_OPTION,
};

typedef struct Swap {
    const Options *o;
    const char *given; // ADAPTER
    bool is_run;
    Loaded loaded;
    SwapLine line;
    SwapVersion version;
    char *gguf; // the file that a llama.cpp server may have been started with; NULL: none
    CheckAnswers answers;
} Swap;

static void swap_clear(Swap *s) {
    check_answers_clear(&s->answers);
    loaded_close(&s->loaded);
    swap_line_clear(&s->line);
    swap_version_clear(&s->version);
    mem_free(s->gguf);
}

// The name of a folder of adapters: a PEFT folder is often just "adapter".
static char *name_of(const char *path) {
    AUTO_FREE char *whole = path_absolute(path), *parent = path_parent(whole);
    const char *name = path_name(strcmp(path_name(whole), "adapter") == 0 ? parent : whole);
    return mem_strndup(name, strlen(name) - (ends_with(name, ".gguf") ? 5 : 0));
}

// Versions are written into the folder hot_swap of the run, or next to the adapter.
static void find_line(Swap *s) {
    const Config *run = &s->loaded.run;
    AUTO_FREE char *whole = path_absolute(s->given), *parent = path_parent(whole), *own = name_of(s->given);
    AUTO_FREE char *folder = path_join(s->is_run ? whole : parent, "hot_swap");
    const char *of_run = run->hot_swap_name ? run->hot_swap_name : run->run_name;
    s->line = swap_line_new(s->o->name ? s->o->name : of_run ? of_run : own, folder);
    AUTO_FREE char *beside = path_join(s->is_run ? whole : parent, "adapter.gguf");
    s->gguf = ends_with(whole, ".gguf") ? mem_strdup(whole) : path_exists(beside) ? mem_strdup(beside) : NULL;
}

// Without --check the weights are not read.
static int open_adapter(Loaded *l, const LoadOptions *load, bool weights, Err *err) {
    if (weights) return loaded_open(l, load, NULL, err);
    if (run_device_open(&l->backend, "cpu", load->dtype, NULL, err) ||
        model_open(&l->model, load->model_name_or_path, l->backend, &(ModelOptions){0}, err) ||
        adapter_load(&l->adapter, l->model, load->adapter_name_or_path, false, err))
        return -1;
    return loaded_refuse_classifier(l->adapter, load->adapter_name_or_path, err);
}

static int read_names(Swap *s, LoadOptions *load, Err *err) {
    const Options *o = s->o;
    s->is_run = run_folder_is(s->given);
    if (o->check.prompts && !s->is_run)
        return err_input(err, "--check: %s is no output_dir of a run; expected one, which has prompts", s->given);
    if (o->check.prompts && o->off) return err_input(err, "--off: with --check; expected one of them");
    for (size_t i = 0; i < o->url.count; i++)
        if (!config_is_server_url(o->url.items[i]))
            return err_input(err, "--url: \"%s\"; expected \"http://host:port\" or \"https://host\"", o->url.items[i]);
    if (o->off && !s->is_run) { // needs no base model
        find_line(s);
        return 0;
    }
    if (run_folder_names(load, &s->loaded, &o->load, s->given, err)) return -1;
    if (!load->adapter_name_or_path) load->adapter_name_or_path = (char *)s->given;
    find_line(s);
    return 0;
}

static void warn_of_memory(const Engine *e) {
    if (e->kind == ENGINE_LLAMA_CPP) log_warn("%s: " LLAMA_CPP_MEMORY, e->url);
}

static void say_engine(const Engine *e) {
    say("%s: %s%s%s ", e->url, engine_name(e), e->version[0] ? " " : "", e->version);
}

static int switch_off(Swap *s, Engine *e, Err *err) {
    size_t count;
    if (swap_unload(e, &s->line, &count, err)) return -1;
    say_engine(e);
    say(e->kind == ENGINE_LLAMA_CPP ? "selects no adapter (%zu before)\n" : "has unloaded %zu\n", count);
    warn_of_memory(e);
    return 0;
}

static int write_version(Swap *s, Err *err) {
    const Loaded *l = &s->loaded;
    AUTO_FREE char *card = model_card_text(l->model, l->adapter, s->line.name, NULL);
    if (s->version.name) return 0;
    return swap_version_write(&s->version, &s->line, l->adapter, l->model, -1, &(SwapExport){true, false, card}, err);
}

static int select_file(Swap *s, Engine *e, Err *err) {
    if (!s->gguf)
        return err_input(err,
                         "%s: llama.cpp takes GGUF adapters, of its start; expected %s with an adapter.gguf beside it, "
                         "or a .gguf file",
                         e->url, s->given);
    if (engine_select(e, s->gguf, err)) return -1;
    say_engine(e);
    say("has selected %s\n", s->gguf);
    warn_of_memory(e);
    return 0;
}

static int load_version(Swap *s, Engine *e, SwapResult *r, Err *err) {
    if (write_version(s, err) || swap_load(e, &s->version, &s->line, r, err)) return -1;
    say_engine(e);
    say("has loaded %s; requests name it as their model\n", r->name);
    return 0;
}

static int tell(Swap *s, Engine *e, Err *err) {
    const Loaded *l = &s->loaded;
    AUTO_CALL(engine_facts_clear) EngineFacts facts = {0};
    AUTO_CALL(swap_result_clear) SwapResult r = {0};
    if (engine_find(e, &facts, err)) return -1;
    if (s->o->off) return switch_off(s, e, err);
    CHECK(l->model, "no base model");
    bool by_file = e->kind == ENGINE_LLAMA_CPP;
    if (engine_check_adapter(e->kind, &facts, l->adapter, l->model, err)) return err_context(err, "%s", e->url);
    if (engine_serves(&facts, l->model) == 0)
        log_warn("%s serves %s; the adapter is for %s: expected the same base model", e->url, facts.base_model,
                 l->model->repository);
    if (by_file ? select_file(s, e, err) : load_version(s, e, &r, err)) return -1;
    if (!s->o->check.prompts) return 0;
    return check_answers_compare(&s->answers, e, by_file ? NULL : r.name, &s->o->check, err);
}

static int run_swap(const void *given, int argc, char **argv, Err *err) {
    AUTO_CALL(swap_clear) Swap s = {.o = given, .given = argv[0]};
    LoadOptions load = {0};
    const SwapCheck *check = &s.o->check;
    if (read_names(&s, &load, err)) return -1;
    if (!s.o->off && open_adapter(&s.loaded, &load, check->prompts > 0, err)) return -1;
    if (check->prompts && check_answers_make(&s.answers, &s.loaded, check, err)) return -1;
    for (size_t i = 0; i < s.o->url.count; i++) {
        Engine e = {0};
        int rc = engine_open(&e, s.o->url.items[i], s.o->engine, s.o->timeout, err);
        if (!rc) rc = tell(&s, &e, err);
        engine_close(&e);
        if (rc) return -1;
    }
    return 0;
}

const Verb verb_swap = {
    .name = "swap",
    .usage = "lorac swap ADAPTER --url URL [--name NAME] [--off] [--check N] [--model_name_or_path M]",
    .summary = "Load an adapter into a running vLLM, SGLang or llama.cpp server, or unload it",
    .help =
        "ADAPTER is the output_dir of a run, a PEFT folder or a GGUF adapter. vLLM and SGLang get a new version of "
        "it:\n"
        "written to a new folder hot_swap/NAME-1a2b3c4d in the output_dir, or next to the adapter, verified, and "
        "loaded\n"
        "under that name; then the versions before it are unloaded. Their folders stay: engines read them again. The\n"
        "server must see the folder at the same path. llama.cpp loads no adapter while it runs: of those that it was\n"
        "started with (--lora FILE --slot-save-path FOLDER --cache-ram 0) the adapter's GGUF file gets the scale 1, "
        "the\n"
        "others 0.\n\n"
        "The key in LORAC_HOT_SWAP_KEY is sent to the server; redirects are not followed, and proxies not used.",
    .example = "lorac swap out/library --url http://127.0.0.1:8000 --check 10\n"
               "  lorac swap out/library --url http://127.0.0.1:8000 --off",
    OPTIONS(options),
    .operand = "ADAPTER",
    .run = run_swap,
};

// lorac chat [RUN] [--model_name_or_path M] [--adapter NAME=PATH ...]
//
// The base model is loaded once; adapters are loaded and switched between turns. Reads a terminal or a pipe.
#include <stdio.h>
#include <string.h>

#include "answer_form.h"
#include "chat.h"
#include "json.h"
#include "line_reader.h"
#include "named_adapter.h"
#include "run_folder.h"
#include "say.h"

typedef struct Options {
    LoadOptions load;
    StrList adapter;
    char *system;
    ContextOptions room;
    SamplingOptions sampling;
    FormOptions form;
} Options;

static const Key options[] = {
    MODEL_OPTION,
    OPTION(TEXTS, adapter, .aliases = "adapter_name_or_path a",
           .help = "PATH (or owner/name) or NAME=PATH of an adapter; the first one is active at the start."),
    OPTION(TEXT, system, .help = "A system message."),
    CONTEXT_OPTIONS("Longest conversation"),
    SAMPLING_OPTIONS("512"),
    FORM_OPTIONS,
    DEVICE_OPTIONS,
};

typedef struct NamedAdapter {
    char *name;
    Adapter *adapter;
} NamedAdapter;

typedef struct Chat {
    Loaded base;
    ChatTemplate *chat_template;
    GenerateSession *session;
    GenerateOptions options;
    AnswerForm form;
    int32_t *stop;
    NamedAdapter *adapters;
    size_t n_adapters, capacity;
    const Adapter *active; // NULL: the base alone
    const char *system;
    int64_t context; // tokens of the session's cache
    bool raw;        // generated text as it is
    LineReader input;
    StrBuf messages; // JSON objects, ", " between them
} Chat;

// ---- adapters ----

static NamedAdapter *find_adapter(Chat *c, const char *name) {
    for (size_t i = 0; i < c->n_adapters; i++)
        if (strcmp(c->adapters[i].name, name) == 0) return &c->adapters[i];
    return NULL;
}

// "NAME=PATH" or "PATH": loads it and makes it the active one; an adapter of that name is replaced.
static int load_adapter(Chat *c, const char *text, Err *err) {
    AUTO_FREE char *name = NULL, *path = NULL;
    Adapter *a;
    if (named_adapter_parse(&name, &path, text, err) || adapter_load(&a, c->base.model, path, false, err)) return -1;
    if (loaded_refuse_classifier(a, path, err)) {
        adapter_free(a);
        return -1;
    }
    NamedAdapter *old = find_adapter(c, name);
    if (old) {
        if (c->session) generate_session_forget(c->session, old->adapter);
        adapter_free(old->adapter);
        old->adapter = a;
    } else {
        MEM_GROW(c->adapters, c->capacity, c->n_adapters + 1);
        c->adapters[c->n_adapters++] = (NamedAdapter){mem_take(&name), a};
    }
    c->active = a;
    return 0;
}

static int hot_swap(Chat *c, const char *text, Err *err) {
    double start = time_now();
    if (load_adapter(c, text, err)) return -1;
    say("%s loaded in %.1f ms, active\n", text, (time_now() - start) * 1e3);
    return 0;
}

static int use_adapter(Chat *c, const char *name, Err *err) {
    NamedAdapter *found = find_adapter(c, name);
    if (!found && strcmp(name, "none") != 0)
        return err_input(err, "no adapter \"%s\"; /adapters lists them, /load NAME=PATH adds one", name);
    c->active = found ? found->adapter : NULL;
    say("adapter %s active\n", name);
    return 0;
}

static int list_adapters(Chat *c, const char *rest, Err *err) {
    say("%s none\n", c->active ? " " : "*");
    for (size_t i = 0; i < c->n_adapters; i++) {
        const NamedAdapter *n = &c->adapters[i];
        AUTO_STR StrBuf rank = {0};
        adapter_print_range(&rank, n->adapter, ADAPTER_RANK);
        int64_t count = n->adapter->count; // NOLINT(clang-analyzer-core.NullDereference): each entry has one
        say("%s %s (rank %s, %ld parameter%s)\n", c->active == n->adapter ? "*" : " ", n->name, rank.data, count,
            plural(count));
    }
    return 0;
}

// ---- the conversation ----

static void add_message(Chat *c, const char *role, const char *content, size_t len) {
    str_printf(&c->messages, "%s{\"role\": \"%s\", \"content\": ", c->messages.len ? ", " : "", role);
    json_quote(&c->messages, content, len);
    str_puts(&c->messages, "}");
}

static void reset(Chat *c) {
    str_clear(&c->messages);
    if (c->system) add_message(c, "system", c->system, strlen(c->system));
}

static int encode(const Chat *c, ChatTokens *tokens, Err *err) {
    char *text = mem_printf("[%s]", c->messages.data);
    AUTO_JSON JsonDoc *doc = NULL;
    int rc = json_parse(&doc, text, strlen(text), "message", 0, err);
    mem_free(text);
    if (rc) return -1;
    ChatInput in = {.messages = json_root(doc), .add_generation_prompt = true};
    rc = chat_tokenize(tokens, c->chat_template, c->base.model->tokenizer, &in, err);
    return rc;
}

static int check_length(const Chat *c, const ChatTokens *tokens, Err *err) {
    if ((int64_t)tokens->count <= c->context) return 0;
    return err_input(err,
                     "the conversation has %zu token%s; expected at most %ld (--max_seq_length); /reset forgets it",
                     tokens->count, plural(tokens->count), c->context);
}

static void note_full(const Chat *c, const Generation *g, int64_t prompt) {
    if (g->stopped || g->count == c->options.max_new_tokens || prompt + g->count < c->context) return;
    log_warn(
        "the answer is cut off: the context of %ld token%s is full (--max_seq_length); /reset forgets the conversation",
        c->context, plural(c->context));
}

// Ctrl-C ends the answer.
static int add_token(void *printer, int64_t prompt, int32_t id) {
    return token_printer_add(printer, prompt, id) || line_reader_interrupted();
}

// One turn. A turn that fails (text that is not UTF-8, a full context) leaves the conversation unchanged.
static int answer(Chat *c, const char *line, size_t len, Err *err) {
    size_t before = c->messages.len;
    add_message(c, "user", line, len);
    AUTO_CALL(chat_tokens_clear) ChatTokens tokens = {0};
    AUTO_CALL(token_printer_clear) TokenPrinter printer = {.tokenizer = c->base.model->tokenizer, .raw = c->raw};
    GenerateOptions o = c->options;
    o.on_token = add_token;
    o.user = &printer;
    AUTO_CALL(generation_clear) Generation g = {0};
    line_reader_interrupted(); // forgets a Ctrl-C of before
    int rc = encode(c, &tokens, err);
    if (!rc) rc = check_length(c, &tokens, err);
    if (!rc)
        rc = generate_session_run(c->session, c->active, (GeneratePrompt){tokens.ids, (int64_t)tokens.count}, &o, &g,
                                  err);
    if (!rc) rc = loaded_check(&c->base, err);
    if (!rc) {
        token_printer_end(&printer);
        note_full(c, &g, (int64_t)tokens.count);
        answer_form_note(&c->form, &g);
        add_message(c, "assistant", printer.text.data ? printer.text.data : "", printer.text.len);
    } else {
        c->messages.len = before;
        if (c->messages.data) c->messages.data[before] = 0;
    }
    return rc;
}

// ---- commands ----

static int clear_messages(Chat *c, const char *rest, Err *err) {
    reset(c);
    return 0;
}

static const struct {
    const char *name, *operand, *help;
    int (*run)(Chat *c, const char *rest, Err *err); // NULL: leave
} commands[] = {
    {"/adapter", "NAME", "answer with this adapter; none: with the base model alone", use_adapter},
    {"/load", "NAME=PATH", "load a PEFT folder or GGUF adapter and use it; the base model stays unchanged", hot_swap},
    {"/adapters", "", "list the loaded adapters", list_adapters},
    {"/reset", "", "forget the conversation", clear_messages},
    {"/exit", "", "leave, as /quit and the end of the input", NULL},
    {"/quit", "", NULL, NULL},
};

// 1: leave. A wrong command does not end the conversation: it is reported.
static int command(Chat *c, const char *line) {
    enum { COMMANDS = sizeof commands / sizeof *commands };
    Err err;
    size_t n = strcspn(line, " ");
    const char *rest = line + n + strspn(line + n, " ");
    bool help = n == 5 && memcmp(line, "/help", n) == 0;
    for (size_t i = 0; help && i < COMMANDS; i++)
        if (commands[i].help) say("%-9s %-9s %s\n", commands[i].name, commands[i].operand, commands[i].help);
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strlen(commands[i].name) != n || memcmp(line, commands[i].name, n) != 0) continue;
        if (!commands[i].run) return 1;
        if (commands[i].run(c, rest, &err)) log_warn("%s", err.msg);
        return 0;
    }
    if (!help) log_warn("\"%.*s\" is not a command; /help lists them", (int)(n < 40 ? n : 40), line);
    return 0;
}

static void converse(Chat *c) {
    for (ssize_t n; (n = line_reader_next(&c->input)) >= 0;) {
        const char *line = c->input.line;
        Err err;
        if (n == 0) continue;
        if (line[0] == '/') {
            if (command(c, line)) break;
        } else if (answer(c, line, (size_t)n, &err)) {
            log_warn("%s", err.msg);
        }
    }
}

// ---- the verb ----

static int open_chat(Chat *c, const Options *o, const char *folder, Err *err) {
    LoadOptions load;
    if (run_folder_names(&load, &c->base, &o->load, folder, err)) return -1;
    load.adapter_name_or_path = NULL; // loaded by name
    if (loaded_open(&c->base, &load, NULL, err)) return -1;
    if (c->base.run_adapter && load_adapter(c, c->base.run_adapter, err)) return -1;
    for (size_t i = 0; i < o->adapter.count; i++)
        if (load_adapter(c, o->adapter.items[i], err)) return -1;
    if (c->n_adapters) c->active = c->adapters[0].adapter;
    const char *own = c->active ? c->active->chat_template : NULL; // the first adapter's, else the model's
    if (chat_template_new(&c->chat_template, c->base.model->tokenizer, own, err)) return -1;
    const Model *m = c->base.model;
    c->stop = generate_stop_ids(m, chat_template_end_of_turn(c->chat_template), &c->options.n_stop);
    c->options.stop = c->stop;
    reset(c);
    if (answer_form_open(&c->form, &o->form, m->tokenizer, err)) return -1;
    c->options.constraint = c->form.constraint;
    return choose_context(&c->context, m, 1, &o->room, err);
}

static void close_chat(Chat *c) {
    generate_session_free(c->session);
    answer_form_close(&c->form);
    for (size_t i = 0; i < c->n_adapters; i++) {
        mem_free(c->adapters[i].name);
        adapter_free(c->adapters[i].adapter);
    }
    mem_free(c->adapters);
    mem_free(c->stop);
    str_clear(&c->messages);
    chat_template_free(c->chat_template);
    loaded_close(&c->base);
}

static int run_chat(const void *given, int argc, char **argv, Err *err) {
    const Options *o = given;
    Chat c = {.system = o->system, .raw = o->sampling.raw, .options = sampling_generate_options(&o->sampling)};
    line_reader_open(&c.input);
    int rc = open_chat(&c, o, argc ? argv[0] : NULL, err);
    if (!rc) {
        c.session = generate_session_new(c.base.model, c.context);
        converse(&c);
        rc = loaded_check(&c.base, err);
    }
    close_chat(&c);
    line_reader_close(&c.input);
    return rc;
}

const Verb verb_chat = {
    .name = "chat",
    .usage = "lorac chat (RUN / --model_name_or_path M) [--adapter NAME=PATH ...]",
    .summary = "Hold a conversation on the terminal; switch adapters without reloading the base model",
    .help =
        "RUN is the output_dir of a run: its base model, and its adapter under the folder's name. Reads a terminal\n"
        "or a pipe. /help lists the commands of the conversation; Ctrl-C ends an answer, or at the prompt the\n"
        "program.",
    .example = "lorac chat out/library",
    OPTIONS(options),
    .operand = "[RUN]",
    .run = run_chat,
};

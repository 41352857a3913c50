// lorac generate --model_name_or_path M [--adapter_name_or_path A] (--prompt S / --messages F.json) ...
#include <stdio.h>
#include <string.h>

#include "chat.h"
#include "cli.h"
#include "dialog.h"
#include "file_faults.h"
#include "fileio.h"
#include "loaded.h"
#include "records.h"
#include "token_printer.h"

enum { MAX_FILE = 64 << 20 };

typedef struct Request {
    DeviceWords on;
    const char *model, *adapter, *prompt, *messages, *chat_template;
    int64_t max_new_tokens, seed;
    double temperature, top_p;
    bool parse_special, raw;
} Request;

typedef struct Prompt {
    int32_t *ids;
    size_t count;
    int32_t end_of_turn; // -1: none
} Prompt;

// Raw text, with BOS where the model's tokenizer asks for one and the text does not begin with it.
static int encode_text(Prompt *p, const Tokenizer *t, const char *text, bool parse_special, Err *err) {
    TokenIds ids = {0};
    tokenizer_encode(t, text, strlen(text), NULL, parse_special, &ids);
    bool bos = tokenizer_add_bos(t) && (!ids.count || ids.ids[0] != tokenizer_bos(t));
    p->ids = mem_alloc(ids.count + 1, sizeof *p->ids);
    if (bos) p->ids[0] = tokenizer_bos(t);
    if (ids.count) memcpy(p->ids + bos, ids.ids, ids.count * sizeof *p->ids);
    p->count = ids.count + bos;
    p->end_of_turn = -1;
    int rc = token_ids_check(&ids, err);
    token_ids_clear(&ids);
    return rc;
}

// A list of messages, or an object with messages and what else the template wants: read as a record of data is, so that
// the prompt has the tokens that were trained.
static int encode_messages(Prompt *p, const ChatTemplate *c, const Tokenizer *t, const Json *root, const char *path,
                           Err *err) {
    Dialog d = {.template = chat_template_source(c)};
    ChatTokens tokens = {0};
    Json record = *root;
    if (root->type == JSON_ARRAY) record = json_with(&d.pool, NULL, "messages", *root);
    const Json *generate = json_given(&record, "add_generation_prompt");
    int rc = dialog_read(&d, &record, FORMAT_MESSAGES, true, err);
    ChatInput in = {&d.messages, d.tools, d.extra, .add_generation_prompt = !generate || generate->type != JSON_FALSE};
    if (!rc) rc = chat_tokenize(&tokens, c, t, &in, err);
    if (!rc && *tokens.unrendered)
        log_warn("%s: %s%s: the chat template leaves out its text", path, *tokens.unrendered == '[' ? "messages" : "",
                 tokens.unrendered);
    p->ids = tokens.ids;
    p->count = tokens.count;
    p->end_of_turn = chat_template_end_of_turn(c);
    tokens.ids = NULL;
    chat_tokens_clear(&tokens);
    dialog_clear(&d);
    return rc ? err_context(err, "%s", path) : 0;
}

static int encode_file(Prompt *p, const Request *r, const Loaded *l, Err *err) {
    char *text = NULL, *source = NULL;
    const Tokenizer *t = l->model->tokenizer;
    const char *own = l->adapter ? l->adapter->chat_template : NULL;
    size_t size;
    JsonDoc *doc = NULL;
    ChatTemplate *c = NULL;
    int rc = file_read(&text, &size, r->messages, MAX_FILE, err);
    if (rc == 0) rc = fault_in_file(r->messages, text, size, true, err);
    const char *json = rc ? NULL : text_skip_mark(text, &size);
    if (rc == 0) rc = json_parse_data(&doc, json, size, r->messages, 1, err);
    if (rc == 0 && r->chat_template) rc = file_read(&source, &size, r->chat_template, MAX_FILE, err);
    if (rc == 0) rc = chat_template_new(&c, t, source ? text_skip_mark(source, &size) : own, err);
    if (rc == 0) rc = encode_messages(p, c, t, json_root(doc), r->messages, err);
    chat_template_free(c);
    json_free(doc);
    mem_free(source);
    mem_free(text);
    return rc;
}

static int answer(const Loaded *l, const Request *r, const Prompt *p, Err *err) {
    TokenPrinter printer = {.tokenizer = l->model->tokenizer, .raw = r->raw};
    GenerateOptions o = {.max_new_tokens = r->max_new_tokens,
                         .temperature = (float)r->temperature,
                         .top_p = (float)r->top_p,
                         .seed = (uint64_t)r->seed,
                         .batch = 1,
                         .on_token = token_printer_add,
                         .user = &printer};
    int32_t *stop = generate_stop_ids(l->model, p->end_of_turn, &o.n_stop);
    o.stop = stop;
    GeneratePrompt prompt = {p->ids, (int64_t)p->count};
    Generation g = {0};
    int rc = generate(l->model, l->adapter, &prompt, 1, &o, &g, err);
    if (rc == 0) token_printer_end(&printer);
    if (rc == 0) rc = loaded_check(l, err);
    generation_clear(&g);
    token_printer_clear(&printer);
    mem_free(stop);
    return rc;
}

static int parse(Request *r, int argc, char **argv, Err *err) {
    const ArgSpec specs[] = {MODEL_ARGS(&r->model),
                             DEVICE_ARGS(&r->on),
                             {"adapter_name_or_path", ARG_STRING, &r->adapter, NULL},
                             {"prompt", ARG_STRING, &r->prompt, NULL},
                             {"messages", ARG_STRING, &r->messages, NULL},
                             {"chat_template", ARG_STRING, &r->chat_template, NULL},
                             {"max_new_tokens", ARG_INT, &r->max_new_tokens, NULL},
                             {"temperature", ARG_FLOAT, &r->temperature, NULL},
                             {"top_p", ARG_FLOAT, &r->top_p, NULL},
                             {"raw", ARG_BOOL, &r->raw, NULL},
                             {"parse_special", ARG_BOOL, &r->parse_special, NULL},
                             {"seed", ARG_INT, &r->seed, NULL}};
    if (args_parse(argc, argv, specs, sizeof specs / sizeof *specs, NULL, 0, NULL, err)) return -1;
    if (!r->prompt == !r->messages) return err_input(err, "generate: expected one of --prompt and --messages");
    return 0;
}

static int run_generate(int argc, char **argv, Err *err) {
    Request r = {.parse_special = true, .max_new_tokens = 256, .top_p = 1, .seed = 42};
    Loaded l = {0};
    Prompt p = {0};
    int rc = parse(&r, argc, argv, err);
    if (rc == 0) rc = loaded_open(&l, &r.on, r.model, r.adapter, NULL, err);
    if (rc == 0 && r.prompt) rc = encode_text(&p, l.model->tokenizer, r.prompt, r.parse_special, err);
    if (rc == 0 && r.messages) rc = encode_file(&p, &r, &l, err);
    if (rc == 0) rc = answer(&l, &r, &p, err);
    mem_free(p.ids);
    loaded_close(&l);
    return rc;
}

const Verb verb_generate = {
    .name = "generate",
    .usage = "lorac generate --model_name_or_path M [--adapter_name_or_path A] (--prompt S / --messages F.json)",
    .summary = "Text from a model, with or without an adapter",
    .help =
        "  --prompt S           raw text that is continued\n"
        "  --parse_special B    whether control tokens written in S are tokens (true)\n"
        "  --messages F.json    a conversation that is answered through the chat template: a list of messages, or\n"
        "                       {\"messages\": [...], \"tools\": [...], \"add_generation_prompt\": true}\n"
        "  --chat_template T    a .jinja file instead of the adapter's or the model's\n"
        "  --max_new_tokens N   256\n"
        "  --temperature T      0: greedy, always the most likely token\n"
        "  --top_p P            1: off; else only the most likely tokens that reach this probability together\n"
        "  --seed S             42; the same seed gives the same text\n"
        "  --raw                control characters too reach a terminal; else they are written as \\x1B\n" DEVICE_HELP
        "\n"
        "  lorac generate --model_name_or_path base.gguf --prompt \"The capital of France is\"\n",
    .run = run_generate,
};

// lorac generate --model_name_or_path M [--adapter_name_or_path A] (--prompt S / --messages F.json) ...
#include <string.h>

#include "verb_model.h"

typedef struct Options {
    LoadOptions load;
    char *prompt, *messages, *chat_template;
    bool parse_special;
    SamplingOptions sampling;
} Options;

static const Key options[] = {
    MODEL_OPTION,
    ADAPTER_OPTION(),
    OPTION(TEXT, prompt, .help = "Raw text to continue."),
    OPTION(BOOL, parse_special, .standard = "true", .help = "Control tokens spelled out in the prompt are tokens."),
    OPTION(PATH, messages,
           .help = "A conversation to answer through the chat template: a list of messages, or {\"messages\": [...], "
                   "\"tools\": [...], \"add_generation_prompt\": true}."),
    OPTION(PATH, chat_template, .help = "A .jinja file to use instead of the adapter's or the model's."),
    SAMPLING_OPTIONS("256"),
    DEVICE_OPTIONS,
};

typedef struct Prompt {
    int32_t *ids;
    size_t count;
    int32_t end_of_turn; // -1: none
} Prompt;

// Raw text, after BOS if the tokenizer adds one and the text does not begin with it.
static int encode_text(Prompt *p, const Tokenizer *t, const char *text, bool parse_special, Err *err) {
    AUTO_IDS TokenIds ids = {0};
    tokenizer_encode(t, text, strlen(text), NULL, parse_special, &ids);
    bool bos = t->add_bos && (!ids.count || ids.ids[0] != t->bos);
    p->ids = mem_alloc(ids.count + 1, sizeof *p->ids);
    if (bos) p->ids[0] = t->bos;
    if (ids.count) memcpy(p->ids + bos, ids.ids, ids.count * sizeof *p->ids);
    p->count = ids.count + bos;
    p->end_of_turn = -1;
    return token_ids_check(&ids, err);
}

static int encode_messages(Prompt *p, const Options *o, const Loaded *l, Err *err) {
    AUTO_CALL(chat_tokens_clear) ChatTokens tokens = {0};
    ChatTemplate *chat;
    MessagesFile f = {.path = o->messages,
                      .template_path = o->chat_template,
                      .own_template = l->adapter ? l->adapter->chat_template : NULL,
                      .tokenizer = l->model->tokenizer,
                      .add_generation_prompt = true};
    int rc = messages_file_tokenize(&tokens, &chat, &f, err);
    if (!rc) *p = (Prompt){mem_take(&tokens.ids), tokens.count, chat_template_end_of_turn(chat)};
    chat_template_free(chat);
    return rc;
}

static int answer(const Loaded *l, const Options *o, const Prompt *p, Err *err) {
    AUTO_CALL(token_printer_clear) TokenPrinter printer = {.tokenizer = l->model->tokenizer, .raw = o->sampling.raw};
    GenerateOptions how = sampling_generate_options(&o->sampling);
    AUTO_FREE int32_t *stop = generate_stop_ids(l->model, p->end_of_turn, &how.n_stop);
    how.stop = stop;
    how.on_token = token_printer_add;
    how.user = &printer;
    GeneratePrompt prompt = {p->ids, (int64_t)p->count};
    AUTO_CALL(generation_clear) Generation g = {0};
    if (generate(l->model, l->adapter, &prompt, 1, &how, &g, err)) return -1;
    token_printer_end(&printer);
    return loaded_check(l, err);
}

static int run_generate(const void *given, int argc, char **argv, Err *err) {
    const Options *o = given;
    AUTO_CALL(loaded_close) Loaded l = {0};
    Prompt p = {0};
    if (!o->prompt == !o->messages) return err_input(err, "generate: expected one of --prompt and --messages");
    int rc = loaded_open(&l, &o->load, NULL, err);
    if (!rc)
        rc = o->prompt ? encode_text(&p, l.model->tokenizer, o->prompt, o->parse_special, err)
                       : encode_messages(&p, o, &l, err);
    if (!rc) rc = answer(&l, o, &p, err);
    mem_free(p.ids);
    return rc;
}

const Verb verb_generate = {
    .name = "generate",
    .usage = "lorac generate --model_name_or_path M [--adapter_name_or_path A] (--prompt S / --messages F.json)",
    .summary = "Generate text with a model, with or without an adapter",
    .example = "lorac generate --model_name_or_path base.gguf --prompt \"The capital of France is\"",
    OPTIONS(options),
    .run = run_generate,
};

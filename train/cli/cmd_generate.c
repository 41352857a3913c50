// lorac generate RUN QUESTION, or --model_name_or_path M [--adapter_name_or_path A] (--prompt S / --messages F) ...
#include <string.h>

#include "answer_form.h"
#include "run_folder.h"

typedef struct Options {
    LoadOptions load;
    char *prompt, *messages, *chat_template;
    bool parse_special;
    SamplingOptions sampling;
    FormOptions form;
} Options;

static const Key options[] = {
    MODEL_OPTION,
    ADAPTER_OPTION,
    OPTION(TEXT, prompt, .aliases = "p", .help = "Raw text to continue."),
    OPTION(BOOL, parse_special, .standard = "true", .help = "Control tokens spelled out in the prompt are tokens."),
    OPTION(PATH, messages,
           .help = "A conversation to answer through the chat template, a file or JSON: a list of messages, or "
                   "{\"messages\": [...], \"tools\": [...], \"add_generation_prompt\": true}."),
    OPTION(PATH, chat_template,
           .help = "A .jinja file, or a name (chatml, llama3, ...), to use instead of the adapter's or the model's."),
    SAMPLING_OPTIONS("256"),
    FORM_OPTIONS,
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

static int encode_messages(Prompt *p, const Options *o, const char *messages, const Loaded *l, Err *err) {
    AUTO_CALL(chat_tokens_clear) ChatTokens tokens = {0};
    ChatTemplate *chat;
    MessagesFile f = {.path = messages,
                      .template_path = o->chat_template,
                      .own_template = l->adapter ? l->adapter->chat_template : NULL,
                      .tokenizer = l->model->tokenizer,
                      .add_generation_prompt = true};
    int rc = messages_file_tokenize(&tokens, &chat, &f, err);
    if (!rc) *p = (Prompt){mem_take(&tokens.ids), tokens.count, chat_template_end_of_turn(chat)};
    chat_template_free(chat);
    return rc;
}

// The user's turn of a conversation, as a run trains a prompt: a model without a template gets it as raw text.
static int encode_question(Prompt *p, const Options *o, const char *question, const Loaded *l, Err *err) {
    const Tokenizer *t = l->model->tokenizer;
    if (!o->chat_template && !(l->adapter && l->adapter->chat_template) && !t->chat_template)
        return encode_text(p, t, question, o->parse_special, err);
    cJSON *messages = cJSON_CreateArray(), *turn = cJSON_CreateObject();
    cJSON_AddStringToObject(turn, "role", "user");
    cJSON_AddStringToObject(turn, "content", question);
    cJSON_AddItemToArray(messages, turn);
    char *text = cJSON_PrintUnformatted(messages);
    int rc = encode_messages(p, o, text, l, err);
    cJSON_free(text);
    cJSON_Delete(messages);
    return rc;
}

static int encode(Prompt *p, const Options *o, const char *question, const Loaded *l, Err *err) {
    if (question) return encode_question(p, o, question, l, err);
    if (o->messages) return encode_messages(p, o, o->messages, l, err);
    return encode_text(p, l->model->tokenizer, o->prompt, o->parse_special, err);
}

static int answer(const Loaded *l, const Options *o, const Prompt *p, Err *err) {
    AUTO_CALL(token_printer_clear) TokenPrinter printer = {.tokenizer = l->model->tokenizer, .raw = o->sampling.raw};
    AUTO_CALL(answer_form_close) AnswerForm form = {0};
    if (answer_form_open(&form, &o->form, l->model->tokenizer, err)) return -1;
    GenerateOptions how = sampling_generate_options(&o->sampling);
    how.constraint = form.constraint;
    AUTO_FREE int32_t *stop = generate_stop_ids(l->model, p->end_of_turn, &how.n_stop);
    how.stop = stop;
    how.on_token = token_printer_add;
    how.user = &printer;
    GeneratePrompt prompt = {p->ids, (int64_t)p->count};
    AUTO_CALL(generation_clear) Generation g = {0};
    if (generate(l->model, l->adapter, &prompt, 1, &how, &g, err)) return -1;
    token_printer_end(&printer);
    answer_form_note(&form, &g);
    return loaded_check(l, err);
}

static int run_generate(const void *given, int argc, char **argv, Err *err) {
    const Options *o = given;
    AUTO_CALL(loaded_close) Loaded l = {0};
    LoadOptions load;
    Prompt p = {0};
    const char *folder = argc > 0 && run_folder_is(argv[0]) ? argv[0] : NULL;
    const char *question = argc > (folder ? 1 : 0) ? argv[argc - 1] : NULL;
    bool is_run = argc == 2 || (!o->load.model_name_or_path && (o->prompt || o->messages)); // argv[0] is meant as RUN
    if (argc > 0 && !folder && is_run) return run_folder_names(&load, &l, &(LoadOptions){0}, argv[0], err);
    if (!question + !o->prompt + !o->messages != 2)
        return err_input(err, "generate: expected one of QUESTION, --prompt and --messages");
    int rc = run_folder_names(&load, &l, &o->load, folder, err);
    if (!rc) rc = loaded_open(&l, &load, NULL, err);
    if (!rc) rc = encode(&p, o, question, &l, err);
    if (!rc) rc = answer(&l, o, &p, err);
    mem_free(p.ids);
    return rc;
}

const Verb verb_generate = {
    .name = "generate",
    .usage = "lorac generate RUN QUESTION\n"
             "       lorac generate --model_name_or_path M [--adapter_name_or_path A]\n"
             "             (QUESTION / --prompt S / --messages F.json)",
    .summary = "Generate text with a model, with or without an adapter",
    .help =
        "RUN is the output_dir of a run: its base model and its adapter answer. QUESTION is a user's message, given\n"
        "to the chat template as in training; --prompt is raw text.",
    .example = "lorac generate out/library \"When do you open?\"\n"
               "  lorac generate -m base.gguf -p \"The capital of France is\" -n 16",
    OPTIONS(options),
    .operand = "[RUN]",
    .operands = 2,
    .run = run_generate,
};

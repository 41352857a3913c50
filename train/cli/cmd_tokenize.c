// lorac tokenize: text or a conversation to ids and mask, as one JSON line.
#include <stdio.h>
#include <string.h>

#include "chat.h"
#include "cli.h"
#include "dialog.h"
#include "file_faults.h"
#include "fileio.h"
#include "model.h"
#include "records.h"
#include "run_data.h"
#include "say.h"

enum { MAX_INPUT_BYTES = 1 << 30 };

typedef struct Words {
    const char *model, *text, *file, *messages, *chat_template;
    bool add_special_tokens, train_on_inputs, parse_special, has_text;
} Words;

static int parse_words(Words *w, int argc, char **argv, Err *err) {
    const ArgSpec specs[] = {
        {"model_name_or_path", ARG_STRING, &w->model, NULL},
        {"base_model", ARG_STRING, &w->model, NULL},
        {"model", ARG_STRING, &w->model, NULL},
        {"text", ARG_STRING, &w->text, &w->has_text},
        {"file", ARG_STRING, &w->file, NULL},
        {"messages", ARG_STRING, &w->messages, NULL},
        {"chat_template", ARG_STRING, &w->chat_template, NULL},
        {"add_special_tokens", ARG_BOOL, &w->add_special_tokens, NULL},
        {"train_on_inputs", ARG_BOOL, &w->train_on_inputs, NULL},
        {"parse_special", ARG_BOOL, &w->parse_special, NULL},
    };
    size_t n_words;
    if (args_parse(argc, argv, specs, sizeof specs / sizeof *specs, NULL, 0, &n_words, err)) return -1;
    if (!w->model) return err_input(err, "tokenize: --model_name_or_path is missing");
    if (w->has_text + !!w->file + !!w->messages != 1)
        return err_input(err, "tokenize: expected one of --text, --file and --messages");
    return 0;
}

// ---- output ----

// The one line.
static void print_line(const char *text, size_t len, const int32_t *ids, const uint8_t *supervised, size_t count) {
    StrBuf out = {0}, mask = {0};
    const char *comma = "";
    str_puts(&out, "{\"text\": ");
    json_quote(&out, text, len);
    str_puts(&out, ", \"input_ids\": [");
    for (size_t i = 0; i < count; i++, comma = ", ") {
        str_printf(&out, "%s%d", comma, ids[i]);
        str_printf(&mask, "%s%d", comma, *comma && (!supervised || supervised[i])); // nothing predicts the first token
    }
    say("%s], \"supervised\": [%s]}\n", out.data, mask.data ? mask.data : "");
    str_clear(&out);
    str_clear(&mask);
}

// ---- plain text ----

static int tokenize_text(const Words *w, const Tokenizer *t, const char *name, const char *text, size_t len, Err *err) {
    if (text_check(name, text, len, err)) return -1;
    TokenIds ids = {0};
    if (w->add_special_tokens)
        tokenizer_encode_framed(t, text, len, w->parse_special, &ids);
    else
        tokenizer_encode(t, text, len, NULL, w->parse_special, &ids);
    int rc = token_ids_check(&ids, err);
    if (!rc) print_line(text, len, ids.ids, NULL, ids.count);
    token_ids_clear(&ids);
    return rc;
}

static int tokenize_file(const Words *w, const Tokenizer *t, Err *err) {
    char *text;
    size_t size;
    if (file_read(&text, &size, w->file, MAX_INPUT_BYTES, err)) return -1;
    int rc = tokenize_text(w, t, w->file, text, size, err);
    mem_free(text);
    return rc;
}

// ---- conversations ----

static int encode_messages(const Words *w, const Tokenizer *t, const ChatTemplate *chat, const Json *root, Err *err) {
    Dialog d = {.template = chat ? chat_template_source(chat) : NULL};
    ChatTokens out = {0};
    Json record = *root;
    if (root->type == JSON_ARRAY) record = json_with(&d.pool, NULL, "messages", *root);
    const Json *prompt = json_given(&record, "add_generation_prompt");
    int rc = dialog_read(&d, &record, FORMAT_MESSAGES, chat != NULL, err);
    if (!rc && prompt && prompt->type != JSON_TRUE && prompt->type != JSON_FALSE)
        rc = err_input(err, "add_generation_prompt: found %s; expected true or false", json_type_name(prompt));
    ChatInput in = {&d.messages, d.tools, d.extra, prompt && prompt->type == JSON_TRUE, w->train_on_inputs};
    if (!rc) rc = chat_tokenize(&out, chat, t, &in, err);
    if (!rc && *out.unrendered)
        log_warn("%s: %s%s: the chat template leaves out its text", w->messages,
                 *out.unrendered == '[' ? "messages" : "", out.unrendered);
    if (!rc) print_line(out.text, out.text_len, out.ids, out.supervised, out.count);
    chat_tokens_clear(&out);
    dialog_clear(&d);
    return rc ? err_context(err, "%s", w->messages) : 0;
}

static int tokenize_messages(const Words *w, const Tokenizer *t, Err *err) {
    const Config c = {.chat_template = (char *)w->chat_template};
    ChatTemplate *chat;
    JsonDoc *doc = NULL;
    char *text = NULL;
    size_t size;
    int rc = run_chat_template(&c, t, &chat, err);
    if (!rc) rc = file_read(&text, &size, w->messages, MAX_INPUT_BYTES, err);
    if (!rc) rc = fault_in_file(w->messages, text, size, true, err);
    const char *json = rc ? NULL : text_skip_mark(text, &size);
    if (!rc) rc = json_parse_data(&doc, json, size, w->messages, 1, err);
    if (!rc) rc = encode_messages(w, t, chat, json_root(doc), err);
    json_free(doc);
    mem_free(text);
    chat_template_free(chat);
    return rc;
}

// ---- the verb ----

static int run_tokenize(int argc, char **argv, Err *err) {
    Words w = {.parse_special = true};
    Tokenizer *t = NULL;
    int rc = parse_words(&w, argc, argv, err);
    if (!rc) rc = model_load_tokenizer(&t, w.model, err);
    if (rc) return -1;
    if (w.messages)
        rc = tokenize_messages(&w, t, err);
    else if (w.file)
        rc = tokenize_file(&w, t, err);
    else
        rc = tokenize_text(&w, t, "--text", w.text, strlen(w.text), err);
    tokenizer_free(t);
    return rc;
}

const Verb verb_tokenize = {
    .name = "tokenize",
    .usage = "lorac tokenize --model_name_or_path M (--text S / --file F / --messages F.json)",
    .summary = "Print the token ids of a text, or of a conversation with what would be learned of it",
    .help = "Prints one JSON line: {\"text\": rendered, \"input_ids\": [...], \"supervised\": [0, 1, ...]}.\n"
            "M needs no weights: a vocabulary-only GGUF or a folder with tokenizer.json is enough.\n\n"
            "  --text S, --file F      plain text; control tokens written in it (<|im_end|>) are recognised\n"
            "  --parse_special false   they are not: plain text, as in training with parse_special: false\n"
            "  --messages F.json       a list of messages, or {\"messages\", \"tools\", \"add_generation_prompt\",\n"
            "                          \"chat_template_kwargs\"}; text of messages never becomes a control token\n"
            "  --chat_template T.jinja instead of the model's own\n"
            "  --add_special_tokens    put the model's own tokens (BOS, EOS, [CLS]) around plain text (false)\n"
            "  --train_on_inputs       supervise the whole conversation (false)\n\n"
            "  lorac tokenize --model_name_or_path base.gguf --text \"Hello world\"\n",
    .run = run_tokenize,
};

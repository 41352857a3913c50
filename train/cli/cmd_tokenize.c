// lorac tokenize: text or a conversation to ids and mask, as one JSON line.
#include <string.h>

#include "cli.h"
#include "fileio.h"
#include "json.h"
#include "records.h"
#include "say.h"
#include "verb_model.h"

enum { MAX_INPUT_BYTES = 1 << 30 };

typedef struct Options {
    LoadOptions load;
    char *text, *file, *messages, *chat_template;
    bool add_special_tokens, train_on_inputs, parse_special;
} Options;

static const Key options[] = {
    LOAD_OPTION(PATH, model_name_or_path, .aliases = "base_model model m", .flags = OPTION_REQUIRED | OPTION_HUB,
                .help = "Base model: a Hugging Face folder, a .gguf file or owner/name. Required."),
    OPTION(TEXT, text, .help = "Plain text."),
    OPTION(PATH, file, .help = "A file of plain text."),
    OPTION(BOOL, parse_special, .standard = "true",
           .help = "Control tokens spelled out in plain text (<|im_end|>) are tokens."),
    OPTION(BOOL, add_special_tokens, .help = "Put the model's own tokens (BOS, EOS, [CLS]) around plain text."),
    OPTION(PATH, messages,
           .help = "A list of messages, or {\"messages\", \"tools\", \"add_generation_prompt\", "
                   "\"chat_template_kwargs\"}. Text of messages never becomes a control token."),
    OPTION(PATH, chat_template,
           .help = "A .jinja file, or a name (chatml, llama3, ...), to use instead of the model's chat template."),
    OPTION(BOOL, train_on_inputs, .help = "Supervise the whole conversation."),
};

// The one line, as it may be too long for a tree of values.
static void print_line(const char *text, size_t len, const int32_t *ids, const uint8_t *supervised, size_t count) {
    AUTO_STR StrBuf out = {0}, mask = {0};
    const char *comma = "";
    str_puts(&out, "{\"text\": ");
    json_quote(&out, text, len);
    str_puts(&out, ", \"input_ids\": [");
    for (size_t i = 0; i < count; i++, comma = ", ") {
        str_printf(&out, "%s%d", comma, ids[i]);
        str_printf(&mask, "%s%d", comma, *comma && (!supervised || supervised[i])); // nothing predicts the first token
    }
    say("%s], \"supervised\": [%s]}\n", out.data, mask.data ? mask.data : "");
}

static int tokenize_text(const Options *o, const Tokenizer *t, const char *name, const char *text, size_t len,
                         Err *err) {
    if (text_check(name, text, len, err)) return -1;
    AUTO_IDS TokenIds ids = {0};
    if (o->add_special_tokens)
        tokenizer_encode_framed(t, text, len, o->parse_special, &ids);
    else
        tokenizer_encode(t, text, len, NULL, o->parse_special, &ids);
    if (token_ids_check(&ids, err)) return -1;
    print_line(text, len, ids.ids, NULL, ids.count);
    return 0;
}

static int tokenize_file(const Options *o, const Tokenizer *t, Err *err) {
    AUTO_FREE char *text = NULL;
    size_t size;
    if (file_read(&text, &size, o->file, MAX_INPUT_BYTES, err)) return -1;
    return tokenize_text(o, t, o->file, text, size, err);
}

static int tokenize_messages(const Options *o, const Tokenizer *t, Err *err) {
    AUTO_CALL(chat_tokens_clear) ChatTokens tokens = {0};
    ChatTemplate *chat;
    MessagesFile f = {
        .path = o->messages, .template_path = o->chat_template, .tokenizer = t, .train_on_inputs = o->train_on_inputs};
    int rc = messages_file_tokenize(&tokens, &chat, &f, err);
    if (!rc) print_line(tokens.text, tokens.text_len, tokens.ids, tokens.supervised, tokens.count);
    chat_template_free(chat);
    return rc;
}

static int run_tokenize(const void *given, int argc, char **argv, Err *err) {
    const Options *o = given;
    AUTO_TOKENIZER Tokenizer *t = NULL;
    if (!!o->text + !!o->file + !!o->messages != 1)
        return err_input(err, "tokenize: expected one of --text, --file and --messages");
    if (model_load_tokenizer(&t, o->load.model_name_or_path, err)) return -1;
    return o->messages ? tokenize_messages(o, t, err)
           : o->file   ? tokenize_file(o, t, err)
                       : tokenize_text(o, t, "--text", o->text, strlen(o->text), err);
}

const Verb verb_tokenize = {
    .name = "tokenize",
    .usage = "lorac tokenize --model_name_or_path M (--text S / --file F / --messages F.json)",
    .summary = "Print the token ids of a text, or of a conversation with its supervised tokens",
    .help = "Prints one JSON line: {\"text\": rendered, \"input_ids\": [...], \"supervised\": [0, 1, ...]}.\n"
            "M needs no weights: a vocabulary-only GGUF or a folder with tokenizer.json is enough.",
    .example = "lorac tokenize --model_name_or_path base.gguf --text \"Hello world\"",
    OPTIONS(options),
    .run = run_tokenize,
};

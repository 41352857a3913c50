#include "messages_file.h"

#include "dialog.h"
#include "file_faults.h"
#include "fileio.h"
#include "json.h"
#include "records.h"
#include "run_data.h"

enum { MAX_BYTES = 1 << 30 };

static int tokenize(ChatTokens *out, const ChatTemplate *chat, const MessagesFile *f, const Json *root, Err *err) {
    AUTO_CALL(dialog_clear) Dialog d = {.template = chat ? chat_template_source(chat) : NULL};
    Json record = *root;
    if (root->type == JSON_ARRAY) record = json_with(&d.pool, NULL, "messages", *root);
    const Json *prompt = json_given(&record, "add_generation_prompt");
    int rc = dialog_read(&d, &record, FORMAT_MESSAGES, chat != NULL, err);
    if (!rc && prompt && prompt->type != JSON_TRUE && prompt->type != JSON_FALSE)
        rc = err_input(err, "add_generation_prompt: found %s; expected true or false", json_type_name(prompt));
    ChatInput in = {&d.messages, d.tools, d.extra, prompt ? prompt->type == JSON_TRUE : f->add_generation_prompt,
                    f->train_on_inputs};
    if (!rc) rc = chat_tokenize(out, chat, f->tokenizer, &in, err);
    if (!rc && *out->unrendered)
        log_warn("%s: %s%s: the chat template leaves out its text", f->path, *out->unrendered == '[' ? "messages" : "",
                 out->unrendered);
    return rc ? err_context(err, "%s", f->path) : 0;
}

int messages_file_tokenize(ChatTokens *out, ChatTemplate **chat, const MessagesFile *f, Err *err) {
    const Config c = {.chat_template = (char *)f->template_path};
    AUTO_FREE char *text = NULL;
    size_t size;
    AUTO_JSON JsonDoc *doc = NULL;
    *chat = NULL;
    int rc = f->template_path || !f->own_template ? run_chat_template(&c, f->tokenizer, chat, err)
                                                  : chat_template_new(chat, f->tokenizer, f->own_template, err);
    if (!rc) rc = file_read(&text, &size, f->path, MAX_BYTES, err);
    if (!rc) rc = fault_in_file(f->path, text, size, true, err);
    const char *json = rc ? NULL : text_skip_mark(text, &size);
    if (!rc) rc = json_parse_data(&doc, json, size, f->path, 1, err);
    if (!rc) rc = tokenize(out, *chat, f, json_root(doc), err);
    return rc;
}

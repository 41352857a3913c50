// messages_file: the file of --messages to tokens, through a chat template.
//
// A list of messages, or an object {"messages", "tools", "add_generation_prompt", "chat_template_kwargs"}. It is read
// as a record of data is, so that a prompt has the tokens that were trained.
#pragma once

#include "chat.h"

typedef struct MessagesFile {
    const char *path, *template_path; // template_path NULL: own_template
    const char *own_template;         // source of a template; NULL: the model's
    const Tokenizer *tokenizer;
    bool add_generation_prompt; // unless the file has this key
    bool train_on_inputs;
} MessagesFile;

// *chat is set even on failure (maybe to NULL); the caller frees both.
int messages_file_tokenize(ChatTokens *out, ChatTemplate **chat, const MessagesFile *f, Err *err);

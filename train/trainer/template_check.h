// template_check: names of templates and tokens that other tools' configs have, against the model's own.
#pragma once

#include "chat.h"
#include "config.h"

// chat: the template of the run, or NULL. Refused: a `template` whose tokens the chat template does not write, an
// `eos_token` that neither ends the model's texts nor occurs in the template.
int template_check(const Config *c, const Tokenizer *t, const ChatTemplate *chat, Err *err);

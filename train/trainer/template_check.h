// template_check: names of templates that other tools' configs have, against the model's own.
#pragma once

#include "chat.h"
#include "config.h"

// chat: the template of the run, or NULL. Refused: a `template` whose tokens the chat template does not write.
int template_check(const Config *c, const ChatTemplate *chat, Err *err);

// chat_mask: which bytes of a rendered conversation are supervised. Private to this room.
#pragma once

#include "chat_text.h"

// One byte per byte of out.text: 1: supervised. The caller frees. everything: all but messages that exclude themselves.
uint8_t *chat_supervised_bytes(const ChatText *x, bool everything);

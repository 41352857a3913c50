// message_training: whether a message is trained on, by its own keys (Axolotl, OpenAI, ms-swift, XTuner, torchtune):
// train, training, trainable, weight, loss, loss_mask; masked and mask mean the opposite. Values are true and false, or
// 1 and 0. One key that excludes the message is enough.
#pragma once

#include "json_pool.h"

typedef enum {
    TRAINED_AS_ROLE,  // no key, or one that asks for no more than the role gives: 1, or masked: false
    TRAINED,          // a key is true
    NOT_TRAINED,      // a key excludes it
    TRAINED_AS_PROMPT // message_of_prompt
} MessageTraining;
MessageTraining message_training(const Json *message);
bool message_is_trained(const Json *message); // an assistant's, without train_on_inputs
bool message_is_mask_key(const char *key);
int message_check_mask_keys(const Json *message, const char *what, Err *err); // what: its place, for messages
// The message as a part of a prompt: trained only with train_on_inputs.
Json message_of_prompt(JsonPool *pool, const Json *message);

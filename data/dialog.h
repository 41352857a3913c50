// dialog: one record of a data file to what the chat template or the tokenizer takes. Knows the formats, not tokens.
//
// Recognised by these keys, in this order:
//   input_ids          input_ids [labels] [attention_mask]: labels are unshifted, -100 masks; zeros of the attention
//                      mask are padding and are left out
//   messages           messages (or conversations / conversation): [{"role", "content", ...}]; [tools]
//   sharegpt           conversations (or conversation / messages): [{"from", "value"}]; [system] [tools]
//   prompt_completion  prompt + completion (or response), question + answer: both strings, or both lists of messages of
//                      which the prompt's are not supervised; [system]
//   alpaca             instruction + output; [input] [system] [history: [[user, assistant], ...]]
//   text               text
// `tools` is a list or a string of JSON; `chat_template_kwargs` is an object of further template variables. Other keys
// are left alone. Preference data (chosen, rejected) is refused.
#pragma once

#include "dataset.h"
#include "message.h"

typedef enum { DIALOG_CHAT, DIALOG_RAW, DIALOG_TEXT, DIALOG_IDS } DialogKind;

typedef struct Dialog { // init with {0}; borrows from the record, dialog_clear frees the rest
    DialogKind kind;
    Json messages;                      // DIALOG_CHAT: an array
    const Json *tools, *extra;          // DIALOG_CHAT; may be NULL
    JsonStr prompt, completion;         // DIALOG_RAW; completion alone for DIALOG_TEXT
    const Json *ids, *labels, *visible; // DIALOG_IDS; labels and visible (the attention mask) may be NULL
    JsonPool pool;
} Dialog;

// FORMAT_AUTO when unknown, with err filled.
DatasetFormat dialog_detect(const Json *record, Err *err);
// has_template false: alpaca and prompt_completion become DIALOG_RAW, messages and sharegpt are refused.
int dialog_read(Dialog *d, const Json *record, DatasetFormat format, bool has_template, Err *err);
void dialog_clear(Dialog *d);

// dialog: one record of a data file, of any format, as a conversation, a pair of texts, a text or token ids.
//
// Recognised by these keys, in this order:
//   input_ids          input_ids [labels] [attention_mask] [completion_mask] [assistant_masks]: labels are unshifted,
//                      -100 masks, as do zeros of TRL's two masks; tokens with attention_mask 0 are removed (padding)
//   messages           messages (or conversations / conversation): [{"role", "content", ...}]; [system] [tools]; or the
//                      record is the list itself
//   sharegpt           conversations (or conversation / messages): [{"from", "value"}]; [system] [tools]
//   gemini             contents: [{"role": "user" or "model", "parts": [{"text"}, ...]}]; [systemInstruction] [tools];
//                      functionCall and functionResponse are tool calls and their results, thought is reasoning_content
//   prompt_completion  prompt + completion (or response), question + answer: both strings, or both lists of messages of
//                      which the prompt's are not supervised; [system]
//   alpaca             instruction + output (or response, answer); [input] [system] [history: [[user, assistant], ...]]
//   alpaca_prompt      the same keys but system and history, without the model's template, in the words of Stanford
//   Alpaca
//                      or of a prompt_format; of that also [system]
//   text               text
//   segments           segments: [{"text", "label"}, ...], label true or false: is the text learnt?
//   preference         only where asked for: dialog_preference.c
// `tools` is a list; `chat_template_kwargs` is an object of further template variables. Lists and objects may be stored
// as JSON text. null is absence, in a record as in its messages. Other keys are noted (key_notes.h). In other
// formats preference data (chosen, rejected, label true or false) is refused, as are roles that neither data formats
// nor the template know.
#pragma once

#include "key_notes.h"
#include "message.h"
#include "prompt_format.h"
#include "record_format.h"

typedef enum { DIALOG_CHAT, DIALOG_RAW, DIALOG_TEXT, DIALOG_IDS, DIALOG_SEGMENTS } DialogKind;

typedef struct Dialog { // init with {0}; borrows from the record, dialog_clear frees the rest
    DialogKind kind;
    const char *template;     // the template's source, set by the caller, or NULL: roles that it names are known
    int64_t record;           // the record's number, set by the caller, or 0: for messages
    LearntTurns learnt_turns; // set by the caller
    const PromptFormat *prompt_format; // FORMAT_ALPACA_PROMPT: set by the caller, or NULL: Stanford Alpaca's
    Json messages;                     // DIALOG_CHAT: an array
    const Json *tools, *extra;         // DIALOG_CHAT; may be NULL
    Json given_tools, given_extra;     // what these point to: tools as objects, extra without nulls
    JsonStr prompt, completion;        // DIALOG_RAW; completion alone for DIALOG_TEXT
    PreferenceData preference;         // FORMAT_PREFERENCE, set by the caller: CHAT and RAW, of the chosen answer
    size_t n_prompt;                   // preference data, DIALOG_CHAT: messages of the prompt
    Json rejected_messages;            // PREFERENCE_PAIRS: the prompt's and those of the other answer
    JsonStr rejected;                  // PREFERENCE_PAIRS: the other completion
    bool desirable;                    // PREFERENCE_LABELS: the verdict
    bool is_pair;                      // a record of prompt and completion
    bool apart;                        // DIALOG_RAW: the completion is tokenised as a text of its own
    JsonStr own[2]; // DIALOG_RAW: what the record has of a prompt with fixed words around it, or empty
    const Json *ids, *labels, *visible; // DIALOG_IDS; labels and visible (the attention mask) may be NULL
    const Json *learnt[2];              // DIALOG_IDS: TRL's masks, dialog_mask_names; may be NULL
    const Json *segments;               // DIALOG_SEGMENTS
    KeyNotes unread;                    // keys of the record that nothing reads (keys of messages: chat.h)
    const char *turns;                  // DIALOG_CHAT: the key of the messages, for names such as "messages[]."
    const char *answer_key;             // the key of the record's last answer: "completion", "messages"
    const char *used[16];               // keys of the record that were read
    size_t n_used;
    JsonPool pool;
} Dialog;

extern const char *const dialog_mask_names[2];

// FORMAT_AUTO: unknown, with err filled.
DatasetFormat dialog_detect(const Json *record, Err *err);
bool dialog_is_pair(const Json *record);                          // it has chosen and rejected: preference data
bool dialog_has_key_of(const Json *record, DatasetFormat format); // its value may be null
// has_template false: alpaca and prompt_completion become DIALOG_RAW, messages and sharegpt are refused. raw_pairs: as
// strings they become DIALOG_RAW with a template, too.
int dialog_read(Dialog *d, const Json *record, DatasetFormat format, bool has_template, bool raw_pairs, Err *err);
bool dialog_has_read(const Dialog *d, JsonStr key); // of the record
// Only the last answer stays learnt: the turns before it are those of a prompt (LlamaFactory's mask_history).
void dialog_mask_history(Dialog *d);
// An error for an answer without text to learn from.
int dialog_check_answers(const Dialog *d, Err *err);
void dialog_clear(Dialog *d);
// For messages: the first keys of an object; "KEY: found ...; expected ...".
void dialog_list_keys(StrBuf *keys, const Json *object);
int dialog_fail_type(const char *key, const Json *found, const char *expected, Err *err);

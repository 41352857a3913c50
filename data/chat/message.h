// message: chat messages as templates expect them, from what data files hold.
//
// Normalised: the role's usual name (human -> user, gpt -> assistant, ...), null keys left out, tool calls that are
// JSON text parsed. Checked: content is a string or a list of text parts (any other part is refused by name) or, of a
// tool, any value; arguments of tool calls are an object or a string that holds one. In which of these forms the
// template gets them: chat_forms.c. All other keys stay, for templates and masks.
#pragma once

#include "enum_words.h"
#include "json_pool.h"

// A chat message or turn: a list that begins with one is a conversation, not an array of records.
bool json_is_message(const Json *v);

// `what` is the message's place in the record: "messages[3]".
int message_normalise(Json *out, JsonPool *pool, const Json *message, const char *what, Err *err);
// A list whose items all have a "type": parts, not a tool's result.
bool message_has_parts(const Json *content);
// Its content as one string: parts are joined; "": none. Borrowed from the message or the pool.
JsonStr message_text(JsonPool *pool, const Json *message);
// An error for a role that is not a usual one and that the template's source (or NULL) does not name.
int message_check_role(const Json *message, const char *template, const char *what, Err *err);
Json message_new(JsonPool *pool, const char *role, JsonStr content);
// A function call written as JSON text ({"name", "arguments"} or a list of them): an assistant message of tool calls.
int message_from_call(Json *out, JsonPool *pool, JsonStr call, const char *what, Err *err);

// Whether a message is trained on, by its own keys (Axolotl, OpenAI, ms-swift, XTuner, torchtune): train, training,
// trainable, weight, loss, loss_mask; masked and mask mean the opposite. Values are true and false, or 1 and 0. One key
// that excludes the message is enough.
typedef enum {
    TRAINED_AS_ROLE,   // no key, or masked: false
    TRAINED_BY_WEIGHT, // a key is 1, which asks for no more than the role gives
    TRAINED,           // a key is true
    NOT_TRAINED,       // a key excludes it
    TRAINED_AS_PROMPT  // message_of_prompt
} MessageTraining;
MessageTraining message_training(const Json *message);
bool message_is_trained(const Json *message); // an assistant's, without train_on_inputs

// Which turns of a conversation are learnt, and which tokens that end turns (Axolotl's roles_to_train, train_on_eos).
#define LEARNT_ROLES(X)                                                                                                \
    X(ROLE_SYSTEM, "system", "instructions")                                                                           \
    X(ROLE_USER, "user", "questions")                                                                                  \
    X(ROLE_ASSISTANT, "assistant", "answers")                                                                          \
    X(ROLE_TOOL, "tool", "results of tools")
typedef enum { LEARNT_ROLES(ENUM_CONSTANT) ROLE_COUNT } LearntRole;
enum { LEARN_BY_FLAG = 1 << ROLE_COUNT }; // of no role: only turns with a key of the mask that is true or 1
#define TRAIN_ON_EOS(X)                                                                                                \
    X(EOS_TURN, "turn", "of each learnt turn")                                                                         \
    X(EOS_ALL, "all", "of every turn")                                                                                 \
    X(EOS_LAST, "last", "of the last learnt turn")                                                                     \
    X(EOS_NONE, "none", "of no turn")
typedef enum { TRAIN_ON_EOS(ENUM_CONSTANT) } TrainOnEos;
typedef struct LearntTurns { // {0}: the turns of assistants with the tokens that end them
    unsigned roles;          // 1 << LearntRole; 0: assistant
    TrainOnEos eos;
    bool last_only; // of a conversation only its last answer
} LearntTurns;
static inline bool learnt_turns_differ(LearntTurns l) { // from {0}
    return (l.roles && l.roles != 1u << ROLE_ASSISTANT) ||
           l.eos != EOS_TURN; // last_only is in the messages: dialog_mask_history
}
// Without train_on_inputs. Keys of the message come before the roles; true in a turn that is neither an assistant's nor
// of these roles does nothing.
bool message_is_learnt(const Json *message, unsigned roles);
bool message_is_mask_key(const char *key);
// The message as a part of a prompt: trained only with train_on_inputs.
Json message_of_prompt(JsonPool *pool, const Json *message);

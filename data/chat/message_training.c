// message_training: the keys by which a message asks to be trained on or not.
#include "message_training.h"

#include <string.h>

// true or false, or 1 or 0: 1 and 0; -1: something else.
static int truth_of(const Json *v) {
    int64_t n;
    if (v->type == JSON_TRUE || v->type == JSON_FALSE) return v->type == JSON_TRUE;
    return json_whole(v, &n) && (n == 0 || n == 1) ? (int)n : -1;
}

static const struct {
    const char *key;
    bool trains; // what true means
    bool is_number;
} mask_keys[] = {
    {"train", true, false}, {"training", true, false}, {"trainable", true, false}, {"weight", true, true},
    {"loss", true, false},  {"loss_mask", true, true}, {"masked", false, false},   {"mask", false, false},
};
enum { MASK_KEYS = sizeof mask_keys / sizeof *mask_keys };

bool message_is_mask_key(const char *key) {
    for (int i = 0; i < MASK_KEYS; i++)
        if (strcmp(key, mask_keys[i].key) == 0) return true;
    return false;
}

// Masks of parts of a turn, by places in its text.
static int refuse_details(const Json *m, const char *what, Err *err) {
    static const char *const keys[] = {"train_detail", "training_detail"};
    for (int i = 0; i < 2; i++)
        if (json_get(m, keys[i]))
            return err_input(err,
                             "%s.%s: found a mask of parts of a message; expected \"train\": true or false, of all "
                             "of it",
                             what, keys[i]);
    return 0;
}

int message_check_mask_keys(const Json *m, const char *what, Err *err) {
    for (int i = 0; i < MASK_KEYS; i++) {
        const Json *v = json_get(m, mask_keys[i].key);
        bool number = v && (v->type == JSON_INT || v->type == JSON_FLOAT);
        bool unclear = number && !mask_keys[i].trains; // 1 and 0 of "mask" are in use with both meanings
        if (!v || (truth_of(v) >= 0 && !unclear)) continue;
        return err_input(err, "%s.%s: found %s; expected %s", what, mask_keys[i].key,
                         number ? v->str.data : json_type_name(v), mask_keys[i].is_number ? "0 or 1" : "true or false");
    }
    return refuse_details(m, what, err);
}

// Integer of a JSON_FALSE that marks a message of a prompt; a false that was read from a file has 0.
enum { OF_PROMPT = 1 };

Json message_of_prompt(JsonPool *pool, const Json *message) {
    if (message_training(message) == NOT_TRAINED) return *message;
    return json_with(pool, message, "train", (Json){.type = JSON_FALSE, .integer = OF_PROMPT});
}

MessageTraining message_training(const Json *message) {
    MessageTraining found = TRAINED_AS_ROLE;
    for (int i = 0; i < MASK_KEYS; i++) {
        const Json *v = json_get(message, mask_keys[i].key);
        int truth = v ? truth_of(v) : -1;
        if (truth < 0) continue;
        if (v->type == JSON_FALSE && v->integer == OF_PROMPT)
            found = TRAINED_AS_PROMPT;
        else if (truth != mask_keys[i].trains)
            return NOT_TRAINED;
        else if (found == TRAINED_AS_ROLE && v->type == JSON_TRUE)
            found = TRAINED;
    }
    return found;
}

bool message_is_trained(const Json *message) {
    MessageTraining t = message_training(message);
    return t == TRAINED_AS_ROLE || t == TRAINED;
}

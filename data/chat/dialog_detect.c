// dialog_detect: the format of a record, and the labels of preference data, which are refused.
#include <string.h>
#include <strings.h>

#include "dialog_internal.h"
#include "message.h"

const char *first_given(const Json *record, const char *const *keys) {
    for (; *keys; keys++)
        if (json_given(record, *keys)) return *keys;
    return NULL;
}

const char *const turns_keys[] = {"messages", "conversations", "conversation", NULL};
const char *const prompt_keys[] = {"prompt", "question", NULL};
const char *const answer_keys[] = {"completion", "response", "answer", NULL};
const char *const output_keys[] = {"output", "response", "answer", NULL}; // to an instruction

// ---- preference data ----

static bool begins_with_word(const char *key, const char *word) {
    size_t n = strlen(word);
    return strncasecmp(key, word, n) == 0 && (!key[n] || key[n] == '_' || key[n] == '-');
}

static bool ends_with_word(const char *key, const char *word) {
    size_t len = strlen(key), n = strlen(word);
    return len > n && strcasecmp(key + len - n, word) == 0 && (key[len - n - 1] == '_' || key[len - n - 1] == '-');
}

// One of a pair of answers: "chosen", "rejected_response", "prompt_chosen", ...
static bool names_a_pair(const char *key) {
    static const char whole[] =
        "preferred_output non_preferred_output dispreferred response_j response_k losing_response "
        "winning_response";
    return begins_with_word(key, "chosen") || ends_with_word(key, "chosen") || begins_with_word(key, "rejected") ||
           ends_with_word(key, "rejected") || is_among_nocase(key, strlen(key), whole);
}

// A label of one answer, as for KTO: "label": false, "kto_tag", "desirable", ... Where a record has no answer, a
// "label" may be a class: only true and false are a verdict there.
static bool is_verdict(const char *key, const Json *v, bool answers) {
    static const char keys[] =
        "label kto_tag kto_label desirable is_desirable undesirable thumbs_up thumbs_down is_preferred preferred";
    static const char words[] = "true false chosen rejected desirable undesirable good bad 0 1";
    int64_t n;
    if (!is_among_nocase(key, strlen(key), keys)) return false;
    if (v->type == JSON_TRUE || v->type == JSON_FALSE) return true;
    if (strcasecmp(key, "label") == 0 && !answers) return false;
    if (v->type == JSON_STRING && is_among_nocase(v->str.data, strlen(v->str.data), words)) return true;
    return json_whole(v, &n) && (n == 0 || n == 1);
}

static int check_labels(const Json *object, const char *where, bool answers, Err *err) {
    AUTO_STR StrBuf pair = {0};
    const char *label = NULL;
    for (size_t i = 0; i < object->count && pair.len < 64; i++) {
        const char *key = object->keys[i].data;
        if (object->items[i].type == JSON_NULL) continue;
        if (names_a_pair(key)) str_printf(&pair, "%s%.64s", pair.len ? ", " : "", key);
        if (is_verdict(key, &object->items[i], answers)) label = key;
    }
    if (pair.len)
        return err_input(err, "found preference data (%s%s); expected %sonly the wanted answers", where, pair.data,
                         *where ? "" : "task: \"preference\", or ");
    if (label)
        return err_input(err,
                         "found preference data (%s%s with true or false, as for KTO); expected %sonly the wanted "
                         "answers, without the label",
                         where, label, *where ? "" : "task: \"preference\" with preference_loss: \"kto\", or ");
    return 0;
}

int dialog_check_preference(const Json *record, Err *err) {
    bool answers = first_given(record, turns_keys) || first_given(record, answer_keys) || json_given(record, "output");
    return check_labels(record, "", answers, err);
}

bool dialog_is_pair(const Json *record) { return json_given(record, "chosen") && json_given(record, "rejected"); }

int dialog_check_turn(const Json *turn, Err *err) {
    return turn->type == JSON_OBJECT ? check_labels(turn, "a message's ", true, err) : 0;
}

// ---- detection ----

static const char known_keys[] = "messages conversations conversation prompt completion response question answer "
                                 "instruction output text segments contents input_ids label";

bool dialog_has_key_of(const Json *record, DatasetFormat format) {
    static const char *const keys[FORMAT_COUNT][6] = {
        [FORMAT_MESSAGES] = {"messages", "conversations", "conversation"},
        [FORMAT_SHAREGPT] = {"messages", "conversations", "conversation"},
        [FORMAT_ALPACA] = {"instruction", "output"},
        [FORMAT_ALPACA_PROMPT] = {"instruction", "output"},
        [FORMAT_PROMPT_COMPLETION] = {"prompt", "question", "completion", "response", "answer"},
        [FORMAT_TEXT] = {"text"},
        [FORMAT_INPUT_IDS] = {"input_ids"},
        [FORMAT_SEGMENTS] = {"segments"},
        [FORMAT_GEMINI] = {"contents"},
        [FORMAT_PREFERENCE] = {"chosen", "rejected", "label", "kto_tag"},
    };
    for (size_t i = 0; keys[format][i]; i++)
        if (json_get(record, keys[format][i])) return true;
    return false;
}

void dialog_list_keys(StrBuf *keys, const Json *object) {
    for (size_t i = 0; i < object->count && i < 8; i++)
        str_printf(keys, "%s%.64s%s", i ? ", " : "", object->keys[i].data,
                   object->items[i].type == JSON_NULL ? ": null" : "");
    if (object->count > 8) str_puts(keys, ", ...");
}

static int fail_unknown(const Json *record, Err *err) {
    AUTO_STR StrBuf keys = {0}, hint = {0};
    dialog_list_keys(&keys, record);
    for (size_t i = 0; i < record->count && i < 64 && !hint.len; i++) {
        const char *key = record->keys[i].data;
        AUTO_FREE char *near = key_nearest(key, known_keys);
        if (near && !json_get(record, near)) str_printf(&hint, "; is \"%.64s\" a misspelt \"%s\"?", key, near);
    }
    return err_input(err,
                     "found a record with the keys {%s}; expected messages, conversations, prompt + completion, "
                     "instruction + output, text, segments, contents or input_ids, or their names in columns%s",
                     keys.data ? keys.data : "", hint.len ? hint.data : "");
}

bool json_text_is_list(const Json *v) {
    return v->type == JSON_STRING && v->str.data[strspn(v->str.data, " \t\r\n")] == '[';
}

// By the first turn of a list, or of a list as JSON text.
static DatasetFormat format_of_turns(const Json *turns) {
    AUTO_JSON JsonDoc *doc = NULL;
    if (json_text_is_list(turns)) {
        if (json_parse_data(&doc, turns->str.data, turns->str.len, "", 0, NULL)) return FORMAT_MESSAGES;
        turns = json_root(doc);
    }
    bool sharegpt = turns->type == JSON_ARRAY && turns->count && json_given(&turns->items[0], "from");
    return sharegpt ? FORMAT_SHAREGPT : FORMAT_MESSAGES;
}

DatasetFormat dialog_detect(const Json *record, Err *err) {
    if (record->type == JSON_ARRAY && record->count && json_is_message(&record->items[0]))
        return format_of_turns(record); // a record that is its list of messages
    if (record->type != JSON_OBJECT) {
        err_input(err, "found %s; expected a record, an object", json_type_name(record));
        return FORMAT_AUTO;
    }
    if (dialog_check_preference(record, err)) return FORMAT_AUTO;
    if (json_given(record, "input_ids")) return FORMAT_INPUT_IDS;
    const char *key = first_given(record, turns_keys);
    const Json *turns = key ? json_get(record, key) : NULL;
    if (turns && (turns->type == JSON_ARRAY || json_text_is_list(turns))) return format_of_turns(turns);
    if (first_given(record, prompt_keys) && first_given(record, answer_keys)) return FORMAT_PROMPT_COMPLETION;
    if (json_given(record, "instruction") && first_given(record, output_keys)) return FORMAT_ALPACA;
    const Json *contents = json_given(record, "contents");
    if (contents && contents->type == JSON_ARRAY && contents->count && json_get(&contents->items[0], "parts"))
        return FORMAT_GEMINI;
    if (json_given(record, "text")) return FORMAT_TEXT;
    if (json_given(record, "segments")) return FORMAT_SEGMENTS;
    if (turns)
        dialog_fail_type(key, turns, "a list of messages", err);
    else
        fail_unknown(record, err);
    return FORMAT_AUTO;
}

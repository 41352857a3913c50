// dialog_preference: records of preference data: a prompt with two answers, chosen and rejected, or with one and a
// label.
//
// Pairs: the answers are texts, or messages: a list of them or one, {"role", "content"} or {"from", "value"}.
//   texts     prompt (or question) + answers: raw text, as in TRL; without a prompt the text that both begin with is
//   the
//             prompt (TRL's extract_prompt); instruction, input + answers: as alpaca
//   messages  after those of prompt (a list, or a text: the user's), or else of messages (or conversations /
//             conversation), as LLaMA-Factory has them. Answers that do not begin with an assistant's message are whole
//             conversations: the messages that both begin with are the prompt (extract_prompt).
// Labels: prompt (or question) + completion (or response, answer), both texts or messages as above; instruction, input
// + output; messages, of which the last is the answer. label (or kto_tag): true or false, 1 or 0. [system], and of
// messages and alpaca [tools] [chat_template_kwargs].
#include <string.h>

#include "dialog_internal.h"

static const char *const names[2] = {"chosen", "rejected"};

static int fail_equal(Err *err) {
    return err_input(err, "found chosen and rejected that are equal; expected two different answers");
}

static int fail_no_prompt(const char *what, Err *err) {
    return err_input(err, "found chosen and rejected %s; expected a prompt, or whole conversations that begin alike",
                     what);
}

// ---- texts ----

// How many bytes the prompt has in texts that begin alike, as extract_prompt of TRL has it: up to the first character
// that differs, or to a space before it; the last character of a text is never the prompt's.
static size_t shared_text(JsonStr a, JsonStr b) {
    size_t least = a.len < b.len ? a.len : b.len, n = 0;
    while (n < least && a.data[n] == b.data[n]) n++;
    bool differ = n < least;
    if (n && !differ) n--;
    while (n && ((unsigned char)a.data[n] & 0xC0) == 0x80) n--;
    return n && differ && a.data[n - 1] == ' ' ? n - 1 : n;
}

static JsonStr text_from(JsonStr s, size_t begin) { return (JsonStr){s.data + begin, s.len - begin}; }

static int share_text(Dialog *d, JsonStr chosen, JsonStr rejected, Err *err) {
    StrBuf prompt = {0};
    size_t n = shared_text(chosen, rejected);
    if (!n) return fail_no_prompt("without a prompt that begin differently", err);
    str_add(&prompt, chosen.data, n);
    d->prompt = json_pool_text(&d->pool, &prompt);
    d->completion = text_from(chosen, n);
    d->rejected = text_from(rejected, n);
    return 0;
}

// messages: the prompt and the chosen answer.
static void replace_answer(Dialog *d, JsonStr rejected) {
    size_t n = d->n_prompt = d->messages.count - 1;
    Json *chosen = dialog_new_messages(d, n + 1), *other = dialog_new_messages(d, n + 1);
    for (size_t i = 0; i < n; i++) chosen[i] = other[i] = message_of_prompt(&d->pool, &d->messages.items[i]);
    chosen[n] = d->messages.items[n];
    other[n] = message_new(&d->pool, "assistant", rejected);
    d->messages = json_list(chosen, n + 1);
    d->rejected_messages = json_list(other, n + 1);
}

static int read_instruction(Dialog *d, const Json *record, const JsonStr answers[2], bool as_chat, Err *err) {
    Json chosen = json_with(&d->pool, record, "output", json_string(answers[0]));
    if (dialog_read_alpaca(d, &chosen, as_chat, err)) return -1;
    for (size_t i = 0; i < d->n_used; i++)
        if (strcmp(d->used[i], "output") == 0) d->used[i] = names[0]; // the record's own output is not read
    if (d->kind == DIALOG_CHAT) replace_answer(d, answers[1]);
    d->rejected = answers[1];
    return 0;
}

static int read_texts(Dialog *d, const Json *record, const JsonStr answers[2], bool as_chat, Err *err) {
    const char *asked = first_given(record, prompt_keys), *turns = first_given(record, turns_keys);
    JsonStr system;
    if (json_str_equal(answers[0], answers[1])) return fail_equal(err);
    if (!asked && (json_given(record, "instruction") || json_given(record, "input")))
        return read_instruction(d, record, answers, as_chat, err);
    if (!asked && turns)
        return err_input(err, "chosen: found a string; expected a message or a list of messages, as %s has them",
                         turns);
    if (dialog_take_optional(&system, d, record, "system", err)) return -1;
    d->kind = DIALOG_RAW;
    d->completion = answers[0];
    d->rejected = answers[1];
    if (asked ? dialog_take_string(&d->prompt, d, record, asked, err) : share_text(d, answers[0], answers[1], err))
        return -1;
    if (system.len) d->prompt = dialog_join(d, system, "\n", d->prompt);
    return 0;
}

// ---- messages ----

typedef struct Turns {
    const Json *items;
    size_t count;
} Turns;

static bool is_assistant(const Json *m) { return json_is_string(json_get(m, "role"), "assistant"); }

static bool are_equal(Turns a, Turns b) {
    const Json left = json_list(a.items, a.count), right = json_list(b.items, b.count);
    return json_equal(&left, &right);
}

// A list, also as JSON text, or one message as a list; else NULL. Text that is no list of messages is text.
static const Json *as_list(Dialog *d, const Json *v) {
    if (json_text_is_list(v)) {
        v = json_pool_parse(&d->pool, v->str, "", NULL);
        return v && v->type == JSON_ARRAY && v->count && json_is_message(&v->items[0]) ? v : NULL;
    }
    if (v->type == JSON_ARRAY) return v;
    if (v->type != JSON_OBJECT) return NULL;
    Json *one = dialog_new_messages(d, 1);
    *one = json_list(v, 1);
    return one;
}

static int read_list(Turns *out, Dialog *d, const Json *list, const char *key, Err *err) {
    if (!list->count) return err_input(err, "%s: found an empty list; expected messages", key);
    Json *items = dialog_new_messages(d, list->count);
    bool sharegpt = json_given(&list->items[0], "from");
    *out = (Turns){items, list->count};
    return sharegpt ? dialog_add_turns(d, items, list, key, err) : dialog_add_all(d, items, list, key, err);
}

// The messages that both begin with; the last one of a conversation is never the prompt's.
static int share_messages(Turns *prompt, Turns answers[2], Err *err) {
    size_t least = answers[0].count < answers[1].count ? answers[0].count : answers[1].count, n = 0;
    while (n + 1 < least && json_equal(&answers[0].items[n], &answers[1].items[n])) n++;
    if (!n) return fail_no_prompt("that begin with different messages", err);
    *prompt = (Turns){answers[0].items, n};
    for (int k = 0; k < 2; k++) answers[k] = (Turns){answers[k].items + n, answers[k].count - n};
    return 0;
}

// Also counts a prompt that repeats the text of the conversation as read.
static int read_whole(Turns *prompt, Dialog *d, const Json *record, const char *asked, Turns answers[2], Err *err) {
    if (share_messages(prompt, answers, err)) return -1;
    for (size_t i = 0; asked && i < prompt->count; i++)
        if (json_str_equal(message_text(&d->pool, &prompt->items[i]), json_get(record, asked)->str)) {
            dialog_take(d, record, asked);
            break;
        }
    return 0;
}

// A list of messages, or a text: the user's.
static int take_prompt(Turns *prompt, Dialog *d, const Json *record, const char *key, Err *err) {
    const Json *v = dialog_take(d, record, key), *list = as_list(d, v);
    if (list) return read_list(prompt, d, list, key, err);
    if (v->type != JSON_STRING) return dialog_fail_type(key, v, "a string or a list of messages", err);
    Json *user = dialog_new_messages(d, 1);
    *user = message_new(&d->pool, "user", v->str);
    *prompt = (Turns){user, 1};
    return 0;
}

static int fail_first_role(const char *key, const char *expected, Err *err) {
    return err_input(err, "%s: found a first message of another role than the assistant's; expected %s", key, expected);
}

static int read_prompt(Turns *prompt, Dialog *d, const Json *record, Turns answers[2], Err *err) {
    const char *asked = first_given(record, prompt_keys), *turns = first_given(record, turns_keys);
    bool whole = !is_assistant(&answers[0].items[0]) && !is_assistant(&answers[1].items[0]);
    const Json *list = asked ? as_list(d, json_get(record, asked)) : NULL;
    if (asked && !list && json_get(record, asked)->type != JSON_STRING)
        return dialog_fail_type(asked, json_get(record, asked), "a string or a list of messages", err);
    if (whole && !list) return read_whole(prompt, d, record, asked, answers, err);
    for (int k = 0; k < 2; k++)
        if (!is_assistant(&answers[k].items[0]))
            return fail_first_role(names[k], "the answer alone, or no prompt and whole conversations in both", err);
    if (!asked && !turns) return fail_no_prompt("without a prompt", err);
    return take_prompt(prompt, d, record, asked ? asked : turns, err);
}

static int check_assistant(const Turns answers[2], Err *err) {
    for (int k = 0; k < 2; k++) {
        size_t i = 0;
        while (i < answers[k].count && !is_assistant(&answers[k].items[i])) i++;
        if (i == answers[k].count)
            return err_input(err, "%s: found no message of an assistant after the prompt; expected an answer",
                             names[k]);
    }
    return 0;
}

static Json conversation(Dialog *d, JsonStr system, Turns prompt, Turns answer) {
    Json *messages = dialog_new_messages(d, prompt.count + answer.count + 1);
    size_t n = dialog_add_system(d, messages, system);
    for (size_t i = 0; i < prompt.count; i++) messages[n++] = message_of_prompt(&d->pool, &prompt.items[i]);
    d->n_prompt = n;
    for (size_t i = 0; i < answer.count; i++) messages[n++] = answer.items[i];
    return json_list(messages, n);
}

static int read_messages(Dialog *d, const Json *record, const Json *const lists[2], Err *err) {
    Turns answers[2] = {{0}}, prompt = {0};
    JsonStr system;
    d->turns = "messages";
    for (int k = 0; k < 2; k++)
        if (read_list(&answers[k], d, lists[k], names[k], err)) return -1;
    if (are_equal(answers[0], answers[1])) return fail_equal(err);
    if (dialog_take_optional(&system, d, record, "system", err) || dialog_take_variables(d, record, err) ||
        read_prompt(&prompt, d, record, answers, err) || check_assistant(answers, err))
        return -1;
    d->kind = DIALOG_CHAT;
    d->messages = conversation(d, system, prompt, answers[0]);
    d->rejected_messages = conversation(d, system, prompt, answers[1]);
    return 0;
}

// ---- records ----

static int fail_keys(const Json *record, Err *err) {
    AUTO_STR StrBuf keys = {0};
    dialog_list_keys(&keys, record);
    return err_input(err,
                     "found a record with the keys {%s}; expected prompt, chosen and rejected, or their names in "
                     "columns",
                     keys.data ? keys.data : "");
}

static int read_pair(Dialog *d, const Json *record, bool has_template, bool raw_pairs, Err *err) {
    const Json *lists[2];
    JsonStr texts[2] = {json_str(""), json_str("")};
    if (!json_get(record, names[0]) && !json_get(record, names[1])) return fail_keys(record, err);
    for (int k = 0; k < 2; k++) {
        const Json *v = dialog_take(d, record, names[k]);
        lists[k] = v ? as_list(d, v) : NULL;
        if (!v || (!lists[k] && v->type != JSON_STRING))
            return dialog_fail_type(names[k], json_get(record, names[k]), "a string or a list of messages", err);
        if (!lists[k]) texts[k] = v->str;
    }
    d->answer_key = names[0];
    if (!lists[0] != !lists[1])
        return err_input(err, "found a list of messages in %s and a string in %s; expected the same in both",
                         names[lists[1] != NULL], names[lists[0] != NULL]);
    if (!lists[0]) return read_texts(d, record, texts, has_template && !raw_pairs, err);
    if (!has_template) return err_input(err, "chosen: found a list of messages; the model has no chat template for it");
    return read_messages(d, record, lists, err);
}

// ---- one answer with a label ----

static const char *const label_keys[] = {"label", "kto_tag", NULL};

static int read_verdict(Dialog *d, const Json *record, Err *err) {
    const char *key;
    const Json *v = dialog_take_first(d, record, label_keys, &key);
    int64_t n;
    bool text = v && v->type == JSON_STRING; // of a table
    bool yes = text && is_among_nocase(v->str.data, v->str.len, "true 1");
    bool no = text && is_among_nocase(v->str.data, v->str.len, "false 0");
    if (v && v->type != JSON_STRING && json_whole(v, &n)) yes = n == 1, no = n == 0;
    d->desirable = yes || (v && v->type == JSON_TRUE);
    if (d->desirable || no || (v && v->type == JSON_FALSE)) return 0;
    return dialog_fail_type(key, json_get(record, key), "true or false", err);
}

static void set_labelled(Dialog *d, JsonStr system, Turns prompt, Turns answer) {
    d->kind = DIALOG_CHAT;
    d->messages = conversation(d, system, prompt, answer);
}

// The last one is the answer.
static int read_labelled_turns(Dialog *d, const Json *record, const char *key, JsonStr system, Err *err) {
    Turns all = {0};
    const Json *v = dialog_take(d, record, key), *list = as_list(d, v);
    d->answer_key = key;
    if (!list) return dialog_fail_type(key, v, "a list of messages", err);
    if (read_list(&all, d, list, key, err)) return -1;
    if (all.count < 2 || !is_assistant(&all.items[all.count - 1]))
        return err_input(err, "%s: found no answer of an assistant at the end; expected a prompt and its answer", key);
    set_labelled(d, system, (Turns){all.items, all.count - 1}, (Turns){all.items + all.count - 1, 1});
    return 0;
}

static int read_labelled_pair(Dialog *d, const Json *record, const char *asked, JsonStr system, bool has_template,
                              Err *err) {
    const Json *v = dialog_take_first(d, record, answer_keys, &d->answer_key), *list = v ? as_list(d, v) : NULL;
    Turns prompt = {0}, answer = {0};
    if (!v || (!list && v->type != JSON_STRING))
        return dialog_fail_type(d->answer_key, json_get(record, d->answer_key), "a string or a list of messages", err);
    if (!list) {
        d->kind = DIALOG_RAW;
        d->completion = v->str;
        if (dialog_take_string(&d->prompt, d, record, asked, err)) return -1;
        if (system.len) d->prompt = dialog_join(d, system, "\n", d->prompt);
        return 0;
    }
    if (!has_template)
        return err_input(err, "%s: found a list of messages; the model has no chat template for it", d->answer_key);
    if (read_list(&answer, d, list, d->answer_key, err) || take_prompt(&prompt, d, record, asked, err)) return -1;
    if (!is_assistant(&answer.items[0])) return fail_first_role(d->answer_key, "the answer alone", err);
    set_labelled(d, system, prompt, answer);
    return 0;
}

static int fail_label_keys(const Json *record, Err *err) {
    AUTO_STR StrBuf keys = {0};
    dialog_list_keys(&keys, record);
    return err_input(err,
                     "found a record with the keys {%s}; expected prompt, completion and label, or their names in "
                     "columns%s",
                     keys.data ? keys.data : "",
                     dialog_is_pair(record) ? "; preference_loss dpo takes chosen and rejected" : "");
}

static int read_labelled(Dialog *d, const Json *record, bool has_template, bool raw_pairs, Err *err) {
    const char *asked = first_given(record, prompt_keys), *turns = first_given(record, turns_keys);
    bool instruction = !asked && (json_given(record, "instruction") || json_given(record, "input"));
    JsonStr system;
    if (dialog_is_pair(record) || (!asked && !turns && !instruction)) return fail_label_keys(record, err);
    if (read_verdict(d, record, err)) return -1;
    if (instruction) {
        if (dialog_read_alpaca(d, record, has_template && !raw_pairs, err)) return -1;
        Turns all = {d->messages.items, d->messages.count};
        if (d->kind == DIALOG_CHAT)
            set_labelled(d, json_str(""), (Turns){all.items, all.count - 1}, (Turns){all.items + all.count - 1, 1});
        return 0;
    }
    if (dialog_take_optional(&system, d, record, "system", err)) return -1;
    if (!asked && !has_template)
        return err_input(err, "%s: found a list of messages; the model has no chat template for it", turns);
    if (!asked ? read_labelled_turns(d, record, turns, system, err)
               : read_labelled_pair(d, record, asked, system, has_template, err))
        return -1;
    if (d->kind != DIALOG_CHAT) return 0;
    d->turns = "messages";
    return dialog_take_variables(d, record, err);
}

int dialog_read_preference(Dialog *d, const Json *record, bool has_template, bool raw_pairs, Err *err) {
    if (d->preference == PREFERENCE_PAIRS) return read_pair(d, record, has_template, raw_pairs, err);
    if (d->preference == PREFERENCE_LABELS) return read_labelled(d, record, has_template, raw_pairs, err);
    return err_input(err, "found preference data; expected task: \"preference\" for it");
}

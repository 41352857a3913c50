// preference: a prompt with two answers, or with one, to sequences of tokens, as TRL's DPOTrainer and KTOTrainer make
// them.
//
// Prompt and answer are tokenised as one text. The answer begins where the tokens of the prompt alone (of a
// conversation: with the generation prompt) and those of either sequence differ, so that both have the same prompt.
#include <string.h>

#include "record_tokenizer.h"

static size_t common_prefix(const RecordTokens *prompt, const RecordTokens *whole) {
    size_t n = 0;
    while (n < prompt->count && n < whole->count && prompt->ids[n] == whole->ids[n]) n++;
    return n;
}

static int tokenize_prompt(RecordTokens *out, const RecordTokenizer *e, const Dialog *d, Err *err) {
    if (d->kind == DIALOG_RAW) return record_tokenize_text(out, e, d->prompt, false, err);
    AUTO_CALL(chat_tokens_clear) ChatTokens t = {0};
    Json messages = json_list(d->messages.items, d->n_prompt);
    ChatInput in = {&messages, d->tools, d->extra, .add_generation_prompt = true};
    if (chat_tokenize(&t, e->chat, e->tokenizer, &in, err)) return err_context(err, "the prompt alone");
    *out = (RecordTokens){.count = t.count, .ids = mem_take(&t.ids)};
    return 0;
}

// The prompt with an answer.
static int tokenize_answer(RecordTokens *out, const RecordTokenizer *e, const Dialog *d, bool rejected, Err *err) {
    if (d->kind == DIALOG_RAW) {
        AUTO_STR StrBuf text = {0};
        JsonStr answer = rejected ? d->rejected : d->completion;
        str_add(&text, d->prompt.data, d->prompt.len);
        str_add(&text, answer.data, answer.len);
        return record_tokenize_text(out, e, (JsonStr){text.data, text.len}, true, err);
    }
    Dialog whole = *d;
    if (rejected) whole.messages = d->rejected_messages;
    return record_tokenize_chat(out, e, &whole, true, err)
               ? err_context(err, "%s", rejected ? "rejected" : d->answer_key)
               : 0;
}

// Tokens of the prompt get `prompt` where they would be learnt.
static void mask_prompt(RecordTokens *t, size_t prompt_count, uint8_t prompt) {
    for (size_t i = 0; i < prompt_count; i++) t->supervised[i] = t->supervised[i] ? prompt : 0;
    if (t->count) t->supervised[0] = 0; // nothing predicts it
}

static void append(RecordTokens *out, const RecordTokens *t) {
    memcpy(out->ids + out->count, t->ids, t->count * sizeof *t->ids);
    memcpy(out->supervised + out->count, t->supervised, t->count);
    out->count += t->count;
    out->parsed_special |= t->parsed_special;
    out->plain_special |= t->plain_special;
    out->own_bos |= t->own_bos;
    out->cannot_stop |= t->cannot_stop;
    out->left_out += t->left_out;
    for (const char *p = key_notes_next(&t->unread, NULL); p; p = key_notes_next(&t->unread, p))
        key_notes_add(&out->unread, "", json_str(p));
    out->unread.more |= t->unread.more;
}

static int tokenize_pair(RecordTokens *out, const RecordTokenizer *e, const Dialog *d, const RecordTokens *prompt,
                         Err *err) {
    AUTO_CALL(record_tokens_clear) RecordTokens chosen = {0};
    AUTO_CALL(record_tokens_clear) RecordTokens rejected = {0};
    if (tokenize_answer(&chosen, e, d, false, err) || tokenize_answer(&rejected, e, d, true, err)) return -1;
    size_t n = common_prefix(prompt, &chosen), other = common_prefix(prompt, &rejected);
    if (other < n) n = other;
    mask_prompt(&chosen, n, e->learn_chosen_prompt ? LEARNT_PROMPT : 0);
    mask_prompt(&rejected, n, 0);
    out->ids = mem_alloc(chosen.count + rejected.count + 1, sizeof *out->ids);
    out->supervised = mem_alloc(chosen.count + rejected.count + 1, 1);
    append(out, &chosen);
    out->second = out->count;
    append(out, &rejected);
    return 0;
}

int preference_tokenize(RecordTokens *out, const RecordTokenizer *e, const Dialog *d, Err *err) {
    AUTO_CALL(record_tokens_clear) RecordTokens prompt = {0};
    if (tokenize_prompt(&prompt, e, d, err)) return -1;
    if (d->preference == PREFERENCE_PAIRS) return tokenize_pair(out, e, d, &prompt, err);
    if (tokenize_answer(out, e, d, false, err)) return -1;
    out->second = common_prefix(&prompt, out);
    out->desirable = d->desirable;
    mask_prompt(out, out->second, 0);
    return 0;
}

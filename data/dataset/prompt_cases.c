#include "prompt_cases.h"

#include <string.h>

#include "dataset_build.h"
#include "record_faults.h"
#include "record_tokenizer.h"

typedef struct Cases {
    PromptCase *items;
    size_t count, capacity, limit;
    const CaseChoice *choice;
    int64_t record, chosen; // number of the next record; of chosen records before it
    const DatasetOptions *o;
    RecordTokenizer settings;
    Err *err;
} Cases;

static char *stripped(const char *text, size_t len) {
    static const char space[] = " \t\r\n";
    while (len && strchr(space, text[len - 1])) len--;
    for (; len && strchr(space, *text); len--) text++;
    return mem_strndup(text, len);
}

static void add_case(Cases *c, const int32_t *ids, size_t count, JsonStr prompt, char *reference) {
    PromptCase p = {.count = (int64_t)count, .reference = reference};
    p.ids = mem_alloc(count, sizeof *p.ids);
    memcpy(p.ids, ids, count * sizeof *ids);
    p.prompt = stripped(prompt.data, prompt.len);
    MEM_GROW(c->items, c->capacity, c->count + 1);
    c->items[c->count++] = p;
}

// ---- conversations ----

// Index of the last message of a role before `end`; end when there is none.
static size_t last_of(const Json *messages, size_t end, const char *role) {
    for (size_t i = end; i-- > 0;)
        if (json_is_string(json_get(&messages->items[i], "role"), role)) return i;
    return end;
}

// A turn as the template writes it: the tokens of the whole conversation after the prompt, without control tokens.
static char *rendered_answer(const Cases *c, const ChatTokens *whole, size_t prompt_count) {
    AUTO_STR StrBuf text = {0};
    if (prompt_count < whole->count)
        tokenizer_decode(c->settings.tokenizer, whole->ids + prompt_count, whole->count - prompt_count, false, &text);
    return stripped(text.data ? text.data : "", text.len);
}

// Tokens of messages[0, count), with the generation prompt or without.
static int tokenize_part(ChatTokens *out, const Cases *c, const Dialog *d, size_t count, bool add_prompt) {
    Json messages = json_list(d->messages.items, count);
    ChatInput in = {&messages, d->tools, d->extra, .add_generation_prompt = add_prompt};
    return chat_tokenize(out, c->settings.chat, c->settings.tokenizer, &in, c->err);
}

static int add_chat(Cases *c, Dialog *d) {
    size_t n = d->messages.count, last = last_of(&d->messages, n, "assistant"), user;
    if (last == n || last == 0) return 0; // nothing to answer
    AUTO_CALL(chat_tokens_clear) ChatTokens prompt = {0};
    AUTO_CALL(chat_tokens_clear) ChatTokens whole = {0};
    if (tokenize_part(&prompt, c, d, last, true)) return -1;
    // the answer: the content, or what the template makes of the turn's tool calls
    JsonStr answer = message_text(&d->pool, &d->messages.items[last]);
    if (!answer.len && tokenize_part(&whole, c, d, last + 1, false)) return -1;
    user = last_of(&d->messages, last, "user");
    JsonStr shown = message_text(&d->pool, &d->messages.items[user == last ? last - 1 : user]);
    add_case(c, prompt.ids, prompt.count, shown,
             answer.len ? stripped(answer.data, answer.len) : rendered_answer(c, &whole, prompt.count));
    return 0;
}

// ---- raw pairs ----

static int add_raw(Cases *c, const Dialog *d) {
    Dialog asked = {.kind = DIALOG_RAW, .prompt = d->prompt, .completion = json_str(""), .apart = d->apart};
    AUTO_CALL(record_tokens_clear) RecordTokens tokens = {0};
    if (record_tokenize_dialog(&tokens, &c->settings, &asked, c->err)) return -1;
    size_t n = tokens.count;
    if (n && tokens.ids[n - 1] == c->settings.tokenizer->eos) n--; // the EOS that training adds
    if (n) add_case(c, tokens.ids, n, d->prompt, stripped(d->completion.data, d->completion.len));
    return 0;
}

// ---- segments ----

static int add_segments(Cases *c, const Dialog *d) {
    const Tokenizer *t = c->settings.tokenizer;
    AUTO_CALL(record_tokens_clear) RecordTokens tokens = {0};
    AUTO_STR StrBuf prompt = {0}, answer = {0};
    if (record_tokenize_dialog(&tokens, &c->settings, d, c->err)) return -1;
    size_t end = tokens.count, begin;
    while (end > 0 && !tokens.supervised[end - 1]) end--;
    for (begin = end; begin > 0 && tokens.supervised[begin - 1];) begin--;
    if (begin == 0 || begin == end) return 0;
    tokenizer_decode(t, tokens.ids, begin, false, &prompt);
    tokenizer_decode(t, tokens.ids + begin, end - begin, false, &answer);
    str_puts(&prompt, "");
    str_puts(&answer, "");
    add_case(c, tokens.ids, begin, (JsonStr){prompt.data, prompt.len}, stripped(answer.data, answer.len));
    return 0;
}

// ---- files ----

static int add_dialog(Cases *c, Dialog *d, const Json *given, const FileRule *rule) {
    Json record = *given;
    DatasetFormat format = rule && rule->format != FORMAT_AUTO ? rule->format : c->o->format;
    if (c->o->preference) format = FORMAT_PREFERENCE;
    d->preference = c->o->preference;
    d->prompt_format = file_rule_prompt(rule);
    if (rule && file_rule_rename(&record, rule, &d->pool, c->err)) return -1;
    if (format == FORMAT_AUTO) format = dialog_detect(&record, c->err);
    if (format == FORMAT_AUTO ||
        dialog_read(d, &record, format, c->settings.chat != NULL, c->settings.raw_pairs, c->err))
        return -1;
    if (d->preference == PREFERENCE_LABELS && !d->desirable) return 0; // no answer to compare with
    if (d->kind == DIALOG_CHAT) return add_chat(c, d);
    if (d->kind == DIALOG_RAW) return add_raw(c, d);
    if (d->kind == DIALOG_SEGMENTS) return add_segments(c, d);
    return err_input(c->err, "found %s data; expected conversations or prompts with answers to generate against",
                     dataset_format_name(format));
}

static int add_record(Cases *c, RecordSpan span, const FileRule *rule) {
    AUTO_JSON JsonDoc *doc = NULL;
    AUTO_CALL(dialog_clear) Dialog d = {.template = c->settings.chat ? chat_template_source(c->settings.chat) : NULL};
    if (record_parse(&doc, span, c->err)) return -1;
    return add_dialog(c, &d, json_root(doc), rule) ? err_context(c->err, "%s:%zu", span.name, span.line) : 0;
}

static bool is_chosen(Cases *c) {
    const CaseChoice *choice = c->choice;
    int64_t record = c->record++;
    if (!choice->records) return true;
    if (c->chosen == choice->n_records || choice->records[c->chosen] != record) return false;
    c->chosen++;
    return true;
}

static int add_file(Cases *c, const char *path, const FileRule *rule) {
    AUTO(records_close) RecordReader *r = NULL;
    RecordSpan span;
    RecordRange range;
    int more = 1;
    if (dataset_record_range(&range, path, rule, c->err) || records_open(&r, path, c->err)) return -1;
    if (records_are_text(r))
        return err_input(c->err, "%s: found plain text; expected conversations to generate against", path);
    for (int64_t n = 0; c->count < c->limit && n < range.to && (more = records_next(r, &span, c->err)) == 1; n++) {
        if (n >= range.from && is_chosen(c) && add_record(c, span, rule)) return -1;
        records_release(r);
    }
    return more < 0 ? -1 : 0;
}

int prompt_cases_load(PromptCase **cases, int64_t *count, const CaseChoice *choice, const DatasetOptions *o,
                      const Tokenizer *t, const ChatTemplate *chat, Err *err) {
    Cases c = {.limit = choice->limit ? (size_t)choice->limit : SIZE_MAX,
               .choice = choice,
               .o = o,
               .settings = {.tokenizer = t, .chat = chat, .parse_special = o->parse_special, .raw_pairs = o->raw_pairs},
               .err = err};
    int rc = 0;
    for (size_t i = 0; i < o->n_files && !rc; i++) rc = add_file(&c, o->files[i], o->rules ? &o->rules[i] : NULL);
    if (!rc && !c.count) rc = err_input(err, "%s: found no assistant turn to generate against", o->files[0]);
    *cases = rc ? NULL : c.items;
    *count = rc ? 0 : (int64_t)c.count;
    if (rc) prompt_cases_free(c.items, (int64_t)c.count);
    return rc;
}

void prompt_cases_free(PromptCase *cases, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        mem_free(cases[i].ids);
        mem_free(cases[i].prompt);
        mem_free(cases[i].reference);
    }
    mem_free(cases);
}

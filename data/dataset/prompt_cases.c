#include "prompt_cases.h"

#include <string.h>

#include "record_faults.h"
#include "record_tokenizer.h"

typedef struct Cases {
    PromptCase *items;
    size_t count, capacity, limit;
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
    StrBuf text = {0};
    if (prompt_count < whole->count)
        tokenizer_decode(c->settings.tokenizer, whole->ids + prompt_count, whole->count - prompt_count, false, &text);
    char *answer = stripped(text.data ? text.data : "", text.len);
    str_clear(&text);
    return answer;
}

// The answer to messages[0, last): the last one's content, or what the template makes of its tool calls.
static int reference_of(char **answer, const Cases *c, Dialog *d, size_t last, const ChatTokens *prompt) {
    JsonStr content = message_text(&d->pool, &d->messages.items[last]);
    if (content.len) {
        *answer = stripped(content.data, content.len);
        return 0;
    }
    Json messages = {.type = JSON_ARRAY, .count = last + 1, .items = d->messages.items};
    ChatTokens whole = {0};
    ChatInput in = {&messages, d->tools, d->extra, .add_generation_prompt = false};
    int rc = chat_tokenize(&whole, c->settings.chat, c->settings.tokenizer, &in, c->err);
    if (!rc) *answer = rendered_answer(c, &whole, prompt->count);
    chat_tokens_clear(&whole);
    return rc;
}

static int add_chat(Cases *c, Dialog *d) {
    size_t n = d->messages.count, last = last_of(&d->messages, n, "assistant");
    if (last == n || last == 0) return 0; // nothing to answer
    Json asked = {.type = JSON_ARRAY, .count = last, .items = d->messages.items};
    size_t user = last_of(&asked, last, "user");
    JsonStr shown = message_text(&d->pool, &asked.items[user == last ? last - 1 : user]);
    ChatTokens prompt = {0};
    char *reference = NULL;
    ChatInput in = {&asked, d->tools, d->extra, .add_generation_prompt = true};
    int rc = chat_tokenize(&prompt, c->settings.chat, c->settings.tokenizer, &in, c->err);
    if (!rc) rc = reference_of(&reference, c, d, last, &prompt);
    if (!rc) add_case(c, prompt.ids, prompt.count, shown, reference);
    chat_tokens_clear(&prompt);
    return rc;
}

// ---- raw pairs ----

static int add_raw(Cases *c, const Dialog *d) {
    Dialog asked = {.kind = DIALOG_RAW, .prompt = d->prompt, .completion = json_str("")};
    RecordTokens tokens;
    if (record_tokenize_dialog(&tokens, &c->settings, &asked, c->err)) return -1;
    size_t n = tokens.count;
    if (n && tokens.ids[n - 1] == tokenizer_eos(c->settings.tokenizer)) n--; // the EOS that training adds
    if (n) add_case(c, tokens.ids, n, d->prompt, stripped(d->completion.data, d->completion.len));
    record_tokens_clear(&tokens);
    return 0;
}

// ---- files ----

static int add_record(Cases *c, RecordSpan span) {
    JsonDoc *doc;
    Dialog d = {.template = c->settings.chat ? chat_template_source(c->settings.chat) : NULL};
    if (json_parse_data(&doc, span.text, span.len, span.name, span.line, c->err)) return fault_in_record(span, c->err);
    const Json *record = json_root(doc);
    DatasetFormat format = c->o->format != FORMAT_AUTO ? c->o->format : dialog_detect(record, c->err);
    int rc = format == FORMAT_AUTO ? -1 : dialog_read(&d, record, format, c->settings.chat != NULL, c->err);
    if (!rc && d.kind != DIALOG_CHAT && d.kind != DIALOG_RAW)
        rc = err_input(c->err, "found %s data; expected conversations or prompts with answers to generate against",
                       dataset_format_name(format));
    if (!rc) rc = d.kind == DIALOG_CHAT ? add_chat(c, &d) : add_raw(c, &d);
    if (rc) err_context(c->err, "%s:%zu", span.name, span.line);
    dialog_clear(&d);
    json_free(doc);
    return rc;
}

static int add_file(Cases *c, const char *path) {
    RecordReader *r;
    RecordSpan span;
    if (records_open(&r, path, c->err)) return -1;
    int rc = records_are_text(r)
                 ? err_input(c->err, "%s: found plain text; expected conversations to generate against", path)
                 : 0;
    int more = 1;
    while (!rc && c->count < c->limit && (more = records_next(r, &span, c->err)) == 1) {
        rc = add_record(c, span);
        records_release(r);
    }
    records_close(r);
    return rc || more < 0 ? -1 : 0;
}

int prompt_cases_load(PromptCase **cases, int64_t *count, int64_t limit, const DatasetOptions *o, const Tokenizer *t,
                      const ChatTemplate *chat, Err *err) {
    Cases c = {.limit = limit ? (size_t)limit : SIZE_MAX,
               .o = o,
               .settings = {.tokenizer = t, .chat = chat, .parse_special = o->parse_special},
               .err = err};
    int rc = 0;
    for (size_t i = 0; i < o->n_files && !rc; i++) rc = add_file(&c, o->files[i]);
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

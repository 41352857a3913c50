#include "serve_request.h"

#include <string.h>
#include <sys/random.h>

#include "decode_batch.h"
#include "dialog.h"
#include "serve_format.h"
#include "serve_read.h"

void serve_request_clear(ServeRequest *r) {
    mem_free(r->ids);
    mem_free((void *)r->how.stop);
    constraint_free(r->constraint);
    for (size_t i = 0; i < r->n_stops; i++) str_clear(&r->stops[i]);
    *r = (ServeRequest){0};
}

// ---- fields ----

// What is accepted with these values only: others would change the answer.
static const struct {
    const char *key;
    bool zero, one, off;      // 0; 1; false, [], {}
    const char *text, *other; // either
} only[] = {
    {"n", .one = true},
    {"best_of", .one = true},
    {"echo", .off = true},
    {"logprobs", .off = true},
    {"top_logprobs", .zero = true},
    {"prompt_logprobs", .off = true},
    {"logit_bias", .off = true},
    {"suffix", .text = ""},
    {"frequency_penalty", .zero = true},
    {"presence_penalty", .zero = true},
    {"repetition_penalty", .one = true},
    {"min_p", .zero = true},
    {"min_tokens", .zero = true},
    {"top_k", .zero = true},
    {"functions", .off = true},
    {"tool_choice", .text = "auto", .other = "none"},
    {"use_beam_search", .off = true},
    {"modalities", .off = true},
    {"audio", .off = true},
};

// Fields that are read below, and those that do not bear on the answer: of all requests, of chats, of completions.
static const char all_fields[] =
    "model stream stream_options max_tokens seed temperature top_p stop stop_token_ids ignore_eos " SERVE_FORMAT_FIELDS
    " cache_prompt skip_special_tokens user metadata store service_tier prompt_cache_key safety_identifier";
static const char chat_fields[] = "max_completion_tokens parallel_tool_calls";
static const char chat_token_fields[] =
    "messages tools chat_template_kwargs add_generation_prompt"; // and more of chats
static const char completion_fields[] = "prompt";

static bool is_allowed(size_t i, const Json *v) {
    if (json_is_number(v)) return (only[i].zero && v->number == 0) || (only[i].one && v->number == 1);
    if (json_is_text(v))
        return (only[i].text && json_str_is(v->str, only[i].text)) ||
               (only[i].other && json_str_is(v->str, only[i].other));
    return only[i].off && json_is_off(v);
}

static int check_field(const Json *root, size_t f, bool chat, Err *err) {
    JsonStr key = root->keys[f];
    if (root->items[f].type == JSON_NULL) return 0;
    for (size_t i = 0; i < sizeof only / sizeof *only; i++) {
        if (!json_str_is(key, only[i].key)) continue;
        if (is_allowed(i, &root->items[f])) return 0;
        return serve_refuse_field(root, only[i].key, "it to be left out: lorac serve does not have it", err);
    }
    if (is_among(key.data, key.len, all_fields) ||
        is_among(key.data, key.len, chat ? chat_token_fields : completion_fields) ||
        (chat && is_among(key.data, key.len, chat_fields)))
        return 0;
    return err_input(err, "unknown field \"%.60s\"", key.data);
}

static int add_stop_text(ServeRequest *r, const Json *v, Err *err) {
    if (!json_is_text(v) || v->str.len == 0 || r->n_stops == SERVE_MAX_STOPS)
        return err_input(err, "\"stop\": expected a text, or a list of at most %d that are not empty", SERVE_MAX_STOPS);
    str_add(&r->stops[r->n_stops++], v->str.data, v->str.len);
    return 0;
}

static int read_stops(ServeRequest *r, const Json *root, Err *err) {
    const Json *v = json_given(root, "stop");
    if (!v) return 0;
    if (v->type != JSON_ARRAY) return add_stop_text(r, v, err);
    for (size_t i = 0; i < v->count; i++)
        if (add_stop_text(r, &v->items[i], err)) return -1;
    return 0;
}

// The model's own, unless ignore_eos, and "stop_token_ids".
static int read_stop_ids(ServeRequest *r, const Json *root, const ServedModel *served, Err *err) {
    const Json *v = json_given(root, "stop_token_ids");
    bool ignore = false;
    if (serve_read_bool(&ignore, root, "ignore_eos", err)) return -1;
    if (v && (v->type != JSON_ARRAY || v->count > SERVE_MAX_STOP_IDS))
        return serve_refuse_field(root, "stop_token_ids", "a list of at most 1024 token ids", err);
    size_t own = ignore ? 0 : served->n_stop, n = own;
    int32_t *ids = mem_alloc(own + (v ? v->count : 0) + 1, sizeof *ids);
    r->how.stop = ids;
    if (own) memcpy(ids, served->stop, own * sizeof *ids);
    for (size_t i = 0; v && i < v->count; i++) {
        int64_t id;
        if (!json_whole(&v->items[i], &id) || id < 0 || id > INT32_MAX)
            return serve_refuse_field(root, "stop_token_ids", "a list of token ids", err);
        ids[n++] = (int32_t)id;
    }
    r->how.n_stop = n;
    return 0;
}

// OpenAI's defaults. Without a seed every answer has one of its own.
static int read_sampling(ServeRequest *r, const Json *root, Err *err) {
    double temperature = 1, top_p = 1;
    int64_t seed = 0;
    CHECK(getrandom(&seed, sizeof seed, 0) == sizeof seed, "no random bytes");
    if (serve_read_number(&temperature, root, "temperature", 0, 2, err) ||
        serve_read_number(&top_p, root, "top_p", 0, 1, err) ||
        serve_read_int(&seed, root, "seed", INT64_MIN, INT64_MAX, err))
        return -1;
    if ((float)top_p == 0) temperature = 0, top_p = 1; // the most likely token alone
    r->how.temperature = (float)temperature;
    r->how.top_p = (float)top_p;
    r->how.seed = (uint64_t)seed;
    return 0;
}

static int read_stream(ServeRequest *r, const Json *root, Err *err) {
    const Json *options = json_given(root, "stream_options");
    if (serve_read_bool(&r->stream, root, "stream", err)) return -1;
    if (!options) return 0;
    if (options->type != JSON_OBJECT || !r->stream)
        return serve_refuse_field(root, "stream_options", "an object, with \"stream\": true", err);
    return serve_read_bool(&r->include_usage, options, "include_usage", err);
}

// ---- the prompt ----

static int read_ids(ServeRequest *r, const Json *list, Err *err) {
    r->ids = mem_alloc(list->count + 1, sizeof *r->ids);
    r->count = (int64_t)list->count;
    for (size_t i = 0; i < list->count; i++) {
        int64_t id;
        if (!json_whole(&list->items[i], &id) || id < 0 || id > INT32_MAX)
            return err_input(err, "\"prompt\" has an entry %zu that is no token id", i);
        r->ids[i] = (int32_t)id;
    }
    return 0;
}

// Raw text, after BOS if the tokenizer adds one and the text does not begin with it.
static int read_text(ServeRequest *r, JsonStr text, const Tokenizer *t, Err *err) {
    AUTO_IDS TokenIds ids = {0};
    tokenizer_encode(t, text.data, text.len, NULL, true, &ids);
    if (token_ids_check(&ids, err)) return -1;
    bool bos = t->add_bos && (!ids.count || ids.ids[0] != t->bos);
    r->ids = mem_alloc(ids.count + 1, sizeof *r->ids);
    if (bos) r->ids[0] = t->bos;
    if (ids.count) memcpy(r->ids + bos, ids.ids, ids.count * sizeof *r->ids);
    r->count = (int64_t)ids.count + bos;
    return 0;
}

static int read_prompt(ServeRequest *r, const Json *root, const Tokenizer *t, Err *err) {
    const Json *v = json_given(root, "prompt");
    if (v && v->type == JSON_ARRAY && v->count == 1 && !json_is_number(&v->items[0])) v = &v->items[0]; // a list of one
    if (v && json_is_text(v)) return read_text(r, v->str, t, err);
    if (v && v->type == JSON_ARRAY && v->count && json_is_number(&v->items[0])) return read_ids(r, v, err);
    return err_input(err, "\"prompt\": expected one text, or one list of token ids");
}

// As `lorac generate --messages` and training read a conversation.
static int read_dialog(Dialog *d, const Json *root, const ChatTemplate *chat, Err *err) {
    static const char *const keys[] = {"messages", "tools", "chat_template_kwargs"};
    Json record = {.type = JSON_OBJECT};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const Json *v = json_given(root, keys[i]);
        if (v) record = json_with(&d->pool, &record, keys[i], *v);
    }
    d->template = chat_template_source(chat);
    return dialog_read(d, &record, FORMAT_MESSAGES, true, false, err);
}

static int read_messages(ServeRequest *r, const Json *root, const Tokenizer *t, const ServedModel *served, Err *err) {
    AUTO_CALL(chat_tokens_clear) ChatTokens tokens = {0};
    AUTO_CALL(dialog_clear) Dialog d = {0};
    bool answer = true;
    const Json *messages = json_given(root, "messages");
    if (!messages || messages->type != JSON_ARRAY) return err_input(err, "\"messages\": expected a list of messages");
    if (!served->chat)
        return err_input(err, "model %s has no chat template; expected a request to /v1/completions", served->name);
    if (serve_read_bool(&answer, root, "add_generation_prompt", err) || read_dialog(&d, root, served->chat, err))
        return -1;
    ChatInput in = {.messages = &d.messages, .tools = d.tools, .extra = d.extra, .add_generation_prompt = answer};
    if (chat_tokenize(&tokens, served->chat, t, &in, err)) return -1;
    if (tokens.unrendered[0])
        return err_input(err, "%s%s: the chat template of %s leaves its text out",
                         tokens.unrendered[0] == '[' ? "messages" : "", tokens.unrendered, served->name);
    r->ids = mem_take(&tokens.ids);
    r->count = (int64_t)tokens.count;
    return 0;
}

// ---- all of it ----

// A chat ends at its end of turn or with the context; a completion has 16 tokens, as in OpenAI's API.
static int read_length(ServeRequest *r, const Json *root, int64_t context, Err *err) {
    int64_t room = context - r->count;
    r->how.max_new_tokens = r->chat ? INT32_MAX : 16;
    if (room < 1)
        return err_input(err, "the prompt has %ld tokens; expected fewer than the context of %ld", r->count, context);
    if (serve_read_int(&r->how.max_new_tokens, root, "max_tokens", 1, INT32_MAX, err) ||
        serve_read_int(&r->how.max_new_tokens, root, "max_completion_tokens", 1, INT32_MAX, err))
        return -1;
    r->how.max_new_tokens = min64(r->how.max_new_tokens, room);
    return 0;
}

static const TokenTrie *tokens_of(void *models) { return served_models_tokens(models); }

static int read_format(ServeRequest *r, const Json *root, ServedModels *models, Err *err) {
    bool special = true;
    if (serve_read_bool(&special, root, "skip_special_tokens", err)) return -1;
    if (!special) return serve_refuse_field(root, "skip_special_tokens", "true", err);
    if (serve_format_read(&r->constraint, root, tokens_of, models, err)) return -1;
    r->how.constraint = r->constraint;
    return 0;
}

int serve_request_model(const char **name, const Json *root, Err *err) {
    *name = NULL;
    if (root->type != JSON_OBJECT) return err_input(err, "the body is %s; expected an object", json_type_name(root));
    return serve_read_text(name, root, "model", err);
}

int serve_request_read(ServeRequest *r, const Json *root, ServedModels *models, const ServedModel *served,
                       int64_t context, Err *err) {
    const Model *m = served_models_base(models);
    for (size_t f = 0; f < root->count; f++)
        if (check_field(root, f, r->chat, err)) return -1;
    if (read_stream(r, root, err) || read_sampling(r, root, err) || read_stops(r, root, err) ||
        read_stop_ids(r, root, served, err) || read_format(r, root, models, err))
        return -1;
    if (r->chat ? read_messages(r, root, m->tokenizer, served, err) : read_prompt(r, root, m->tokenizer, err))
        return -1;
    if (read_length(r, root, context, err)) return -1;
    DecodeRequest check = {.prompt = {r->ids, r->count}, .how = &r->how};
    return decode_request_check(m, &check, context, err);
}

int serve_request_tokens(ServeRequest *r, const Json *root, const Model *m, const ServedModel *served, Err *err) {
    r->chat = json_given(root, "messages");
    for (size_t f = 0; f < root->count; f++) {
        JsonStr key = root->keys[f];
        if (root->items[f].type != JSON_NULL && !json_str_is(key, "model") &&
            !is_among(key.data, key.len, r->chat ? chat_token_fields : completion_fields))
            return err_input(err, "unknown field \"%.60s\"", key.data);
    }
    return r->chat ? read_messages(r, root, m->tokenizer, served, err) : read_prompt(r, root, m->tokenizer, err);
}

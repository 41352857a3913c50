// answers: sample answers for the report.
#include "report.h"

#include <cjson/cJSON.h>
#include <string.h>

#include "generate.h"
#include "json_save.h"
#include "memory_use.h"
#include "prompt_cases.h"
#include "tokenizer.h"

// RECORDS_SEEN: short prompts are searched among the first records only; the file may be large.
enum { NEW_TOKENS = ANSWER_TOKENS, LONGEST_PROMPT = 512, RECORDS_SEEN = 256 };

// An answer may end inside a UTF-8 character: the stream writes complete ones only.
static char *decode(const Tokenizer *tokenizer, const Generation *g) {
    AUTO_STR StrBuf text = {0};
    TokenStream stream = {0};
    for (int64_t i = 0; i < g->count; i++) token_stream_add(&stream, tokenizer, g->ids[i], &text);
    token_stream_end(&stream, &text);
    char *copy = mem_strdup(text.data ? text.data : "");
    return copy;
}

// Answers of one model (adapter NULL: the base).
static int answer(char *texts[ANSWERS_MAX], const TrainerInputs *in, const Adapter *a, const GeneratePrompt *prompts,
                  int n, Err *err) {
    Generation answers[ANSWERS_MAX] = {0};
    GenerateOptions o = {.max_new_tokens = NEW_TOKENS, .top_p = 1, .batch = ANSWERS_MAX};
    int32_t end = in->data->chat ? chat_template_end_of_turn(in->data->chat) : -1;
    AUTO_FREE int32_t *stop = generate_stop_ids(in->model, end, &o.n_stop);
    o.stop = stop;
    int rc = generate(in->model, a, prompts, n, &o, answers, err);
    for (int i = 0; i < n; i++) {
        if (!rc) texts[i] = decode(in->model->tokenizer, &answers[i]);
        generation_clear(&answers[i]);
    }
    return rc;
}

static int fill(Answers *s, const TrainerInputs *in, const PromptCase *const *chosen, int n, Err *err) {
    char *before[ANSWERS_MAX] = {0}, *after[ANSWERS_MAX] = {0};
    GeneratePrompt prompts[ANSWERS_MAX];
    for (int i = 0; i < n; i++) prompts[i] = (GeneratePrompt){chosen[i]->ids, chosen[i]->count};
    int rc = answer(before, in, NULL, prompts, n, err);
    if (!rc) rc = answer(after, in, in->adapter, prompts, n, err);
    for (int i = 0; i < n; i++) {
        s->items[i] = (Answer){mem_strdup(chosen[i]->prompt), mem_strdup(chosen[i]->reference), before[i], after[i]};
    }
    s->count = n;
    if (rc) answers_clear(s);
    return rc;
}

// At the end the answers must fit into what the run has planned in host memory; on a device the steps' memory is free
// again. Between steps (`running`) they are extra.
static bool fits(const Trainer *t, int64_t sequences, int64_t longest, bool running) {
    const TrainerInputs *in = trainer_inputs(t);
    const Model *m = in->model;
    size_t resident = memory_resident();
    if (!m->backend->host_memory && !running) return true;
    int64_t capacity = longest + min64(m->max_positions - longest, NEW_TOKENS);
    size_t bytes = generate_bytes(m, sequences, capacity);
    if (running) return bytes <= memory_room(m->backend, in->config->max_memory);
    return resident + bytes <= trainer_planned_bytes(t);
}

int answers_make(Answers *s, const Trainer *t, bool running, Err *err) {
    const TrainerInputs *in = trainer_inputs(t);
    const Config *c = in->config;
    PromptCase *cases = NULL;
    int64_t n = 0;
    if (!adapter_generates(in->adapter) || !model_is_whole(in->model)) return 0;
    s->held_out = in->data->eval_rows != NULL;
    AUTO_CALL(file_list_clear) FileList files = {0};
    CaseChoice choice = {.limit = RECORDS_SEEN};
    if ((s->held_out ? run_eval_files(&files, &choice, in->data, c, NULL) : run_train_files(&files, c, NULL)) == 0) {
        DatasetOptions o = run_dataset_options(c, &files, in->data->max_tokens);
        if (!choice.records) o.n_files = 1;
        prompt_cases_load(&cases, &n, &choice, &o, in->model->tokenizer, in->data->chat, NULL); // or none is shown
    }
    const PromptCase *chosen[ANSWERS_MAX];
    int count = 0;
    int64_t longest = 0;
    for (int64_t i = 0; i < n && count < ANSWERS_MAX; i++) {
        int64_t length = cases[i].count, with = length > longest ? length : longest;
        if (length < 1 || length > LONGEST_PROMPT || !fits(t, count + 1, with, running)) continue;
        longest = with;
        chosen[count++] = &cases[i];
    }
    int rc = count ? fill(s, in, chosen, count, err) : 0;
    prompt_cases_free(cases, n);
    return rc;
}

void answers_clear(Answers *s) {
    for (int i = 0; i < s->count; i++) {
        mem_free(s->items[i].prompt);
        mem_free(s->items[i].reference);
        mem_free(s->items[i].before);
        mem_free(s->items[i].after);
    }
    s->count = 0;
}

// ---- one question ----

// As a run trains a prompt: a user's turn, or raw text where there is no chat template.
static int encode(TokenIds *ids, const TrainerInputs *in, const char *question, Err *err) {
    const Tokenizer *t = in->model->tokenizer;
    if (!in->data->chat) {
        tokenizer_encode_framed(t, question, strlen(question), false, ids);
        return token_ids_check(ids, err);
    }
    cJSON *messages = mem_checked(cJSON_CreateArray()), *turn = mem_checked(cJSON_CreateObject());
    cJSON_AddStringToObject(turn, "role", "user");
    cJSON_AddStringToObject(turn, "content", question);
    cJSON_AddItemToArray(messages, turn);
    AUTO_FREE char *text = json_line(messages);
    AUTO_JSON JsonDoc *doc = NULL;
    AUTO_CALL(chat_tokens_clear) ChatTokens tokens = {0};
    if (json_parse(&doc, text, strlen(text), "the prompt", 0, err)) return -1;
    ChatInput input = {.messages = json_root(doc), .add_generation_prompt = true};
    if (chat_tokenize(&tokens, in->data->chat, t, &input, err)) return -1;
    *ids = (TokenIds){.ids = mem_take(&tokens.ids), .count = tokens.count};
    return 0;
}

int answers_ask(char **before, char **after, const Trainer *t, const char *question, Err *err) {
    const TrainerInputs *in = trainer_inputs(t);
    AUTO_IDS TokenIds ids = {0};
    *before = *after = NULL;
    if (!adapter_generates(in->adapter)) return err_input(err, "an encoder or a classifier does not answer");
    if (encode(&ids, in, question, err)) return -1;
    int64_t most = min64(LONGEST_PROMPT, in->model->max_positions - 1);
    if ((int64_t)ids.count > most)
        return err_input(err, "the prompt has %zu tokens; expected at most %ld", ids.count, most);
    if (!fits(t, 1, (int64_t)ids.count, true))
        return err_no_fit(err, "an answer does not fit into the memory that is left");
    GeneratePrompt prompt = {ids.ids, (int64_t)ids.count};
    if (answer(before, in, NULL, &prompt, 1, err)) return -1;
    return answer(after, in, in->adapter, &prompt, 1, err);
}

// answers: sample answers for the report.
#include "report.h"

#include "generate.h"
#include "memory_use.h"
#include "prompt_cases.h"
#include "tokenizer.h"

// RECORDS_SEEN: short prompts are searched among the first records only; the file may be large.
enum { NEW_TOKENS = 64, LONGEST_PROMPT = 512, RECORDS_SEEN = 256 };

// An answer may end inside a UTF-8 character: the stream writes complete ones only.
static char *decode(const Tokenizer *tokenizer, const Generation *g) {
    AUTO_STR StrBuf text = {0};
    TokenStream stream = {0};
    for (int64_t i = 0; i < g->count; i++) token_stream_add(&stream, tokenizer, g->ids[i], &text);
    token_stream_end(&stream, &text);
    char *copy = mem_strdup(text.data ? text.data : "");
    return copy;
}

// Answers of one model (adapter NULL: the base) to the chosen cases.
static int answer(char *texts[ANSWERS_MAX], const TrainerInputs *in, const Adapter *a, const PromptCase *const *chosen,
                  int n, Err *err) {
    Generation answers[ANSWERS_MAX] = {0};
    GeneratePrompt prompts[ANSWERS_MAX];
    for (int i = 0; i < n; i++) prompts[i] = (GeneratePrompt){chosen[i]->ids, chosen[i]->count};
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
    int rc = answer(before, in, NULL, chosen, n, err);
    if (!rc) rc = answer(after, in, in->adapter, chosen, n, err);
    for (int i = 0; i < n; i++) {
        s->items[i] = (Answer){mem_strdup(chosen[i]->prompt), mem_strdup(chosen[i]->reference), before[i], after[i]};
    }
    s->count = n;
    if (rc) answers_clear(s);
    return rc;
}

// In host memory the answers must fit into what the run has planned; on a device the steps' memory is free again.
static bool fits(const Trainer *t, int64_t sequences, int64_t longest) {
    const Model *m = trainer_inputs(t)->model;
    size_t resident = memory_resident();
    if (!m->backend->host_memory) return true;
    int64_t room = m->max_positions - longest, capacity = longest + (room < NEW_TOKENS ? room : NEW_TOKENS);
    return resident + generate_bytes(m, sequences, capacity) <= trainer_planned_bytes(t);
}

int answers_make(Answers *s, const Trainer *t, Err *err) {
    const TrainerInputs *in = trainer_inputs(t);
    const Config *c = in->config;
    PromptCase *cases = NULL;
    int64_t n = 0;
    if (in->adapter->config.labels) return 0; // a classifier does not answer
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
        if (length < 1 || length > LONGEST_PROMPT || !fits(t, count + 1, with)) continue;
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

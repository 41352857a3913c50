#include "answers.h"

#include "generate.h"
#include "memory_use.h"
#include "prompt_cases.h"

// Short prompts are looked for among the first records only: the file may be large.
enum { NEW_TOKENS = 64, LONGEST_PROMPT = 512, RECORDS_SEEN = 256 };

// An answer may end in the middle of a character: the stream writes whole ones only.
static char *decode(const Trainer *t, const Generation *g) {
    StrBuf text = {0};
    TokenStream stream = {0};
    for (int64_t i = 0; i < g->count; i++) token_stream_add(&stream, t->model->tokenizer, g->ids[i], &text);
    token_stream_end(&stream, &text);
    char *copy = mem_strdup(text.data ? text.data : "");
    str_clear(&text);
    return copy;
}

// Answers of one model (adapter NULL: the base) to the chosen cases.
static int answer(char *texts[ANSWERS_MAX], const Trainer *t, const Adapter *a, const PromptCase *const *chosen, int n,
                  Err *err) {
    Generation answers[ANSWERS_MAX] = {0};
    GeneratePrompt prompts[ANSWERS_MAX];
    for (int i = 0; i < n; i++) prompts[i] = (GeneratePrompt){chosen[i]->ids, chosen[i]->count};
    GenerateOptions o = {.max_new_tokens = NEW_TOKENS, .top_p = 1, .batch = ANSWERS_MAX};
    int32_t end = t->data->chat ? chat_template_end_of_turn(t->data->chat) : -1;
    int32_t *stop = generate_stop_ids(t->model, end, &o.n_stop);
    o.stop = stop;
    int status = generate(t->model, a, prompts, n, &o, answers, err);
    for (int i = 0; i < n; i++) {
        if (!status) texts[i] = decode(t, &answers[i]);
        generation_clear(&answers[i]);
    }
    mem_free(stop);
    return status;
}

static int fill(Answers *s, const Trainer *t, const PromptCase *const *chosen, int n, Err *err) {
    char *before[ANSWERS_MAX] = {0}, *after[ANSWERS_MAX] = {0};
    int status = answer(before, t, NULL, chosen, n, err);
    if (!status) status = answer(after, t, t->adapter, chosen, n, err);
    for (int i = 0; i < n; i++) {
        s->items[i] = (Answer){mem_strdup(chosen[i]->prompt), mem_strdup(chosen[i]->reference), before[i], after[i]};
    }
    s->count = n;
    if (status) answers_clear(s);
    return status;
}

// In host memory the answers take no more than the run has planned for; on a device the steps' memory is free again.
static bool fits(const Trainer *t, int64_t sequences, int64_t longest) {
    size_t resident = memory_resident();
    if (!t->model->backend->host_memory) return true;
    int64_t room = t->model->max_positions - longest, capacity = longest + (room < NEW_TOKENS ? room : NEW_TOKENS);
    return resident + generate_bytes(t->model, sequences, capacity) <= t->planned_bytes;
}

int answers_make(Answers *s, const Trainer *t, Err *err) {
    const Config *c = t->config;
    FileList files;
    PromptCase *cases = NULL;
    int64_t max_tokens, n = 0;
    if (t->adapter->config.labels) return 0; // a classifier does not answer
    s->held_out = c->validation_file != NULL;
    if (run_max_tokens(c, &t->model->config, &max_tokens, err)) return -1;
    if ((s->held_out ? run_validation_files(&files, c, NULL) : run_train_files(&files, c, NULL)) == 0) {
        DatasetOptions o = run_dataset_options(c, &files, max_tokens);
        o.n_files = 1;
        prompt_cases_load(&cases, &n, RECORDS_SEEN, &o, t->model->tokenizer, t->data->chat, NULL); // or none is shown
    }
    file_list_clear(&files);
    const PromptCase *chosen[ANSWERS_MAX];
    int count = 0;
    int64_t longest = 0;
    for (int64_t i = 0; i < n && count < ANSWERS_MAX; i++) {
        int64_t length = cases[i].count, with = length > longest ? length : longest;
        if (length < 1 || length > LONGEST_PROMPT || !fits(t, count + 1, with)) continue;
        longest = with;
        chosen[count++] = &cases[i];
    }
    int status = count ? fill(s, t, chosen, count, err) : 0;
    prompt_cases_free(cases, n);
    return status;
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

#include "swap_check.h"

#include <ctype.h>
#include <string.h>

#include "run_data.h"
#include "say.h"

// A copy without white space at both ends.
static char *stripped(const char *text, size_t len) {
    while (len && isspace((unsigned char)*text)) text++, len--;
    while (len && isspace((unsigned char)text[len - 1])) len--;
    return mem_strndup(text, len);
}

static int load_cases(CheckAnswers *c, RunData *data, const Loaded *l, const SwapCheck *o, Err *err) {
    const Config *run = &l->run;
    AUTO_CALL(file_list_clear) FileList files = {0};
    CaseChoice choice = {.limit = o->prompts};
    int64_t max_tokens = 0;
    c->held_out = run->validation_file.count || run->val_set_size > 0;
    if (c->held_out) {
        if (run_data_open(data, run, l->model, NULL, false, err) || run_eval_files(&files, &choice, data, run, err))
            return -1;
        max_tokens = data->max_tokens;
    } else if (run_max_tokens(run, &l->model->config, &max_tokens, err) ||
               run_chat_template(run, l->model->tokenizer, &data->chat, err) || run_train_files(&files, run, err)) {
        return -1;
    }
    DatasetOptions options = run_dataset_options(run, &files, max_tokens);
    return prompt_cases_load(&c->cases, &c->count, &choice, &options, l->model->tokenizer, data->chat, err);
}

// As an engine sends it: bytes that are no characters are U+FFFD.
static char *answer_text(const Generation *g, const Tokenizer *t) {
    AUTO_STR StrBuf text = {0};
    TokenStream stream = {0};
    str_puts(&text, "");
    for (int64_t i = 0; i < g->count; i++) token_stream_add(&stream, t, g->ids[i], &text);
    token_stream_end(&stream, &text);
    return stripped(text.data, text.len);
}

static int answer(CheckAnswers *c, const Loaded *l, const SwapCheck *o, int32_t end_of_turn, Err *err) {
    enum { BATCH = 16 };
    size_t n = (size_t)c->count;
    AUTO_FREE GeneratePrompt *prompts = mem_calloc(n, sizeof *prompts);
    AUTO_FREE Generation *answers = mem_calloc(n, sizeof *answers);
    GenerateOptions how = {.max_new_tokens = o->max_new_tokens, .top_p = 1, .batch = BATCH};
    c->stop = generate_stop_ids(l->model, end_of_turn, &c->n_stop);
    how.stop = c->stop;
    how.n_stop = c->n_stop;
    for (size_t i = 0; i < n; i++) prompts[i] = (GeneratePrompt){c->cases[i].ids, c->cases[i].count};
    int rc = generate(l->model, l->adapter, prompts, c->count, &how, answers, err);
    c->texts = mem_calloc(n, sizeof *c->texts);
    for (size_t i = 0; i < n; i++) {
        c->texts[i] = answer_text(&answers[i], l->model->tokenizer);
        generation_clear(&answers[i]);
    }
    return rc;
}

int check_answers_make(CheckAnswers *c, const Loaded *l, const SwapCheck *o, Err *err) {
    AUTO_CALL(run_data_close) RunData data = {0};
    *c = (CheckAnswers){0};
    if (load_cases(c, &data, l, o, err)) return -1;
    return answer(c, l, o, data.chat ? chat_template_end_of_turn(data.chat) : -1, err);
}

void check_answers_clear(CheckAnswers *c) {
    for (int64_t i = 0; c->texts && i < c->count; i++) mem_free(c->texts[i]);
    mem_free(c->texts);
    mem_free(c->stop);
    prompt_cases_free(c->cases, c->count);
    *c = (CheckAnswers){0};
}

int check_answers_compare(const CheckAnswers *c, Engine *e, const char *name, const SwapCheck *o, Err *err) {
    int64_t agree = 0, shown = 0;
    for (int64_t i = 0; i < c->count; i++) {
        AUTO_STR StrBuf text = {0};
        EngineQuestion q = {name, c->cases[i].ids, c->stop, c->cases[i].count, o->max_new_tokens, c->n_stop};
        if (engine_answer(e, &q, &text, err)) return -1;
        AUTO_FREE char *theirs = stripped(text.data ? text.data : "", text.len);
        bool same = strcmp(theirs, c->texts[i]) == 0;
        agree += same;
        if (!same && shown++ < o->show)
            say("prompt    %s\nlorac     %s\n%-9s %s\n\n", c->cases[i].prompt, c->texts[i],
                e->is_lorac ? "server" : engine_name(e), theirs);
    }
    say("%s: %ld of %ld answers to %s prompts agree with lorac's\n", e->url, agree, c->count,
        c->held_out ? "held-out" : "training");
    return 0;
}

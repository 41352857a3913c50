#include "predict_tagged.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"

typedef struct Verdict {
    int64_t label;
    double score;
} Verdict;

static int judge(Verdict *v, const float *logits, int64_t n, Err *err) {
    double sum = 0;
    *v = (Verdict){0};
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(logits[i]))
            return err_runtime(err, "found a logit of %g; expected finite ones", (double)logits[i]);
        if (logits[i] > logits[v->label]) v->label = i;
    }
    for (int64_t i = 0; i < n; i++) sum += exp((double)logits[i] - (double)logits[v->label]);
    v->score = 1 / sum;
    return 0;
}

static int judge_all(Verdict **out, const Loaded *l, const TaggedTokens *t, Err *err) {
    const Adapter *a = l->adapter;
    int64_t labels = a->config.labels;
    AUTO_FREE float *logits = mem_alloc(t->t.count * (size_t)labels, sizeof *logits);
    if (model_token_logits(l->model, a, t->t.ids, (int64_t)t->t.count, logits, err) || loaded_check(l, err)) return -1;
    *out = mem_alloc(t->t.count, sizeof **out);
    for (size_t i = 0; i < t->t.count; i++)
        if (judge(&(*out)[i], logits + (int64_t)i * labels, labels, err)) return -1;
    return 0;
}

// ---- entities ----

// The name without B- or I-.
static const char *group_of(const char *name) {
    return (name[0] == 'B' || name[0] == 'I') && name[1] == '-' ? name + 2 : name;
}

static int64_t characters(const char *text, size_t bytes) {
    int64_t n = 0;
    for (size_t i = 0; i < bytes; i++) n += ((unsigned char)text[i] & 0xC0) != 0x80;
    return n;
}

// Tokens [from, to) of the text.
static void add_entity(cJSON *list, const Loaded *l, const TaggedTokens *t, const Verdict *v, size_t from, size_t to) {
    const char *name = l->adapter->labels.names[v[from].label], *part = strchr(name, '-');
    AUTO_STR StrBuf word = {0};
    double sum = 0;
    size_t begin, end, unused;
    if (strcmp(group_of(name), "O") == 0) return;
    for (size_t i = from; i < to; i++) sum += v[i].score;
    tokenizer_decode(l->model->tokenizer, t->t.ids + from, to - from, true, &word);
    str_puts(&word, "");
    tagged_span(t, from, &begin, &unused);
    tagged_span(t, to - 1, &unused, &end);
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "entity_group", part ? part + 1 : name);
    cJSON_AddNumberToObject(o, "score", sum / (double)(to - from));
    cJSON_AddStringToObject(o, "word", word.data);
    cJSON_AddNumberToObject(o, "start", (double)characters(t->text.data, begin));
    cJSON_AddNumberToObject(o, "end", (double)characters(t->text.data, end));
    cJSON_AddItemToArray(list, o);
}

static void add_entities(cJSON *j, const Loaded *l, const TaggedTokens *t, const Verdict *v) {
    char **names = l->adapter->labels.names;
    cJSON *list = cJSON_AddArrayToObject(j, "entities");
    size_t from = t->first, end = t->first + t->n;
    for (size_t i = from + 1; i <= end; i++) {
        const char *name = i < end ? names[v[i].label] : NULL, *before = names[v[i - 1].label];
        bool goes_on = name && !(name[0] == 'B' && name[1] == '-') && strcmp(group_of(name), group_of(before)) == 0;
        if (goes_on) continue;
        add_entity(list, l, t, v, from, i);
        from = i;
    }
}

static void add_tags(cJSON *j, const Loaded *l, const TaggedTokens *t, const Verdict *v) {
    cJSON *list = cJSON_AddArrayToObject(j, "tags");
    size_t i = t->first;
    for (size_t word = 0; word < t->words; word++) {
        while (i < t->first + t->n && t->word[i] < (int64_t)word) i++;
        bool has = i < t->first + t->n && t->word[i] == (int64_t)word;
        cJSON_AddItemToArray(list, has ? cJSON_CreateString(l->adapter->labels.names[v[i].label]) : cJSON_CreateNull());
    }
}

int predict_tagged(const Loaded *l, const RecordTokenizer *e, const Json *record, bool with_text, size_t *cut,
                   Err *err) {
    AUTO_CALL(tagged_clear) TaggedTokens t = {0};
    AUTO_FREE Verdict *v = NULL;
    if (tagged_tokenize(&t, e, record, err)) return -1;
    if (!t.n)
        return err_input(err, "found a text without tokens, or a max_seq_length without room for one; expected one");
    if (judge_all(&v, l, &t, err)) return -1;
    cJSON *j = cJSON_CreateObject();
    if (with_text && t.of_text) cJSON_AddStringToObject(j, "text", json_get(record, "text")->str.data);
    (t.of_text ? add_entities : add_tags)(j, l, &t, v);
    *cut = t.cut;
    print_json(j);
    fflush(stdout);
    return 0;
}

#include "train_log.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "fileio.h"
#include "json.h"
#include "json_save.h"
#include "log_file.h"

enum { MAX_LOG_BYTES = 1 << 30 };

struct TrainLog {
    LogFile file;
};

// Of one line that ends with '\n'. *doc (json_free) holds it; NULL: not one of ours.
static const Json *parse_line(JsonDoc **doc, const char *line, const char *end) {
    *doc = NULL;
    if (json_parse(doc, line, (size_t)(end - line), "", 0, NULL)) return NULL;
    const Json *o = json_root(*doc);
    bool own = o->type == JSON_OBJECT && o->count >= 2 && strcmp(o->keys[0].data, "step") == 0 &&
               o->items[0].type == JSON_INT &&
               (strcmp(o->keys[1].data, "epoch") == 0 || strcmp(o->keys[1].data, "eval_loss") == 0 ||
                strcmp(o->keys[1].data, "hot_swap") == 0);
    return own ? o : NULL;
}

// Calls `use` for each line of ours. False: there are others. A last line without '\n' was being written when the
// process died (a power cut leaves zeros).
typedef void (*LineUse)(void *user, const Json *object, const char *line, size_t length);
static bool each_line(const char *text, size_t size, LineUse use, void *user) {
    static const char begin[] = "{\"step\":";
    bool own = true;
    for (const char *line = text, *end; line < text + size; line = end + 1) {
        size_t left = (size_t)(text + size - line);
        AUTO_JSON JsonDoc *doc = NULL;
        end = memchr(line, '\n', left);
        if (!end)
            return own && (!*line || strncmp(line, begin, left < sizeof begin - 1 ? left : sizeof begin - 1) == 0);
        const Json *o = parse_line(&doc, line, end);
        own = own && o;
        if (o && use) use(user, o, line, (size_t)(end + 1 - line));
    }
    return own;
}

typedef struct Cut {
    StrBuf kept;
    int64_t step, evaluated_step;
} Cut;

static void keep_line(void *user, const Json *object, const char *line, size_t length) {
    Cut *cut = user;
    int64_t last = json_get(object, "eval_loss") ? cut->evaluated_step : cut->step;
    if (json_get(object, "step")->integer <= last) str_add(&cut->kept, line, length);
}

int train_log_own(const char *path, Err *err) {
    AUTO_FREE char *text = NULL;
    size_t size;
    bool own = file_read(&text, &size, path, MAX_LOG_BYTES, NULL) == 0 && each_line(text, size, NULL, NULL);
    return own ? 0 : overwrite_refuse(path, "a train_log.jsonl that lorac wrote", err);
}

static int cut_back(const char *path, const TrainerState *s, Err *err) {
    struct stat st;
    if (stat(path, &st) || !S_ISREG(st.st_mode)) return 0; // a pipe has no content to cut
    if (train_log_own(path, err)) return -1;
    AUTO_FREE char *text = NULL;
    size_t size;
    if (file_read(&text, &size, path, MAX_LOG_BYTES, err)) return -1;
    Cut cut = {.step = s->step, .evaluated_step = s->evaluated_step};
    each_line(text, size, keep_line, &cut);
    int rc = cut.kept.len == size ? 0 : file_write_whole(path, cut.kept.data, cut.kept.len, train_log_own, err);
    str_clear(&cut.kept);
    return rc;
}

int train_log_open(TrainLog **log, const char *path, const TrainerState *s, Err *err) {
    *log = NULL;
    if (cut_back(path, s, err)) return -1;
    TrainLog *l = mem_calloc(1, sizeof *l);
    if (log_file_open(&l->file, path, NULL, 0, err)) {
        train_log_close(l);
        return -1;
    }
    *log = l;
    return 0;
}

void train_log_close(TrainLog *log) {
    if (!log) return;
    log_file_close(&log->file);
    mem_free(log);
}

static void write_line(TrainLog *log, cJSON *object) {
    AUTO_FREE char *text = json_line(object), *line = mem_printf("%s\n", text);
    log_file_add(&log->file, line, strlen(line));
}

enum { DIGITS = 9 };

// TRL's names.
static void add_preference(cJSON *o, const char *prefix, const PreferenceReport *p) {
    const struct {
        const char *key;
        double value;
    } all[] = {{"rewards/chosen", p->reward_chosen},
               {"rewards/rejected", p->reward_rejected},
               {p->paired ? "rewards/accuracies" : "kl", p->paired ? p->accuracy : p->kl},
               {"rewards/margins", p->reward_chosen - p->reward_rejected},
               {"logps/chosen", p->logp_chosen},
               {"logps/rejected", p->logp_rejected}};
    for (size_t i = 0; i < sizeof all / sizeof *all && p->samples; i++) {
        AUTO_FREE char *key = mem_printf("%s%s", prefix, all[i].key);
        if (!p->paired && isnan(all[i].value)) continue; // no such completion in the step
        json_add_number(o, key, DIGITS, all[i].value);
    }
}

static void add_teacher(cJSON *o, const char *prefix, const TeacherReport *t) {
    AUTO_FREE char *hard = mem_printf("%sce_loss", prefix), *soft = mem_printf("%skd_loss", prefix);
    if (!t->given) return;
    json_add_number(o, hard, DIGITS, t->hard);
    json_add_number(o, soft, DIGITS, t->soft);
}

void train_log_step(TrainLog *log, const StepReport *r, double elapsed, size_t host, size_t device) {
    cJSON *o = mem_checked(cJSON_CreateObject());
    json_add_int(o, "step", r->step);
    json_add_number(o, "epoch", DIGITS, r->epoch);
    json_add_number(o, "loss", DIGITS, r->loss);
    json_add_number(o, "learning_rate", DIGITS, r->learning_rate);
    json_add_number(o, "grad_norm", DIGITS, r->grad_norm);
    json_add_int(o, "tokens", r->tokens);
    json_add_int(o, "supervised_tokens", r->supervised);
    json_add_number(o, "tokens_per_second", DIGITS, (double)r->tokens / fmax(r->seconds, 1e-9));
    json_add_number(o, "elapsed_seconds", DIGITS, elapsed);
    json_add_int(o, "peak_memory_bytes", (int64_t)(device ? device : host));
    if (device) json_add_int(o, "host_memory_bytes", (int64_t)host);
    add_preference(o, "", &r->preference);
    add_teacher(o, "", &r->teacher);
    if (r->loss_scale > 1) json_add_number(o, "loss_scale", DIGITS, r->loss_scale);
    if (r->ranks > 1) json_add_int(o, "ranks", r->ranks);
    if (r->ranks > 1 && r->compute > 0) { // unknown in the first step
        json_add_number(o, "compute_seconds", DIGITS, r->compute);
        json_add_number(o, "reduce_seconds", DIGITS, r->reduce);
        json_add_number(o, "data_seconds", DIGITS, r->data);
        json_add_int(o, "slowest_rank", r->slowest_rank);
    }
    if (r->skipped || !isfinite(r->loss)) cJSON_AddTrueToObject(o, "nonfinite");
    write_line(log, o);
}

static void add_classes(cJSON *o, const EvalResult *r) {
    ClassMetric list[CLASS_METRICS_MAX];
    int n = class_metrics_list(list, r->problem, &r->classes);
    for (int i = 0; i < n; i++) {
        AUTO_FREE char *key = mem_printf("eval_%s", list[i].name);
        json_add_number(o, key, DIGITS, list[i].value);
    }
}

void train_log_eval(TrainLog *log, int64_t step, const EvalResult *r) {
    cJSON *o = mem_checked(cJSON_CreateObject());
    json_add_int(o, "step", step);
    const VectorReport *v = &r->vectors;
    bool tokens = !r->labels && !r->preference.samples && !v->records;
    json_add_number(o, "eval_loss", DIGITS, r->loss);
    if (tokens) json_add_number(o, "eval_perplexity", DIGITS, r->perplexity);
    if (tokens) json_add_number(o, "eval_token_accuracy", DIGITS, r->accuracy);
    add_preference(o, "eval_", &r->preference);
    if (v->records)
        json_add_number(o, v->ranked ? "eval_accuracy" : "eval_spearman", DIGITS,
                        v->ranked ? v->accuracy : v->spearman);
    add_teacher(o, "eval_", &r->teacher);
    if (r->labels) add_classes(o, r);
    if (!isfinite(r->loss)) cJSON_AddTrueToObject(o, "nonfinite");
    write_line(log, o);
}

void train_log_swap(TrainLog *log, const HotSwapEvent *e) {
    cJSON *o = mem_checked(cJSON_CreateObject());
    json_add_int(o, "step", e->step);
    cJSON_AddStringToObject(o, "hot_swap", e->loaded ? "loaded" : "failed");
    cJSON_AddStringToObject(o, "url", e->url);
    cJSON_AddStringToObject(o, "engine", e->engine);
    cJSON_AddStringToObject(o, "name", e->name);
    json_add_number(o, "seconds", DIGITS, e->seconds);
    if (!e->loaded) cJSON_AddStringToObject(o, "error", e->message);
    write_line(log, o);
}

void train_log_sync(TrainLog *log) { log_file_sync(&log->file); }

// ---- reading back ----

typedef struct Points {
    LogPoint *items;
    size_t count, capacity;
} Points;

static double value(const Json *object, const char *key) {
    const Json *v = json_get(object, key);
    return v && (v->type == JSON_INT || v->type == JSON_FLOAT) ? v->number : NAN;
}

static void add_point(void *user, const Json *o, const char *line, size_t length) {
    Points *p = user;
    if (json_get(o, "hot_swap")) return;
    bool is_eval = json_get(o, "eval_loss") != NULL;
    const char *accuracy = json_get(o, "eval_accuracy")         ? "eval_accuracy"
                           : json_get(o, "eval_token_accuracy") ? "eval_token_accuracy"
                                                                : "eval_rewards/accuracies";
    MEM_GROW(p->items, p->capacity, p->count + 1);
    p->items[p->count++] = (LogPoint){is_eval,
                                      value(o, "step"),
                                      value(o, is_eval ? "eval_loss" : "loss"),
                                      value(o, "learning_rate"),
                                      value(o, "grad_norm"),
                                      value(o, "tokens_per_second"),
                                      value(o, "peak_memory_bytes"),
                                      value(o, accuracy),
                                      value(o, "eval_macro_f1"),
                                      value(o, is_eval ? "eval_rewards/margins" : "rewards/margins"),
                                      value(o, is_eval ? "eval_ce_loss" : "ce_loss"),
                                      value(o, is_eval ? "eval_kd_loss" : "kd_loss")};
}

// In blocks of whole lines: a run reads its log at each snapshot, within the memory that it has planned.
static void read_lines(const char *path, LineUse use, void *user) {
    enum { BLOCK = 1 << 18 };
    AUTO_FREE char *block = mem_alloc(BLOCK, 1);
    struct stat st;
    AUTO_FILE FILE *file = stat(path, &st) == 0 && S_ISREG(st.st_mode) ? fopen(path, "re") : NULL;
    for (size_t left = 0, n; file && (n = fread(block + left, 1, BLOCK - left, file)) > 0;) {
        size_t size = left + n, whole = size;
        while (whole && block[whole - 1] != '\n') whole--;
        each_line(block, whole, use, user);
        left = whole ? size - whole : 0; // a line longer than a block is not one of ours
        memmove(block, block + whole, left);
    }
}

LogPoint *train_log_read(const char *path, size_t *count) {
    Points points = {0};
    read_lines(path, add_point, &points);
    *count = points.count;
    return points.items;
}

typedef struct Swaps {
    LogSwap *items;
    size_t count, capacity;
} Swaps;

static void take_text(char **to, const Json *object, const char *key) {
    const Json *v = json_get(object, key);
    mem_free(*to);
    *to = v && v->type == JSON_STRING ? mem_strdup(v->str.data) : NULL;
}

static void add_swap(void *user, const Json *o, const char *line, size_t length) {
    Swaps *s = user;
    const Json *state = json_get(o, "hot_swap"), *url = json_get(o, "url");
    LogSwap *at = NULL;
    if (!state || !url || url->type != JSON_STRING) return;
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->items[i].url, url->str.data) == 0) at = &s->items[i];
    if (!at) {
        MEM_GROW(s->items, s->capacity, s->count + 1);
        at = &s->items[s->count++];
        *at = (LogSwap){.url = mem_strdup(url->str.data)};
    }
    bool loaded = json_is_string(state, "loaded");
    take_text(&at->engine, o, "engine");
    take_text(&at->name, o, "name");
    take_text(&at->error, o, "error");
    at->loaded += loaded;
    at->failed += !loaded;
}

LogSwap *train_log_swaps(const char *path, size_t *count) {
    Swaps swaps = {0};
    read_lines(path, add_swap, &swaps);
    *count = swaps.count;
    return swaps.items;
}

void train_log_swaps_free(LogSwap *swaps, size_t count) {
    for (size_t i = 0; i < count; i++) {
        mem_free(swaps[i].url);
        mem_free(swaps[i].engine);
        mem_free(swaps[i].name);
        mem_free(swaps[i].error);
    }
    mem_free(swaps);
}

// live: what the thread that trains tells (live.h).
#include "live_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "json_save.h"
#include "path.h"
#include "say.h"
#include "train_log.h"

static const double TELL_SECONDS = 0.1;
const double live_bucket_seconds[BUCKETS] = {0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300};

// ---- the start ----

static char *make_token(void) {
    const char *given = getenv(LIVE_TOKEN);
    unsigned char bytes[16];
    StrBuf text = {0};
    if (given && *given) return mem_strdup(given);
    CHECK(getrandom(bytes, sizeof bytes, 0) == sizeof bytes, "no random bytes");
    for (size_t i = 0; i < sizeof bytes; i++) str_printf(&text, "%02x", bytes[i]);
    return text.data;
}

static int check_token(const char *token, Err *err) {
    for (const char *c = token; *c; c++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~", *c))
            return err_input(err, LIVE_TOKEN ": found a character that a URL does not take; expected letters, digits, "
                                             "-, ., _ and ~");
    return 0;
}

static void print_address(const Live *l, const char *address) {
    bool any = address && (strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0);
    const char *host = !address || any ? "127.0.0.1" : address, *v6 = strchr(host, ':') ? "[" : "";
    say("dashboard http://%s%s%s:%d/?token=%s%s\n", v6, host, *v6 ? "]" : "", http_server_port(l->server), l->token,
        any ? " (and at all addresses of this machine)" : "");
}

int live_open(Live **out, const Config *c, const ConfigList *runs, Err *err) {
    AUTO_FREE char *address = NULL;
    int port;
    *out = NULL;
    if (!c->dashboard) return 0;
    if (http_address_parse(&address, &port, c->dashboard, err)) return err_context(err, "dashboard");
    Live *l = mem_calloc(1, sizeof *l);
    pthread_mutex_init(&l->lock, NULL);
    l->token = make_token();
    l->n_runs = runs->count;
    l->runs = mem_calloc(l->n_runs, sizeof *l->runs);
    for (size_t i = 0; i < l->n_runs; i++) {
        LiveRun *r = &l->runs[i];
        const Config *own = &runs->items[i];
        r->name = mem_strdup(own->run_name ? own->run_name : own->output_dir);
        r->model = mem_strdup(own->model_name_or_path);
        r->output = mem_strdup(own->output_dir);
        r->state = mem_strdup("starting");
        r->data = mem_strdup("[]");
        r->sample = mem_strdup("");
        r->points.stride = r->evals.stride = 1;
    }
    HttpServerOptions o = {
        .address = address, .port = port, .token = l->token, .open_to_read = true, .handle = live_handle, .user = l};
    int rc = check_token(l->token, err) || http_server_start(&l->server, &o, err) ? -1 : 0;
    if (rc) {
        err_context(err, "dashboard");
        live_close(l);
        return -1;
    }
    print_address(l, address);
    *out = l;
    return 0;
}

static void free_run(LiveRun *r) {
    for (size_t i = 0; i < LOG_LINES; i++) str_clear(&r->log[i]);
    answers_clear(&r->answers);
    answers_clear(&r->before);
    mem_free(r->name);
    mem_free(r->model);
    mem_free(r->output);
    mem_free(r->state);
    mem_free(r->data);
    mem_free(r->sample);
    mem_free(r->points.items);
    mem_free(r->evals.items);
    mem_free(r->ranks);
}

void live_close(Live *l) {
    if (!l) return;
    pthread_mutex_lock(&l->lock);
    l->closing = true;
    for (size_t i = 0; i < l->n_questions; i++) {
        http_answer_error(l->questions[i].x, 503, "the run has ended");
        http_release(l->questions[i].x);
        mem_free(l->questions[i].prompt);
    }
    for (size_t i = 0; i < l->n_clients; i++) {
        http_finish(l->clients[i]);
        http_release(l->clients[i]);
    }
    l->n_questions = l->n_clients = 0;
    pthread_mutex_unlock(&l->lock);
    http_server_stop(l->server, 1);
    for (size_t i = 0; i < l->n_runs; i++) free_run(&l->runs[i]);
    pthread_mutex_destroy(&l->lock);
    mem_free(l->runs);
    mem_free(l->token);
    mem_free(l);
}

// ---- curves ----

static void series_add(Series *s, Point p) {
    if (!s->items) s->items = mem_alloc(POINTS, sizeof *s->items);
    if (s->seen++ % s->stride) return;
    if (s->count == POINTS) {
        for (size_t i = 0; i < POINTS / 2; i++) s->items[i] = s->items[2 * i];
        s->count /= 2;
        s->stride *= 2;
    }
    s->items[s->count++] = p;
}

// Of the steps before those of this process.
static void read_history(LiveRun *r, const char *output_dir) {
    AUTO_FREE char *path = path_join(output_dir, "train_log.jsonl");
    size_t n;
    AUTO_FREE LogPoint *points = train_log_read(path, &n);
    for (size_t i = 0; i < n; i++) {
        const LogPoint *p = &points[i];
        Point all = {{p->step, p->loss, p->learning_rate, p->grad_norm, p->tokens_per_second, p->memory}};
        series_add(p->is_eval ? &r->evals : &r->points, all);
    }
}

static void replace(char **text, char *with) {
    mem_free(*text);
    *text = with;
}

void live_begin(Live *l, size_t run, const char *name, const Trainer *t) {
    if (!l) return;
    const TrainerInputs *in = trainer_inputs(t);
    AUTO_STR StrBuf text = {0};
    if (in->data->train->count) {
        Sample sample = dataset_sample(in->data->train, 0);
        sample_show(&text, &sample, in->model->tokenizer, "[[", "]]");
    }
    char *data = live_json_data(t);
    pthread_mutex_lock(&l->lock);
    LiveRun *r = &l->runs[run];
    replace(&r->name, mem_strdup(name));
    replace(&r->model, mem_strdup(in->model->name));
    replace(&r->state, mem_strdup("running"));
    replace(&r->data, data);
    replace(&r->sample, mem_strdup(text.data ? text.data : ""));
    r->step = trainer_state(t)->step;
    r->total = trainer_plan(t)->total_steps;
    r->tokens = trainer_state(t)->tokens;
    r->skipped = trainer_state(t)->skipped;
    read_history(r, in->config->output_dir);
    live_tell(l, "all", live_json_all(l));
    pthread_mutex_unlock(&l->lock);
}

// ---- events ----

static cJSON *event_of(size_t run) {
    cJSON *o = mem_checked(cJSON_CreateObject());
    json_add_int(o, "run", (int64_t)run);
    return o;
}

static void tell_steps(Live *l, size_t run, double now) {
    LiveRun *r = &l->runs[run];
    if (!r->n_pending) return;
    cJSON *o = event_of(run);
    cJSON_AddItemToObject(o, "points", live_json_points(r->pending, r->n_pending, POINT_FIELDS));
    json_add_int(o, "step", r->step);
    json_add_number(o, "epoch", 6, r->epoch);
    json_add_number(o, "left", 6, r->left);
    json_add_number(o, "seconds", 6, r->seconds);
    json_add_int(o, "skipped", r->skipped);
    cJSON_AddItemToObject(o, "ranks", live_json_ranks(r));
    live_tell(l, "steps", o);
    r->n_pending = 0;
    r->told = now;
}

static void note_ranks(LiveRun *r, const StepReport *report) {
    if (report->ranks < 2 || !report->rank_micros || report->compute <= 0 || report->ranks > MAX_RANKS_SHOWN) return;
    if (r->n_ranks != report->ranks) {
        r->ranks = mem_realloc(r->ranks, (size_t)report->ranks, sizeof *r->ranks);
        r->n_ranks = report->ranks;
    }
    for (int i = 0; i < r->n_ranks; i++)
        for (int k = 0; k < 2; k++) r->ranks[i][k] = (double)report->rank_micros[i][k] * 1e-6;
}

static void note_seconds(LiveRun *r, double seconds) {
    int i = 0;
    struct timespec t;
    while (i < BUCKETS && seconds > live_bucket_seconds[i]) i++;
    r->buckets[i]++;
    r->steps_here++;
    r->seconds_here += seconds;
    r->seconds = seconds;
    clock_gettime(CLOCK_REALTIME, &t);
    r->stepped_at = (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void live_step(Live *l, size_t run, const StepReport *report, const TrainerState *s, LiveMemory m, double left) {
    if (!l) return;
    double now = time_now(), memory = (double)(m.device ? m.device : m.host);
    const PreferenceReport *f = &report->preference;
    Point p = {{(double)report->step, report->loss, report->learning_rate, report->grad_norm,
                (double)report->tokens / fmax(report->seconds, 1e-9), memory,
                f->samples ? f->reward_chosen - f->reward_rejected : NAN}};
    pthread_mutex_lock(&l->lock);
    LiveRun *r = &l->runs[run];
    r->step = report->step;
    r->epoch = report->epoch;
    r->left = left;
    r->tokens = s->tokens;
    r->skipped = s->skipped;
    r->memory = m;
    r->done_step = true;
    note_seconds(r, report->seconds);
    note_ranks(r, report);
    series_add(&r->points, p);
    r->last = r->pending[r->n_pending++] = p;
    if (now - r->told >= TELL_SECONDS || r->n_pending == sizeof r->pending / sizeof *r->pending)
        tell_steps(l, run, now);
    pthread_mutex_unlock(&l->lock);
}

void live_eval(Live *l, size_t run, int64_t step, const EvalResult *e) {
    if (!l) return;
    Point p = {{(double)step, e->loss}};
    pthread_mutex_lock(&l->lock);
    tell_steps(l, run, time_now());
    series_add(&l->runs[run].evals, p);
    cJSON *o = event_of(run), *points = live_json_points(&p, 1, 2);
    cJSON_AddItemToObject(o, "point", cJSON_DetachItemFromArray(points, 0));
    cJSON_Delete(points);
    live_tell(l, "eval", o);
    pthread_mutex_unlock(&l->lock);
}

void live_note(Live *l, size_t run, const char *fmt, ...) {
    if (!l) return;
    char line[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    clean_line(line);
    pthread_mutex_lock(&l->lock);
    LiveRun *r = &l->runs[run];
    StrBuf *at = &r->log[r->n_log++ % LOG_LINES];
    at->len = 0;
    str_puts(at, line);
    cJSON *o = event_of(run);
    cJSON_AddStringToObject(o, "line", line);
    live_tell(l, "log", o);
    pthread_mutex_unlock(&l->lock);
}

void live_state(Live *l, size_t run, const char *state) {
    if (!l) return;
    pthread_mutex_lock(&l->lock);
    tell_steps(l, run, time_now());
    replace(&l->runs[run].state, mem_strdup(state));
    cJSON *o = event_of(run);
    cJSON_AddStringToObject(o, "state", state);
    live_tell(l, "state", o);
    pthread_mutex_unlock(&l->lock);
}

// ---- answers ----

void live_samples(Live *l, size_t run, const Trainer *t) {
    if (!l) return;
    Answers new = {0};
    Err err;
    if (answers_make(&new, t, true, &err)) {
        live_note(l, run, "no sample answers: %s", err.msg);
        return;
    }
    if (!new.count) return;
    pthread_mutex_lock(&l->lock);
    LiveRun *r = &l->runs[run];
    answers_clear(&r->before);
    r->before = r->answers;
    r->answers = new;
    r->sampled_before = r->sampled;
    r->sampled = trainer_state(t)->step;
    cJSON *o = event_of(run);
    cJSON_AddItemToObject(o, "samples", live_json_samples(r));
    json_add_int(o, "sampled", r->sampled);
    json_add_int(o, "sampled_before", r->sampled_before);
    live_tell(l, "samples", o);
    pthread_mutex_unlock(&l->lock);
}

bool live_has_question(Live *l, size_t run) {
    if (!l || !atomic_load(&l->waiting)) return false;
    bool any = false;
    pthread_mutex_lock(&l->lock);
    for (size_t i = 0; i < l->n_questions; i++) any = any || l->questions[i].run == run;
    pthread_mutex_unlock(&l->lock);
    return any;
}

// False: there is none.
static bool take_question(Live *l, size_t run, Question *q) {
    size_t i = 0;
    pthread_mutex_lock(&l->lock);
    while (i < l->n_questions && l->questions[i].run != run) i++;
    bool found = i < l->n_questions;
    if (found) {
        *q = l->questions[i];
        l->n_questions--;
        memmove(&l->questions[i], &l->questions[i + 1], (l->n_questions - i) * sizeof *q);
        atomic_store(&l->waiting, l->n_questions);
    }
    pthread_mutex_unlock(&l->lock);
    return found;
}

static void answer(Live *l, Question *q, const Trainer *t) {
    AUTO_FREE char *before = NULL, *after = NULL;
    double start = time_now();
    Err err;
    if (answers_ask(&before, &after, t, q->prompt, &err)) {
        http_answer_error(q->x, 422, "%s", err.msg);
        return;
    }
    double seconds = time_now() - start;
    cJSON *o = mem_checked(cJSON_CreateObject()), *cost = mem_checked(cJSON_CreateObject());
    cJSON_AddStringToObject(o, "before", before);
    cJSON_AddStringToObject(o, "after", after);
    json_add_int(o, "step", trainer_state(t)->step);
    json_add_number(o, "seconds", 4, seconds);
    AUTO_FREE char *line = json_line(o);
    http_answer_text(q->x, 200, "application/json", line);
    json_add_number(cost, "seconds", 4, seconds);
    pthread_mutex_lock(&l->lock);
    l->ask_seconds = seconds;
    live_tell(l, "ask", cost);
    pthread_mutex_unlock(&l->lock);
}

void live_answer(Live *l, size_t run, const Trainer *t) {
    Question q;
    while (take_question(l, run, &q)) {
        if (!http_is_gone(q.x)) answer(l, &q, t);
        http_release(q.x);
        mem_free(q.prompt);
    }
}

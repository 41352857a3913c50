#include "hot_swap.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "path.h"
#include "say.h"
#include "temporary.h"

static const double FIRST_WAIT = 0.5, LONGEST_WAIT = 60, LONGEST_FIRST_ANSWER = 3;
static const double KEPT_SECONDS = 600; // requests of an engine may be waiting that need a version it has unloaded
enum { TRIES = 8 };                     // of one version

// A version as one engine knows it.
typedef enum { UNKNOWN, TOLD, GONE } Reading; // GONE: unloaded, at `gone`
typedef struct Reader {
    Reading reading;
    double gone;
} Reader;

typedef struct Version {
    SwapVersion files;
    int64_t step;
    Reader *readers; // [workers]
    bool removed;
} Version;

typedef struct Worker {
    HotSwap *h;
    size_t index;
    Engine engine;   // of its thread, once that runs
    EngineKind kind; // of engine
    bool found, started, failed_before;
    size_t done; // versions before this one are told, left out or given up
    pthread_t thread;
} Worker;

struct HotSwap {
    SwapLine line;
    const Adapter *adapter;
    const Model *model;
    Worker *workers;
    size_t n_workers;
    atomic_bool stop;
    pthread_mutex_t lock; // of all that follows, and of done and kind
    pthread_cond_t changed;
    bool closing;
    Version **versions; // all of this process
    size_t n_versions, versions_capacity;
    HotSwapEvent *events;
    size_t n_events, events_capacity, events_taken;
};

// ---- events ----

static void add_event(Worker *w, const Version *v, const char *name, double seconds, const Err *err) {
    HotSwap *h = w->h;
    MEM_GROW(h->events, h->events_capacity, h->n_events + 1);
    HotSwapEvent *e = &h->events[h->n_events++];
    *e = (HotSwapEvent){.url = w->engine.url,
                        .engine = engine_name(&w->engine),
                        .step = v->step,
                        .loaded = !err,
                        .warn = err && !w->failed_before,
                        .seconds = seconds};
    snprintf(e->name, sizeof e->name, "%s", name);
    if (err) snprintf(e->message, sizeof e->message, "%.*s", (int)sizeof e->message - 1, err->msg);
    if (err) w->failed_before = true;
}

bool hot_swap_next_event(HotSwap *h, HotSwapEvent *e) {
    if (!h) return false;
    pthread_mutex_lock(&h->lock);
    bool any = h->events_taken < h->n_events;
    if (any) *e = h->events[h->events_taken++];
    if (h->events_taken == h->n_events) h->events_taken = h->n_events = 0;
    pthread_mutex_unlock(&h->lock);
    return any;
}

// ---- one engine ----

static bool has_newer(const HotSwap *h, size_t version) { return version + 1 < h->n_versions; }

// What the engine has now is what it may read.
static void note_readers(Worker *w, const EngineList *list) {
    for (size_t i = 0; i < w->h->n_versions; i++) {
        Reader *r = &w->h->versions[i]->readers[w->index];
        if (swap_has(list, &w->h->versions[i]->files))
            r->reading = TOLD;
        else if (r->reading == TOLD)
            *r = (Reader){GONE, time_now()};
    }
}

// Without the lock.
static int tell(Worker *w, const SwapVersion *v, SwapResult *result, Err *err) {
    AUTO_CALL(engine_facts_clear) EngineFacts facts = {0};
    if (!w->found && (engine_find(&w->engine, &facts, err) ||
                      engine_check_adapter(w->engine.kind, &facts, w->h->adapter, w->h->model, err)))
        return -1;
    w->found = true;
    return swap_load(&w->engine, v, &w->h->line, result, err);
}

static void wait_until(HotSwap *h, double seconds) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    double at = (double)t.tv_sec + (double)t.tv_nsec * 1e-9 + seconds;
    t.tv_sec = (time_t)at;
    t.tv_nsec = (long)((at - floor(at)) * 1e9);
    pthread_cond_timedwait(&h->changed, &h->lock, &t);
}

// Waits before the next try. False: there is none.
static bool may_try_again(HotSwap *h, size_t version, int tries, const Err *err) {
    double end = time_now() + fmin(ldexp(FIRST_WAIT, tries - 1), LONGEST_WAIT);
    if (err->kind == ERR_INPUT || tries >= TRIES) return false;
    while (!h->closing && !has_newer(h, version) && time_now() < end) wait_until(h, end - time_now());
    return !h->closing && !has_newer(h, version);
}

// With the lock, which is free during requests. A failure is an event once a version.
static void deliver(Worker *w, size_t index) {
    HotSwap *h = w->h;
    Version *v = h->versions[index];
    double start = time_now();
    for (int tries = 1;; tries++) {
        SwapResult result = {0};
        Err err = {0};
        Reader *reader = &v->readers[w->index], before = *reader;
        reader->reading = TOLD; // so long it is not removed
        pthread_mutex_unlock(&h->lock);
        int rc = tell(w, &v->files, &result, &err);
        pthread_mutex_lock(&h->lock);
        w->kind = w->engine.kind;
        if (!result.sent) *reader = before;
        if (result.listed) note_readers(w, &result.list);
        if (!rc || tries == 1)
            add_event(w, v, result.name[0] ? result.name : v->files.name, time_now() - start, rc ? &err : NULL);
        swap_result_clear(&result);
        pthread_cond_broadcast(&h->changed);
        if (!rc || !may_try_again(h, index, tries, &err)) return;
    }
}

static void *work(void *arg) {
    Worker *w = arg;
    HotSwap *h = w->h;
    pthread_mutex_lock(&h->lock);
    while (!h->closing) {
        if (w->done == h->n_versions) {
            pthread_cond_wait(&h->changed, &h->lock);
            continue;
        }
        size_t newest = h->n_versions - 1;
        deliver(w, newest);
        w->done = newest + 1;
        pthread_cond_broadcast(&h->changed);
    }
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

// ---- the start ----

// What an engine says before the first step. Only an adapter that it does not compute is an error.
static int meet(Worker *w, Err *err) {
    HotSwap *h = w->h;
    AUTO_CALL(engine_facts_clear) EngineFacts facts = {0};
    Engine *e = &w->engine;
    Err why;
    double timeout = e->timeout;
    if (e->kind && engine_check_adapter(e->kind, &facts, h->adapter, h->model, err))
        return err_context(err, "hot_swap_url: %s", e->url);
    e->timeout = fmin(timeout, LONGEST_FIRST_ANSWER);
    int rc = engine_find(e, &facts, &why);
    e->timeout = timeout;
    w->kind = e->kind;
    if (rc) {
        log_warn("hot_swap_url: %s; it is asked again after each snapshot", why.msg);
        w->failed_before = true;
        return 0;
    }
    if (engine_check_adapter(e->kind, &facts, h->adapter, h->model, err))
        return err_context(err, "hot_swap_url: %s", e->url);
    w->found = true;
    say("hot swap %s%s%s at %s, as %s-step...\n", engine_name(e), e->version[0] ? " " : "", e->version, e->url,
        h->line.name);
    if (engine_serves(&facts, h->model) == 0)
        log_warn("hot_swap_url: %s serves %s; this run trains %s: expected the same base model", e->url,
                 facts.base_model, h->model->repository);
    if (e->kind == ENGINE_LLAMA_CPP)
        log_warn("hot_swap_url: %s: llama.cpp loads no adapter while it runs; each version is written to %s, and "
                 "selected once the server was started with it. " LLAMA_CPP_MEMORY,
                 e->url, h->line.folder);
    return 0;
}

static int start_thread(Worker *w, Err *err) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); // signals are the main thread's
    int rc = pthread_create(&w->thread, NULL, work, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    w->started = rc == 0;
    return rc ? err_runtime(err, "a thread for hot_swap_url cannot be started: %s", strerror(rc)) : 0;
}

static bool any_stem(const char *stem, const void *user) { return true; }

static HotSwap *new_swap(const Config *c, const char *run_name, const Adapter *a, const Model *m) {
    HotSwap *h = mem_calloc(1, sizeof *h);
    pthread_condattr_t monotonic;
    AUTO_FREE char *folder = path_join(c->output_dir, "hot_swap");
    h->line = swap_line_new(c->hot_swap_name ? c->hot_swap_name : run_name, folder);
    h->adapter = a;
    h->model = m;
    h->n_workers = c->hot_swap_url.count;
    h->workers = mem_calloc(h->n_workers, sizeof *h->workers);
    pthread_mutex_init(&h->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&h->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    temporary_sweep(&(Sweep){.dir = h->line.folder, .wants = any_stem, .alone = true, .names = adapter_peft_own.names});
    return h;
}

int hot_swap_open(HotSwap **out, const Config *c, const char *run_name, const Adapter *a, const Model *m, Err *err) {
    *out = NULL;
    if (!c->hot_swap_url.count) return 0;
    HotSwap *h = new_swap(c, run_name, a, m);
    int rc = 0;
    for (size_t i = 0; i < h->n_workers && !rc; i++) {
        Worker *w = &h->workers[i];
        w->h = h;
        w->index = i;
        rc = engine_open(&w->engine, c->hot_swap_url.items[i], c->hot_swap_engine, c->hot_swap_timeout, err);
        w->engine.stop = &h->stop;
        if (!rc) rc = meet(w, err);
    }
    for (size_t i = 0; i < h->n_workers && !rc; i++) rc = start_thread(&h->workers[i], err);
    if (rc)
        hot_swap_close(h);
    else
        *out = h;
    return rc;
}

// ---- versions ----

static bool is_read(const HotSwap *h, const Version *v) {
    for (size_t i = 0; i < h->n_workers; i++) {
        const Reader *r = &v->readers[i];
        if (r->reading == TOLD || (r->reading == GONE && time_now() - r->gone < KEPT_SECONDS)) return true;
    }
    return false;
}

// All but the newest that no engine reads.
static void prune(HotSwap *h) {
    pthread_mutex_lock(&h->lock);
    for (size_t i = 0; i + 1 < h->n_versions; i++) {
        Version *v = h->versions[i];
        if (v->removed || is_read(h, v)) continue;
        v->removed = true; // no thread takes it any more: only the newest is taken
        swap_version_remove(&v->files);
    }
    pthread_mutex_unlock(&h->lock);
}

static bool wants_form(const HotSwap *h, EngineKind kind) {
    for (size_t i = 0; i < h->n_workers; i++)
        if (!h->workers[i].kind || h->workers[i].kind == kind) return true;
    return false;
}

void hot_swap_publish(HotSwap *h, int64_t step, const char *card) {
    Version *v = mem_calloc(1, sizeof *v);
    Err err;
    pthread_mutex_lock(&h->lock);
    SwapExport o = {wants_form(h, ENGINE_SGLANG), wants_form(h, ENGINE_LLAMA_CPP), card};
    pthread_mutex_unlock(&h->lock);
    if (swap_version_write(&v->files, &h->line, h->adapter, h->model, step, &o, &err)) {
        log_warn("hot_swap_url: step %ld: %s; no engine gets this version", step, err.msg);
        swap_version_clear(&v->files);
        mem_free(v);
        return;
    }
    v->step = step;
    v->readers = mem_calloc(h->n_workers, sizeof *v->readers);
    pthread_mutex_lock(&h->lock);
    MEM_GROW(h->versions, h->versions_capacity, h->n_versions + 1);
    h->versions[h->n_versions++] = v;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
    prune(h);
}

// ---- the end ----

static bool all_done(const HotSwap *h) {
    for (size_t i = 0; i < h->n_workers; i++)
        if (h->workers[i].started && h->workers[i].done < h->n_versions) return false;
    return true;
}

void hot_swap_end(HotSwap *h, double seconds) {
    double end = time_now() + seconds;
    pthread_mutex_lock(&h->lock);
    while (!all_done(h) && time_now() < end) wait_until(h, end - time_now());
    h->closing = true;
    atomic_store(&h->stop, true);
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
    for (size_t i = 0; i < h->n_workers; i++) {
        if (h->workers[i].started) pthread_join(h->workers[i].thread, NULL);
        h->workers[i].started = false;
    }
}

void hot_swap_close(HotSwap *h) {
    if (!h) return;
    hot_swap_end(h, 0);
    for (size_t i = 0; i < h->n_workers; i++) engine_close(&h->workers[i].engine);
    for (size_t i = 0; i < h->n_versions; i++) {
        swap_version_clear(&h->versions[i]->files);
        mem_free(h->versions[i]->readers);
        mem_free(h->versions[i]);
    }
    pthread_cond_destroy(&h->changed);
    pthread_mutex_destroy(&h->lock);
    swap_line_clear(&h->line);
    mem_free(h->versions);
    mem_free(h->events);
    mem_free(h->workers);
    mem_free(h);
}

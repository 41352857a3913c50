#include "serve.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "say.h"
#include "serve_info.h"
#include "serve_job.h"
#include "serve_read.h"
#include "signals.h"

#define LOAD_PATH "/v1/load_lora_adapter"
#define MODEL_PATH "/v1/models/"
enum { STOP_SECONDS = 10 }; // for answers that are on their way

typedef struct Server {
    const Model *m;
    ServedModels *models;
    ServeOptions o;
    DecodeBatch *batch;
    ServeJob **running; // [streams]; NULL: a free slot
    int64_t n_running;
    pthread_mutex_t lock; // of the rest
    HttpExchange *change; // adapters to load or unload by the thread that computes; NULL: none
    pthread_cond_t wake;
    ServeJob *first, **last; // that wait
    int64_t waiting;
    bool stopping;
} Server;

// ---- the server's thread: requests ----

// Those whose clients have left make room.
static void drop_gone_locked(Server *s) {
    ServeJob **at = &s->first;
    for (ServeJob *j; (j = *at);) {
        if (!http_is_gone(j->x)) {
            at = &j->next;
            continue;
        }
        *at = j->next;
        s->waiting--;
        serve_job_free(j);
    }
    s->last = at;
}

static bool enqueue(Server *s, ServeJob *j) {
    pthread_mutex_lock(&s->lock);
    if (s->waiting >= s->o.max_queue) drop_gone_locked(s);
    bool room = !s->stopping && s->waiting < s->o.max_queue;
    if (room) {
        *s->last = j;
        s->last = &j->next;
        s->waiting++;
        pthread_cond_signal(&s->wake);
    }
    pthread_mutex_unlock(&s->lock);
    return room;
}

static void answer(HttpExchange *x, bool chat) {
    Server *s = x->user;
    Err err;
    int status;
    ServeJob *j = serve_job_new(x, s->models, s->m, s->o.context, chat, &status, &err);
    if (!j) {
        serve_refuse(x, status, err.msg);
    } else if (!enqueue(s, j)) {
        http_add_header(x, "Retry-After", "1");
        serve_refuse(x, 503, "too many requests wait");
        serve_job_free(j);
    }
}

static void on_chat(HttpExchange *x) { answer(x, true); }
static void on_completion(HttpExchange *x) { answer(x, false); }

static void on_models(HttpExchange *x) { serve_info_models(x, ((Server *)x->user)->models); }

static void on_model(HttpExchange *x) {
    serve_info_model(x, ((Server *)x->user)->models, x->path + strlen(MODEL_PATH));
}

static void on_tokenize(HttpExchange *x) {
    Server *s = x->user;
    serve_info_tokenize(x, s->models, s->m, s->o.context);
}

static void on_health(HttpExchange *x) { http_answer_text(x, 200, "text/plain; charset=utf-8", "ok\n"); }

// A client takes it for vLLM's: what it may ask is the same. hot_swap/engine_find.c knows it by "lorac ".
static void on_version(HttpExchange *x) {
    http_answer_text(x, 200, "application/json", "{\"version\": \"lorac " LORAC_VERSION "\"}\n");
}

// Other fields ask for what is not built: load_inplace, pinned, ... unless they are off.
static int read_lora(const Json *root, const char **name, const char **path, Err *err) {
    const char *which;
    if (serve_request_model(&which, root, err) || serve_read_text(name, root, "lora_name", err)) return -1;
    for (size_t i = 0; i < root->count; i++)
        if (!is_among(root->keys[i].data, root->keys[i].len, "lora_name lora_path lora_int_id model") &&
            !json_is_off(&root->items[i]))
            return err_input(err, "unknown field \"%.60s\"", root->keys[i].data);
    if (!*name) return err_input(err, "\"lora_name\" is missing");
    if (!path) return 0;
    if (serve_read_text(path, root, "lora_path", err)) return -1;
    return *path ? 0 : err_input(err, "\"lora_path\" is missing");
}

static void change_models(HttpExchange *x) {
    Server *s = x->user;
    bool load = strcmp(x->path, LOAD_PATH) == 0;
    const char *name = NULL, *path = NULL;
    AUTO_JSON JsonDoc *doc = NULL;
    Err err;
    int rc = json_parse(&doc, x->body, x->body_size, "the body", 0, &err);
    int status = 400;
    if (!rc) rc = read_lora(json_root(doc), &name, load ? &path : NULL, &err);
    if (!rc && load) rc = served_models_add(s->models, name, path, &err);
    if (!rc && !load) {
        rc = served_models_remove(s->models, name, &err);
        status = 404;
        pthread_mutex_lock(&s->lock);
        pthread_cond_signal(&s->wake); // to free it
        pthread_mutex_unlock(&s->lock);
    }
    if (rc) {
        serve_refuse(x, status, err.msg);
        return;
    }
    say("adapter %s %s\n", name, load ? "loaded" : "unloaded");
    fflush(stdout);
    http_answer_text(x, 200, "text/plain; charset=utf-8",
                     load ? "Success: adapter loaded.\n" : "Success: adapter unloaded.\n");
}

// Memory of a device belongs to the thread that computes.
static void on_change(HttpExchange *x) {
    Server *s = x->user;
    if (s->m->backend->host_memory) {
        change_models(x);
        return;
    }
    pthread_mutex_lock(&s->lock);
    bool busy = s->change || s->stopping;
    if (!busy) {
        http_hold(x);
        s->change = x;
        pthread_cond_signal(&s->wake);
    }
    pthread_mutex_unlock(&s->lock);
    if (busy) serve_refuse(x, 503, "another adapter is being loaded, or the server stops");
}

static void handle(HttpExchange *x) {
    static const struct {
        const char *method, *path;
        void (*run)(HttpExchange *x);
    } routes[] = {
        {"POST", "/v1/chat/completions", on_chat},
        {"POST", "/v1/completions", on_completion},
        {"GET", "/v1/models", on_models},
        {"GET", MODEL_PATH, on_model}, // and the rest of the path
        {"POST", "/tokenize", on_tokenize},
        {"GET", "/health", on_health},
        {"GET", "/version", on_version},
        {"POST", LOAD_PATH, on_change},
        {"POST", "/v1/unload_lora_adapter", on_change},
    };
    bool path = false;
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        bool rest = ends_with(routes[i].path, "/") && starts_with(x->path, routes[i].path);
        if (!rest && strcmp(routes[i].path, x->path) != 0) continue;
        path = true;
        if (strcmp(routes[i].method, x->method) != 0) continue;
        routes[i].run(x);
        return;
    }
    serve_refuse(x, path ? 405 : 404, path ? "this method is not allowed here" : "there is nothing at this path");
}

// ---- the caller's thread: answers ----

static void start_job(Server *s, ServeJob *j) {
    serve_job_begin(j);
    j->slot = decode_batch_add(s->batch, &j->decode);
    s->running[j->slot] = j;
    s->n_running++;
}

static ServeJob *take_waiting(Server *s) {
    ServeJob *j = s->first;
    if (!j) return NULL;
    s->first = j->next;
    if (!s->first) s->last = &s->first;
    s->waiting--;
    return j;
}

static void wait_for_work(Server *s) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += 100 * 1000 * 1000; // signals do not wake it
    if (until.tv_nsec >= 1000 * 1000 * 1000) until.tv_sec++, until.tv_nsec -= 1000 * 1000 * 1000;
    pthread_cond_timedwait(&s->wake, &s->lock, &until);
}

static void start_jobs(Server *s) {
    for (ServeJob *j; s->n_running < s->o.streams;) {
        pthread_mutex_lock(&s->lock);
        if (!s->first && !s->change && s->n_running == 0 && !s->stopping) wait_for_work(s);
        j = take_waiting(s);
        pthread_mutex_unlock(&s->lock);
        if (!j) return;
        if (http_is_gone(j->x))
            serve_job_free(j);
        else
            start_job(s, j);
    }
}

static void end_jobs(Server *s) {
    for (int64_t slot = 0; slot < s->o.streams; slot++) {
        ServeJob *j = s->running[slot];
        if (!j) continue;
        DecodeState state = decode_batch_state(s->batch, slot);
        if (state == DECODE_RUNNING && !http_is_gone(j->x)) continue;
        decode_batch_release(s->batch, slot);
        if (state != DECODE_RUNNING) serve_job_end(j, decode_fault(state));
        serve_job_free(j);
        s->running[slot] = NULL;
        s->n_running--;
    }
}

static void change_if_asked(Server *s) {
    pthread_mutex_lock(&s->lock);
    HttpExchange *x = s->change;
    s->change = NULL;
    pthread_mutex_unlock(&s->lock);
    if (!x) return;
    change_models(x);
    http_release(x);
}

static void forget(void *batch, const Adapter *a) { decode_batch_forget(batch, a); }

static void compute(Server *s) {
    double deadline = 0;
    while (!deadline || (s->n_running > 0 && time_now() < deadline)) {
        if (!deadline && signals_stop_asked()) {
            deadline = time_now() + STOP_SECONDS;
            pthread_mutex_lock(&s->lock);
            s->stopping = true;
            pthread_mutex_unlock(&s->lock);
        }
        start_jobs(s);
        decode_batch_step(s->batch);
        end_jobs(s);
        change_if_asked(s);
        served_models_sweep(s->models, forget, s->batch);
    }
}

// Those that have no answer get status 503 or the end of their stream.
static void drop_job(ServeJob *j) {
    serve_refuse(j->x, 503, "the server stops");
    serve_job_free(j);
}

static void drop_jobs(Server *s) {
    for (int64_t slot = 0; slot < s->o.streams; slot++) {
        if (!s->running[slot]) continue;
        decode_batch_release(s->batch, slot);
        drop_job(s->running[slot]);
    }
    for (ServeJob *j; (j = take_waiting(s));) drop_job(j);
    if (s->change) http_release(s->change);
}

// So many that the queue is what refuses, as far as the process may open files.
static int max_connections(int64_t requests) {
    enum { MORE = 64 }; // files of the process; connections that are refused, or ask for something else
    struct rlimit files;
    rlim_t need = (rlim_t)requests + 2 * MORE;
    if (getrlimit(RLIMIT_NOFILE, &files)) return (int)requests + MORE;
    if (files.rlim_cur < need) {
        files.rlim_cur = need < files.rlim_max ? need : files.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &files)) getrlimit(RLIMIT_NOFILE, &files);
    }
    if (files.rlim_cur >= need) return (int)requests + MORE;
    return files.rlim_cur > 2 * MORE ? (int)files.rlim_cur - MORE : MORE;
}

static int server_open(Server *s, HttpServer **http, Err *err) {
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    s->last = &s->first;
    s->running = mem_calloc((size_t)s->o.streams, sizeof(void *));
    s->o.http.handle = handle;
    s->o.http.user = s;
    s->o.http.max_connections = max_connections(s->o.streams + s->o.max_queue);
    if (http_server_start(http, &s->o.http, err)) return -1;
    if (!s->o.http.token && !http_server_on_loopback(*http)) {
        http_server_stop(*http, 0);
        return err_input(err,
                         "%s is reached by other machines; expected a key in the environment, LORAC_API_KEY, or a "
                         "loopback address",
                         s->o.http.address);
    }
    s->batch = decode_batch_new(s->m, s->o.streams, s->o.context);
    return 0;
}

int serve(const Model *m, ServedModels *models, const ServeOptions *o, Err *err) {
    Server s = {.m = m, .models = models, .o = *o};
    HttpServer *http;
    int rc = server_open(&s, &http, err);
    if (!rc) {
        say("lorac serves on http://%s:%d (Ctrl-C stops)\n", o->http.address ? o->http.address : "127.0.0.1",
            http_server_port(http));
        fflush(stdout);
        compute(&s);
        drop_jobs(&s);
        http_server_stop(http, 1);
    }
    decode_batch_free(s.batch);
    mem_free(s.running);
    pthread_cond_destroy(&s.wake);
    pthread_mutex_destroy(&s.lock);
    return rc;
}

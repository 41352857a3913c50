// live_internal: what the server's thread and the thread that trains share.
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include <cjson/cJSON.h>

#include "http_server.h"
#include "live.h"

enum { POINTS = 2048, LOG_LINES = 200, QUESTIONS = 4, CLIENTS = 64, BUCKETS = 14, MAX_RANKS_SHOWN = 1024 };
enum { POINT_STEP, POINT_LOSS, POINT_RATE, POINT_NORM, POINT_SPEED, POINT_MEMORY, POINT_MARGIN, POINT_FIELDS };

typedef struct Point {
    double values[POINT_FIELDS]; // NAN: not of this run
} Point;

// Every stride-th value: as many as fit, over the whole run.
typedef struct Series {
    Point *items;
    size_t count;
    int64_t stride, seen;
} Series;

typedef struct LiveRun {
    char *name, *model, *output, *state, *data, *sample; // data: JSON, an array of pairs
    int64_t step, total, tokens, skipped, sampled, sampled_before;
    double epoch, left, seconds; // seconds: of the last step
    Series points, evals;        // evals: step, loss
    Point last;
    Point pending[64]; // steps that no client was told of yet
    size_t n_pending;
    double told; // when clients were last told of steps
    StrBuf log[LOG_LINES];
    size_t n_log; // ever
    Answers answers, before;
    double (*ranks)[2]; // seconds of computing, of reducing
    int n_ranks;
    LiveMemory memory;
    int64_t buckets[BUCKETS + 1], steps_here; // of this process
    double seconds_here, stepped_at;          // stepped_at: second of the epoch
    bool done_step;
} LiveRun;

typedef struct Question {
    HttpExchange *x; // held
    char *prompt;
    size_t run;
} Question;

struct Live {
    HttpServer *server;
    char *token;
    pthread_mutex_t lock; // of all below
    LiveRun *runs;
    size_t n_runs;
    HttpExchange *clients[CLIENTS]; // of /events, held
    size_t n_clients;
    Question questions[QUESTIONS];
    size_t n_questions;
    _Atomic size_t waiting; // n_questions, for the thread that trains
    double ask_seconds;     // of the last question
    bool closing;
};

extern const double live_bucket_seconds[BUCKETS];
extern const char live_page[]; // page.html

// ---- live_json.c ----

cJSON *live_json_all(const Live *l); // with the lock
cJSON *live_json_points(const Point *points, size_t n, int fields);
cJSON *live_json_ranks(const LiveRun *r);
cJSON *live_json_samples(const LiveRun *r);
char *live_json_data(const Trainer *t); // the rows of the table, caller frees

// ---- live_http.c ----

void live_handle(HttpExchange *x);
void live_tell(Live *l, const char *event, cJSON *data); // with the lock: to all clients; deletes data

// ---- live_metrics.c ----

void live_metrics(StrBuf *out, const Live *l); // with the lock

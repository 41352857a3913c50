// serve_job: one request on its way: queued, computed, answered whole or as events while its tokens come.
//
// It is made by the server's thread and then belongs to the thread that computes.
#pragma once

#include "decode_batch.h"
#include "http_server.h"
#include "serve_request.h"

typedef struct ServeJob {
    HttpExchange *x; // held
    ServedModels *models;
    ServedModel *model; // held
    ServeRequest request;
    DecodeRequest decode;
    Generation answer;
    const Tokenizer *tokenizer;
    TokenStream stream;
    StrBuf text; // of the answer
    size_t sent; // bytes of it that a stream has
    bool cut;    // by a stop text, which is left out
    bool gone;   // the client
    char id[40]; // "chatcmpl-..."
    int64_t created, slot;
    struct ServeJob *next; // in the queue
} ServeJob;

// Reads the body. NULL with err: refused (*status is the answer's).
ServeJob *serve_job_new(HttpExchange *x, ServedModels *models, const Model *m, int64_t context, bool chat, int *status,
                        Err *err);
void serve_job_free(ServeJob *j); // a request that has no answer yet gets status 500

// Before its first run: the head of a stream.
void serve_job_begin(ServeJob *j);
// After its last run. fault: why there is no whole answer; NULL: there is one.
void serve_job_end(ServeJob *j, const char *fault);

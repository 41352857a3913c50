// serve: a model and its adapters over the API of OpenAI, on the threads of two owners: the HTTP server's reads
// requests and loads adapters, the caller's computes all answers in one DecodeBatch.
//
//   POST /v1/chat/completions, /v1/completions    answers, whole or as server-sent events
//   GET  /v1/models, /v1/models/NAME, /health, /version
//   POST /tokenize    a prompt's ids
//   POST /v1/load_lora_adapter {"lora_name", "lora_path"}, /v1/unload_lora_adapter {"lora_name"}    as in vLLM
#pragma once

#include "http_server.h"
#include "served_models.h"

typedef struct ServeOptions {
    HttpServerOptions http; // handle and user are the server's
    int64_t streams;        // requests that are computed at once
    int64_t context;        // tokens of each, prompt and answer
    int64_t max_queue;      // requests that wait, above it they get status 503
} ServeOptions;

// Serves until the process is asked to stop (signals.h); then requests that run are answered, for at most some seconds.
// Says where it listens, on stdout.
int serve(const Model *m, ServedModels *models, const ServeOptions *o, Err *err);

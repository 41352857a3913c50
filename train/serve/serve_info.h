// serve_info: requests that are answered at once, without the model: what is served, and prompts as tokens.
#pragma once

#include "http_server.h"
#include "served_models.h"

void serve_refuse(HttpExchange *x, int status, const char *message);
void serve_info_models(HttpExchange *x, ServedModels *models);
void serve_info_model(HttpExchange *x, ServedModels *models, const char *name);
// {"model", "prompt" or "messages", ...} to {"count", "max_model_len", "tokens"}, as in vLLM: the ids that a request
// for an answer would compute.
void serve_info_tokenize(HttpExchange *x, ServedModels *models, const Model *m, int64_t context);

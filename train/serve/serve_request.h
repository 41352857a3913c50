// serve_request: the body of a request for an answer, in the words of OpenAI's API and of vLLM's additions.
//
// A field that would change the answer and is not built is refused by name; those that say nothing about the answer
// (user, metadata, ...) are accepted.
#pragma once

#include "generate.h"
#include "json.h"
#include "served_models.h"

enum { SERVE_MAX_STOPS = 16, SERVE_MAX_STOP_IDS = 1024 };

typedef struct ServeRequest { // init with {0}
    bool chat;                // /v1/chat/completions, else /v1/completions
    bool stream, include_usage;
    int32_t *ids; // of the prompt
    int64_t count;
    Constraint *constraint;        // of how; owned
    GenerateOptions how;           // its stop ids are owned
    StrBuf stops[SERVE_MAX_STOPS]; // texts that end an answer
    size_t n_stops;
} ServeRequest;
void serve_request_clear(ServeRequest *r);

// The "model" of a body; NULL: none. Refuses a body that is no object.
int serve_request_model(const char **name, const Json *root, Err *err);
// r->chat is given; r keeps nothing of the document. context: tokens of prompt and answer.
int serve_request_read(ServeRequest *r, const Json *root, ServedModels *models, const ServedModel *served,
                       int64_t context, Err *err);
// Of a request for tokens: r->ids alone.
int serve_request_tokens(ServeRequest *r, const Json *root, const Model *m, const ServedModel *served, Err *err);

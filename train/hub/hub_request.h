// hub_request: requests to the hub, repeated after what may pass: lost connections, stalls, too many requests, faults
// of the server.
#pragma once

#include "http.h"
#include "hub_name.h"

typedef struct HubClient { // init with {0}; free with hub_client_close
    Http http;
    char *endpoint, *token; // token NULL: none
    int64_t retries;        // after the first try
    double timeout;         // seconds without a byte
} HubClient;
// Loads lorac-curl.so, reads the environment. After a failure too, hub_client_close is the caller's.
int hub_client_open(HubClient *c, int64_t retries, double timeout, Err *err);
void hub_client_close(HubClient *c);

// What becomes of the bytes of an answer.
typedef struct HubSink {
    // Before each try; status: of the last answer, 0: none. Returns from which byte on the file is wanted.
    int64_t (*begin)(void *user, int status);
    // -1: the request ends, with a message in err.
    int (*take)(void *user, const HttpHead *head, const void *data, size_t size, Err *err);
    void *user;
} HubSink;

// what: begins messages, "owner/name: config.json". ERR_INPUT: the hub refuses (401, 403, 404, ...); else ERR_RUNTIME.
// *head: of the answer.
int hub_request(HubClient *c, const char *url, const char *what, const HubSink *sink, HttpHead *head, Err *err);
// The same for text of at most `most` bytes; *head may be NULL.
int hub_request_text(HubClient *c, const char *url, const char *what, StrBuf *text, size_t most, HttpHead *head,
                     Err *err);

// engine: inference engines that serve a model over HTTP and switch its adapters while they run: vLLM, SGLang and
// llama.cpp's server. One request after another; nothing is repeated here.
//
// What each can do, as measured on real ones:
//   vLLM, SGLang   load a PEFT folder by its path under a name, and unload a name. The folder is read again later.
//   llama.cpp      sets the scales of the GGUF adapters that it was started with; it loads none while it runs.
// Files: engine.c (requests), engine_find.c, engine_named.c (vLLM, SGLang), engine_llama_cpp.c, engine_rules.c.
#pragma once

#include <cjson/cJSON.h>
#include <stdatomic.h>

#include "adapter.h"
#include "config_choices.h"
#include "http.h"
#include "json.h"

typedef struct Engine {
    char *url;       // without a slash at its end
    EngineKind kind; // ENGINE_AUTO: not found out yet
    bool is_lorac;   // of kind ENGINE_VLLM: lorac serve, which has vLLM's API
    char version[32];
    const char *key;         // LORAC_HOT_SWAP_KEY; NULL: none
    double timeout;          // seconds of one request
    const atomic_bool *stop; // true: requests end; NULL: never
    Http http;
} Engine;

#define ENGINE_KEY "LORAC_HOT_SWAP_KEY"
// Loads lorac-curl.so. *e must outlive what stop points to; engine_close is the caller's after a failure, too. All
// engines are opened before a thread uses one of them.
int engine_open(Engine *e, const char *url, EngineKind kind, double timeout, Err *err);
void engine_close(Engine *e);
const char *engine_name(const Engine *e); // "vLLM"

// All calls below: ERR_RUNTIME is a failure that may pass, ERR_INPUT one that stays. Messages begin with the URL.

// What an engine says of itself; 0, NULL: it does not tell.
typedef struct EngineFacts {
    int64_t max_rank;
    bool is_lorac;    // lorac serve: every adapter that lorac trains
    char *targets;    // modules that may have an adapter, separated by spaces
    char *base_model; // name or path of the model that it serves
} EngineFacts;
void engine_facts_clear(EngineFacts *f);
// Finds out the kind, if it is not known, and the facts.
int engine_find(Engine *e, EngineFacts *f, Err *err);

typedef struct EngineAdapter {
    char *name, *path; // path NULL: not told. llama.cpp has no names: name is the path
    double scale;      // llama.cpp's; else 1
} EngineAdapter;
typedef struct EngineList {
    EngineAdapter *items;
    size_t count, capacity;
} EngineList;
void engine_list_clear(EngineList *l);
int engine_list(Engine *e, EngineList *l, Err *err);
// By name; NULL: it is not listed.
const EngineAdapter *engine_list_find(const EngineList *l, const char *name);

// vLLM and SGLang: `path` is a PEFT folder, as the engine sees it. A success is what the engine answers: read the list.
int engine_load(Engine *e, const char *name, const char *path, Err *err);
int engine_unload(Engine *e, const char *name, Err *err);
// llama.cpp: of its adapters only that of this file has the scale 1, the others 0 (path NULL: all). The list is read
// back, and the prompts that were cached with other adapters are erased; an engine that cannot erase them is refused
// before anything is switched.
int engine_select(Engine *e, const char *path, Err *err);
// What it cannot do: no request erases or shows that memory.
#define LLAMA_CPP_MEMORY                                                                                               \
    "llama.cpp keeps the states of prompts in memory, too, and may answer them as before a switch, unless it was "     \
    "started with --cache-ram 0"

// The greedy answer to a prompt of token ids; name NULL: of the base model (llama.cpp: of what is selected).
typedef struct EngineQuestion {
    const char *name;
    const int32_t *ids, *stop;
    int64_t count, max_new_tokens;
    size_t n_stop;
} EngineQuestion;
int engine_answer(Engine *e, const EngineQuestion *q, StrBuf *text, Err *err);

// ---- engine_rules.c ----

// Refuses (ERR_INPUT) an adapter that an engine of this kind does not compute as lorac does, with what to change. Facts
// may be all 0.
int engine_check_adapter(EngineKind kind, const EngineFacts *f, const Adapter *a, const Model *m, Err *err);
// Whether the engine serves the base model m: 1 yes, 0 no, -1 it cannot be told by name or path.
int engine_serves(const EngineFacts *f, const Model *m);

// ---- engine.c: requests ----

typedef struct EngineReply {
    int status;
    StrBuf text;
    JsonDoc *doc; // NULL: the text is not JSON
} EngineReply;
void engine_reply_clear(EngineReply *r);
// body NULL: GET; deleted. 0: an answer with any status came. path: "/v1/models".
int engine_request(Engine *e, const char *path, cJSON *body, EngineReply *r, Err *err);
// The error of an answer whose status is not 200: what the engine says, and what helps.
int engine_refuse(const Engine *e, const char *path, const EngineReply *r, const char *help, Err *err);
const Json *engine_root(const EngineReply *r); // NULL: none
int llama_cpp_list(Engine *e, EngineList *l, Err *err);

// served_models: the models that a server answers with: the base and its adapters, by their names.
//
// Thread-safe. A model that is removed stays valid for those who hold it, and is freed by served_models_sweep.
#pragma once

#include <time.h>

#include "adapter.h"
#include "chat.h"
#include "token_trie.h"

typedef struct ServedModel {
    char *name, *path;
    Adapter *adapter;   // NULL: the base alone
    ChatTemplate *chat; // the adapter's, else the model's; NULL: there is none
    int32_t *stop;      // ids that end an answer
    size_t n_stop;
    int64_t created; // seconds since 1970
    int held;        // by requests
    bool removed;
} ServedModel;

typedef struct ServedModels ServedModels;
typedef struct ServedLimits {
    int max_adapters; // at once
    size_t room;      // bytes for all of them
} ServedLimits;
// With the base, under `name`.
ServedModels *served_models_new(const Model *m, const char *name, ServedLimits limits);
void served_models_free(ServedModels *s);

// Loads an adapter (adapter_load). ERR_INPUT: the name is taken or no name, there are max_adapters, or the adapter is
// none of this model. ERR_NO_FIT: it is larger than the room that is left.
int served_models_add(ServedModels *s, const char *name, const char *path, Err *err);
int served_models_remove(ServedModels *s, const char *name, Err *err); // ERR_INPUT: no adapter has this name

// NULL: no model has this name. name NULL: the first adapter, or the base if there is none.
ServedModel *served_models_hold(ServedModels *s, const char *name);
void served_models_release(ServedModels *s, ServedModel *m);

const Model *served_models_base(const ServedModels *s);
// The vocabulary for structured output; made at the first call.
const TokenTrie *served_models_tokens(ServedModels *s);

// Calls `forget` with each adapter that was removed and is not held any more, and frees it.
void served_models_sweep(ServedModels *s, void (*forget)(void *user, const Adapter *a), void *user);
// Calls `each` with every model, the base first, while the list is locked.
void served_models_each(ServedModels *s, void (*each)(void *user, const ServedModel *m), void *user);

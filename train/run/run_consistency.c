// run_consistency: lists what all ranks must share: program, keys, model, data, device (train_run_internal.h).
#include "train_run_internal.h"

#include <stdio.h>
#include <string.h>

#include "hash.h"
#include "ranks.h"
#include "snapshot.h"

// ---- program and config ----

typedef struct Items {
    ConsistencyItem *list; // owned, as the values
    int count;
    size_t capacity;
} Items;

static void add(Items *s, const char *name, const char *value, const char *hint) {
    MEM_GROW(s->list, s->capacity, (size_t)s->count + 1);
    s->list[s->count++] = (ConsistencyItem){name, mem_strdup(value), hint};
}

static void add_key(void *items, const char *name, const char *value) { add(items, name, value, NULL); }

static int check_and_clear(Group *g, Items *s, Err *err) {
    int rc = consistency_check(g, s->list, s->count, err);
    for (int i = 0; i < s->count; i++) mem_free((char *)s->list[i].value);
    mem_free(s->list);
    return rc;
}

// Another compiler, flags or sources may round differently.
static int same_program(Group *g, Err *err) {
    char hash[33];
    if (hash_file(hash, "/proc/self/exe", NULL)) snprintf(hash, sizeof hash, "no hash of itself");
    ConsistencyItem program = {"the program lorac", hash, "expected the same executable everywhere"};
    return consistency_check(g, &program, 1, err);
}

int run_consistency_config(Group *g, const Config *c, Err *err) {
    if (g->ranks == 1) return 0;
    if (same_program(g, err)) return -1;
    Items items = {0};
    config_each_shared(c, add_key, &items);
    return check_and_clear(g, &items, err);
}

// ---- what has been opened ----

static void add_adapter(Items *items, const Adapter *a) {
    AUTO_FREE float *copy = NULL;
    char hash[33];
    hash_bytes(hash, adapter_on_host(a, a->params, &copy), (size_t)a->count * sizeof(float));
    add(items, "the adapter to start from", hash, NULL);
}

int run_consistency_run(Group *g, const Trainer *t, Err *err) {
    if (g->ranks == 1) return 0;
    const TrainerInputs *in = trainer_inputs(t);
    Items items = {0};
    AUTO_STR StrBuf kind = {0};
    RunIdentity id = run_identity(t);
    static const char *const hints[IDENTITY_KEYS] = {
        [IDENTITY_BASE] = "the model's files differ",
        [IDENTITY_DATA] = "the files, the tokenizer or the chat template differ",
        [IDENTITY_DEVICE] = ("results depend on it; for CPUs set LORAC_ISA=v3 or LORAC_ISA=base on all ranks to use "
                             "the same instruction set"),
    };
    for (int i = 0; i < IDENTITY_KEYS; i++)
        if (id.values[i][0]) add(&items, identity_names[i], id.values[i], hints[i]);
    backend_kind(&kind, in->model->backend);
    add(&items, "device kind", kind.data, "results depend on it");
    add_adapter(&items, in->adapter);
    return check_and_clear(g, &items, err);
}

#include "served_models.h"

#include <pthread.h>
#include <string.h>

#include "generate.h"

struct ServedModels {
    const Model *m;
    pthread_mutex_t lock;
    ServedModel **items; // the base first; removed ones until they are freed
    size_t count, capacity;
    int max_adapters;
};

static void served_clear(ServedModel *m) {
    adapter_free(m->adapter);
    chat_template_free(m->chat);
    mem_free(m->stop);
    mem_free(m->name);
    mem_free(m->path);
    mem_free(m);
}

// A base without a template serves completions only.
static int open_template(ServedModel *s, const Model *m, Err *err) {
    const char *own = s->adapter ? s->adapter->chat_template : NULL;
    if (!own && !m->tokenizer->chat_template) return 0;
    return chat_template_new(&s->chat, m->tokenizer, own, err);
}

static int served_open(ServedModel **out, const Model *m, const char *name, const char *path, Err *err) {
    ServedModel *s = *out = mem_calloc(1, sizeof *s);
    s->name = mem_strdup(name);
    s->path = mem_strdup(path);
    s->created = (int64_t)time(NULL);
    if (path != m->path && adapter_load(&s->adapter, m, path, false, err)) return -1;
    if (s->adapter && s->adapter->config.labels)
        return err_input(err, "%s is a classifier; expected an adapter that writes text", path);
    if (open_template(s, m, err)) return -1;
    s->stop = generate_stop_ids(m, s->chat ? chat_template_end_of_turn(s->chat) : -1, &s->n_stop);
    return 0;
}

ServedModels *served_models_new(const Model *m, const char *name, int max_adapters) {
    ServedModels *s = mem_calloc(1, sizeof *s);
    s->m = m;
    s->max_adapters = max_adapters;
    pthread_mutex_init(&s->lock, NULL);
    ServedModel *base;
    Err err;
    MEM_GROW(s->items, s->capacity, 1);
    if (served_open(&base, m, name, m->path, &err)) log_warn("%s", err.msg); // its template: completions only
    if (!base->stop) base->stop = generate_stop_ids(m, -1, &base->n_stop);
    s->items[s->count++] = base;
    return s;
}

void served_models_free(ServedModels *s) {
    if (!s) return;
    for (size_t i = 0; i < s->count; i++) served_clear(s->items[i]);
    mem_free(s->items);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

static ServedModel *find(const ServedModels *s, const char *name) {
    for (size_t i = 0; i < s->count; i++)
        if (!s->items[i]->removed && strcmp(s->items[i]->name, name) == 0) return s->items[i];
    return NULL;
}

// Adapters that take memory: also removed ones that requests still hold.
static int check_room(const ServedModels *s, const char *name, Err *err) {
    if (!*name) return err_input(err, "\"lora_name\" is empty; expected a name");
    if (find(s, name)) return err_input(err, "the name %s is taken; expected a new one", name);
    if (s->count - 1 < (size_t)s->max_adapters) return 0;
    return err_input(err, "%d adapter%s loaded; expected fewer: unload one first (--max_adapters)", s->max_adapters,
                     s->max_adapters == 1 ? " is" : "s are");
}

int served_models_add(ServedModels *s, const char *name, const char *path, Err *err) {
    pthread_mutex_lock(&s->lock);
    int rc = check_room(s, name, err);
    pthread_mutex_unlock(&s->lock);
    if (rc) return -1;
    ServedModel *m; // read without the lock: requests go on
    rc = served_open(&m, s->m, name, path, err);
    pthread_mutex_lock(&s->lock);
    if (!rc) rc = check_room(s, name, err);
    if (!rc) {
        MEM_GROW(s->items, s->capacity, s->count + 1);
        s->items[s->count++] = m;
    }
    pthread_mutex_unlock(&s->lock);
    if (rc) served_clear(m);
    return rc;
}

int served_models_remove(ServedModels *s, const char *name, Err *err) {
    pthread_mutex_lock(&s->lock);
    ServedModel *m = find(s, name);
    bool found = m && m->adapter;
    if (found) m->removed = true;
    pthread_mutex_unlock(&s->lock);
    return found ? 0 : err_input(err, "no adapter has the name %s", name);
}

ServedModel *served_models_hold(ServedModels *s, const char *name) {
    pthread_mutex_lock(&s->lock);
    ServedModel *m = name ? find(s, name) : s->items[0];
    for (size_t i = s->count; !name && i-- > 1;)
        if (!s->items[i]->removed) m = s->items[i];
    if (m) m->held++;
    pthread_mutex_unlock(&s->lock);
    return m;
}

void served_models_release(ServedModels *s, ServedModel *m) {
    pthread_mutex_lock(&s->lock);
    m->held--;
    pthread_mutex_unlock(&s->lock);
}

void served_models_sweep(ServedModels *s, void (*forget)(void *user, const Adapter *a), void *user) {
    pthread_mutex_lock(&s->lock);
    size_t kept = 0;
    for (size_t i = 0; i < s->count; i++) {
        ServedModel *m = s->items[i];
        if (m->removed && m->held == 0) {
            forget(user, m->adapter);
            served_clear(m);
        } else {
            s->items[kept++] = m;
        }
    }
    s->count = kept;
    pthread_mutex_unlock(&s->lock);
}

void served_models_each(ServedModels *s, void (*each)(void *user, const ServedModel *m), void *user) {
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->count; i++)
        if (!s->items[i]->removed) each(user, s->items[i]);
    pthread_mutex_unlock(&s->lock);
}

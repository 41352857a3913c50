#include "served_models.h"

#include <pthread.h>
#include <string.h>

#include "generate.h"
#include "say.h"

struct ServedModels {
    const Model *m;
    pthread_mutex_t lock;
    ServedModel **items; // the base first; removed ones until they are freed
    size_t count, capacity;
    ServedLimits limits;
    TokenTrie *tokens; // NULL: not made yet
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
    AUTO_STR StrBuf head = {0};
    if (s->adapter && s->adapter->config.labels) {
        adapter_print_head(&head, s->adapter);
        return err_input(err, "%s is %s; expected an adapter that writes text", path, head.data);
    }
    if (open_template(s, m, err)) return -1;
    s->stop = generate_stop_ids(m, s->chat ? chat_template_end_of_turn(s->chat) : -1, &s->n_stop);
    return 0;
}

ServedModels *served_models_new(const Model *m, const char *name, ServedLimits limits) {
    ServedModels *s = mem_calloc(1, sizeof *s);
    s->m = m;
    s->limits = limits;
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
    token_trie_free(s->tokens);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

const Model *served_models_base(const ServedModels *s) { return s->m; }

const TokenTrie *served_models_tokens(ServedModels *s) {
    pthread_mutex_lock(&s->lock);
    if (!s->tokens) s->tokens = token_trie_new(s->m->tokenizer);
    pthread_mutex_unlock(&s->lock);
    return s->tokens;
}

static ServedModel *find(const ServedModels *s, const char *name) {
    for (size_t i = 0; i < s->count; i++)
        if (!s->items[i]->removed && strcmp(s->items[i]->name, name) == 0) return s->items[i];
    return NULL;
}

// It is printed, and part of a path.
static int check_name(const char *name, Err *err) {
    enum { LONGEST = 256 };
    size_t size = strlen(name), n;
    bool safe = size > 0 && size <= LONGEST;
    for (size_t at = 0; safe && at < size; at += n) {
        n = say_character(name + at, size - at, &safe);
        if (name[at] == '\n' || name[at] == '\t') safe = false;
    }
    if (safe) return 0;
    return err_input(err, "\"%.60s\" is no name for an adapter; expected 1 to %d bytes without control characters",
                     name, LONGEST);
}

// Adapters that take memory: also removed ones that requests still hold.
static int check_count(const ServedModels *s, const char *name, Err *err) {
    int most = s->limits.max_adapters;
    if (find(s, name)) return err_input(err, "the name %s is taken; expected a new one", name);
    if (s->count - 1 < (size_t)most) return 0;
    return err_input(err, "%d adapter%s loaded; expected fewer: unload one first (--max_adapters)", most,
                     most == 1 ? " is" : "s are");
}

static size_t adapter_bytes(const ServedModel *m) { return m->adapter ? (size_t)m->adapter->count * sizeof(float) : 0; }

static int check_room(const ServedModels *s, const ServedModel *m, Err *err) {
    size_t used = 0, bytes = adapter_bytes(m);
    for (size_t i = 0; i < s->count; i++) used += adapter_bytes(s->items[i]);
    if (used <= s->limits.room && bytes <= s->limits.room - used) return 0;
    return err_no_fit(err, "%s takes %.1f MB, %.1f MB of adapters are loaded; expected at most %.1f MB in all", m->path,
                      (double)bytes / 1e6, (double)used / 1e6, (double)s->limits.room / 1e6);
}

int served_models_add(ServedModels *s, const char *name, const char *path, Err *err) {
    if (check_name(name, err)) return -1;
    pthread_mutex_lock(&s->lock);
    int rc = check_count(s, name, err);
    pthread_mutex_unlock(&s->lock);
    if (rc) return -1;
    ServedModel *m; // read without the lock: requests go on
    rc = served_open(&m, s->m, name, path, err);
    pthread_mutex_lock(&s->lock);
    if (!rc) rc = check_count(s, name, err) || check_room(s, m, err) ? -1 : 0;
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

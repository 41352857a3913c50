// choices: a sorted list of keys and values, as a JSON object {"device": ..., "cublaslt": ..., key: value, ...}. The
// first two name the device and the library version that the choices are valid for.
#include "choices.h"

#include <stdio.h>
#include <string.h>

typedef struct Choice {
    char *key, *value;
} Choice;

struct CudaChoices {
    Choice *list; // by key
    size_t n, capacity;
    char library[32]; // version of cuBLASLt
    bool settled;     // by choices_set
};

enum { MAX_TEXT = 1 << 10 }; // of a key or value

int cuda_choices_open(Backend *b, Err *err) {
    (void)err;
    CudaChoices *c = cuda_state(b)->choices = mem_calloc(1, sizeof *c);
    size_t version = cublasLtGetVersion();
    snprintf(c->library, sizeof c->library, "%zu.%zu.%zu", version / 10000, version / 100 % 100, version % 100);
    return 0;
}

static void clear(CudaChoices *c) {
    for (size_t i = 0; i < c->n; i++) {
        mem_free(c->list[i].key);
        mem_free(c->list[i].value);
    }
    c->n = 0;
}

void cuda_choices_close(Backend *b) {
    CudaChoices *c = cuda_state(b)->choices;
    if (!c) return;
    clear(c);
    mem_free(c->list);
    mem_free(c);
    cuda_state(b)->choices = NULL;
}

// The index of `key`, or where to insert it.
static size_t place_of(const CudaChoices *c, const char *key, bool *found) {
    size_t low = 0, high = c->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(c->list[middle].key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *found = low < c->n && !strcmp(c->list[low].key, key);
    return low;
}

const char *cuda_choice_get(const Backend *b, const char *key) {
    const CudaChoices *c = cuda_state(b)->choices;
    bool found;
    size_t i = place_of(c, key, &found);
    return found ? c->list[i].value : NULL;
}

static bool is_plain(const char *text) {
    const char *p = text;
    while (*p >= 32 && *p < 127 && *p != '"' && *p != '\\') p++;
    return !*p && p > text && p - text < MAX_TEXT;
}

static void set(CudaChoices *c, const char *key, const char *value) {
    bool found;
    size_t i = place_of(c, key, &found);
    if (found) {
        mem_free(c->list[i].value);
    } else {
        MEM_GROW(c->list, c->capacity, c->n + 1);
        memmove(c->list + i + 1, c->list + i, (c->n - i) * sizeof *c->list);
        c->list[i].key = mem_strdup(key);
        c->n++;
    }
    c->list[i].value = mem_strdup(value);
}

void cuda_choice_set(Backend *b, const char *key, const char *value) {
    CHECK(is_plain(key) && is_plain(value), "choice '%s': '%s'", key, value);
    set(cuda_state(b)->choices, key, value);
}

bool cuda_choices_by_speed(const Backend *b) {
    const CudaState *s = cuda_state(b);
    return !s->choices->settled && !s->emulated && !s->recording;
}

// ---- in and out ----

void cuda_choices_get(Backend *b, StrBuf *json) {
    const CudaState *s = cuda_state(b);
    const CudaChoices *c = s->choices;
    str_printf(json, "{\"device\": \"%s\", \"cublaslt\": \"%s\"", s->name, c->library);
    for (size_t i = 0; i < c->n; i++) str_printf(json, ",\n \"%s\": \"%s\"", c->list[i].key, c->list[i].value);
    str_puts(json, "}");
}

typedef struct Reader {
    const char *at, *start;
} Reader;

static bool take(Reader *r, char c) {
    while (*r->at == ' ' || *r->at == '\n' || *r->at == '\t' || *r->at == '\r') r->at++;
    if (*r->at != c) return false;
    r->at++;
    return true;
}

// A string without escapes; free it. NULL: not a string.
static char *take_text(Reader *r) {
    if (!take(r, '"')) return NULL;
    size_t n = strcspn(r->at, "\"");
    if (!r->at[n] || n >= MAX_TEXT) return NULL;
    char *text = mem_strndup(r->at, n);
    r->at += n + 1;
    if (is_plain(text)) return text;
    mem_free(text);
    return NULL;
}

// A run whose attention is cuDNN's needs the same version of cuDNN.
static int check_attention(const Backend *b, const char *value, Err *err) {
    const char *here = cuda_attention_library(b);
    if (!starts_with(value, "cudnn ") || (here && !strcmp(value, here))) return 0;
    return err_input(
        err, "the run was made with attention by %s, here it is %s: the run cannot be resumed bit-identically here",
        value, here ? here : "none");
}

// Adds one `"key": "value"` to the list; compares device and library version with this device's.
static int take_choice(Backend *b, CudaChoices *read, Reader *r, int *headers, Err *err) {
    const CudaState *s = cuda_state(b);
    char *key = take_text(r), *value = key && take(r, ':') ? take_text(r) : NULL;
    int rc = 0;
    if (!value)
        rc = err_input(err, "stored choices of the device: byte %zu: expected \"key\": \"value\"",
                       (size_t)(r->at - r->start));
    else if (!strcmp(key, "device") || !strcmp(key, "cublaslt")) {
        const char *here = key[0] == 'd' ? s->name : s->choices->library;
        if (strcmp(value, here))
            rc = err_input(err,
                           "the run was made with %s %s, this is %s: the run cannot be resumed bit-identically here",
                           key, value, here);
        ++*headers;
    } else {
        rc = check_attention(b, value, err);
        set(read, key, value);
    }
    mem_free(key);
    mem_free(value);
    return rc;
}

int cuda_choices_set(Backend *b, const char *json, Err *err) {
    Reader r = {json, json};
    CudaChoices read = {0}, *c = cuda_state(b)->choices;
    int headers = 0, rc = 0;
    bool ended = true;
    if (!take(&r, '{')) return err_input(err, "stored choices of the device: expected a JSON object");
    if (!take(&r, '}')) {
        do rc = take_choice(b, &read, &r, &headers, err);
        while (!rc && take(&r, ','));
        ended = take(&r, '}');
    }
    if (!rc && !(ended && take(&r, 0)))
        rc = err_input(err, "stored choices of the device: byte %zu: expected , or }", (size_t)(r.at - r.start));
    if (!rc && headers != 2) rc = err_input(err, "the run was made on another kind of device than %s", b->k->name);
    for (size_t i = 0; !rc && i < read.n; i++) set(c, read.list[i].key, read.list[i].value);
    if (!rc) c->settled = true;
    clear(&read);
    mem_free(read.list);
    return rc;
}

// peft_tensors: finds an adapter's tensors under all the names that PEFT and wrappers give them (peft_internal.h).
#include <string.h>

#include "name_index.h"
#include "peft_internal.h"

typedef struct Entry {
    char *local; // name without prefix, wrappers and adapter name: "layers.0.mlp.up_proj.lora_A.weight"
    const SafetensorsTensor *tensor;
    bool asked, ignored;
} Entry;

struct PeftTensors {
    const Model *m;
    Safetensors *file;
    Entry *entries;
    size_t n;
    NameIndex by_name;      // of entries
    char *prefix, *adapter; // of the first LoRA tensor
};

// ---- names ----

// The part of a name between two dots.
typedef struct Word {
    const char *at;
    size_t len;
} Word;

static bool is_word(Word w, const char *text) { return strlen(text) == w.len && memcmp(w.at, text, w.len) == 0; }

static bool is_wrapper(Word w) {
    return is_word(w, "_orig_mod") || is_word(w, "_fsdp_wrapped_module") || is_word(w, "_checkpoint_wrapped_module");
}

static Word next_word(const char **p) {
    Word w = {*p, strcspn(*p, ".")};
    *p += w.len;
    if (**p) ++*p;
    return w;
}

// A dotted path has this word.
static bool has_word(const char *path, Word word) {
    for (const char *p = path; p && *p;) {
        Word w = next_word(&p);
        if (w.len == word.len && memcmp(w.at, word.at, w.len) == 0) return true;
    }
    return false;
}

// Words of prefixes before the layers.
static bool is_prefix(const Architecture *a, Word w) {
    if (is_word(w, "base_model") || is_word(w, "model") || is_word(w, "module")) return true;
    for (const HfPrefix *p = a->hf_prefixes; p->file; p++)
        if (has_word(p->file, w) || has_word(p->module, w)) return true;
    return false;
}

static void add_word(StrBuf *out, Word w) {
    if (out->len) str_puts(out, ".");
    str_add(out, w.at, w.len);
}

// The parts of a name.
typedef struct Parts {
    StrBuf prefix, local, adapter; // "base_model.model.model.", the rest, the adapter's name ("": none)
    bool is_lora, ignored;
} Parts;

static void clear_parts(Parts *p) {
    str_clear(&p->prefix);
    str_clear(&p->local);
    str_clear(&p->adapter);
}

static bool ends_name(const char *p) { return !*p || strcmp(p, "weight") == 0; }

// "lora_A" is followed by "weight", or by the adapter's name and "weight"; so is "modules_to_save", which is left out.
// A magnitude is followed by nothing, as PEFT saves it, or by the same.
static void take_apart(Parts *parts, const char *name, const Architecture *a) {
    bool inside = false; // after the prefix
    str_puts(&parts->local, "");
    str_puts(&parts->adapter, "");
    str_puts(&parts->prefix, "");
    for (const char *p = name; *p;) {
        Word w = next_word(&p);
        bool saved = is_word(w, "modules_to_save"), magnitude = is_word(w, "lora_magnitude_vector");
        bool lora = is_word(w, "lora_A") || is_word(w, "lora_B") || magnitude;
        if (is_wrapper(w)) continue;
        if (!inside && is_prefix(a, w)) {
            str_add(&parts->prefix, w.at, w.len);
            str_puts(&parts->prefix, ".");
            continue;
        }
        inside = true;
        if (is_word(w, "original_module")) parts->ignored = true; // replaced by modules_to_save
        if (!saved) add_word(&parts->local, w);
        parts->is_lora |= lora;
        if (magnitude ? !ends_name(p) : (lora || saved) && *p && strchr(p, '.')) {
            Word named = next_word(&p);
            str_add(&parts->adapter, named.at, named.len);
        }
        if (magnitude && ends_name(p)) break;
    }
}

// ---- the file ----

// Without PEFT's own wrapper, base_model.model.
static char *model_prefix(const char *prefix) {
    static const char wrapper[] = "base_model.model.", ddp[] = "module.";
    if (starts_with(prefix, ddp)) prefix += sizeof ddp - 1;
    return mem_strdup(starts_with(prefix, wrapper) ? prefix + sizeof wrapper - 1 : prefix);
}

static int add_tensor(PeftTensors *t, const SafetensorsTensor *x, const char *path, Err *err) {
    AUTO_CALL(clear_parts) Parts parts = {0};
    take_apart(&parts, x->name, t->m->config.arch);
    t->entries[t->n++] = (Entry){mem_strdup(parts.local.data), x, false, parts.ignored};
    if (parts.is_lora && !t->adapter) {
        t->adapter = mem_strdup(parts.adapter.data);
        t->prefix = model_prefix(parts.prefix.data);
    } else if (parts.is_lora && strcmp(t->adapter, parts.adapter.data) != 0) {
        return err_input(err, "%s: found tensors of adapter \"%s\" and of adapter \"%s\" (%s); expected one adapter",
                         path, t->adapter, parts.adapter.data, x->name);
    }
    return 0;
}

int peft_tensors_open(PeftTensors **out, const char *path, const Model *m, Err *err) {
    AUTO(peft_tensors_close) PeftTensors *t = mem_calloc(1, sizeof *t);
    t->m = m;
    if (safetensors_open(&t->file, path, err)) return -1;
    size_t n = safetensors_count(t->file);
    t->entries = mem_calloc(n + 1, sizeof *t->entries);
    for (size_t i = 0; i < n; i++)
        if (add_tensor(t, safetensors_at(t->file, i), path, err)) return -1;
    for (size_t i = 0; i < n; i++)
        name_index_add(&t->by_name, t->entries[i].local, strlen(t->entries[i].local), &t->entries[i]);
    const NamedItem *twice = name_index_sort(&t->by_name);
    if (twice)
        return err_input(err, "%s: %s and %s are the same matrix; expected one of them", path,
                         ((const Entry *)twice[-1].item)->tensor->name, ((const Entry *)twice->item)->tensor->name);
    *out = mem_take(&t);
    return 0;
}

void peft_tensors_close(PeftTensors *t) {
    if (!t) return;
    for (size_t i = 0; i < t->n; i++) mem_free(t->entries[i].local);
    mem_free(t->entries);
    name_index_clear(&t->by_name);
    mem_free(t->prefix);
    mem_free(t->adapter);
    safetensors_close(t->file);
    mem_free(t);
}

static Entry *find(const PeftTensors *t, const char *name) {
    AUTO_CALL(clear_parts) Parts parts = {0};
    take_apart(&parts, name, t->m->config.arch);
    return (Entry *)name_index_find(&t->by_name, parts.local.data);
}

bool peft_tensors_has(const PeftTensors *t, const char *name) { return find(t, name) != NULL; }

const SafetensorsTensor *peft_tensors_get(PeftTensors *t, const char *name) {
    Entry *found = find(t, name);
    if (!found) return NULL;
    found->asked = true;
    return found->tensor;
}

const char *peft_tensors_prefix(const PeftTensors *t) { return t->prefix; }

const char *peft_tensors_unused(const PeftTensors *t, size_t *i) {
    for (; *i < t->n; ++*i)
        if (!t->entries[*i].asked && !t->entries[*i].ignored) return t->entries[(*i)++].tensor->name;
    return NULL;
}

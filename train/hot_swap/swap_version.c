#include "swap_version.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "hash.h"
#include "path.h"

enum { LONGEST_NAME = 100 };

SwapLine swap_line_new(const char *name, const char *folder) {
    SwapLine l = {mem_strndup(name, strnlen(name, LONGEST_NAME)), path_absolute(folder)};
    for (char *c = l.name; *c; c++) {
        bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9');
        if (!letter && !strchr("._-", *c)) *c = '-';
    }
    return l;
}

void swap_line_clear(SwapLine *l) {
    mem_free(l->name);
    mem_free(l->folder);
    *l = (SwapLine){0};
}

void swap_version_clear(SwapVersion *v) {
    mem_free(v->name);
    mem_free(v->unique);
    mem_free(v->folder);
    mem_free(v->gguf);
    *v = (SwapVersion){0};
}

// Of the values and the scales.
static void hash_of(char hex[33], const Adapter *a, const float *host) {
    Fingerprint *f = fingerprint_new();
    fingerprint_text(f, (const char *)host, (size_t)a->count * sizeof *host);
    for (int64_t i = 0; i < a->n_segments; i++) {
        fingerprint_text(f, a->segments[i].name, strlen(a->segments[i].name));
        fingerprint_number(f, (int64_t)f32_to_bits(a->segments[i].scale));
    }
    fingerprint_end(f, hex);
}

// rsLoRA is written as alpha * sqrt(r), with one rounding.
static bool same_scale(float a, float b) { return fabs((double)a - (double)b) <= 2.5e-7 * (double)a; }

// The folder is complete and holds this adapter.
static int read_back(const char *folder, const Adapter *a, const float *host, const Model *m, Err *err) {
    AUTO(adapter_free) Adapter *b = NULL;
    if (adapter_load_peft(&b, m, folder, false, err)) return -1;
    adapter_narrow(&b, m, a->config.projections);
    AUTO_FREE float *got = adapter_download(b);
    bool same = b->count == a->count && b->n_segments == a->n_segments &&
                memcmp(got, host, (size_t)a->count * sizeof *host) == 0;
    for (int64_t i = 0; same && i < a->n_segments; i++) same = same_scale(a->segments[i].scale, b->segments[i].scale);
    return same ? 0 : err_runtime(err, "%s: holds other values than were written", folder);
}

// A version that is there is used again if it is the same: a run that resumes writes some twice.
static int write_folder(SwapVersion *v, const char *stem, const Adapter *a, const float *host, const Model *m,
                        const SwapExport *o, Err *err) {
    enum { MOST = 1000 };
    v->folder = mem_strdup(stem);
    for (int i = 2; path_exists(v->folder) && i <= MOST; i++) {
        if (read_back(v->folder, a, host, m, NULL) == 0) return 0;
        mem_free(v->folder);
        v->folder = mem_printf("%s-%d", stem, i);
    }
    return adapter_save_peft(a, m, v->folder, o->card, err) || read_back(v->folder, a, host, m, err) ? -1 : 0;
}

int swap_version_write(SwapVersion *v, const SwapLine *line, const Adapter *a, const Model *m, int64_t step,
                       const SwapExport *o, Err *err) {
    AUTO(adapter_free) Adapter *filled = NULL, *plain = NULL;
    char hash[33];
    *v = (SwapVersion){0};
    if (adapter_check(a, err) || dir_make_parents(line->folder, err) || adapter_plain(&plain, m, a, err)) return -1;
    const Adapter *written = plain ? plain : a;
    if (o->siblings && adapter_fill_siblings(&filled, m, written, err)) return -1;
    if (filled) written = filled;
    AUTO_FREE float *host = adapter_download(written);
    hash_of(hash, written, host);
    v->name = step < 0 ? mem_printf("%s-%.8s", line->name, hash) : mem_printf("%s-step%06ld", line->name, step);
    v->unique = step < 0 ? mem_strdup(v->name) : mem_printf("%s-%.8s", v->name, hash);
    AUTO_FREE char *stem = path_join(line->folder, v->unique);
    if (write_folder(v, stem, written, host, m, o, err)) return -1;
    if (!o->gguf) return 0;
    v->gguf = mem_printf("%s.gguf", v->folder);
    return adapter_save_gguf(written, m, v->gguf, v->name, err);
}

void swap_version_remove(const SwapVersion *v) {
    folder_remove_known(v->folder, adapter_peft_own.names, NULL, NULL);
    if (v->gguf && adapter_gguf_own(v->gguf, NULL) == 0) unlink(v->gguf);
}

// gguf_split: a GGUF model in one file, or in llama.cpp's split files NAME-00001-of-0000N.gguf. The first part has the
// metadata; every part has its number (split.no, from 0) and the number of parts (split.count).
#include "weight_source_internal.h"

#include <stdio.h>
#include <string.h>

#include "fileio.h"
#include "path.h"

typedef struct Split {
    uint64_t number, count, tensors; // count 0: not split
} Split;

static int read_split(Split *p, const Gguf *g, Err *err) {
    *p = (Split){0};
    if (gguf_u64(g, "split.count", false, &p->count, err) < 0) return -1;
    if (p->count < 2) return 0;
    if (gguf_u64(g, "split.no", true, &p->number, err) < 0 ||
        gguf_u64(g, "split.tensors.count", true, &p->tensors, err) < 0)
        return -1;
    if (p->number >= p->count || p->count > 99999)
        return err_input(err,
                         "%s: split.no is %lu and split.count %lu; expected a number below the count, which is at "
                         "most 99999",
                         gguf_path(g), p->number, p->count);
    return 0;
}

enum { SUFFIX_LENGTH = 20 }; // "-00001-of-00003.gguf"

static void print_suffix(char suffix[SUFFIX_LENGTH + 1], uint64_t number, uint64_t count) {
    snprintf(suffix, SUFFIX_LENGTH + 1, "-%05u-of-%05u.gguf", (unsigned)number + 1, (unsigned)count);
}

// The number of parts in such a suffix; 0: another suffix. Only digits: strtoul would accept a sign.
static unsigned suffix_count(const char *suffix) {
    static const char form[SUFFIX_LENGTH + 1] = "-00000-of-00000.gguf";
    unsigned count = 0;
    for (int i = 0; i < SUFFIX_LENGTH; i++) {
        bool digit = suffix[i] >= '0' && suffix[i] <= '9';
        if (form[i] == '0' ? !digit : suffix[i] != form[i]) return 0;
        if (digit && i >= 10) count = count * 10 + (unsigned)(suffix[i] - '0');
    }
    return count;
}

void weight_source_add_inputs(InputSet *inputs, const char *path) {
    char suffix[SUFFIX_LENGTH + 1];
    size_t n = path ? strlen(path) : 0;
    input_set_add(inputs, path);
    unsigned count = n < SUFFIX_LENGTH ? 0 : suffix_count(path + n - SUFFIX_LENGTH);
    for (unsigned i = 0; i < count; i++) {
        print_suffix(suffix, i % 99999, count % 100000); // for the compiler: both fit
        AUTO_FREE char *part = mem_printf("%.*s%s", (int)(n - SUFFIX_LENGTH), path, suffix);
        input_set_add(inputs, part);
    }
}

static int add_part(WeightSource *s, char *path, const Split *first, uint64_t number, Err *err) {
    Split p;
    if (weight_source_add_gguf(s, path, err) || read_split(&p, s->files[number].gguf, err)) return -1;
    if (p.number != number || p.count != first->count || p.tensors != first->tensors)
        return err_input(err,
                         "%s: part %lu of %lu, %lu tensors; expected part %lu of %lu, %lu tensors (split.no, "
                         "split.count, split.tensors.count)",
                         path, p.number + 1, p.count, p.tensors, number + 1, first->count, first->tensors);
    return 0;
}

static int open_parts(WeightSource *s, const Split *p, Err *err) {
    char suffix[SUFFIX_LENGTH + 1];
    size_t n = strlen(s->path);
    print_suffix(suffix, p->number, p->count);
    if (!ends_with(s->path, suffix))
        return err_input(err, "%s: part %lu of %lu of a split model; expected a name that ends in %s", s->path,
                         p->number + 1, p->count, suffix);
    for (uint64_t i = 0; i < p->count; i++) {
        print_suffix(suffix, i, p->count);
        if (add_part(s, mem_printf("%.*s%s", (int)(n - SUFFIX_LENGTH), s->path, suffix), p, i, err)) return -1;
    }
    if (s->n_tensors != p->tensors)
        return err_input(err, "%s: %zu tensors in all its parts; split.tensors.count is %lu", s->path, s->n_tensors,
                         p->tensors);
    return 0;
}

int gguf_split_open(WeightSource *s, Err *err) {
    AUTO_GGUF Gguf *g = NULL;
    Split p;
    if (!path_exists(s->path)) return err_input(err, "%s: no such file or folder", s->path);
    if (gguf_open(&g, s->path, err)) return weight_source_add_gguf(s, mem_strdup(s->path), err);
    if (read_split(&p, g, err)) return -1;
    return p.count < 2 ? weight_source_add_gguf(s, mem_strdup(s->path), err) : open_parts(s, &p, err);
}

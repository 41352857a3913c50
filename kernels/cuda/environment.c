// environment: what the user asks of the backend by environment variables.
#include <stdlib.h>
#include <string.h>

#include "cuda.h"

static int refuse(const char *name, const char *value, const char *expected, Err *err) {
    return err_input(err, "%s is '%s'; expected %s", name, value, expected);
}

// Doctor asks for one kind after the other, whatever the variable says.
static int take_attention(Backend *b, AttentionKind kind, Err *err) {
    static const struct {
        const char *word;
        AttentionKind kind;
    } words[] = {{"own", ATTENTION_OWN}, {"cudnn", ATTENTION_LIBRARY}};
    const char *value = getenv("LORAC_ATTENTION");
    b->attention_kind = kind;
    if (!value) return 0;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(value, words[i].word) != 0) continue;
        if (kind != ATTENTION_FASTER) return 0;
        b->attention_kind = words[i].kind;
        cuda_state(b)->attention_asked = words[i].word;
        return 0;
    }
    return refuse("LORAC_ATTENTION", value, "own or cudnn", err);
}

int cuda_environment(Backend *b, AttentionKind kind, Err *err) {
    const char *graphs = getenv("LORAC_CUDA_GRAPHS");
    if (graphs && strcmp(graphs, "0") != 0 && strcmp(graphs, "1") != 0)
        return refuse("LORAC_CUDA_GRAPHS", graphs, "0 or 1", err);
    cuda_state(b)->graphs = !graphs || graphs[0] == '1';
    return take_attention(b, kind, err);
}

int cuda_environment_check(const Backend *b, Err *err) {
    const char *asked = cuda_state(b)->attention_asked;
    if (!asked || strcmp(asked, "cudnn") != 0 || b->attention_kind == ATTENTION_LIBRARY) return 0;
    return err_input(err, "LORAC_ATTENTION is 'cudnn', but attention in %s on this device (%s) is by %s",
                     dtype_info(b->activation)->name, b->name, b->attention);
}

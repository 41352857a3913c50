// architecture_targets: the projections that a name of PEFT's target_modules means, and their names for messages.
#include <stdio.h>
#include <string.h>

#include "architecture.h"

char *module_name(const Module *m, int64_t expert) {
    const char *number = strstr(m->name, "%d");
    if (!number) return mem_strdup(m->name);
    char text[32] = "N";
    if (expert >= 0) snprintf(text, sizeof text, "%ld", expert);
    return mem_printf("%.*s%s%s", (int)(number - m->name), m->name, text, number + 2);
}

bool architecture_is_end_of(const char *end, const char *name) {
    size_t n = strlen(name), m = strlen(end);
    return ends_with(name, end) && (n == m || name[n - m - 1] == '.');
}

uint32_t architecture_targets(const Architecture *a, const char *name) {
    uint32_t set = 0;
    for (const Module *m = a->hf.modules; m->name; m++)
        if (*name && (architecture_is_end_of(name, m->name) || architecture_is_end_of(m->name, name))) set |= m->parts;
    for (Projection p = 0; p < PROJ_COUNT && !set; p++)
        if (strcmp(name, projection_name(p)) == 0) set = PROJ_BIT(p);
    // as PEFT's target_parameters name the experts of transformers 5
    if (strcmp(name, "mlp.experts.gate_up_proj") == 0 || strcmp(name, "experts.gate_up_proj") == 0)
        set = PROJ_BIT(PROJ_EXPERT_GATE) | PROJ_BIT(PROJ_EXPERT_UP);
    if (strcmp(name, "mlp.experts.down_proj") == 0) set = PROJ_BIT(PROJ_EXPERT_DOWN);
    return set;
}

static const char *leaf_of(const Module *m) {
    const char *dot = strrchr(m->name, '.');
    return dot ? dot + 1 : m->name;
}

void architecture_list_targets(StrBuf *out, const Architecture *a, uint32_t available) {
    const char *before = "";
    for (Projection p = 0; p < PROJ_COUNT; p++) {
        if (!(available & PROJ_BIT(p)) || projection_shares_name(p)) continue;
        str_printf(out, "%s%s", before, projection_name(p));
        before = ", ";
    }
    for (const Module *m = a->hf.modules; m->name; m++) {
        const char *leaf = leaf_of(m);
        Projection p = 0;
        while (p < PROJ_COUNT && strcmp(leaf, projection_name(p)) != 0) p++;
        const Module *same = a->hf.modules; // BERT's "dense" is three modules
        while (same < m && !(same->parts & available && strcmp(leaf_of(same), leaf) == 0)) same++;
        if (p == PROJ_COUNT && m->parts & available && same == m) str_printf(out, "%s%s", before, leaf);
    }
}

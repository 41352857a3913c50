// op_table: the tables of op cases (opcheck.h) by name, for tests that take one as an argument.
#pragma once

#include <string.h>

#include "opcheck.h"

// NULL: there is none of that name.
static inline const OpCase *op_table(const char *name) {
    static const struct {
        const char *name;
        const OpCase *cases;
    } tables[] = {{"activation", op_cases_activation},
                  {"attention", op_cases_attention},
                  {"head", op_cases_head},
                  {"matmul", op_cases_matmul},
                  {"moe", op_cases_moe},
                  {"pointwise", op_cases_pointwise}};
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        if (strcmp(tables[i].name, name) == 0) return tables[i].cases;
    return NULL;
}

#include "code_class.h"

#include <string.h>

void code_class_clear(CodeClass *c) {
    mem_free(c->ranges);
    *c = (CodeClass){0};
}

void code_class_add(CodeClass *c, uint32_t lo, uint32_t hi) {
    MEM_GROW(c->ranges, c->capacity, c->count + 1);
    c->ranges[c->count++] = (CodeRange){lo, hi};
}

static void add_all(CodeClass *c, const CodeRange *ranges, size_t count) {
    for (size_t i = 0; i < count; i++) code_class_add(c, ranges[i].lo, ranges[i].hi);
}

void code_class_add_named(CodeClass *c, char name) {
    static const CodeRange digits[] = {{'0', '9'}}, spaces[] = {{'\t', '\r'}, {' ', ' '}},
                           word[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
    char lower = (char)(name | 32);
    const CodeRange *of = lower == 'd' ? digits : lower == 's' ? spaces : word;
    size_t n = lower == 'd' ? 1 : lower == 's' ? 2 : 4;
    CodeRange others[5];
    if (name == lower)
        add_all(c, of, n);
    else
        add_all(c, others, code_ranges_others(others, of, n));
}

void code_class_add_line_ends(CodeClass *c) {
    static const CodeRange ends[] = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};
    add_all(c, ends, 3);
}

void code_class_finish(CodeClass *c) {
    c->count = code_ranges_join(c->ranges, c->count);
    if (!c->negated) return;
    CodeRange *others = mem_alloc(c->count + 1, sizeof *others);
    c->count = code_ranges_others(others, c->ranges, c->count);
    mem_free(c->ranges);
    c->ranges = others;
    c->negated = false;
}

bool code_hex(const char *text, int digits, uint32_t *c) {
    *c = 0;
    for (int i = 0; i < digits; i++) {
        char d = text[i];
        int lower = d | 32;
        if (!d || (!strchr("0123456789", d) && !(lower >= 'a' && lower <= 'f'))) return false;
        *c = *c << 4 | (uint32_t)(lower >= 'a' ? lower - 'a' + 10 : d - '0');
    }
    return true;
}

// added_tokens: see added_tokens.h. Nodes lie in one array; the children of a node are a list of siblings, except below
// the root, which has a table by byte that also serves to skip text quickly.
#include "added_tokens.h"

#include <string.h>

typedef struct Node {
    int32_t child, sibling; // -1: none
    int32_t id;             // of the token that ends here, -1: none
    uint8_t byte;
    bool control;
} Node;

struct AddedTokens {
    int32_t root[256]; // node of a first byte, -1: none
    Node *nodes;
    size_t n_nodes, capacity;
};

static int32_t new_node(AddedTokens *a, uint8_t byte) {
    MEM_GROW(a->nodes, a->capacity, a->n_nodes + 1);
    a->nodes[a->n_nodes] = (Node){.child = -1, .sibling = -1, .id = -1, .byte = byte};
    return (int32_t)a->n_nodes++;
}

static int32_t find_child(const AddedTokens *a, int32_t node, uint8_t byte) {
    int32_t c = a->nodes[node].child;
    while (c >= 0 && a->nodes[c].byte != byte) c = a->nodes[c].sibling;
    return c;
}

static void insert(AddedTokens *a, const char *text, size_t len, int32_t id, bool control) {
    uint8_t first = (uint8_t)text[0];
    if (a->root[first] < 0) a->root[first] = new_node(a, first);
    int32_t node = a->root[first];
    for (size_t i = 1; i < len; i++) {
        uint8_t byte = (uint8_t)text[i];
        int32_t c = find_child(a, node, byte);
        if (c < 0) {
            c = new_node(a, byte);
            a->nodes[c].sibling = a->nodes[node].child;
            a->nodes[node].child = c;
        }
        node = c;
    }
    a->nodes[node].id = id;
    a->nodes[node].control = control;
}

int added_tokens_new(AddedTokens **out, const Bpe *b, Err *err) {
    AddedTokens *a = mem_calloc(1, sizeof *a);
    memset(a->root, 0xFF, sizeof a->root);
    for (int32_t id = 0; id < bpe_size(b); id++) {
        int type = bpe_type(b, id);
        if (type == TOKEN_NORMAL || type == TOKEN_UNUSED) continue;
        size_t len;
        const char *text = bpe_text(b, id, &len);
        if (len > ADDED_TOKEN_MAX || a->n_nodes > INT32_MAX - ADDED_TOKEN_MAX) {
            added_tokens_free(a);
            return err_input(err, "added token %d has %zu bytes; expected at most %d", id, len, ADDED_TOKEN_MAX);
        }
        insert(a, text, len, id, type != TOKEN_USER_DEFINED);
    }
    *out = a;
    return 0;
}

void added_tokens_free(AddedTokens *a) {
    if (!a) return;
    mem_free(a->nodes);
    mem_free(a);
}

int32_t added_token_at(const AddedTokens *a, const char *text, size_t len, size_t at, const uint16_t *origin,
                       bool control, size_t *n) {
    int32_t best = -1;
    int32_t node = at < len ? a->root[(uint8_t)text[at]] : -1;
    for (size_t i = at; node >= 0; node = i < len ? find_child(a, node, (uint8_t)text[i]) : -1) {
        if (origin && origin[i] != 0) control = false;
        i++;
        const Node *here = &a->nodes[node];
        if (here->id >= 0 && (control || !here->control)) {
            best = here->id;
            *n = i - at;
        }
    }
    return best;
}

size_t added_token_next(const AddedTokens *a, const char *text, size_t len, size_t at) {
    while (at < len && a->root[(uint8_t)text[at]] < 0) at++;
    return at;
}

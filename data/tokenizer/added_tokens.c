// added_tokens: see added_tokens.h. Nodes are in one array; the children of a node are a list of siblings, except below
// the root, which has a table by byte that also serves to skip text quickly.
#include "added_tokens.h"

#include <string.h>
#include <utf8proc.h>

typedef struct Node {
    int32_t child, sibling; // -1: none
    int32_t id;             // of the token that ends here, -1: none
    uint8_t byte;
    bool control, single_word, lstrip, rstrip;
} Node;

struct AddedTokens {
    int32_t root[256]; // node of a first byte, -1: none
    Node *nodes;
    size_t n_nodes, capacity;
};

AddedTokens *added_tokens_new(void) {
    AddedTokens *a = mem_calloc(1, sizeof *a);
    memset(a->root, 0xFF, sizeof a->root);
    return a;
}

void added_tokens_free(AddedTokens *a) {
    if (!a) return;
    mem_free(a->nodes);
    mem_free(a);
}

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

int added_tokens_add(AddedTokens *a, const AddedToken *t, Err *err) {
    if (t->text.len == 0) return err_input(err, "added token %d is empty; expected text", t->id);
    if (t->text.len > ADDED_TOKEN_MAX || a->n_nodes > INT32_MAX - ADDED_TOKEN_MAX)
        return err_input(err, "added token %d has %zu bytes; expected at most %d", t->id, t->text.len, ADDED_TOKEN_MAX);
    uint8_t first = (uint8_t)t->text.data[0];
    if (a->root[first] < 0) a->root[first] = new_node(a, first);
    int32_t node = a->root[first];
    for (size_t i = 1; i < t->text.len; i++) {
        uint8_t byte = (uint8_t)t->text.data[i];
        int32_t c = find_child(a, node, byte);
        if (c < 0) {
            c = new_node(a, byte);
            a->nodes[c].sibling = a->nodes[node].child;
            a->nodes[node].child = c;
        }
        node = c;
    }
    Node *n = &a->nodes[node];
    n->id = t->id;
    n->control = t->control;
    n->single_word = t->single_word;
    n->lstrip = t->lstrip;
    n->rstrip = t->rstrip;
    return 0;
}

int added_tokens_add_vocab(AddedTokens *a, const Vocab *v, Err *err) {
    for (int32_t id = 0; id < vocab_size(v); id++) {
        int type = vocab_type(v, id);
        if (type != TOKEN_UNKNOWN && type != TOKEN_CONTROL && type != TOKEN_USER_DEFINED) continue;
        AddedToken t = {.text = vocab_text(v, id), .id = id, .control = type != TOKEN_USER_DEFINED};
        if (added_tokens_add(a, &t, err)) return -1;
    }
    return 0;
}

void added_tokens_hash(const AddedTokens *a, Fingerprint *f) {
    fingerprint_number(f, (int64_t)a->n_nodes);
    for (size_t i = 0; i < a->n_nodes; i++) {
        const Node *n = &a->nodes[i];
        uint64_t flags = n->byte | n->control << 8 | n->single_word << 9 | n->lstrip << 10 | n->rstrip << 11;
        fingerprint_number(f, (int64_t)((uint64_t)n->child << 32 | (uint32_t)n->sibling));
        fingerprint_number(f, (int64_t)((uint64_t)n->id << 32 | flags)); // id may be -1
    }
}

// ---- search ----

// The longest token that begins at `at`: its node, and its length in *n; -1 when there is none.
static int32_t longest_at(const AddedTokens *a, const TextView *v, size_t at, const AddedRule *rule, size_t *n) {
    int32_t best = -1, node = a->root[(uint8_t)v->text[at]];
    bool control = rule->control;
    for (size_t i = at; node >= 0; node = i < v->len ? find_child(a, node, (uint8_t)v->text[i]) : -1) {
        if (control && rule->origin && rule->origin[v->origin ? v->origin[i] : i] != 0) control = false;
        i++;
        const Node *here = &a->nodes[node];
        if (here->id >= 0 && (control || !here->control)) {
            best = node;
            *n = i - at;
        }
    }
    return best;
}

static bool is_word(int32_t c) {
#define OF(category) (1u << UTF8PROC_CATEGORY_##category)
    const unsigned words =
        OF(LU) | OF(LL) | OF(LT) | OF(LM) | OF(LO) | OF(MN) | OF(MC) | OF(ME) | OF(ND) | OF(NL) | OF(PC);
#undef OF
    return words >> utf8proc_category(c) & 1 || c == 0x200C || c == 0x200D || // joiners
           (c >= 0x24B6 && c <= 0x24E9) ||                                    // letters in circles and squares
           (c >= 0x1F130 && c <= 0x1F189 && c != 0x1F14A);
}

// The character that ends at `at`, its first byte in *begin; -1 at the beginning, or when it is no valid one.
static int32_t char_before(const TextView *v, size_t at, size_t *begin) {
    utf8proc_int32_t c;
    if (at == 0) return -1;
    size_t i = at - 1;
    while (i > 0 && at - i < 4 && ((uint8_t)v->text[i] & 0xC0) == 0x80) i--;
    *begin = i;
    return utf8proc_iterate((const utf8proc_uint8_t *)v->text + i, (utf8proc_ssize_t)(at - i), &c) > 0 ? c : -1;
}

static int32_t char_after(const TextView *v, size_t at, size_t *end) {
    utf8proc_int32_t c;
    if (at == v->len) return -1;
    utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)v->text + at, (utf8proc_ssize_t)(v->len - at), &c);
    *end = at + (n > 0 ? (size_t)n : 1);
    return n > 0 ? c : -1;
}

static bool inside_word(const TextView *v, const AddedMatch *m) {
    size_t unused;
    int32_t before = char_before(v, m->begin, &unused), after = char_after(v, m->end, &unused);
    return (before >= 0 && is_word(before)) || (after >= 0 && is_word(after));
}

static void take_space(const TextView *v, size_t from, const Node *node, AddedMatch *m) {
    size_t next;
    int32_t c;
    while (node->lstrip && m->begin > from && (c = char_before(v, m->begin, &next)) >= 0 && unicode_is_space(c) &&
           next >= from)
        m->begin = next;
    while (node->rstrip && (c = char_after(v, m->end, &next)) >= 0 && unicode_is_space(c)) m->end = next;
}

bool added_tokens_find(const AddedTokens *a, const TextView *v, size_t from, const AddedRule *rule, AddedMatch *m) {
    const uint8_t *text = (const uint8_t *)v->text;
    const size_t len = v->len;
    for (size_t at = from;; at++) {
        while (at < len && a->root[text[at]] < 0) at++;
        if (at >= len) return false;
        size_t n = 0;
        int32_t node = longest_at(a, v, at, rule, &n);
        if (node < 0) continue;
        const Node *found = &a->nodes[node];
        *m = (AddedMatch){.begin = at, .end = at + n, .id = found->id};
        if (found->single_word && inside_word(v, m)) {
            at += n - 1;
            continue;
        }
        take_space(v, from, found, m);
        return true;
    }
}

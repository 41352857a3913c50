// post_process: see post_process.h.
#include "post_process.h"

static int put(PostItem *items, int n, PostKind kind, int32_t id, int32_t type) {
    if (kind == POST_TOKEN && id < 0) return n;
    items[n] = (PostItem){kind, id, type};
    return n + 1;
}

static int put_text(PostItem *items, int n, PostKind kind, int32_t bos, int32_t eos, int32_t type) {
    n = put(items, n, POST_TOKEN, bos, type);
    n = put(items, n, kind, -1, type);
    return put(items, n, POST_TOKEN, eos, type);
}

void post_processor_default(PostProcessor *p, int32_t bos, int32_t eos) {
    p->n_single = put_text(p->single, 0, POST_TEXT_A, bos, eos, 0);
    p->n_pair = put_text(p->pair, 0, POST_TEXT_A, bos, eos, 0);
    p->n_pair = put_text(p->pair, p->n_pair, POST_TEXT_B, bos, eos, 1);
}

static void hash_items(const PostItem *items, int n, Fingerprint *f) {
    fingerprint_number(f, n);
    for (int i = 0; i < n; i++) {
        fingerprint_number(f, (int64_t)items[i].kind << 32 | (uint32_t)items[i].id);
        fingerprint_number(f, items[i].type);
    }
}

void post_processor_hash(const PostProcessor *p, Fingerprint *f) {
    hash_items(p->single, p->n_single, f);
    hash_items(p->pair, p->n_pair, f);
}

int32_t post_processor_edge(const PostProcessor *p, bool first) {
    int i = first ? 0 : p->n_single - 1;
    return p->n_single > 0 && p->single[i].kind == POST_TOKEN ? p->single[i].id : -1;
}

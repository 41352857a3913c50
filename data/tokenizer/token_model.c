// token_model: see token_model.h. The work space that the models share.
#include "token_model.h"

void token_work_clear(TokenWork *w) {
    mem_free(w->ids);
    mem_free(w->begin);
    mem_free(w->rank);
    mem_free(w->next);
    mem_free(w->previous);
    mem_free(w->score);
    mem_free(w->heap);
    str_clear(&w->spelled);
    *w = (TokenWork){0};
}

void token_work_reserve(TokenWork *w, size_t n) {
    if (n <= w->capacity) return;
    size_t capacity = mem_grown_capacity(w->capacity, n);
    w->ids = mem_realloc(w->ids, capacity, sizeof *w->ids);
    w->begin = mem_realloc(w->begin, capacity, sizeof *w->begin);
    w->rank = mem_realloc(w->rank, capacity, sizeof *w->rank);
    w->next = mem_realloc(w->next, capacity, sizeof *w->next);
    w->previous = mem_realloc(w->previous, capacity, sizeof *w->previous);
    w->capacity = capacity;
}

void token_work_reserve_scores(TokenWork *w) {
    if (w->score_capacity >= w->capacity) return;
    w->score_capacity = w->capacity;
    w->score = mem_realloc(w->score, w->capacity, sizeof *w->score);
}

bool token_work_add_bytes(TokenWork *w, const int32_t byte_token[256], const char *text, size_t at, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (byte_token[(uint8_t)text[at + i]] < 0) return false;
    for (size_t i = 0; i < n; i++) token_work_add(w, byte_token[(uint8_t)text[at + i]], at + i);
    return true;
}

void token_work_add_unknown(TokenWork *w, int32_t unknown, size_t at, size_t n, bool fuse) {
    *(unknown < 0 ? &w->left_out : &w->unknown) += n;
    if (unknown >= 0 && !fuse) token_work_add(w, unknown, at);
}

void token_heap_push(TokenWork *w, uint64_t entry) {
    MEM_GROW(w->heap, w->heap_capacity, w->n_heap + 1);
    size_t i = w->n_heap++;
    for (size_t up; i > 0 && w->heap[up = (i - 1) / 2] > entry; i = up) w->heap[i] = w->heap[up];
    w->heap[i] = entry;
}

uint64_t token_heap_pop(TokenWork *w) {
    uint64_t top = w->heap[0], last = w->heap[--w->n_heap];
    size_t i = 0;
    for (size_t down; (down = 2 * i + 1) < w->n_heap; i = down) {
        if (down + 1 < w->n_heap && w->heap[down + 1] < w->heap[down]) down++;
        if (w->heap[down] >= last) break;
        w->heap[i] = w->heap[down];
    }
    w->heap[i] = last;
    return top;
}

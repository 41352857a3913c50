// top_k_cpu: the largest logits of each row: a heap of their k largest keys gives the least that is taken, a second
// sweep takes them in order. Threads share whole rows.
#include "cpu.h"

static int32_t key_of(float x) { return isnan(x) ? INT32_MAX : cpu_order_key(x); }

// heap[0] is the least of n; sinks it.
static void sink(int32_t *heap, int64_t n) {
    int32_t key = heap[0];
    int64_t at = 0;
    for (int64_t child = 1; child < n; child = 2 * at + 1) {
        if (child + 1 < n && heap[child + 1] < heap[child]) child++;
        if (heap[child] >= key) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = key;
}

static void rise(int32_t *heap, int64_t at) {
    int32_t key = heap[at];
    for (; at > 0 && heap[(at - 1) / 2] > key; at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
    heap[at] = key;
}

static void row_top_k(int32_t *ids, float *values, const float *x, int64_t n, int64_t k) {
    int32_t *heap = ids, least; // ids are written when the heap is done
    int64_t ties = k, taken = 0;
    for (int64_t i = 0; i < k; i++) {
        heap[i] = key_of(x[i]);
        rise(heap, i);
    }
    for (int64_t i = k; i < n; i++) {
        int32_t key = key_of(x[i]);
        if (key <= heap[0]) continue;
        heap[0] = key;
        sink(heap, k);
    }
    least = heap[0];
    for (int64_t i = 0; i < k; i++) ties -= heap[i] > least;
    for (int64_t i = 0; i < n && taken < k; i++) {
        int32_t key = key_of(x[i]);
        if (key < least || (key == least && ties-- <= 0)) continue;
        ids[taken] = (int32_t)i;
        values[taken++] = x[i];
    }
}

void CPU_FN(top_k)(Backend *b, int32_t *ids, float *values, Mat logits, int64_t n, int64_t k) {
    CHECK_SHAPE(logits, logits.rows, logits.cols);
    CHECK(k > 0 && k <= n && n <= logits.cols, "%ld of %ld of %ld logits", k, n, logits.cols);
#pragma omp parallel for schedule(static) num_threads(cpu_threads(b, logits.rows *n))
    for (int64_t m = 0; m < logits.rows; m++) row_top_k(ids + m * k, values + m * k, f32_row(logits, m), n, k);
}

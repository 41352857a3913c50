#include "sizes.h"

#include "preference_math.h"

enum {
    WORKSPACE_MB = 32, // what NVIDIA recommends for cuBLASLt; Hopper and later: twice as much
    EXPANDED_MB = 64,
    RECORDED_MB = 512,
    CHUNK_ROWS = 128,
    CHUNK_TILES = 4,
    CUDNN_MB = 512, // on devices of less than 32 GiB
    CUDNN_PART = 32,
    LOGITS_STRIDE = 64, // rows of logits begin at multiples of 16 bytes, whatever the vocabulary
};

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

// 1/32 of the largest power of two that the memory holds, so that it is the same for the memory of a data sheet and for
// what the driver reports: 2 GiB of 80 GB, 4 GiB of 141 to 192 GB.
static size_t cudnn_bytes(size_t memory) {
    size_t power = 1;
    while (power <= memory / 2) power *= 2;
    return larger((size_t)CUDNN_MB << 20, power / CUDNN_PART);
}

// At most 1/256 of the device's memory each, recorded passes 1/64, but for cuDNN.
CudaScratch cuda_scratch(int capability, size_t memory) {
    int64_t most = (int64_t)(memory / 256), workspace = (int64_t)WORKSPACE_MB << (capability >= 90 ? 21 : 20);
    return (CudaScratch){.workspace_bytes = cuda_align((size_t)min64(workspace, most)),
                         .expanded_bytes = cuda_align((size_t)min64((int64_t)EXPANDED_MB << 20, most)),
                         .recorded_bytes = (size_t)min64((int64_t)RECORDED_MB << 20, 4 * most),
                         .cudnn_bytes = cudnn_bytes(memory),
                         .capability = capability};
}

// ---- placed weights ----

size_t cuda_row_bytes(const Weight *w, DType type) {
    size_t bytes;
    CHECK(dtype_bytes(type, (size_t)w->cols, &bytes), "%s: %ld columns are not whole blocks of %s", w->name, w->cols,
          dtype_info(type)->name);
    return bytes;
}

bool cuda_fp8_fits(const Weight *w) {
    bool dense = w->rows % 16 == 0 && w->cols % 16 == 0;
    for (int i = 0; i < w->n_segments; i++) dense = dense && cuda_is_dense(w->segments[i].dtype);
    return dense;
}

static void list_parts(PlacedWeight *l, const Weight *w, DType dense) {
    int64_t rows = 0;
    for (int i = 0; i < w->n_segments; i++) {
        const WeightSegment *s = &w->segments[i];
        PlacedPart *part = l->n ? &l->part[l->n - 1] : NULL;
        if (!part || !cuda_is_dense(s->dtype) || !cuda_is_dense(w->segments[part->first].dtype)) {
            part = &l->part[l->n++];
            part->type = cuda_is_dense(s->dtype) ? dense : s->dtype;
            part->first = i;
        }
        part->last = i;
        part->rows += s->rows;
        rows += s->rows;
    }
    CHECK(rows == w->rows, "the segments of %s hold %ld of its %ld rows", w->name, rows, w->rows);
}

// A part of such a type is one segment.
static void add_groups(PlacedWeight *l, PlacedPart *part, const DTypeGroups *g, int64_t cols) {
    size_t n = (size_t)(part->rows * g->n);
    l->bytes += cuda_align(n * sizeof *g->scale);
    part->zero = l->bytes;
    if (g->zero) l->bytes += cuda_align(n * sizeof *g->zero);
    part->of_column = l->bytes;
    if (g->of_column) l->bytes += cuda_align((size_t)cols * sizeof *g->of_column);
}

PlacedWeight cuda_placed(DType activation, const Weight *w, bool fp8) {
    PlacedWeight l = {0};
    list_parts(&l, w, fp8 && cuda_fp8_fits(w) ? DTYPE_F8_E4M3 : activation);
    for (PlacedPart *part = l.part; part < l.part + l.n; part++) {
        part->data = l.bytes;
        part->bytes = (size_t)part->rows * cuda_row_bytes(w, part->type);
        if (part->type == DTYPE_F8_E4M3) part->bytes *= 2; // and the transpose
        part->scale = part->data + cuda_align(part->bytes);
        l.bytes = part->scale;
        if (part->type == DTYPE_NF4) l.bytes += cuda_align((size_t)part->rows * sizeof(float));
        if (part->type == DTYPE_F8_E4M3) l.bytes += cuda_align(sizeof(float));
        if (dtype_is_grouped(part->type)) add_groups(&l, part, &w->segments[part->first].groups, w->cols);
    }
    l.bias = l.bytes;
    if (w->bias) l.bytes += cuda_align((size_t)w->rows * sizeof(float));
    return l;
}

size_t cuda_weight_bytes(Backend *b, const Weight *w, bool fp8) { return cuda_placed(b->activation, w, fp8).bytes; }

// ---- products ----

size_t cuda_fp8_workspace(const Weight *w, int64_t t) {
    if (w->segments[0].dtype != DTYPE_F8_E4M3) return 0;
    return cuda_align(sizeof(float)) + cuda_align((size_t)(t * (w->rows > w->cols ? w->rows : w->cols)));
}

size_t cuda_weight_keep(Backend *b, Weight *w, void *memory, void *ws) { return 0; }

// The bias in the type of the result.
size_t cuda_linear_workspace(Backend *b, const Weight *w, int64_t t) {
    size_t bias = w->bias && b->activation != DTYPE_F32 ? cuda_align((size_t)w->rows * cuda_element(b->activation)) : 0;
    return bias + cuda_fp8_workspace(w, t);
}

static size_t next_part(size_t *bytes, int64_t elements, size_t size) {
    size_t at = *bytes;
    *bytes += cuda_align((size_t)elements * size);
    return at;
}

LoraSizes cuda_lora_sizes(DType activation, const Lora *l, int64_t t, int64_t k) {
    size_t size = cuda_element(activation);
    int64_t ranks = lora_ranks(l);
    bool rounded = activation != DTYPE_F32, drops = false;
    int plain = 0; // pairs without dropout
    for (int i = 0; i <= l->more; i++) drops |= l[i].dropout != 0, plain += l[i].dropout == 0;
    LoraSizes p = {0};
    if (l->experts) { // all pairs as they are
        p.a = next_part(&p.bytes, rounded ? l->experts->experts * l->rank * (k + l->rows) : 0, size);
        p.dxa = next_part(&p.bytes, t * l->rank, size);
        return p;
    }
    p.a = next_part(&p.bytes, rounded || l->more ? ranks * k : 0, size);
    for (int i = 0; i <= l->more; i++) p.b[i] = next_part(&p.bytes, rounded ? l[i].rows * l[i].rank : 0, size);
    p.dxa = next_part(&p.bytes, t * ranks, size);
    p.da = next_part(&p.bytes, plain > 1 ? ranks * k : 0, sizeof(float));
    p.dropped = next_part(&p.bytes, drops ? t * k : 0, size);
    return p;
}

size_t cuda_lora_workspace(Backend *b, const Lora *l, int64_t t, int64_t k) {
    return cuda_lora_sizes(b->activation, l, t, k).bytes;
}

int64_t cuda_dora_panel(const Weight *w) {
    enum { ELEMENTS = 4 << 20, LEAST = 8 };
    return min64(w->rows, max64(LEAST, ELEMENTS / w->cols));
}

size_t cuda_dora_workspace(Backend *b, const Weight *w) {
    return (size_t)(cuda_dora_panel(w) * w->cols) * sizeof(float);
}

size_t cuda_grouped_linear_workspace(Backend *b, const Weight *experts, const MoePlan *plan) { return 0; }

// ---- heads ----

bool cuda_head_in_tiles(const Weight *w) {
    for (int i = 0; i < w->n_segments; i++)
        if (!cuda_is_dense(w->segments[i].dtype) && w->segments[i].dtype != DTYPE_F8_E4M3) return true;
    return false;
}

// As many as fit into four tiles of weights (256 MiB; less on a small device), in multiples of CHUNK_ROWS, and the
// chunks about even.
static int64_t chunk_rows(Backend *b, int64_t stride, DType type, int64_t m) {
    int64_t room = CHUNK_TILES * (int64_t)((const CudaScratch *)b->state)->expanded_bytes;
    int64_t most = room / (stride * (int64_t)cuda_element(type)) / CHUNK_ROWS * CHUNK_ROWS;
    if (most < CHUNK_ROWS) most = CHUNK_ROWS;
    if (m <= most) return m;
    return ceil_div(ceil_div(m, ceil_div(m, most)), CHUNK_ROWS) * CHUNK_ROWS;
}

HeadSizes cuda_head_sizes(Backend *b, const Weight *w, const HeadLoss *h, DType type, int64_t m) {
    HeadSizes l = {.stride = ceil_div(w->rows, LOGITS_STRIDE) * LOGITS_STRIDE};
    l.chunk = chunk_rows(b, l.stride, type, m);
    l.rows = cuda_align((size_t)m * sizeof(RowLoss));
    l.logits = cuda_align((size_t)(l.chunk * l.stride) * cuda_element(type));
    l.kept = cuda_align((size_t)(l.chunk * h->soft.k) * sizeof(float));
    size_t sums = cuda_head_in_tiles(w) ? (size_t)(l.chunk * w->cols) * sizeof(float) : 0;
    l.products = larger(cuda_linear_workspace(b, w, l.chunk), sums);
    return l;
}

static size_t head_bytes(HeadSizes l) { return l.rows + l.logits + l.kept + l.products; }

size_t cuda_head_loss_workspace(Backend *b, const Weight *w, const HeadLoss *h, int64_t m) {
    size_t training = head_bytes(cuda_head_sizes(b, w, h, b->activation, m));
    return larger(training, head_bytes(cuda_head_sizes(b, w, h, DTYPE_F32, m))); // evaluation has float32 logits
}

size_t cuda_class_loss_workspace(Backend *b, const ClassHead *h, int64_t m) {
    return cuda_align((size_t)(m * h->classes) * sizeof(float)) + (size_t)m * sizeof(RowLoss);
}

size_t cuda_preference_loss_workspace(Backend *b, const PreferenceLoss *p) {
    return (size_t)p->sequences * sizeof(PreferenceTerms);
}

size_t cuda_embedding_loss_workspace(Backend *b, const EmbeddingLoss *l, int64_t n) {
    return embedding_work_bytes(l, n);
}

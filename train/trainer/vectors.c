#include "vectors.h"

#include <stdlib.h>
#include <string.h>

struct Vectors {
    Backend *b;
    const VectorLoss *l;
    int64_t cols, batch_rows, most_rows, most_records, most_vectors;
    float *table, *gradient; // device [most_vectors, cols]; the table padded to whole int64_t
    void *ws;
    size_t ws_bytes;
    int32_t *start; // device: for each part of the batch its records' first vectors, counted from the part's first, and
                    // their number
    float *score, *similarity; // device [most_records]
    HeadResult *result;        // device
    // host:
    int32_t *starts;     // [most_records + most_rows] as `start`
    float *scores;       // [most_records]
    int64_t *row_vector; // [rows + 1] first vector of each row of the batch
    int64_t *row_record; // [rows + 1]
    int64_t rows;        // of the batch; 0: none yet
};

VectorLoss vector_loss_of(const Config *c, bool normalize) {
    static const EmbeddingKind kinds[] = {
        [LOSS_RANKING] = EMBEDDING_RANKING, [LOSS_COSINE] = EMBEDDING_COSINE, [LOSS_COSENT] = EMBEDDING_COSENT};
    // Of unit vectors both similarities are the same; MatryoshkaLoss scales the first columns to length 1.
    bool cosine = c->similarity_fct == SIMILARITY_COSINE || normalize || c->matryoshka_dims.count;
    return (VectorLoss){.loss = {.kind = kinds[c->embedding_loss], .cosine = cosine, .scale = (float)c->scale},
                        .dims = c->matryoshka_dims,
                        .weights = c->matryoshka_weights,
                        .rows = c->contrastive_batch_size};
}

int vector_loss_check(const VectorLoss *l, int64_t cols, Err *err) {
    for (size_t i = 0; i < l->dims.count; i++)
        if (l->dims.items[i] > cols)
            return err_input(err, "matryoshka_dims: %ld; expected at most %ld, the length of the model's vectors",
                             l->dims.items[i], cols);
    return 0;
}

// ---- memory ----

static int descending(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

static int64_t records_of(const RowPlan *p, int64_t row) { return p->start[row + 1] - p->start[row]; }
static int64_t vectors_of(const RowPlan *p, int64_t row) { return row_plan_row(p, row).samples; }

// The largest sum over any n rows.
static int64_t largest_sum(const RowPlan *p, int64_t n, int64_t (*of)(const RowPlan *p, int64_t row)) {
    AUTO_FREE int64_t *counts = mem_alloc((size_t)p->count + 1, sizeof *counts);
    int64_t sum = 0;
    for (int64_t i = 0; i < p->count; i++) counts[i] = of(p, i);
    qsort(counts, (size_t)p->count, sizeof *counts, descending);
    for (int64_t i = 0; i < n && i < p->count; i++) sum += counts[i];
    return sum;
}

int vector_loss_check_batch(const VectorLoss *l, const RowPlan *p, int64_t rows, Err *err) {
    int64_t part = l->rows ? l->rows : rows;
    bool ranking = l->loss.kind == EMBEDDING_RANKING, alone = largest_sum(p, part, records_of) < 2;
    if (l->loss.kind == EMBEDDING_COSINE || !alone || (ranking && largest_sum(p, part, vectors_of) > 2)) return 0;
    return err_input(err,
                     "task embedding: batches of one record%s, which is compared with nothing; expected "
                     "%s of at least 2%s",
                     ranking ? " without negatives" : "",
                     l->rows ? "contrastive_batch_size" : "per_device_train_batch_size or gradient_accumulation_steps",
                     ranking ? ", or records with negatives" : "");
}

static void measure(Vectors *v, const RowPlan *const plans[2], int64_t rows) {
    int64_t part = v->l->rows ? v->l->rows : rows;
    for (int i = 0; i < 2; i++) {
        if (!plans[i] || !plans[i]->count) continue;
        v->most_rows = max64(v->most_rows, min64(rows, plans[i]->count));
        v->most_records = max64(v->most_records, largest_sum(plans[i], rows, records_of));
        v->most_vectors = max64(v->most_vectors, largest_sum(plans[i], rows, vectors_of));
        EmbeddingLoss most = v->l->loss;
        most.records = largest_sum(plans[i], part, records_of);
        most.dims = v->cols;
        size_t bytes = v->b->k->embedding_loss_workspace(v->b, &most, largest_sum(plans[i], part, vectors_of));
        if (bytes > v->ws_bytes) v->ws_bytes = bytes;
    }
}

static size_t table_bytes(const Vectors *v) { return (size_t)(v->most_vectors * v->cols + 1) / 2 * sizeof(int64_t); }
static size_t starts_count(const Vectors *v) { return (size_t)(v->most_records + v->most_rows); }

size_t vectors_bytes(const Vectors *v) {
    if (!v) return 0;
    return 2 * table_bytes(v) + v->ws_bytes + starts_count(v) * sizeof *v->start +
           (size_t)v->most_records * (sizeof *v->score + sizeof *v->similarity) + sizeof *v->result;
}

Vectors *vectors_new(Backend *b, const VectorLoss *l, const RowPlan *const plans[2], int64_t rows, int64_t cols) {
    Vectors *v = mem_calloc(1, sizeof *v);
    v->b = b;
    v->l = l;
    v->cols = cols;
    v->batch_rows = rows;
    measure(v, plans, rows);
    v->table = b->k->alloc(b, table_bytes(v));
    v->gradient = b->k->alloc(b, table_bytes(v));
    v->ws = b->k->alloc(b, v->ws_bytes);
    v->start = b->k->alloc(b, starts_count(v) * sizeof *v->start);
    v->score = b->k->alloc(b, (size_t)v->most_records * sizeof *v->score);
    v->similarity = b->k->alloc(b, (size_t)v->most_records * sizeof *v->similarity);
    v->result = b->k->alloc(b, sizeof *v->result);
    v->starts = mem_calloc(starts_count(v), sizeof *v->starts);
    v->scores = mem_calloc((size_t)v->most_records, sizeof *v->scores);
    v->row_vector = mem_calloc((size_t)v->most_rows + 1, sizeof *v->row_vector);
    v->row_record = mem_calloc((size_t)v->most_rows + 1, sizeof *v->row_record);
    return v;
}

void vectors_free(Vectors *v) {
    if (!v) return;
    Backend *b = v->b;
    b->k->free(b, v->table, table_bytes(v));
    b->k->free(b, v->gradient, table_bytes(v));
    b->k->free(b, v->ws, v->ws_bytes);
    b->k->free(b, v->start, starts_count(v) * sizeof *v->start);
    b->k->free(b, v->score, (size_t)v->most_records * sizeof *v->score);
    b->k->free(b, v->similarity, (size_t)v->most_records * sizeof *v->similarity);
    b->k->free(b, v->result, sizeof *v->result);
    mem_free(v->starts);
    mem_free(v->scores);
    mem_free(v->row_vector);
    mem_free(v->row_record);
    mem_free(v);
}

int64_t vectors_rows(const Vectors *v) { return v->batch_rows; }

bool vectors_are_ranked(const Vectors *v) { return v->l->loss.kind == EMBEDDING_RANKING; }

// ---- a batch ----

static int64_t texts_of(const Sample *s) { return s->supervised_count + 1; }

// Rows [row, end) are compared with each other.
static int64_t part_end(const Vectors *v, int64_t row) {
    return v->l->rows ? min64(row + v->l->rows, v->rows) : v->rows;
}

static int64_t part_at(const Vectors *v, int64_t row) { return v->l->rows ? row / v->l->rows : 0; }

static void add_row(Vectors *v, const Dataset *d, const RowPlan *p, int64_t row, int64_t i) {
    int64_t part = part_at(v, i), begin = part ? v->row_vector[part * v->l->rows] : 0;
    int64_t vector = v->row_vector[i], record = v->row_record[i];
    for (uint32_t k = p->start[row]; k < p->start[row + 1]; k++, record++) {
        Sample s = dataset_sample(d, p->samples[k]);
        v->scores[record] = s.score;
        v->starts[record + part] = (int32_t)(vector - begin);
        vector += texts_of(&s);
        v->starts[record + part + 1] = (int32_t)(vector - begin);
    }
    v->row_vector[i + 1] = vector;
    v->row_record[i + 1] = record;
}

void vectors_begin(Vectors *v, const Dataset *d, const RowPlan *p, const int64_t *rows, int64_t count) {
    Backend *b = v->b;
    CHECK(count > 0 && count <= v->most_rows, "%ld rows of %ld", count, v->most_rows);
    v->rows = count;
    for (int64_t i = 0; i < count; i++) add_row(v, d, p, rows[i], i);
    int64_t records = v->row_record[count], starts = records + part_at(v, count - 1) + 1;
    CHECK(v->row_vector[count] <= v->most_vectors && records <= v->most_records, "%ld vectors", v->row_vector[count]);
    b->k->upload(b, v->start, v->starts, (size_t)starts * sizeof *v->starts);
    b->k->upload(b, v->score, v->scores, (size_t)records * sizeof *v->scores);
    b->k->zero(b, v->table, table_bytes(v));
    b->k->zero(b, v->gradient, table_bytes(v));
}

void vectors_put(Vectors *v, int64_t first, const float *from, int64_t n) {
    if (!v->rows) return;
    v->b->k->copy(v->b, v->table + v->row_vector[first] * v->cols, from, (size_t)(n * v->cols) * sizeof *from);
}

void vectors_gradient(const Vectors *v, int64_t first, float *to, int64_t n) {
    if (!v->rows) return;
    v->b->k->copy(v->b, to, v->gradient + v->row_vector[first] * v->cols, (size_t)(n * v->cols) * sizeof *to);
}

// Every vector is 0 on all ranks but one, so that the sum of its bits is exact.
void vectors_gather(Vectors *v) {
    v->b->k->all_reduce(v->b, (int64_t *)v->table, (v->row_vector[v->rows] * v->cols + 1) / 2);
}

float vectors_score(const Vectors *v, int64_t record) { return v->scores[record]; }

// ---- the loss ----

// Index of the most columns among dims.
static size_t longest(const IntList *dims) {
    size_t most = 0;
    for (size_t i = 1; i < dims->count; i++)
        if (dims->items[i] > dims->items[most]) most = i;
    return most;
}

// Of rows [row, end).
static void add_part(VectorSums *sums, Vectors *v, int64_t row, int64_t end, double grad_scale) {
    Backend *b = v->b;
    int64_t from = v->row_vector[row], n = v->row_vector[end] - from, record = v->row_record[row];
    Mat e = mat_of(v->table + from * v->cols, DTYPE_F32, n, v->cols), de = e;
    EmbeddingLoss l = v->l->loss;
    de.data = grad_scale != 0 ? v->gradient + from * v->cols : NULL;
    l.records = v->row_record[end] - record;
    l.start = v->start + record + part_at(v, row);
    l.score = v->score + record;
    l.grad_scale = (float)grad_scale;
    size_t count = v->l->dims.count, whole = longest(&v->l->dims);
    for (size_t i = 0; i < count || i == 0; i++) {
        HeadResult r;
        l.dims = count ? v->l->dims.items[i] : v->cols;
        l.weight = v->l->weights.count ? (float)v->l->weights.items[i] : 1;
        b->k->embedding_loss(b, v->result, i == whole ? v->similarity + record : NULL, de, e, &l, v->ws);
        b->k->download(b, &r, v->result, sizeof r);
        sums->loss += r.loss;
        if (i == whole) sums->correct += r.correct;
    }
}

VectorSums vectors_loss(Vectors *v, double grad_scale, float *similarity) {
    VectorSums sums = {.records = v->row_record[v->rows]};
    for (int64_t row = 0, end; row < v->rows; row = end)
        add_part(&sums, v, row, end = part_end(v, row), grad_scale / (double)sums.records);
    if (similarity) v->b->k->download(v->b, similarity, v->similarity, (size_t)sums.records * sizeof *similarity);
    return sums;
}

// Bytes as a file of a teacher's logits (teacher_logits.h), for four samples of ids and labels; what is read is asked
// for as soft targets.
#include "dataset.h"
#include "fuzz.h"
#include "rows.h"
#include "teacher_logits.h"
#include "tiny_model.h"
#include "tokenizer_files.h"

enum { VOCAB = 16 };

// make_corpus.py has the hashes of these.
static const char records[] = "{\"input_ids\":[1,2,3],\"labels\":[-100,2,3]}\n"
                              "{\"input_ids\":[4,5],\"labels\":[-100,5]}\n";

typedef struct Bench {
    Gguf *file;
    Tokenizer *tokenizer;
    Dataset *data;
    RowPlan *plan;
} Bench;

static Bench bench; // kept for the whole process

static void close_bench(void) {
    row_plan_free(bench.plan);
    dataset_close(bench.data);
    tokenizer_free(bench.tokenizer);
    gguf_close(bench.file);
}

static void open_bench(void) {
    TinyModel tiny = TINY_MODEL;
    AUTO_FREE char *model = path_join(fuzz_folder(), "tiny.gguf");
    AUTO_FREE char *path = fuzz_put("x.jsonl", records, strlen(records));
    const char *files[] = {path};
    Err err;
    tiny.vocab_only = true;
    tiny_model_write(model, &tiny);
    CHECK(gguf_open(&bench.file, model, &err) == 0, "%s", err.msg);
    CHECK(tokenizer_from_gguf(&bench.tokenizer, bench.file, &err) == 0, "%s", err.msg);
    DatasetOptions o = {.files = files, .n_files = 1, .max_seq_length = 8};
    CHECK(dataset_open(&bench.data, &o, bench.tokenizer, NULL, &err) == 0, "%s", err.msg);
    bench.plan = row_plan_new(bench.data, NULL, bench.data->count, 8, true);
    atexit(close_bench);
}

static void check_targets(const TeacherLogits *t) {
    int64_t k = teacher_logits_k(t), row = 0, scored = row_plan_scored(bench.data, bench.plan, row, 0);
    AUTO_FREE int32_t *ids = mem_alloc((size_t)(scored * k), sizeof *ids);
    AUTO_FREE float *values = mem_alloc((size_t)(scored * k), sizeof *values);
    teacher_logits_fill(t, bench.data, bench.plan, &row, 1, ids, values);
    for (int64_t i = 0; i < scored * k; i++) {
        CHECK(ids[i] >= -1 && ids[i] < VOCAB && values[i] - values[i] == 0);
        CHECK(i % k == 0 || ids[i] < 0 || ids[i] > ids[i - 1]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!bench.plan) open_bench();
    AUTO_FREE char *path = fuzz_put("x.safetensors", data, size);
    TeacherLogits *t;
    Err err;
    if (teacher_logits_open(&t, path, VOCAB, &err)) return 0;
    CHECK(teacher_logits_k(t) <= VOCAB && strlen(teacher_logits_hash(t)) == 32);
    if (teacher_logits_check(t, bench.data, bench.plan, &err) == 0) check_targets(t);
    teacher_logits_close(t);
    return 0;
}

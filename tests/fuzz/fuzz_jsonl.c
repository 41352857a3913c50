// Bytes as a data file: read, rendered, tokenised, masked, audited, as text, as classification, preference and
// embedding data and for masked language modelling; of the last three also as rows. What kind of file is told by its
// first bytes, as its writer would have named it: .jsonl, .jsonl.gz, .jsonl.zst or a .tar shard.
#include "audit.h"
#include "dataset.h"
#include "fuzz.h"
#include "path.h"
#include "rows.h"
#include "tiny_model.h"
#include "tokenizer_files.h"

typedef struct Bench {
    Gguf *file;
    Tokenizer *t;
    ChatTemplate *chat;
    char *cache;
} Bench;

static Bench make_bench(void) {
    Bench b = {.cache = path_join(fuzz_folder(), "cache")};
    TinyModel tiny = TINY_MODEL;
    char *path = path_join(fuzz_folder(), "tiny.gguf");
    Err err;
    tiny.vocab_only = true;
    tiny_model_write(path, &tiny);
    CHECK(gguf_open(&b.file, path, &err) == 0, "%s", err.msg);
    CHECK(tokenizer_from_gguf(&b.t, b.file, &err) == 0, "%s", err.msg);
    CHECK(chat_template_new(&b.chat, b.t, NULL, &err) == 0, "%s", err.msg);
    b.t->mask = b.t->eos;
    mem_free(path);
    return b;
}

typedef struct Task {
    bool classification;
    PreferenceData preference;
    EmbeddingData embedding;
    bool mlm, words;
} Task;

static void check_sample(const Bench *b, const Dataset *d, Sample s, int64_t max) {
    int64_t first = d->preference ? s.second : s.count;
    CHECK(d->embedding || first <= max);
    CHECK(d->embedding || s.count - first <= max);
    CHECK(s.supervised_count <= s.count);
    for (int64_t k = 0; k < s.count; k++) CHECK(s.ids[k] >= 0 && s.ids[k] < b->t->vocab_size);
}

static void fill_rows(const Dataset *d, int64_t max) {
    RowPlan *p = row_plan_new(d, NULL, d->count, row_max_tokens(d, max), true);
    Row row = {0};
    for (int64_t r = 0; r < p->count; r++) {
        row_fill_several(&row, d, p, &r, 1, 0);
        CHECK(row.samples == row_plan_row(p, r).samples && row.scored == row_plan_scored(d, p, r, 0));
        for (int64_t i = 0; i < row.scored && d->masked; i++)
            CHECK(row.position[i] < row.tokens && (i == 0 || row.position[i - 1] < row.position[i]));
        if (d->preference == PREFERENCE_LABELS) row_fill_mismatched(&row, d, p, &r, 1);
        CHECK(!d->masked || row.scored > 0);
        if (d->preference) CHECK(row_plan_chosen(d, p, r) <= row_plan_row(p, r).supervised);
        for (int64_t i = 0; i < row.samples; i++) CHECK(row.start[i + 1] - row.start[i] <= max);
    }
    row_clear(&row);
    row_plan_free(p);
}

static void read_data(const Bench *b, const char *path, Task task) {
    DatasetOptions o = {.files = &path,
                        .n_files = 1,
                        .max_seq_length = 64,
                        .truncation = TRUNCATION_TRUNCATE,
                        .classification = task.classification,
                        .preference = task.preference,
                        .embedding = task.embedding,
                        .pooling = POOLING_MEAN,
                        .learn_chosen_prompt = true,
                        .kl_group = 2,
                        .mlm = {.probability = task.mlm ? 0.3f : 0, .replaced = 0.5f, .random = 0.4f},
                        .cache_dir = b->cache};
    Dataset *d;
    Err err;
    o.mlm.words = task.words;
    if (dataset_open(&d, &o, b->t, b->chat, &err) == 0) {
        for (int64_t i = 0; i < d->count; i++) check_sample(b, d, dataset_sample(d, i), o.max_seq_length);
        if (d->preference || d->embedding || d->masked) fill_rows(d, o.max_seq_length);
        dataset_close(d);
    }
    dir_remove(b->cache, &err);
}

static void audit_data(const char *path, Task task) {
    Err err;
    Audit *a = audit_new(&(AuditOptions){.has_template = true,
                                         .classification = task.classification,
                                         .preference = task.preference,
                                         .embedding = task.embedding,
                                         .any_task = true});
    audit_read(a, AUDIT_TRAIN, path, NULL, &err);
    audit_read(a, AUDIT_VALIDATION, path, NULL, &err);
    audit_compare(a);
    const AuditCounts *t = audit_counts(a, AUDIT_TRAIN), *v = audit_counts(a, AUDIT_VALIDATION);
    CHECK(t->records == v->records && v->leaked.count + v->refused.count == v->records); // both are the same data
    audit_free(a);
}

static const char *file_name(const uint8_t *data, size_t size) {
    if (size >= 2 && memcmp(data, "\x1F\x8B", 2) == 0) return "x.jsonl.gz";
    if (size >= 4 && memcmp(data, "\x28\xB5\x2F\xFD", 4) == 0) return "x.jsonl.zst";
    if (size >= 262 && memcmp(data + 257, "ustar", 5) == 0) return "x.tar";
    return "x.jsonl";
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static Bench b; // kept for the whole process
    if (!b.t) b = make_bench();
    char *path = fuzz_put(file_name(data, size), data, size);
    static const Task tasks[] = {{0},
                                 {.classification = true},
                                 {.preference = PREFERENCE_PAIRS},
                                 {.preference = PREFERENCE_LABELS},
                                 {.embedding = EMBEDDING_RANKED},
                                 {.embedding = EMBEDDING_COSINES},
                                 {.mlm = true},
                                 {.mlm = true, .words = true}};
    for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++) {
        read_data(&b, path, tasks[i]);
        audit_data(path, tasks[i]);
    }
    mem_free(path);
    return 0;
}

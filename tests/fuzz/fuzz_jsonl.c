// Bytes as a data file: read, rendered, tokenised, masked, audited, as text and as classification data. What kind of
// file is told by its first bytes, as its writer would have named it: .jsonl, .jsonl.gz, .jsonl.zst or a .tar shard.
#include "audit.h"
#include "dataset.h"
#include "fuzz.h"
#include "path.h"
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
    mem_free(path);
    return b;
}

static void read_data(const Bench *b, const char *path, bool classification) {
    DatasetOptions o = {.files = &path,
                        .n_files = 1,
                        .max_seq_length = 64,
                        .truncation = TRUNCATION_TRUNCATE,
                        .classification = classification,
                        .cache_dir = b->cache};
    Dataset *d;
    Err err;
    if (dataset_open(&d, &o, b->t, b->chat, &err) == 0) {
        for (int64_t i = 0; i < d->count; i++) {
            Sample s = dataset_sample(d, i);
            CHECK(s.count <= o.max_seq_length && s.supervised_count <= s.count);
            for (int64_t k = 0; k < s.count; k++) CHECK(s.ids[k] >= 0 && s.ids[k] < b->t->vocab_size);
        }
        dataset_close(d);
    }
    dir_remove(b->cache, &err);
}

static void audit_data(const char *path, bool classification) {
    Err err;
    Audit *a = audit_new(&(AuditOptions){.has_template = true, .classification = classification});
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
    read_data(&b, path, false);
    read_data(&b, path, true);
    audit_data(path, false);
    audit_data(path, true);
    mem_free(path);
    return 0;
}

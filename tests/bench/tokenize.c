// bench tokenize: megabytes of text a second through a model's tokenizer, on one thread, and what its load takes. The
// text is the tests' corpus (all scripts, hard) or English.
// usage: bench_tokenize TEXT MODEL...   (MODEL: a .gguf file or a folder with tokenizer.json)
#include "bench.h"
#include "fileio.h"
#include "model.h"

typedef struct Job {
    const Tokenizer *t;
    const char *text;
    size_t len, ids;
} Job;

static void run_encode(void *arg) {
    Job *j = arg;
    TokenIds ids = {0};
    tokenizer_encode(j->t, j->text, j->len, NULL, true, &ids);
    j->ids = ids.count;
    token_ids_clear(&ids);
}

static int bench_model(const char *path, const char *text, size_t len, Err *err) {
    Tokenizer *t;
    double start = time_now();
    if (model_load_tokenizer(&t, path, err) != 0) return -1;
    double load = time_now() - start;
    Job j = {.t = t, .text = text, .len = len};
    double seconds = bench_seconds(run_encode, &j, 2);
    printf("%7.2f MB/s  %.2f bytes a token  load %.3f s  %s %s\n", (double)len / seconds / 1e6,
           (double)len / (double)j.ids, load, t->kind, path);
    tokenizer_free(t);
    return 0;
}

int main(int argc, char **argv) {
    char *text;
    size_t len;
    Err err;
    if (argc < 3) {
        fprintf(stderr, "usage: bench_tokenize TEXT MODEL...\n");
        return 2;
    }
    int rc = file_read(&text, &len, argv[1], 1 << 30, &err);
    for (int i = 2; i < argc && rc == 0; i++) rc = bench_model(argv[i], text, len, &err);
    if (rc != 0) fprintf(stderr, "bench_tokenize: %s\n", err.msg);
    return rc != 0;
}

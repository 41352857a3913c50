// dataset: opens a data set from its token cache, or else from its files.
//
// The cache's key (token_cache.h) covers all that decides the tokens: content of files, options, tokenizer, template.
#include "dataset.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "byte_stream.h"
#include "cache_dir.h"
#include "dataset_build.h"
#include "hash.h"
#include "records.h"
#include "token_format.h"

// ---- the key ----

// To be raised when the same files and options give other tokens than before.
enum { READER_VERSION = 6 };

static int add_file(StrBuf *what, const char *path, Err *err) {
    char hex[33];
    size_t unused;
    if (hash_file(hex, path, err)) return -1;
    str_printf(what, "file=%s %s%s\n", hex, records_kind(path),
               byte_stream_is_compressed(path, &unused) ? " compressed" : "");
    return 0;
}

static int make_key(char key[TOKEN_KEY_LEN + 1], const DatasetInput *in, Err *err) {
    const DatasetOptions *o = in->options;
    const Tokenizer *t = in->tokenizer;
    const char *source = in->chat ? chat_template_source(in->chat) : "";
    char template[33];
    hash_bytes(template, source, strlen(source));
    StrBuf what = {0};
    str_printf(&what, "reader=%d\nformat=%d\ntrain_on_inputs=%d\nmax_seq_length=%lld\ntruncation=%d\n", READER_VERSION,
               o->format, o->train_on_inputs, (long long)o->max_seq_length, o->truncation);
    str_printf(&what, "parse_special=%d\nunrendered=%d\n", o->parse_special, o->unrendered);
    str_printf(&what, "tokenizer=%s bos %d %d eos %d\ntemplate=%s\n", tokenizer_fingerprint(t), tokenizer_add_bos(t),
               tokenizer_bos(t), tokenizer_eos(t), template);
    if (o->classification) str_printf(&what, "classification, %zu labels given\n", o->labels ? o->labels->count : 0);
    for (size_t i = 0; o->classification && o->labels && i < o->labels->count; i++)
        str_add(&what, o->labels->names[i], strlen(o->labels->names[i]) + 1);
    int rc = 0;
    for (size_t i = 0; i < o->n_files && !rc; i++) rc = add_file(&what, o->files[i], err);
    if (!rc) hash_bytes(key, what.data, what.len);
    str_clear(&what);
    return rc;
}

// ---- opening ----

static int check_options(const DatasetOptions *o, Err *err) {
    if (!o->n_files) return err_input(err, "train_file: found no file; expected at least one");
    if (o->max_seq_length < 2 || o->max_seq_length > INT32_MAX)
        return err_input(err, "max_seq_length: found %lld; expected at least 2", (long long)o->max_seq_length);
    if (o->classification ? o->format != FORMAT_AUTO && o->format != FORMAT_CLASSIFICATION
                          : o->format == FORMAT_CLASSIFICATION)
        return err_input(err, "dataset_format: found \"%s\", but the task is %s", dataset_format_name(o->format),
                         o->classification ? "classification; expected \"auto\"" : "causal_lm");
    return 0;
}

// Files that changed while they were read: the cache mixes two states.
static int check_unchanged(const DatasetInput *in, const char *key, const char *file, Err *err) {
    char key_after[TOKEN_KEY_LEN + 1];
    if (make_key(key_after, in, err)) return -1;
    if (strcmp(key_after, key) == 0) return 0;
    if (file && remove(file) != 0 && errno != ENOENT)
        log_warn("%s: holds data that changed while it was read, and cannot be removed: %s", file, strerror(errno));
    return err_runtime(err, "%s: the data changed while it was being read", in->options->files[0]);
}

int dataset_open(Dataset **d, const DatasetOptions *o, const Tokenizer *t, const ChatTemplate *chat, Err *err) {
    DatasetInput in = {.options = o, .tokenizer = t, .chat = chat};
    char key[TOKEN_KEY_LEN + 1];
    *d = NULL;
    if (check_options(o, err) || make_key(key, &in, err)) return -1;
    char *file = cache_file(o->cache_dir, key);
    bool hit = file && token_image_open(d, file, key, tokenizer_vocab_size(t), NULL) == 0;
    int rc = hit ? 0 : dataset_build(d, &in, file, key, err);
    if (!rc && !hit) rc = check_unchanged(&in, key, file, err);
    if (file && hit) cache_touch(file);
    if (file && !hit && !rc) cache_trim(file, o->cache_limit ? o->cache_limit : CACHE_LIMIT);
    mem_free(file);
    if (rc) {
        dataset_close(*d);
        *d = NULL;
        return -1;
    }
    (*d)->score_first = o->score_first;
    (*d)->stats.from_cache = hit;
    return 0;
}

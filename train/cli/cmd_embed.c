// lorac embed MODEL_OR_RUN [FILE]: the vectors of texts, as .npy or JSON. Texts are lines of a file or of standard
// input, or records with a text.
#include <math.h>
#include <string.h>

#include "embedder.h"
#include "file_rule.h"
#include "json_pool.h"
#include "path.h"
#include "record_faults.h"
#include "run_data.h"
#include "run_folder.h"
#include "run_model.h"
#include "say.h"
#include "sentence_folder.h"
#include "text_source.h"
#include "vector_file.h"

typedef struct Options {
    LoadOptions load;
    char *out, *column, *prompt;
    Pooling pooling;
    NormalizeWord normalize;
    int64_t dims, batch_size, max_seq_length;
    bool with_text;
} Options;

static const Key options[] = {
    MODEL_OPTION,
    ADAPTER_OPTION,
    OPTION(PATH, out, .aliases = "o",
           .help = "A new file: .npy (float32, one row for each text) or .jsonl; without it JSON on standard output."),
    OPTION_CHOICE(pooling, POOLINGS, .standard = "\"auto\"",
                  .help = "The vector of a text; auto: as the run, else as the model's folder has it."),
    OPTION_CHOICE(normalize, NORMALIZATIONS, .standard = "\"auto\"",
                  .help = "Vectors are scaled; auto: as the run, else as the model's folder has it."),
    OPTION(INT, dims, .aliases = "truncate_dim", .max = 1 << 20,
           .help = "Only the first N numbers of each vector (Matryoshka), scaled afterwards; without it all."),
    OPTION(TEXT, prompt,
           .help = "Put before each text; without it the default prompt of the model's folder, if it has one."),
    OPTION(STRING, column, .standard = "\"text\"", .help = "Key of the text in records."),
    OPTION(INT, batch_size, .standard = "32", .min = 1, .max = 65536, .help = "Texts that are computed together."),
    OPTION(INT, max_seq_length, .aliases = "max_length", .max = INT32_MAX,
           .help = "Longer texts are cut to so many tokens and counted; without it the limit of the model's folder or "
                   "of the run."),
    OPTION(BOOL, with_text, .help = "Repeat the text in its line of JSON."),
    DEVICE_OPTIONS,
};

// ---- texts ----

typedef struct Reading {
    const Options *o;
    Embedder *embedder;
} Reading;

static int add_text(void *to, JsonStr text, Err *err) {
    return embedder_add(((Reading *)to)->embedder, text.data, text.len, err);
}

static int add_record(void *to, RecordSpan s, Err *err) {
    Reading *r = to;
    AUTO_JSON JsonDoc *doc = NULL;
    if (record_parse(&doc, s, err)) return -1;
    const Json *root = json_root(doc), *text = root->type == JSON_STRING ? root : json_get(root, r->o->column);
    int rc = text && json_is_text(text) ? embedder_add(r->embedder, text->str.data, text->str.len, err)
                                        : err_input(err, "found %s; expected a record with \"%s\", a text, or --column",
                                                    json_type_name(root), r->o->column);
    return rc ? err_context(err, "%s:%zu", s.name, s.line) : 0;
}

// ---- the model ----

// The config of the run, else one that names only the model.
typedef struct Source {
    Config own, *config;
    Loaded loaded;
    SentenceFolder folder;
    EmbedderOptions how;
} Source;

static void close_source(Source *s) {
    sentence_folder_clear(&s->folder);
    loaded_close(&s->loaded);
    config_clear(&s->own);
}

static int open_config(Source *s, const LoadOptions *load, Err *err) {
    AUTO_FREE char *word = mem_printf("--model_name_or_path=%s", load->model_name_or_path);
    s->config = &s->loaded.run;
    if (s->loaded.run.model_name_or_path) return 0;
    s->config = &s->own;
    return config_load(&s->own, 1, &word, CONFIG_FOR_BENCH, err);
}

static int open_model(Source *s, const LoadOptions *load, const Options *o, Err *err) {
    ModelOptions m;
    Config c = *s->config; // borrowed
    c.model_name_or_path = load->model_name_or_path;
    if (o->max_seq_length) c.max_seq_length = o->max_seq_length;
    if (o->max_seq_length) c.source[CONFIG_max_seq_length] = SOURCE_COMMAND_LINE;
    if (run_model_options(&m, &c, &s->how.limit, err)) return -1;
    m.embedder = m.classifier = true;
    if (loaded_open(&s->loaded, load, &m, err)) return -1;
    const Adapter *a = s->loaded.adapter;
    if (!a || !a->config.labels) return 0;
    return err_input(err, "%s: a classifier; expected an adapter of task embedding, or of a language model",
                     load->adapter_name_or_path);
}

static bool chosen(NormalizeWord option, NormalizeWord config, bool folder) {
    NormalizeWord word = option ? option : config;
    return word ? word == NORMALIZE_ON : folder;
}

static int choose_how(Source *s, const Options *o, Err *err) {
    const Model *m = s->loaded.model;
    const Config *c = s->config;
    EmbedderOptions *how = &s->how;
    if (sentence_folder_read(&s->folder, m, err) ||
        sentence_pooling(&how->pooling, o->pooling ? o->pooling : c->pooling, &s->folder, m, err))
        return -1;
    if (o->dims > m->config.hidden)
        return err_input(err, "--dims: found %ld; expected at most %ld, the length of the model's vectors", o->dims,
                         m->config.hidden);
    if (s->folder.max_tokens && !o->max_seq_length) how->limit = min64(how->limit, s->folder.max_tokens);
    how->model = m;
    how->adapter = s->loaded.adapter;
    how->normalize = chosen(o->normalize, c->normalize_embeddings, s->folder.normalize);
    how->dims = o->dims;
    how->batch = o->batch_size;
    how->parse_special = c->parse_special == PARSE_SPECIAL_ON;
    how->prompt = o->prompt ? o->prompt : s->folder.prompt;
    return 0;
}

static int open_source(Source *s, const Options *o, const char *name, Err *err) {
    LoadOptions load = o->load, given = o->load;
    // A model that is not a run.
    if (!given.model_name_or_path && !run_folder_is(name)) given.model_name_or_path = (char *)name;
    if (run_folder_names(&load, &s->loaded, &given, run_folder_is(name) ? name : NULL, err)) return -1;
    return open_config(s, &load, err) || open_model(s, &load, o, err) || choose_how(s, o, err) ? -1 : 0;
}

// ---- the whole ----

static int write_vector(void *file, const char *text, const float *vector, int64_t n, Err *err) {
    return vector_file_add(file, text, vector, err);
}

static int embed(VectorFile *file, const Source *s, const Options *o, const char *input, Err *err) {
    AUTO(embedder_free) Embedder *e = embedder_new(&s->how, write_vector, file);
    Reading r = {o, e};
    bool piped = !input || strcmp(input, "-") == 0;
    const TextSink sink = {&r, add_text, add_record};
    int rc = piped ? text_source_lines(&sink, stdin, "standard input", true, err) : text_source_file(&sink, input, err);
    if (!rc) rc = embedder_finish(e, err);
    if (!rc && embedder_cut(e))
        log_warn("%ld text%s longer than max_seq_length, %ld token%s, cut to that", embedder_cut(e),
                 plural(embedder_cut(e)), s->how.limit, plural(s->how.limit));
    return rc;
}

static void print_summary(const VectorFile *file, const Source *s, const Options *o) {
    const EmbedderOptions *how = &s->how;
    if (!o->out) return;
    int64_t n = vector_file_count(file), length = how->dims ? how->dims : s->loaded.model->config.hidden;
    say("%ld vector%s of %ld numbers (pooling %s%s) in %s\n", n, plural(n), length,
        ENUM_WORDS(POOLINGS)[how->pooling].word, how->normalize ? ", normalised" : "", o->out);
}

static int run_embed(const void *given, int argc, char **argv, Err *err) {
    const Options *o = given;
    AUTO_CALL(close_source) Source s = {0};
    VectorFile *file;
    bool named = o->load.model_name_or_path != NULL;
    if (argc < 1 && !named) return err_input(err, "embed: expected a model or the output_dir of a run");
    const char *name = named ? o->load.model_name_or_path : argv[0], *input = argc > !named ? argv[!named] : NULL;
    if (argc > 1 + !named) return err_input(err, "unexpected argument \"%s\"", argv[1 + !named]);
    if (o->out && path_exists(o->out))
        return err_input(err, "--out: %s exists; expected the name of a new file", o->out);
    if (open_source(&s, o, name, err)) return -1;
    int64_t length = o->dims ? o->dims : s.loaded.model->config.hidden;
    if (vector_file_open(&file, o->out, o->with_text, length, err)) return -1;
    int rc = embed(file, &s, o, input, err) || model_check_unchanged(s.loaded.model, err) ? -1 : 0;
    if (!rc) print_summary(file, &s, o);
    if (!rc) return vector_file_close(file, err);
    vector_file_abandon(file);
    return rc;
}

const Verb verb_embed = {
    .name = "embed",
    .usage = "lorac embed MODEL_OR_RUN [FILE] [--out F.npy] [--pooling P] [--normalize true] [--dims N]\n"
             "       lorac embed --model_name_or_path M [--adapter_name_or_path A] [FILE]",
    .summary = "Write the vectors of texts (sentence embeddings)",
    .help =
        "RUN is the output_dir of a run with task embedding: its adapter and its pooling are used. FILE has a text on\n"
        "each line (.txt), or records with a text (.jsonl, .csv, ...). Without FILE, or with -, standard input is "
        "read:\n"
        "a text on each line, or records if the first line begins with '{'. Vectors are in the order of the texts.\n"
        "Pooling, normalisation, the longest text and a default prompt are those of the model's folder, as\n"
        "sentence-transformers writes them. A vector depends on the other texts of its batch by rounding only.",
    .example = "lorac embed models/all-MiniLM-L6-v2 questions.txt --out questions.npy\n"
               "  echo \"where is my order?\" | lorac embed out/embeddings --dims 128",
    OPTIONS(options),
    .operand = "[MODEL_OR_RUN]",
    .operands = 2,
    .run = run_embed,
};

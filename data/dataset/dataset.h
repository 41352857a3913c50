// dataset: data files to tokenised samples with masks, kept in an on-disk token cache that is mapped, not loaded.
//
// Formats: record_format.h (their keys: dialog.h, record_tokenizer.h), detected from each file's first record. Files:
// records.h (.jsonl, .json, .txt, .csv, .tsv, .tar shards; .gz and .zst of these; .parquet). Text must be valid UTF-8
// (a BOM and CRLF line ends are accepted); the first bad record stops with "FILE:LINE: ...". No token is lost silently:
// each record enters exactly one of the counts below.
//
// Parts: dataset.c (opening, reading, as text), dataset_build.c (reading files), token_sink.c (writing the cache),
// token_image.c (checking it).
#pragma once

#include "base.h"
#include "chat.h"
#include "file_rule.h"
#include "key_notes.h"
#include "labels.h"
#include "mlm.h"
#include "record_format.h"
#include "tokenizer.h"

#define TRUNCATIONS(X)                                                                                                 \
    X(TRUNCATION_DROP, "drop", "leave them out, counted")                                                              \
    X(TRUNCATION_TRUNCATE, "truncate", "cut them, counted")                                                            \
    X(TRUNCATION_ERROR, "error", "stop")
typedef enum { TRUNCATIONS(ENUM_CONSTANT) } Truncation;

typedef struct DatasetOptions {
    const char *const *files;
    size_t n_files;
    DatasetFormat format;
    const FileRule *rules; // [n_files]; NULL: no file differs
    bool train_on_inputs;
    bool completion_only; // of prompt_completion records only the completion is learnt, whatever train_on_inputs says
    bool raw_pairs;       // prompts and completions that are strings are raw text, also where there is a template
    LearntTurns learnt;   // of conversations, without train_on_inputs
    ParseSpecial parse_special;
    Unrendered unrendered;
    int64_t max_seq_length;
    Truncation truncation;
    PreferenceData preference; // format must be auto or preference; not with train_on_inputs and learnt
    bool learn_chosen_prompt;  // PREFERENCE_PAIRS: the prompt of the chosen answer is learnt, too (ORPO)
    int64_t kl_group;          // PREFERENCE_LABELS: kept records in sequence whose answers are exchanged (kl_group.h)
    MlmRule mlm;               // probability above 0: masked language modelling; its tokens are dataset_open's own
    EmbeddingData embedding;   // format must be auto or embedding
    Pooling pooling;           // of embeddings: which positions are scored; not AUTO
    bool classification;       // records are text and label; format must be auto or classification
    Problem problem;           // classification; AUTO: by the first record
    const LabelList *labels;   // classification: the labels that may occur, in their order; NULL: found in the files
    const LabelList *named;    // classification: names of labels by number, of a model or of the user; NULL: none
    bool score_first;          // classification: a sample is scored at its first token (encoders), not at its last
    const char *cache_dir;     // NULL: $XDG_CACHE_HOME/lorac or ~/.cache/lorac; not writable: only a warning
    int64_t cache_limit;       // bytes of all token caches together (cache_dir.h); 0: 20 GiB
} DatasetOptions;

enum { DATASET_NAMED = 4 };
typedef struct DatasetStats {     // as a token cache stores them
    int64_t format;               // DatasetFormat; FORMAT_AUTO: files of several formats
    int64_t records;              // all that were read
    int64_t samples;              // kept; text gives several windows per record
    int64_t skipped_unsupervised; // without a supervised token (in the part that truncation leaves)
    int64_t dropped_long;         // longer than max_seq_length, truncation "drop"
    int64_t truncated;            // kept, but cut to max_seq_length, truncation "truncate"
    int64_t truncated_tokens;     // cut away by it
    int64_t dropped_tokens;       // in dropped records
    int64_t tokens;               // of the kept samples
    int64_t supervised;           // scored positions of the kept samples (never a sample's first token)
    int64_t left_out_bytes;       // of all records: characters without a token in the vocabulary
    int64_t longest;              // longest record (preference data: sequence) before the policy
    int64_t ignored_members;      // of .tar shards: members that are links, or neither .json, .txt nor .cls
    int64_t parsed_special;       // records whose text spells control tokens, read as tokens
    int64_t plain_special;        // records whose text spells control tokens, kept as text
    int64_t own_bos;              // records whose text begins with BOS, so that none was added
    int64_t cannot_stop;          // records with an answer that ends without a control token
    int64_t answers_cut;          // truncated samples that lost supervised tokens
    int64_t first_cut[DATASET_NAMED], first_dropped[DATASET_NAMED]; // the first such records, and the first longer than
                                                                    // max_seq_length, from 1; 0: none
} DatasetStats;

// Of preference data a sample is two sequences, one behind the other: prompt and chosen answer, prompt and rejected
// answer; with labels: prompt and answer, the prompt and another record's answer. Each has at most max_seq_length
// tokens and sees nothing of the other.
typedef struct Sample { // borrowed from the dataset
    const int32_t *ids;
    const uint8_t *supervised; // supervised[i]: token i is predicted (by position i - 1) and scored; LEARNT_PROMPT: as
                               // a prompt's (learn_chosen_prompt), else 1. The first token of a sequence has 0;
                               // classification: all 0; mlm: what may be hidden (MLM_BEGINS, MLM_CONTINUES)
    int64_t count;
    int64_t supervised_count; // classification: 1, the label
    int64_t record;           // 0-based record number over all files
    int32_t label;            // single label: index into Dataset.labels; -1: none
    const int32_t *labels; // multi-label: [n_labels] numbers of its labels, see dataset_label; of tokens: those of its
                           // supervised tokens, which are scored where they are
    const float *values;   // regression: [n_labels]
    int64_t n_labels;
    PreferenceData preference;
    bool desirable;          // PREFERENCE_LABELS: the verdict on the answer
    EmbeddingData embedding; // its texts are sequences, of which supervised marks the first token, but for the first
    float score;             // of two texts
    int64_t second; // classification: index of the first token of the second text (token type 1); preference data: of
                    // the second sequence; count: none
} Sample;

typedef struct SampleSize {
    int64_t count, supervised; // as in Sample; of classification data one place is scored: supervised is 1
} SampleSize;

typedef struct Dataset {  // read-only after dataset_open
    char fingerprint[33]; // hash of the files' content and all options that change tokens: its identity in snapshots
    DatasetStats stats;
    PreferenceData preference;    // DatasetOptions.preference
    EmbeddingData embedding;      // DatasetOptions.embedding
    Pooling pooling;              // DatasetOptions.pooling
    bool from_cache, score_first; // DatasetOptions.score_first
    bool masked;                  // for masked language modelling, by mlm
    MlmRule mlm;
    int64_t count; // samples
    size_t n_files;
    const int64_t *file_ends; // [n_files] samples of file i are those from the end of the file before it up to this
    KeyCounts unread;         // keys of records that nothing reads, with the number of records that have them
    Problem problem;          // classification; AUTO: other data
    LabelList *labels;        // classification; NULL: other data. Regression: a name for each number
    int64_t *label_counts;    // how many samples each label has
    const uint32_t *place;    // [labels] of the labels by number; NULL: single label, regression, other data
    struct TokenImage *image; // the samples (token_cache.h)
} Dataset;
// chat may be NULL when the model has no template (then messages/sharegpt are refused, others become raw text).
int dataset_open(Dataset **d, const DatasetOptions *o, const Tokenizer *t, const ChatTemplate *chat, Err *err);
void dataset_close(Dataset *d);
Sample dataset_sample(const Dataset *d, int64_t i);
SampleSize dataset_size(const Dataset *d, int64_t i); // cheaper: does not touch the sample's tokens
// The index into labels that the k-th of a sample's labels has.
static inline int32_t dataset_label(const Dataset *d, const Sample *s, int64_t k) {
    return (int32_t)d->place[s->labels[k]];
}
// Of embeddings: the texts of all samples. (stats.supervised: those after the first of each.)
static inline int64_t dataset_texts(const Dataset *d) { return d->stats.supervised + d->stats.samples; }
void dataset_release(const Dataset *d); // pages read so far leave resident memory

// Appends the text of a sample with `open` and `close` around its supervised parts, as say.h escapes it: data cannot
// control a terminal. A line parts the sequences of preference data; the texts of embeddings are lines, without marks.
// `open` and `close` may; print it with say_generated then.
void sample_show(StrBuf *out, const Sample *s, const Tokenizer *t, const char *open, const char *close);

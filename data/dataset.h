// dataset: data files to tokenised samples with masks, kept in an on-disk token cache that is mapped, not loaded.
//
// Formats (auto-detected from each file's first record, named in the statistics; dialog.h has the keys): messages,
// sharegpt, alpaca, prompt_completion, text, input_ids. Files: .jsonl, .json (an array, or JSONL under the wrong name),
// .txt (one document a file). Text must be valid UTF-8 (a BOM and CRLF line ends are accepted); the first bad record
// stops with "FILE:LINE: ...". No token is lost silently: every record ends in exactly one of the counts below.
#pragma once

#include "base.h"
#include "chat.h"
#include "tokenizer.h"

typedef enum {
    FORMAT_AUTO, // in statistics: files of several formats
    FORMAT_MESSAGES,
    FORMAT_SHAREGPT,
    FORMAT_ALPACA,
    FORMAT_PROMPT_COMPLETION,
    FORMAT_TEXT,
    FORMAT_INPUT_IDS,
    FORMAT_COUNT
} DatasetFormat;
const char *dataset_format_name(DatasetFormat f); // as in the config: "auto", "messages", ...

typedef enum { TRUNCATION_DROP, TRUNCATION_TRUNCATE, TRUNCATION_ERROR } Truncation;

typedef struct DatasetOptions {
    const char *const *files;
    size_t n_files;
    DatasetFormat format;
    bool train_on_inputs;
    int64_t max_seq_length;
    Truncation truncation;
    const char
        *cache_dir; // NULL: $XDG_CACHE_HOME/lorac or ~/.cache/lorac; one that cannot be written is only warned of
} DatasetOptions;

typedef struct DatasetStats {
    DatasetFormat format;
    int64_t records;              // read
    int64_t samples;              // kept; text gives several windows per record
    int64_t skipped_unsupervised; // no token to learn from (in the part that truncation leaves)
    int64_t dropped_long;         // longer than max_seq_length, truncation "drop"
    int64_t truncated;            // kept, but cut to max_seq_length, truncation "truncate"
    int64_t truncated_tokens;     // cut away by it
    int64_t dropped_tokens;       // in dropped records
    int64_t tokens,
        supervised;         // of the kept samples; supervised counts scored positions (never a sample's first token)
    int64_t left_out_bytes; // of all records: characters that the vocabulary has no token for
    int64_t longest;        // longest record before the policy
    bool from_cache;
} DatasetStats;

typedef struct Sample { // borrowed from the dataset
    const int32_t *ids;
    const uint8_t *supervised; // supervised[i]: token i is predicted (by position i - 1) and scored; supervised[0] is 0
    int64_t count;
    int64_t supervised_count;
    int64_t record; // 0-based record number over all files
} Sample;

typedef struct Dataset Dataset;
// chat may be NULL when the model has no template (then messages/sharegpt are refused, others become raw text).
int dataset_open(Dataset **d, const DatasetOptions *o, const Tokenizer *t, const ChatTemplate *chat, Err *err);
void dataset_close(Dataset *d);
const DatasetStats *dataset_stats(const Dataset *d);
int64_t dataset_count(const Dataset *d);
Sample dataset_sample(const Dataset *d, int64_t i);
// Hash of the files' content and all options that change tokens (32 hex digits): the data's identity in snapshots.
const char *dataset_fingerprint(const Dataset *d);

// Splits sample indices by hash(seed, index): val_size below 1 is a fraction, else a count (at least one sample stays
// on each side, else refused). Both lists ascend; the caller frees them.
int dataset_split(const Dataset *d, double val_size, uint64_t seed, int64_t **train, int64_t *n_train, int64_t **val,
                  int64_t *n_val, Err *err);

// Appends a sample as people read it: its text with `open` and `close` around what is supervised; control characters
// but line ends and tabs are written as \x1B, so that data cannot steer a terminal.
void sample_show(StrBuf *out, const Sample *s, const Tokenizer *t, const char *open, const char *close);

// For generation against references: each record's conversation up to its last assistant turn, with the generation
// prompt (or, raw prompt_completion: the prompt), and the text that turn should be.
typedef struct PromptCase {
    int32_t *ids;
    int64_t count;
    char *prompt;    // readable: the last user message, or the raw prompt
    char *reference; // the answer, white space stripped at both ends
} PromptCase;
int prompt_cases_load(PromptCase **cases, int64_t *count, const DatasetOptions *o, const Tokenizer *t,
                      const ChatTemplate *chat, Err *err);
void prompt_cases_free(PromptCase *cases, int64_t count);

// record_tokenizer: one record to token ids and a mask, before any limit on its length.
//
//   chat             tokens and mask of the rendered template (chat.h)
//   raw pair         [BOS] prompt, completion, [EOS]; the two are tokenised separately, as at inference; completion and
//                    EOS are supervised (all with train_on_inputs)
//   text             [BOS] text [EOS], all supervised
//   segments         each text tokenised on its own, without BOS and EOS; those with label true are supervised
//   ids              as given; labels and masks decide what is supervised, without them all is
//   classification   one text or two, and a label (classify.c); words or a text with labels (tagged.c)
//   embedding        texts that belong together (embedding_record.h)
//   preference       prompt and chosen answer, prompt and rejected answer; or prompt and answer (preference.c)
//   mlm              a text with the tokens that the model wants around it, or ids (mlm_record.c)
// BOS where the tokenizer adds it; BOS and EOS where the model has them and the text does not spell them itself. The
// first token of a record is never supervised: nothing predicts it.
#pragma once

#include "chat.h"
#include "dialog.h"
#include "file_rule.h"
#include "record_labels.h"
#include "records.h"
#include "tokenizer.h"

typedef struct RecordTokenizer {
    const Tokenizer *tokenizer;
    const ChatTemplate *chat;                         // or NULL
    bool train_on_inputs, completion_only, raw_pairs; // see DatasetOptions
    LearntTurns learnt;
    ParseSpecial parse_special;
    Unrendered unrendered;
    PreferenceData preference;
    bool learn_chosen_prompt;
    EmbeddingData embedding;
    int64_t shorten_to;     // classification, embeddings: longer texts are shortened to this; 0: they are not
    bool mlm, mlm_words;    // masked language modelling, of whole words
    Problem problem;        // classification
    const LabelList *named; // of integers as labels (RecordLabelRule)
} RecordTokenizer;

typedef struct RecordTokens { // init with {0}; record_tokens_clear frees
    int32_t *ids;
    uint8_t *supervised;
    size_t count;
    bool parsed_special, plain_special, own_bos, cannot_stop; // see DatasetStats
    size_t left_out;      // bytes without a token in the vocabulary: left out, or an unknown token
    bool windows;         // text: cut into windows when it is too long, not dropped
    size_t before, after; // mlm: tokens at both ends of a text that each of its windows has
    RecordLabels labels;
    bool lost_labels; // of tokens: shortening removed some
    size_t second;    // as in Sample; PREFERENCE_LABELS: where the answer begins
    bool desirable;   // PREFERENCE_LABELS
    float score;      // EMBEDDING_SCORED
    size_t cut;       // tokens that shortening removed
    KeyNotes unread;  // keys of the record that nothing reads
} RecordTokens;
void record_tokens_clear(RecordTokens *e);
// Takes the ids of t; those from n_masked on are supervised.
int record_take_tokens(RecordTokens *out, TokenIds *t, size_t n_masked, Err *err);

// Its messages do not name file and line.
// Notes control tokens that a text spells; an error for a text that is too long.
int record_add_special(RecordTokens *out, const RecordTokenizer *e, JsonStr text, Err *err);
int record_tokenize_ids(RecordTokens *out, const RecordTokenizer *e, const Dialog *d, Err *err);
// [BOS] text, with EOS if it ends there.
int record_tokenize_text(RecordTokens *out, const RecordTokenizer *e, JsonStr text, bool ends, Err *err);
int record_tokenize_chat(RecordTokens *out, const RecordTokenizer *e, const Dialog *d, bool learn_prompt, Err *err);
int preference_tokenize(RecordTokens *out, const RecordTokenizer *e, const Dialog *d, Err *err);
int mlm_tokenize(RecordTokens *out, const RecordTokenizer *e, const Dialog *d, Err *err);
int record_tokenize_dialog(RecordTokens *out, const RecordTokenizer *e, const Dialog *d, Err *err);

// Where a record comes from: for messages, and how to read it.
typedef struct RecordPlace {
    const char *path;
    int64_t number; // in its file, from 1
    DatasetFormat format;
    bool is_text;         // a .txt file's
    bool detected;        // the format is the first record's
    const FileRule *rule; // NULL: none
} RecordPlace;
// As dialog_read; names the format that the file's first record has if this record has another.
int record_read_dialog(Dialog *d, const Json *record, const RecordPlace *place, bool has_template, bool raw_pairs,
                       Err *err);
int record_tokenize(RecordTokens *out, const RecordTokenizer *e, RecordSpan span, const RecordPlace *place, Err *err);

// ---- classification (classify.c) ----
// The text is `text`, `sentence` or `content`; two texts are one of the pairs
//   sentence1 + sentence2    premise + hypothesis    question1 + question2
//   question + sentence      question + passage      text + text_pair
// (the names of GLUE, SuperGLUE and Hugging Face's examples). The label: record_labels.h. label_text and other keys are
// ignored.
// The tokens are the tokenizer's form of one or two texts: [CLS] a [SEP] b [SEP] of BERT, BOS a of Llama, ...
// A sample longer than e->shorten_to (0: no limit) is shortened as Hugging Face's fast tokenizers do (longest_first):
// the longer text loses tokens first, each text at its end; special tokens stay. out->cut counts the removed tokens;
// out->count is 0 where only special tokens would be left.
// untyped: RecordSpan.untyped.
int classify_record(RecordTokens *out, const RecordTokenizer *e, const Json *record, bool untyped, Err *err);
// Its parts: the texts of a record, borrowed, whose label is not read; their tokens.
typedef struct ClassifiedText {
    JsonStr first, second;
    bool pair;
    const char *keys[2]; // of the record
} ClassifiedText;
int classify_read(ClassifiedText *t, const Json *record, Err *err);
// A record with text and label that is none of another format but text, which would not read its label.
bool classify_fits(const Json *record);
void classify_note_keys(KeyNotes *used, KeyNotes *unread, const Json *record, const ClassifiedText *t,
                        const char *label); // used: or NULL; label: its key
int classify_tokenize(RecordTokens *out, const RecordTokenizer *e, const ClassifiedText *t, Err *err);

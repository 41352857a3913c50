// encode: one record to token ids and a mask, before any limit on its length.
//
//   chat                the rendered template's tokens and mask (chat.h)
//   raw pair            [BOS] prompt, completion, EOS (where the text has none of its own), tokenised apart, as the
//   model will meet them when it answers;
//                       completion and EOS supervised (all with train_on_inputs)
//   text                [BOS] text, EOS (where the text has none of its own), all supervised
//   ids                 as they are; labels and masks decide, without them all is supervised
// BOS where the tokenizer's own flag asks for it; BOS and EOS only where the model has them. The first token of a
// record is never supervised: nothing predicts it.
//   classification      text or two texts, and a label (classify.h)
#pragma once

#include "chat.h"
#include "dialog.h"
#include "records.h"
#include "tokenizer.h"

typedef struct RecordTokenizer {
    const Tokenizer *tokenizer;
    const ChatTemplate *chat; // or NULL
    bool train_on_inputs;
    ParseSpecial parse_special;
    Unrendered unrendered;
    int64_t shorten_to; // classification: longer samples are shortened to this; 0: not
} RecordTokenizer;

typedef struct RecordTokens { // init with {0}; record_tokens_clear frees
    int32_t *ids;
    uint8_t *supervised;
    size_t count;
    bool parsed_special, plain_special, own_bos, cannot_stop; // see DatasetStats
    size_t left_out; // bytes that the vocabulary has no token for: left out, or an unknown token
    bool windows;    // text: cut into windows instead of dropped when it is too long
    char *label;     // classification: its name; else NULL
    bool label_integer;
    size_t second;   // classification: index of the first token of type 1; count when there is none
    size_t cut;      // tokens that shortening took out
    KeyNotes unread; // keys of the record that nothing has read
} RecordTokens;
void record_tokens_clear(RecordTokens *e);

// Messages do not name file and line: the caller knows them.
int record_tokenize_dialog(RecordTokens *out, const RecordTokenizer *e, const Dialog *d, Err *err);

// Where a record comes from: for messages, and how to read it.
typedef struct RecordPlace {
    const char *path;
    int64_t number; // in its file, from 1
    DatasetFormat format;
    bool is_text;  // a .txt file's
    bool detected; // the format is the first record's
} RecordPlace;
int record_tokenize(RecordTokens *out, const RecordTokenizer *e, RecordSpan span, const RecordPlace *place, Err *err);

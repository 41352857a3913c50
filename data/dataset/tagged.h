// tagged: records whose words, or whose spans of a text, have labels (token classification).
//
//   {tokens | words: [...], tags | ner_tags | labels: [...]}   each word by itself to tokens, as with Hugging Face's
//     is_split_into_words; the first token of a word has its tag, a text or an integer, the others have none. The tag
//     -100: the word has none
//   {text, entities: [{start, end, label}]}   characters [start, end) of the text; every token has a label: B-LABEL
//   where
//     an entity begins, I-LABEL where it goes on, O elsewhere
// Around both are the tokens that the model wants around one text. A sample longer than shorten_to loses tokens at its
// end, but for these.
#pragma once

#include "record_tokenizer.h"

typedef struct TaggedTokens { // init with {0}; tagged_clear frees
    TokenIds t;
    int64_t *word;         // [t.count] the word whose first token it is, -1: none; NULL of a text
    size_t first, n;       // tokens of the text or of the words, from `first` on
    size_t words, without; // words, and the bytes of those without a token
    size_t cut;            // tokens removed
    const char *key;       // of the record
    bool of_text;
    JsonStr text; // else empty
} TaggedTokens;
void tagged_clear(TaggedTokens *t);
// Reads no labels.
int tagged_tokenize(TaggedTokens *out, const RecordTokenizer *e, const Json *record, Err *err);
// Bytes [*begin, *end) of the text that token i covers, without white space around it.
void tagged_span(const TaggedTokens *t, size_t i, size_t *begin, size_t *end);
// Its messages do not name file and line.
int tagged_record(RecordTokens *out, const RecordTokenizer *e, const Json *record, Err *err);
bool tagged_fits(const Json *record);
void tagged_note_keys(KeyNotes *used, KeyNotes *unread, const Json *record); // used: or NULL
// Words and their tags, or text and entities, without tokens; for an audit.
int tagged_read_labels(RecordLabels *out, const Json *record, const LabelList *named, Err *err);

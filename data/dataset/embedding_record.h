// embedding_record: one record of texts that belong together, for sentence embeddings, to sequences of tokens.
//
//   ranked   an anchor and its positive, by one of the pairs of keys
//              anchor|query|question + positive    query + pos|answer|passage|document|response
//              question + answer|passage    sentence1 + sentence2    sentence_A + sentence_B    text1 + text2
//              premise + hypothesis
//            and any number of negatives: negative, negatives, neg, hard_negative(s), negative_1, negative_2, ... Each
//            is a text or a list of texts; a positive is one text, also as a list.
//   scored   such a pair with a number: score, label, similarity_score or similarity; no negatives
// (the names of sentence-transformers' data sets and of FlagEmbedding). The order of the columns has no meaning.
#pragma once

#include "record_tokenizer.h"

typedef struct EmbeddedTexts { // init with {0}; embedding_texts_clear. The texts are the record's
    JsonStr *texts;            // anchor, positive, negatives
    size_t count;
    float score;
    KeyNotes read; // keys of the record
} EmbeddedTexts;
void embedding_texts_clear(EmbeddedTexts *t);
// untyped: RecordSpan.untyped.
int embedding_read(EmbeddedTexts *t, const Json *record, EmbeddingData kind, bool untyped, Err *err);
// What a record is; EMBEDDING_NONE: it has no pair of texts.
EmbeddingData embedding_kind(const Json *record);
// The sequences one behind the other, each in the tokenizer's form of one text. out->supervised is 1 at the first token
// of each but the first. out->count is 0 where a text has no token, or has none left of max_seq_length.
int embedding_record(RecordTokens *out, const RecordTokenizer *e, const Json *record, bool untyped, Err *err);

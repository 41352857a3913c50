// predict_tagged: what `lorac predict` prints of one text or of a list of words with a classifier of tokens, a line of
// JSON.
//
//   {text}             {"entities": [{"entity_group", "score", "word", "start", "end"}, ...]}, as the
//   token-classification
//                      pipeline of transformers gives with aggregation_strategy "simple": neighbours with labels B-X,
//                      I-X, I-X are an entity X, its score is the mean of their scores, start and end are characters,
//                      O is none
//   {tokens | words}   {"tags": [...]}: of each word the label of its first token; null: it has no token
#pragma once

#include "logits.h"
#include "tagged.h"
#include "verb_model.h"

// *cut: tokens that did not fit. with_text: the text is repeated.
int predict_tagged(const Loaded *l, const RecordTokenizer *e, const Json *record, bool with_text, size_t *cut,
                   Err *err);

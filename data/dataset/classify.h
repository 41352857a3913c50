// classify: one record of classification data to tokens and a label.
//
// The text is `text`, `sentence` or `content`; two texts are one of the pairs
//   sentence1 + sentence2    premise + hypothesis    question1 + question2
//   question + sentence      question + passage      text + text_pair
// (the names of GLUE, SuperGLUE and Hugging Face's examples). `label` is an integer, a text, true or false; a record
// without a label (-1, null, no key) is refused. label_text and other keys are ignored.
// The tokens are the tokenizer's form of one or two texts: [CLS] a [SEP] b [SEP] of BERT, BOS a of Llama, ...
#pragma once

#include "record_tokenizer.h"

// A sample longer than e->shorten_to (0: no limit) is shortened as Hugging Face's fast tokenizers do (longest_first):
// the longer text loses tokens first, each text at its end; special tokens stay. out->cut counts the removed tokens;
// out->count is 0 where only special tokens would be left.
int classify_record(RecordTokens *out, const RecordTokenizer *e, const Json *record, Err *err);

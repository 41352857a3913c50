// bert_text: what BERT's normalizer and pre-tokenizer know about characters, as Hugging Face tokenizers 0.23 has it:
// old tables (about Unicode 8) of control characters, marks and punctuation.
#pragma once

#include "unicode.h"

// clean_text: control characters are removed, white space becomes a space. ideographs: spaces around CJK ideographs.
// Appends to *out.
void bert_clean(const TextView *in, bool clean_text, bool ideographs, MappedText *out);
// Appends the text without non-spacing marks; "strip_accents" is this after NFD. (Hugging Face tokenizers leaves
// U+11938 whole; here it is decomposed as Unicode specifies.)
void bert_drop_marks(const TextView *in, MappedText *out);

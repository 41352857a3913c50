// sentence_folder: how sentence-transformers makes vectors of texts with a model: modules.json, 1_Pooling/config.json
// (old and new keys), sentence_bert_config.json, tokenizer_config.json and config_sentence_transformers.json of its
// folder; the pooling type of a GGUF file.
#pragma once

#include "model.h"
#include "record_format.h"

typedef struct SentenceFolder { // init with {0}; sentence_folder_clear
    Pooling pooling;            // POOLING_AUTO: nothing says it, or another one is said:
    char *other;                // "max", "mean + cls": which lorac does not have; else NULL
    bool normalize;
    int64_t max_tokens; // of a text; 0: nothing says it
    char *prompt;       // put before each text that is to be embedded; NULL: none
} SentenceFolder;
void sentence_folder_clear(SentenceFolder *s);
// Refuses modules that change the vectors and are not built (Dense, ...), by name.
int sentence_folder_read(SentenceFolder *s, const Model *m, Err *err);
// `asked`, else the folder's, else mean of encoders and last of decoders. Refuses the folder's if lorac has it not.
int sentence_pooling(Pooling *p, Pooling asked, const SentenceFolder *s, const Model *m, Err *err);

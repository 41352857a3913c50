// kl_group: answers with labels, and each prompt also with the answer of another record: KTO estimates the KL
// divergence from these, as KTOTrainer of TRL does (add_kl_completion_ids).
//
// Of `size` kept records in sequence each gets the answer of the one before it, the first that of the last. All
// sequences are cut at their end to max_seq_length, of a mismatched one nothing may be left to learn.
#pragma once

#include "record_tokenizer.h"

typedef struct KlGroup { // init with the size
    size_t size, count;
    RecordTokens *items; // [size]
    int64_t *records;    // [size]
} KlGroup;
void kl_group_put(KlGroup *g, RecordTokens *e, int64_t record); // takes the tokens; the group is not full
// Record i as two sequences: its own and the mismatched one. record_tokens_clear
void kl_group_get(RecordTokens *out, const KlGroup *g, size_t i, size_t max);
void kl_group_clear(KlGroup *g); // the next one may be put
void kl_group_free(KlGroup *g);

// duplicates: which records repeat an earlier one, exactly or nearly, and which records of the validation data are in
// the training data.
//
// Exact: equal hashes of all that the trainer reads. Near: the estimate of minhash.h is at least SIMILAR. Pairs are
// found by the bands; of records with an equal band each is compared with the first 32 of them, so that many copies of
// one text cost linear time. The result does not depend on the number of threads.
// Memory: 144 bytes a record here, 16 for the matches, 64 more while they are found.
#pragma once

#include "minhash.h"

typedef struct AuditEntry { // of a record
    uint64_t hash;
    uint8_t signature[MINHASH_BYTES];
    uint32_t line;
    bool readable, comparable; // has a hash; has a signature
    bool validation;
} AuditEntry;

#define DUPLICATE_NONE UINT32_MAX
#define DUPLICATE_RECORDS_MAX (UINT32_MAX - 1)
typedef struct Duplicates {         // [count] index of the first record that it repeats, or DUPLICATE_NONE
    uint32_t *exact, *near;         // an earlier record of the same data
    uint32_t *leaked, *leaked_near; // of a validation record: a training record
} Duplicates;
// A record has at most one of exact and near, and one of leaked and leaked_near.
void duplicates_find(Duplicates *d, const AuditEntry *entries, size_t count);
void duplicates_clear(Duplicates *d);

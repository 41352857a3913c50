// audit_record: one record, read as the trainer reads it, to what an audit needs of it. Pure: many at once in parallel.
#pragma once

#include "minhash.h"
#include "record_tokenizer.h"
#include "scripts.h"
#include "secrets.h"

typedef struct AuditOptions { // as in DatasetOptions
    DatasetFormat format;     // FORMAT_AUTO: of each file's first record
    bool classification, raw_pairs;
    Problem problem;        // classification
    const LabelList *named; // the same
    PreferenceData preference;
    EmbeddingData embedding;
    bool any_task; // of causal_lm: also files whose first record is of classification or preference data
    LearntTurns learnt;
    bool has_template;
    const char *template; // its source, or NULL
} AuditOptions;

enum { AUDIT_SHOWN = 5 }; // places of a finding that are named

typedef struct AuditRecord { // init with {0}
    RecordSpan span;         // set by the caller
    bool readable;           // else `why` says what is wrong
    bool comparable;
    bool empty; // an answer, or the text, is empty; training refuses or skips it
    Err why;
    uint64_t hash;
    uint8_t signature[MINHASH_BYTES];
    ScriptCounts scripts;
    KeyNotes used, of_turns, unread; // keys
    RecordLabels labels;
    int64_t secrets[SECRET_KINDS];
    char masked[SECRET_KINDS][AUDIT_SHOWN][SECRET_MASKED]; // of the first ones, with their lines
    size_t lines[SECRET_KINDS][AUDIT_SHOWN];
} AuditRecord;
void audit_record(AuditRecord *r, const AuditOptions *o, const MinHashFamily *f, const RecordPlace *place);
void audit_record_clear(AuditRecord *r);

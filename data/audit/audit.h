// audit: what is in data files, read as the trainer reads them but without tokens and weights: every record that it
// refuses, duplicates, validation records that are in the training data, empty answers, scripts, e-mail addresses, keys
// and phone numbers. Bounded memory: about 220 bytes a record (duplicates.h), besides a batch of records.
#pragma once

#include "audit_record.h"

typedef enum { AUDIT_TRAIN, AUDIT_VALIDATION, AUDIT_PARTS } AuditPart;

typedef struct AuditFindings {
    int64_t count, records;    // findings; records that have one
    char *places[AUDIT_SHOWN]; // of the first ones: "d.jsonl:7 (j***@a***.org)"
    size_t shown;
} AuditFindings;

typedef struct AuditCounts {                  // of the training or the validation data
    DatasetFormat format;                     // of the first file
    int64_t records, bytes, longest, ignored; // ignored: members of archives
    KeyCounts used, of_turns, unread;         // keys of the records that are not refused
    ScriptCounts scripts;                     // characters
    AuditFindings refused;                    // the places are messages
    AuditFindings empty, secrets[SECRET_KINDS];
    AuditFindings exact, near, leaked, leaked_near; // set by audit_compare
} AuditCounts;

typedef struct Audit Audit;
Audit *audit_new(const AuditOptions *o); // o: copied; its template is borrowed
void audit_free(Audit *a);
DEFINE_AUTO(Audit, audit_free)
// Reads a file; all of the training data before the validation data. rule NULL: none. Fails if the file cannot be read
// to its end, or has no record; refused records are counted.
int audit_read(Audit *a, AuditPart part, const char *path, const FileRule *rule, Err *err);
// The record, counted over all files from 0, is validation data that val_set_size takes from the training data.
void audit_hold_out(Audit *a, int64_t record);
// After all files: finds the duplicates.
void audit_compare(Audit *a);
const AuditCounts *audit_counts(const Audit *a, AuditPart part);
// The labels of classification data in their order, with their numbers; the caller frees both, after a failure too.
// None of other data; fails on fewer than two.
Problem audit_problem(const Audit *a, AuditPart part); // of its last record with labels; AUTO: none has
int audit_labels(LabelList *list, int64_t **counts, const Audit *a, AuditPart part, Err *err);
// Appends the place of a record, "d.jsonl:7" or "s.tar record 7".
void audit_place(StrBuf *out, const Audit *a, AuditPart part, int64_t record);

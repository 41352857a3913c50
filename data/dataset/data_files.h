// data_files: the names of data files: what kind of file a name is, and the files that a folder or a pattern names.
#pragma once

#include "base.h"
#include "path.h"

typedef enum {
    DATA_JSON,
    DATA_TEXT,
    DATA_TAR,
    DATA_CSV,
    DATA_TSV,
    DATA_PARQUET,
    DATA_UNKNOWN
} DataKind; // see records.h
DataKind data_kind(const char *path);
const char *data_kind_name(const char *path); // "json", ...; files of one kind and content are the same data
// The words for a split in names of files, separated by spaces: "train training" for train; another split's own name.
const char *data_split_words(const char *split);
// The refusal of a name of unknown kind; -1.
int data_kind_refuse(const char *path, Err *err);

// Appends the files that `given`, a value of train_file, names:
//
//   a folder          its data files, by their names' bytes; with `split` (its first split_len bytes) those that have
//                     this word in their names. Refused: several suffixes (.csv and .jsonl), and files of several
//                     splits (train.jsonl and test.jsonl)
//   a pattern         path.h; matches that are folders or temporary are left out
//   else              the path itself
// left: appends the names in the folder, or of the matches, that are left out: "README.md, sub/ and 3 more"; or NULL.
// Hidden files are neither read nor named.
// split: NULL: none.
typedef struct DataName {
    const char *given, *split;
    size_t split_len;
} DataName;
int data_files_expand(NameList *names, DataName name, StrBuf *left, Err *err);
// What a folder or a pattern names, for the log: "data/: 2 files: data/a.csv, data/b.csv; not read: README.md"; nothing
// for a path or if it cannot be read.
void data_files_show(StrBuf *out, DataName name);

// hub_split: which files of a data set's snapshot are a split, by the hub's rules: the configs of README.md, else the
// names of the files.
//
//   data/train-00000-of-00002.jsonl   parts of the split "train", whatever its name is; all of them must be there
//   train.jsonl, en/dev_1.jsonl       a word of the path: train, training; validation, valid, dev, val; test, testing,
//                                     eval, evaluation; or the split's name
//   no such word in any path          all are "train"
#pragma once

#include "path.h"

// wanted [all->count], all false: becomes true for the files of the split. all: relative to the folder `snapshot`,
// sorted. Refused: no file; by their names, files of several kinds or folders; parts that are missing.
int hub_split_choose(bool *wanted, const NameList *all, const char *snapshot, const char *split, Err *err);
// "a, b, ..." of the names that are wanted (NULL: all), for messages; the caller frees.
char *hub_split_names(const NameList *names, const bool *wanted);

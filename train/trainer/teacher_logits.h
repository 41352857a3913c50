// teacher_logits: a file of a teacher's largest logits for the scored tokens of samples, for distillation without the
// teacher. A .safetensors file with four tensors:
//   sample_hash      I64 [S]      of each sample: teacher_sample_hash
//   sample_start     I64 [S + 1]  its tokens are rows sample_start[i] to sample_start[i + 1] of the next two, one for
//                                 each supervised token, in the sample's order
//   target_token_ids I32 [N, k]   distinct tokens in any order; -1: absent
//   target_logprobs  F16 or F32 [N, k]   their logits or log probabilities, up to a constant of the row; -inf: absent
// Samples are found by their hash, so their order, packing and split do not matter. The file is untrusted: everything
// is checked when it is opened.
#pragma once

#include "rows.h"

typedef struct TeacherLogits TeacherLogits;

// FNV-1a (64 bits) over the tokens: of each its id, then its label, as 4 bytes each, lowest first; the label is the id
// where the token is supervised, else -100.
uint64_t teacher_sample_hash(const Sample *s);

// vocab: of the student; ids at or above it are refused.
int teacher_logits_open(TeacherLogits **t, const char *path, int64_t vocab, Err *err);
void teacher_logits_close(TeacherLogits *t);
int teacher_logits_unchanged(const TeacherLogits *t, Err *err); // since it was opened
int64_t teacher_logits_k(const TeacherLogits *t);
const char *teacher_logits_hash(const TeacherLogits *t); // of the whole content, 32 characters
// Refuses a plan with a sample that the file does not have. plan NULL: nothing to check.
int teacher_logits_check(const TeacherLogits *t, const Dataset *d, const RowPlan *plan, Err *err);
// The soft targets (SoftTargets) of the scored positions of n rows, in the order of Row: ids and values [M, k].
void teacher_logits_fill(const TeacherLogits *t, const Dataset *d, const RowPlan *plan, const int64_t *rows, int64_t n,
                         int32_t *ids, float *values);

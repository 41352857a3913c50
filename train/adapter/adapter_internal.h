// adapter_internal: what the files adapter*.c share.
#pragma once

#include "adapter.h"

// Segments without memory for their parameters: a file is checked before its config decides how much is allocated.
// adapter_free frees.
int adapter_outline(Adapter **a, const Model *m, const AdapterConfig *c, Err *err);
// Allocates the parameters, all 0.
void adapter_reserve(Adapter *a, bool with_grad);
// Norms and their workspace (adapter_dora.c), if there are any.
void adapter_dora_reserve(Adapter *a);
void adapter_dora_release(Adapter *a);
// Computes the start of a new adapter (adapter_start.c); host [count] gets A and B.
int adapter_start_new(Adapter *a, uint64_t seed, float *host, Err *err);
// Replaces all parameters; refuses (ERR_INPUT, naming `path` and the tensor) values that are not finite.
int adapter_upload(Adapter *a, const float *host, const char *path, Err *err);

// A classifier's head (adapter_head.c): adds its segments after all others; sets Adapter.class_head; writes its initial
// values to host: the model's own head if it has as many classes, else random ones.
void adapter_head_lay_out(Adapter *a, const Model *m);
void adapter_head_point(Adapter *a);
void adapter_head_start(const Adapter *a, const Model *m, uint64_t seed, float *host);
// host [rows, cols] = N(0, deviation) from (seed, name of the segment).
void adapter_init_normal(const AdapterSegment *s, uint64_t seed, double deviation, float *host);
// labels.json. The names are added to `labels`; *problem: PROBLEM_TOKENS of a head of tokens, else it is set.
int adapter_labels_save(const LabelList *labels, Problem problem, const char *path, Err *err);
int adapter_labels_load(LabelList *labels, Problem *problem, int64_t count, const char *path, Err *err);

// Rows of a segment in files: of a B those of the whole module.
int64_t adapter_module_rows(const ModelConfig *c, const AdapterSegment *s);
// `to` [rows of the whole module, r] from a B of its parts; the other rows are zero.
void adapter_b_to_module(const ModelConfig *c, const AdapterSegment *b, const float *from, float *to);

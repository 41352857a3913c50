// adapter_files: what the two file formats of an adapter share. Private to train/adapter.
#pragma once

#include "adapter.h"

// adapter_new without the initialisation: all parameters are 0.
int adapter_alloc(Adapter **a, const Model *m, const AdapterConfig *c, bool with_grad, Err *err);
// c->layers from flags; all layers: NULL, as PEFT writes it.
void adapter_config_layers(AdapterConfig *c, const bool *used, int64_t layers);
// All parameters on the host; the caller frees.
float *adapter_download(const Adapter *a);
// Replaces all parameters; refuses (EXIT_INPUT, naming `path` and the tensor) what is not finite.
int adapter_upload(Adapter *a, const float *host, const char *path, Err *err);

// Of a B: rows of the whole module, as files hold it; of an A its own.
int64_t adapter_module_rows(const ModelConfig *c, const AdapterSegment *s);
// First row of a projection among the rows of `parts`.
int64_t adapter_part_row(const ModelConfig *c, uint32_t parts, Projection p);
// `to` [rows of the whole module, r] from a B of its parts; the other rows are zero.
void adapter_b_to_module(const ModelConfig *c, const AdapterSegment *b, const float *from, float *to);
// Where a GGUF file keeps row `row` of a projection, among the rows of a linear with these parts.
int64_t adapter_gguf_row(const ModelConfig *c, uint32_t parts, Projection p, int64_t row);

// quantized_internal: what the methods share (quantized.h): one file for each family of formats.
#pragma once

#include "json_read.h"
#include "quantized.h"

// A way to quantise. A matrix of module M is there if the files have M and one of `marks`, which end in NULL.
typedef struct QuantizedMethod {
    const char *name; // quant_method
    const char *marks[4];
    int (*configure)(QuantizedConfig *q, const JsonReader *config);
    // Looks for the tensors of module `name` and fills in q and the joined tensor.
    int (*join)(WeightSource *s, const char *name, const QuantizedConfig *config, Err *err);
} QuantizedMethod;
extern const QuantizedMethod quantized_bnb, quantized_fp8, quantized_fbgemm, quantized_gptq, quantized_awq;
extern const QuantizedMethod quantized_packed, quantized_mxfp4;

// The tensor NAME END, which is hidden from then on: part of a matrix. NULL: there is none.
SourceTensor *quantized_part(WeightSource *s, const char *name, const char *end);
// The same, where it must be there.
SourceTensor *quantized_need(WeightSource *s, const char *name, const char *end, Err *err);
// Of F32, F16 or BF16, with so many elements.
int quantized_check_floats(const SourceTensor *t, int64_t count, Err *err);
// `bytes` bytes of numbers of any type.
int quantized_check_bytes(const SourceTensor *t, int64_t rows, int64_t cols, int bits, Err *err);
// The tensor of the numbers becomes the matrix NAME.weight [rows, cols] of type t. The caller fills in the result.
Quantized *quantized_make(WeightSource *s, SourceTensor *numbers, const char *name, DType t, int64_t rows,
                          int64_t cols);
// `count` words of 32 bits.
int quantized_check_words(const SourceTensor *t, int64_t count, Err *err);
// Sets groups and columns: as many groups of a row as the scales have, of `group` columns.
int quantized_find_groups(Quantized *q, const SourceTensor *scale, int64_t groups, int64_t cols, int64_t group,
                          Err *err);
// The group of each column; index NULL: none. After quantized_find_groups.
int quantized_find_index(Quantized *q, const SourceTensor *index, int64_t cols, Err *err);
// One number of 8 bits an element: quantized_fp8.c.
int quantized_join_scaled(WeightSource *s, const char *name, const QuantizedConfig *c, Err *err);
// Columns under one scale, -1 (all of a row) when absent; rows and columns of a block.
int quantized_read_group(QuantizedConfig *q, const JsonReader *r, const char *key, const char *alias);
int quantized_read_block(QuantizedConfig *q, const JsonReader *r, const char *key);
static inline float quantized_float(const SourceTensor *t, int64_t i) {
    float x;
    dtype_expand(t->dtype, &x, (const char *)t->data + i * dtype_info(t->dtype)->bytes, 1);
    return x;
}

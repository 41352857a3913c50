// quantize: a dense frozen weight becomes a blockwise one at load (`quantize_base`).
//
// int8 is GGUF's Q8_0: blocks of 32 with a half as scale, 8.5 bits an element. NF4 (Dettmers et al. 2023) has blocks of
// 64 numbers, each one of 16 levels (quantiles of a normal distribution) times the block's scale, its largest
// magnitude. The scales are quantised too: scale = row_scale * code^2 with an 8-bit code and a float32 row_scale =
// largest magnitude of the row / 255^2. The square-root code is more precise for small scales than a linear one, and
// one scale per row keeps rows independent: 4.125 bits per element and 4 bytes per row. A block is 33 bytes: the code,
// then 32 pairs, the first of a pair in the low half of its byte.
#pragma once

#include "enum_words.h"
#include "kernels.h"

#define QUANTIZE_KINDS(X)                                                                                              \
    X(QUANTIZE_NONE, "none", "as stored")                                                                              \
    X(QUANTIZE_INT8, "int8", "8.5 bits a weight (GGUF's Q8_0)")                                                        \
    X(QUANTIZE_NF4, "nf4", "4.125 bits a weight")
typedef enum { QUANTIZE_KINDS(ENUM_CONSTANT) } QuantizeKind;

enum { NF4_BLOCK = 64, NF4_BLOCK_BYTES = 33 };

// What weight_quantize allocated: free with b->k->free(b, memory, bytes).
typedef struct QuantizedMemory {
    void *memory;
    size_t bytes;
} QuantizedMemory;

// Replaces the segments of a dense weight (F32, F16, BF16) by quantised ones in *memory; row maps, bias and name stay,
// and *w no longer points to the old data (whose pages the caller may drop). The bits depend on the weight alone.
// ERR_INPUT, naming the weight: it is quantised already, its columns are not whole blocks, or an element is not
// finite. kind is not QUANTIZE_NONE.
int weight_quantize(Backend *b, Weight *w, QuantizeKind kind, QuantizedMemory *memory, Err *err);
// The same for a plan: no data is read or written; the new segments keep the old data pointers.
int weight_quantize_outline(Weight *w, QuantizeKind kind, size_t *bytes, Err *err);

// dtype: the element types of weights and activations, and how GGUF blocks become float32.
//
// A block type stores `block` elements in `bytes` bytes along the fastest dimension (the input dimension of a weight),
// so one row of a weight is a whole number of blocks and rows can be moved without requantising.
#pragma once

#include "base.h"

typedef enum {
    DTYPE_F32,
    DTYPE_F16,
    DTYPE_BF16,
    DTYPE_Q8_0,
    DTYPE_Q4_0,
    DTYPE_Q4_1,
    DTYPE_Q5_0,
    DTYPE_Q5_1,
    DTYPE_Q4_K,
    DTYPE_Q5_K,
    DTYPE_Q6_K, // types a weight may have end here
    DTYPE_I32,
    DTYPE_I64,
    DTYPE_U8,
    DTYPE_COUNT
} DType;

typedef struct DTypeInfo {
    const char *name; // as GGUF and people write it: "Q4_1"
    int gguf_type;    // ggml_type id, -1 if it has none
    int block;        // elements per block
    int bytes;        // bytes per block
} DTypeInfo;

const DTypeInfo *dtype_info(DType t);
DType dtype_from_gguf(uint32_t ggml_type); // DTYPE_COUNT when unknown or not supported
const char *dtype_gguf_name(
    uint32_t ggml_type);       // also of unsupported ones, for messages; "type 99" style is left to the caller: NULL
bool dtype_is_weight(DType t); // F32 ... Q6_K
// Bytes of n consecutive elements; n must be a multiple of the block: false otherwise or on overflow.
bool dtype_bytes(DType t, size_t n, size_t *bytes);

// Expands n elements (a multiple of the block) at src to float32, exactly as ggml defines its blocks. This is the
// reference; the fast expansion of the CPU backend equals it bit for bit.
void dtype_expand(DType t, float *dst, const void *src, size_t n);

float f16_to_f32(uint16_t h);
uint16_t f32_to_f16(float f); // round to nearest even
float bf16_to_f32(uint16_t h);
uint16_t f32_to_bf16(float f); // round to nearest even, NaN stays NaN

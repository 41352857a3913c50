// quantized: matrices of quantised checkpoints (config.json's quantization_config), which are stored as several
// tensors.
//
// weight_source calls quantized_join, and the matrix is one tensor of a grouped type (dtype_is_grouped) from then on:
// "q_proj.weight" with its logical shape. Its numbers stay in the map, unless the files have them by columns; scales
// are computed by quantized_read.
#pragma once

#include "kernels.h"
#include "weight_source.h"

// quantization_config as far as reading depends on it. Plain; quantized_config_read checks it.
typedef struct QuantizedConfig {
    const struct QuantizedMethod *method; // NULL: not quantised
    DType type;                           // that most matrices have; for a plan without the files
    int64_t group;                        // columns under one scale; 0: all
    bool has_zero;
    int64_t block[2]; // rows and columns of float8 under one scale; 0: not said
    int bits;
    bool is_awq, is_packed;
    int zero_less; // what is added to a stored zero
} QuantizedConfig;

// Where quantized_read writes.
typedef struct QuantizedValues {
    float *scale;       // as in DTypeGroups
    int16_t *zero;      // NULL: none
    int32_t *of_column; // NULL: none
    uint8_t *numbers;   // NULL: those in the map stay
} QuantizedValues;

// How a matrix is stored; belongs to the source.
typedef struct Quantized {
    int (*read)(const SourceTensor *t, QuantizedValues v, Err *err);
    int64_t groups, columns; // DTypeGroups.n, .columns
    bool has_zero, has_index;
    bool copied;                // the numbers, into another order
    bool blocks;                // into blocks of the type, which have their scales, instead of all else
    const SourceTensor *stored; // with blocks: the tensor of the numbers as the file has it
    const SourceTensor *scale, *zero, *index;
    const SourceTensor *nested_scale, *map; // bitsandbytes' double quantisation; NULL: scale is not quantised
    int64_t block, nested_block;            // elements (rows of float8) under one scale; scales under a nested one
    float nested_offset;                    // that is added to a nested scale
    int bits, zero_less;                    // as in QuantizedConfig
    bool is_awq;
} Quantized;

// Reads quantization_config of the folder. ERR_INPUT: a method that lorac does not read, by its name.
int quantized_config_read(QuantizedConfig *q, const char *dir, Err *err);
// Joins the tensors of each matrix. ERR_INPUT names the tensor that is missing or does not fit.
int quantized_join(WeightSource *s, const QuantizedConfig *q, Err *err);
// A matrix that the files of an outline do not have, as such a checkpoint stores it. NULL: it is not quantised.
const SourceTensor *quantized_assume(WeightSource *s, const char *name, int64_t rows, int64_t cols);
// The tensor is a joined one: the bytes that its scales and copies take beside the file, and a segment of all its rows,
// whose values are written to `memory` of so many bytes, 64-byte aligned. memory NULL: for shapes and sizes alone.
size_t quantized_bytes(const SourceTensor *t);
int quantized_read(WeightSegment *out, const SourceTensor *t, void *memory, Err *err);
// Whether the checkpoint has as many bits as quantize_base asks for (load_in_4bit with a checkpoint of 4 bits).
bool quantized_has_bits_of(const WeightSource *s, DType type);

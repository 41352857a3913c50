// parquet_module: the face of lorac-parquet.so, which reads Parquet files by Arrow's C++ library.
#pragma once

#include "module.h"

C_BEGIN

typedef struct ParquetReader ParquetReader;
typedef struct ParquetCalls {
    int (*open)(ParquetReader **r, const char *path, Err *err);
    // Appends the next row as a JSON object: 1, 0 at the end, -1. Text and numbers are as in the file (text may be no
    // UTF-8), null is null. A value of a type that is not read (bytes, dates, decimals, ...) is "NaN(what it is)". A
    // row of more than `most` bytes is refused.
    int (*next)(ParquetReader *r, StrBuf *record, size_t most, Err *err);
    void (*close)(ParquetReader *r);
} ParquetCalls;
MODULE_EXPORT extern const ParquetCalls lorac_parquet;

C_END

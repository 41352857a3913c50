// npy_file: an .npy file of float32 as `lorac embed` writes it, read by the format's description, for tests.
#pragma once

#include "fileio.h"
#include "test.h"

typedef struct NpyFile {
    char *text;
    const float *data;
    int64_t rows, cols;
} NpyFile;

static inline NpyFile npy_read(const char *path) {
    NpyFile f = {0};
    size_t size;
    Err err;
    long rows, cols;
    ASSERT_OK(file_read(&f.text, &size, path, 1 << 24, &err), &err);
    assert_memory_equal(f.text, "\x93NUMPY\x01\x00", 8);
    size_t header = 10 + (size_t)(uint8_t)f.text[8] + 256 * (size_t)(uint8_t)f.text[9];
    assert_int_equal(header % 64, 0);
    assert_int_equal(f.text[header - 1], '\n');
    assert_int_equal(
        sscanf(f.text + 10, "{'descr': '<f4', 'fortran_order': False, 'shape': (%ld, %ld), }", &rows, &cols), 2);
    assert_int_equal(size, header + (size_t)(rows * cols) * sizeof(float));
    f.rows = rows;
    f.cols = cols;
    f.data = (const float *)(f.text + header);
    return f;
}

static inline void npy_free(NpyFile *f) { mem_free(f->text); }

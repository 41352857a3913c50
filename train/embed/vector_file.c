#include "vector_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dtype.h"
#include "fileio.h"
#include "json.h"
#include "path.h"
#include "say.h"

struct VectorFile {
    FileWriter *file; // NULL: standard output
    char *path;
    bool npy, with_text;
    int64_t length, count;
    StrBuf data; // of .npy
};

int vector_file_open(VectorFile **out, const char *path, bool with_text, int64_t length, Err *err) {
    size_t n = path ? strlen(path) : 0;
    bool npy = path && ends_with_nocase(path, n, ".npy");
    *out = NULL;
    if (path && !npy && !ends_with_nocase(path, n, ".jsonl"))
        return err_input(err, "--out: found %s; expected a name that ends with .npy or .jsonl", path);
    if (npy && with_text) return err_input(err, "--with_text: an .npy file has no place for texts; expected .jsonl");
    VectorFile *f = mem_calloc(1, sizeof *f);
    *f = (VectorFile){.npy = npy, .with_text = with_text, .length = length};
    if (path && file_create(&f->file, path, NULL, err)) {
        mem_free(f);
        return -1;
    }
    *out = f;
    return 0;
}

static void add_numbers(StrBuf *line, const float *vector, int64_t n) {
    str_puts(line, "\"embedding\": [");
    for (int64_t i = 0; i < n; i++) {
        char text[32];
        for (int digits = 6; digits <= 9; digits++) {
            snprintf(text, sizeof text, "%.*g", digits, (double)vector[i]);
            if (strtof(text, NULL) == vector[i]) break;
        }
        str_printf(line, "%s%s", i ? ", " : "", text);
    }
    str_puts(line, "]}\n");
}

int vector_file_add(VectorFile *f, const char *text, const float *vector, Err *err) {
    if (f->npy) {
        for (int64_t i = 0; i < f->length; i++) {
            uint32_t bits = f32_to_bits(vector[i]);
            const char bytes[] = {(char)bits, (char)(bits >> 8), (char)(bits >> 16), (char)(bits >> 24)};
            str_add(&f->data, bytes, sizeof bytes);
        }
        f->count++;
        return 0;
    }
    AUTO_STR StrBuf line = {0};
    str_printf(&line, "{\"index\": %ld, ", f->count++);
    if (f->with_text) {
        str_puts(&line, "\"text\": ");
        json_quote(&line, text, strlen(text));
        str_puts(&line, ", ");
    }
    add_numbers(&line, vector, f->length);
    if (f->file) return file_write(f->file, line.data, line.len, err);
    say("%s", line.data);
    return fflush(stdout) == 0 ? 0 : err_runtime(err, "standard output: cannot be written");
}

// Version 1.0 of the format: magic, length of the header, a Python dictionary, padded to 64 bytes.
static int write_npy(VectorFile *f, Err *err) {
    AUTO_FREE char *text =
        mem_printf("{'descr': '<f4', 'fortran_order': False, 'shape': (%ld, %ld), }", f->count, f->length);
    AUTO_STR StrBuf header = {0};
    str_add(&header, "\x93NUMPY\x01\x00\x76\x00", 10); // 118 bytes follow
    str_printf(&header, "%-117s\n", text);
    int rc = file_write(f->file, header.data, header.len, err);
    return rc ? rc : file_write(f->file, f->data.data, f->data.len, err);
}

void vector_file_abandon(VectorFile *f) {
    if (!f) return;
    file_abandon(f->file);
    str_clear(&f->data);
    mem_free(f);
}

int vector_file_close(VectorFile *f, Err *err) {
    int rc = f->npy ? write_npy(f, err) : 0;
    if (!rc && f->file) rc = file_commit(mem_take(&f->file), err);
    vector_file_abandon(f);
    return rc;
}

int64_t vector_file_count(const VectorFile *f) { return f->count; }

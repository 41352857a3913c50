// weight_source_internal: what weight_source.c, hf_folder.c and gguf_split.c share.
#pragma once

#include "fileio.h"
#include "name_index.h"
#include "safetensors.h"
#include "weight_source.h"

typedef struct SourceFile {
    char *path;
    Gguf *gguf; // one of the two is set
    Safetensors *safetensors;
} SourceFile;

typedef struct SourceStamp { // of a file when it was opened
    char *path;
    FileStamp stamp;
} SourceStamp;

struct WeightSource {
    char *path, *dir; // dir: NULL for GGUF
    SourceFile *files;
    size_t n_files, files_capacity;
    SourceStamp *stamps; // of all files of the model
    size_t n_stamps, stamps_capacity;
    SourceTensor *tensors; // in the order of the files
    size_t n_tensors, tensors_capacity;
    NameIndex by_name;
    void **copies; // weight_source_aligned
    size_t n_copies, copies_capacity;
};

// Opens one file and adds its tensors. Takes ownership of path.
int weight_source_add_gguf(WeightSource *s, char *path, Err *err);
int weight_source_add_safetensors(WeightSource *s, char *path, Err *err);

// Opens the files of a Hugging Face folder; s->dir and s->path are set.
int hf_folder_open(WeightSource *s, Err *err);
// Opens s->path and, if it is a part of a split model, all other parts in order.
int gguf_split_open(WeightSource *s, Err *err);

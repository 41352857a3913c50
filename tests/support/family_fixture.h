// family_fixture: the tiny models of golden/families on disk, built from a formula, as Hugging Face folders; and the
// results of PyTorch for them. golden/make_families_golden.py describes the files and writes them.
#pragma once

#include "adapter.h"
#include "safetensors.h"

typedef enum {
    FAMILY_HF,         // one model.safetensors, float32
    FAMILY_HF_SHARDED, // two shards and an index, F16 (which holds the weights exactly)
    FAMILY_HF_TOWERS,  // gemma3 as the language model of a multimodal checkpoint, with a tensor of the vision tower
    FAMILY_GGUF,       // base.gguf, made by llama.cpp's converter
    FAMILY_GGUF_FUSED, // fused.gguf, the same with --fuse-qkv
} FamilyFile;

typedef struct FamilyTensor { // one line of tensors.txt
    char name[160];
    double base, amplitude;
    int n_dims;
    int64_t shape[SAFETENSORS_MAX_DIMS];
} FamilyTensor;

typedef struct Family {
    char dir[256];        // golden/families/NAME
    char path[288];       // the model: a folder in the working directory, or the GGUF file
    uint32_t projections; // what the adapter trains
    int64_t labels;       // of its classifier (golden/classify); 0: a language model
    Problem problem;      // by the end of its name: -multi, -number(s), -tokens
    FamilyTensor *tensors;
    size_t n_tensors;
    Safetensors *golden;
} Family;

// name: of a folder in golden/families, or "../classify/NAME". The working directory is a scratch directory; CHECKs
// that the files can be written.
void family_open(Family *f, const char *name, FamilyFile kind);
bool family_has_gguf(const char *name);
void family_close(Family *f);

// The adapter that the golden results were made with, to be trained.
Adapter *family_adapter(const Family *f, const Model *m);
// The golden tensor "prefix.<name of s>", its rows as the segment has them. The caller frees.
float *family_segment(const Family *f, const Model *m, const AdapterSegment *s, const char *prefix);
// A copy of a golden tensor, aligned; *n (may be NULL): elements of four bytes. The caller frees.
void *family_golden(const Family *f, const char *name, size_t *n);

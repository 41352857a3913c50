// model_stream: a base model of which the matrices of two layers are in memory at a time: of the layer that computes,
// and of the next one, which is read meanwhile.
//
// Host memory: they stay in the mapped files. A thread touches the pages of the next layer, and those of the layer
// before are dropped. A device: they wait in pinned host memory, as the device stores them, and are copied to one of
// two places. Bits do not depend on it.
#pragma once

#include "autograd.h"

typedef struct Model Model;

typedef struct ModelStream {
    TapeStages stages;          // a layer is a stage; stages.bytes: of each layer's matrices
    size_t total, most;         // bytes of all layers; of the two places, or of the two largest neighbours
    struct ModelReader *reader; // host memory
    // a device:
    Backend *backend;
    int64_t layers;
    char *places[2]; // of even and odd layers; in Model.device_memory
    char **images;   // [layers] pinned host memory
} ModelStream;

// Host memory: streams m from its files from here on, or, of an outline, only computes the sizes. ERR_INPUT: its
// matrices are not in the files as they are (quantised at load, converted).
int model_stream_files(Model *m, Err *err);
void model_stream_free(ModelStream *s); // NULL allowed
// Makes sure that a layer's matrices are in memory, outside of a tape. Called for the layers in their order.
void model_stream_enter(const Model *m, int64_t layer);

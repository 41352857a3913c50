// model_internal: the parts of the loader.
//
// model_slots.c and model_experts.c list the tensors that the model must have, with their shapes (one Slot each, from
// the table of architectures), and compare them with the files; model_take.c reads the tensors; model_place.c moves the
// model to its device. model_load.c calls all of them.
#pragma once

#include "model.h"
#include "problem_list.h"
#include "weight_source.h"

// Memory of a model besides its maps.
typedef struct ModelMemory {
    void *data;
    size_t bytes; // of weights and vectors, freed once the model is on its device; 0: kept
} ModelMemory;

typedef struct Slot Slot;
struct ModelFile {
    WeightSource *source;
    ModelOptions options;
    Slot *slots; // from model_open to model_load_weights
    size_t n_slots;
    int32_t *q_rows, *k_rows; // row maps of the projections, NULL where the file is in Hugging Face order
    ModelMemory *owned;
    size_t n_owned, owned_capacity;
};

typedef struct Loader Loader;
typedef int (*SlotTake)(Loader *l, const Slot *s);
enum { SLOT_PARTS = 3, SLOT_DIMS = 3 };

// One tensor that the files must hold.
struct Slot {
    char name[160];
    int n_dims;
    int64_t shape[SLOT_DIMS]; // slowest first
    bool optional;
    bool elsewhere; // of another stage: checked, not read
    bool is_matrix; // any type of weights; else F32, F16 or BF16
    bool dense;     // of a matrix: F32, F16 or BF16, too
    SlotTake take;  // NULL: only checked here
    // used by take:
    Weight *parts[SLOT_PARTS]; // their rows are stacked in the tensor
    const int32_t *row_map[SLOT_PARTS];
    int64_t part_rows[SLOT_PARTS];
    int64_t first_row; // of the first part
    int n_parts;
    const float **vector;
    bool plus_one;              // of a vector: the norm multiplies by 1 + w
    bool transposed;            // of a matrix: stored [in, out]; shape is as stored
    bool packed;                // of experts: MXFP4, where an outline's files have none
    bool in_layer;              // a matrix of a layer, which a quantised checkpoint may hold in several tensors
    QuantizeKind quantize;      // of a matrix
    const SourceTensor *tensor; // what the file has; NULL: absent
};

struct Loader {
    Model *m;
    const ModelOptions *options;
    const TensorNames *names;
    const char *prefix; // of all names
    Err *err;
    Slot *slots;
    size_t n_slots, capacity;
    bool elsewhere; // of the slots to add
    ProblemList problems;
};

// Lists all slots of the model.
void model_list_slots(Loader *l);
// The files have the head of masked language modelling; weights that are absent are assumed.
bool model_has_masked_head(const Model *m);
// Finds the tensor of each slot. Missing tensors, wrong shapes and types, and tensors that the graph does not compute
// are refused, the first five by name.
int model_check_slots(Loader *l);
// For model_list_slots and its helpers: a slot with the name "<prefix><fmt ...>", valid until the next call.
Slot *slot_add(Loader *l, int n_dims, const int64_t *shape, const char *fmt, ...) PRINTF_LIKE(4, 5);
// Adds rows of a slot's tensor: those of w. row_map: NULL or as in Weight.
void slot_add_part(Slot *s, Weight *w, int64_t rows, const int32_t *row_map);

// The slots of a layer's router and experts (model_experts.c); prefix: of the layer.
void model_list_experts(Loader *l, ModelLayer *layer, const char *prefix);

// Reads all tensors: matrices stay in the map, vectors are copied.
int model_take_slots(Loader *l);
// Values of Slot.take: a matrix that stays in the map, split into its parts; the biases of the parts; a vector.
int model_take_matrix(Loader *l, const Slot *s);
int model_take_bias(Loader *l, const Slot *s);
int model_take_vector(Loader *l, const Slot *s);
// A Weight over rows [row, row + rows) of a matrix, all of whose rows `stored` has.
Weight weight_rows(const SourceTensor *t, const WeightSegment *stored, int64_t row, int64_t rows, int64_t cols,
                   const int32_t *row_map);
// All rows of a slot's tensor, aligned for its type; scales of a quantised one are read into memory of the model.
int model_stored(WeightSegment *stored, Loader *l, const Slot *s);
// Replaces a dense weight by its quantised copy, in memory of the model.
int model_quantize(Loader *l, Weight *w, QuantizeKind kind);
// Frees the source of a quantised slot: a copy that the model owns, or pages of the map.
void model_drop_stored(Loader *l, const Slot *s, const void *data);
int model_refuse_values(Loader *l, const char *name); // that are not finite
// Refuses values that are not finite.
int model_check_finite(Loader *l, const Weight *w, const char *name);
// Host memory that model_free frees; _weights: that model_disown_weights frees.
void *model_own(Model *m, size_t bytes);
void *model_own_weights(Model *m, size_t bytes);
float *model_own_floats(Model *m, const float *host, size_t n); // a copy in model_own_weights
void model_disown_weights(Model *m);
// Moves the loaded model to its backend's device. Of an outline it only counts the bytes, and stacks the weights in the
// same way.
int model_place(Model *m, Err *err);
// The sizes of the layers, for model_place; owns `bytes` [layers].
ModelStream *model_stream_new(size_t *bytes, int64_t layers);
// On a device: layers are copied from images, which the caller makes, to these places.
void model_stream_from_host(ModelStream *s, Backend *b, char *even, char *odd);

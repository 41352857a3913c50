// profile: measures where the time of a run goes: the time, FLOP and bytes of each slot of a backend's table, and of
// the parts of a run around them.
//
// profile_start gives the backend a copy of its table whose slots are timed (profile_slots.c), so a run without a
// profile executes no line of this file and results are the same bits. Each slot waits for the device, so on a GPU the
// sum is longer than the run without a profile.
//
// Every moment is charged to exactly one row, the innermost: the rows add up to the time since profile_start. Calls
// inside PROFILE_EVALUATION and PROFILE_SNAPSHOT are charged to these rows as a whole: the other rows describe training
// steps.
#pragma once

#include "kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

// Slots without a row (workspace sizes, loading, memory) are charged to what calls them.
// clang-format off
#define PROFILE_OPS(X) \
    X(embed_forward) X(neftune) X(rmsnorm_forward) X(rmsnorm_backward) X(layernorm_forward) X(layernorm_backward) \
    X(linear_forward) X(linear_backward) X(linears_forward) X(linears_backward) \
    X(lora_forward) X(lora_backward) X(dora_norm) X(dora_forward) X(dora_backward) \
    X(rope) X(attention_forward) X(attention_backward) X(short_conv_forward) X(short_conv_backward) \
    X(glu_forward) X(glu_backward) X(activation_forward) X(activation_backward) \
    X(gather_rows_forward) X(gather_rows_backward) X(scatter_rows) X(add) X(moe_route_forward) X(moe_route_backward) \
    X(moe_gather) X(moe_combine) X(moe_scale_forward) X(moe_scale_backward) \
    X(moe_bias_forward) X(moe_bias_backward) X(grouped_linear_forward) \
    X(grouped_linear_backward) X(head_loss) X(softcap) X(class_loss) X(dense_gradients) \
    X(preference_loss) X(pool_forward) X(pool_backward) \
    X(embedding_loss) X(argmax) X(top_k) X(tally) X(fixed_add) X(fixed_to_f32) \
    X(sqnorm) X(adamw)
#define PROFILE_TRANSFERS(X) X(upload) X(download) X(copy) X(zero) X(offload) X(reload) X(all_reduce)
// Parts of a run, X(id, name): their time without the slots that they call.
#define PROFILE_SPANS(X) \
    X(OTHER, "between steps") X(STEP, "step") X(DATA, "data") X(GRAPH, "graph") X(LOG, "log") \
    X(EVALUATION, "evaluation") X(SNAPSHOT, "snapshot")
#define PROFILE_SLOT_ROW(slot) PROFILE_##slot,
#define PROFILE_SPAN_ROW(id, name) PROFILE_##id,
// clang-format on
typedef enum ProfileRow {
    PROFILE_OPS(PROFILE_SLOT_ROW) PROFILE_TRANSFERS(PROFILE_SLOT_ROW) PROFILE_SPANS(PROFILE_SPAN_ROW) PROFILE_ROWS
} ProfileRow;
const char *profile_row_name(ProfileRow row);
// Whether the row's slot uses all threads of a CPU where its work is large enough; all other rows are serial.
bool profile_row_is_parallel(ProfileRow row);

typedef struct ProfileTotal {
    int64_t calls, ns;
    double flop, bytes; // as in ProfileCost
} ProfileTotal;

// flop: 2 per multiply-add, matrix products only; of attention only what the masks leave (in device memory: as if all
// samples had equal length). bytes: of matrices and stored weights, read and written once each.
typedef struct ProfileCost {
    double flop, bytes;
} ProfileCost;

// A call of a slot, or a part of the run with all that it calls.
typedef struct ProfileEvent {
    int64_t start, ns; // since profile_start
    ProfileCost cost;
    int row;
} ProfileEvent;
enum { PROFILE_EVENTS = 1 << 17 }; // the first ones are kept

enum { PROFILE_DEPTH = 8 };
typedef struct Profile {
    Kernels timed; // b->k; first, so that profile_of finds the profile
    const Kernels *inner;
    int64_t begun, charged; // clock at profile_start; up to which time is charged
    ProfileTotal rows[PROFILE_ROWS];
    struct {
        ProfileRow row;
        int64_t start;
    } stack[PROFILE_DEPTH]; // what runs now, the innermost last; stack[0] is PROFILE_OTHER
    int depth;
    bool whole; // in PROFILE_EVALUATION or PROFILE_SNAPSHOT
    ProfileEvent *events;
    size_t n_events, lost_events;
} Profile;

void profile_start(Backend *b); // until backend_close
void profile_reset(Backend *b); // forgets what was measured so far
// NULL: not profiled. The time since the last end of a call or part is not charged yet.
const Profile *profile_of(const Backend *b);
// Around a part of the run; no effect without a profile.
void profile_begin(const Backend *b, ProfileRow span);
void profile_end(const Backend *b);

// For profile_slots.c.
void profile_enter(Profile *p, ProfileRow row);
void profile_leave(Profile *p, ProfileCost cost);
void profile_time_slots(Kernels *timed);

#ifdef __cplusplus
}
#endif

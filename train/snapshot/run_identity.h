// run_identity: what makes two runs the same run: base, data, adapter, device, steps, seed. Compared value by value.
#pragma once

#include "trainer.h"

typedef enum {
    IDENTITY_BASE,
    IDENTITY_DATA,
    IDENTITY_RANK,
    IDENTITY_ALPHA,
    IDENTITY_TARGETS,
    IDENTITY_LAYERS,
    IDENTITY_LABELS,
    IDENTITY_DEVICE,
    IDENTITY_DTYPE,
    IDENTITY_ROWS_PER_STEP,
    IDENTITY_ROWS,
    IDENTITY_TOTAL_STEPS,
    IDENTITY_SEED,
    IDENTITY_KEYS
} IdentityKey;
extern const char *const identity_names[IDENTITY_KEYS];

typedef struct RunIdentity {
    char values[IDENTITY_KEYS][200]; // "": the run has no such value
} RunIdentity;
RunIdentity run_identity(const Trainer *t);

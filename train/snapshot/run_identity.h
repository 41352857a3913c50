// run_identity: what makes two runs the same run: base, data, adapter, device, steps, seed. Compared value by value.
#pragma once

#include "trainer.h"

enum { IDENTITY_MAX = 16 };
typedef struct IdentityItem {
    const char *name;
    char value[200];
} IdentityItem;
typedef struct RunIdentity {
    IdentityItem items[IDENTITY_MAX];
    int count;
} RunIdentity;
RunIdentity run_identity(const Trainer *t);

// table_ref: the op table of the reference backend.
#include "ref.h"

#define HOST_ENTRY(slot) .slot = host_##slot,
#define REF_ENTRY(slot) .slot = ref_##slot,

const Kernels kernels_ref = {.name = "ref", DEVICE_SLOTS(HOST_ENTRY) OP_SLOTS(REF_ENTRY)};

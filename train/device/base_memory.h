// base_memory: where the frozen layers of the base model are (model_stream.h).
#pragma once

#include "enum_words.h"

#define BASE_MEMORIES(X)                                                                                               \
    X(BASE_MEMORY_AUTO, "auto", "the first of these that fits")                                                        \
    X(BASE_MEMORY_DEVICE, "device", "all of it in the memory that computes")                                           \
    X(BASE_MEMORY_HOST, "host", "on a GPU: in main memory, copied a layer at a time")                                  \
    X(BASE_MEMORY_DISK, "disk", "on the CPU: in its files, read a layer at a time")
typedef enum { BASE_MEMORIES(ENUM_CONSTANT) } BaseMemory;

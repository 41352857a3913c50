// model_file: where tests find the base model of the demo. NULL: not found; skip the test.
#pragma once

#include <stdlib.h>

#include "path.h"

static inline const char *model_file(void) {
    const char *path = getenv("LORAC_TEST_MODEL");
    if (!path) path = SOURCE_DIR "/models/SmolLM2-135M-Instruct.Q4_1.gguf";
    return path_exists(path) ? path : NULL;
}

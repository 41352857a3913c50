// hf_folder: Hugging Face folders written by a test into its scratch directory.
#pragma once

#include <sys/stat.h>

#include "path.h"
#include "scratch.h"
#include "tokenizer.h"
#include "tokenizer_files.h"

#define FOLDER "folder"

static inline void folder_put(const char *name, const char *text) {
    mkdir(FOLDER, 0777);
    char *path = path_join(FOLDER, name);
    scratch_put(path, text, strlen(text));
    mem_free(path);
}

static inline void folder_remove(const char *name) {
    char *path = path_join(FOLDER, name);
    unlink(path);
    mem_free(path);
}

static inline Tokenizer *folder_tokenizer(void) {
    Tokenizer *t = NULL;
    Err err;
    ASSERT_OK(tokenizer_from_hf(&t, FOLDER, &err), &err);
    return t;
}

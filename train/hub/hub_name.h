// hub_name: models and data sets by their names on the hub, and where huggingface_hub keeps them on this machine.
//
//   [hf://][models/ or datasets/]owner/name[@revision][:choice][/path/in/repository]
//
// A choice is a split of a data set, or a part of the name of a GGUF file, as in llama.cpp. Environment: HF_ENDPOINT,
// HF_HOME, HF_HUB_CACHE, HF_TOKEN, HF_TOKEN_PATH, with the meaning that they have in huggingface_hub.
#pragma once

#include "base.h"

#define HUB_PUBLIC "https://huggingface.co"

typedef enum { HUB_MODEL, HUB_DATASET } HubType;

typedef struct HubName {
    HubType type;
    char *repository;               // "owner/name"
    char *revision, *choice, *path; // NULL: not given
} HubName;

// False: the text is no such name; *n is empty then. type: without datasets/ or models/ in front.
bool hub_name_read(HubName *n, const char *text, HubType type);
void hub_name_clear(HubName *n);
#define AUTO_HUB_NAME AUTO_CALL(hub_name_clear)   // HubName, {0} before hub_name_read
bool hub_revision_is_valid(const char *revision); // a branch, tag or commit that may be the name of a file
bool hub_path_is_valid(const char *path);         // of a file in a repository: relative, without "..", printable
// Of the repository in the cache: "DIR/models--owner--name". The caller frees.
char *hub_folder(const HubName *n);
char *hub_cache(void);    // DIR; the caller frees
char *hub_endpoint(void); // without a slash at its end; the caller frees
// *token: of HF_TOKEN, or of the file that huggingface_hub writes at a login; NULL: none. The caller frees.
int hub_token(char **token, Err *err);
// "owner/name" of a folder ".../models--owner--name/snapshots/COMMIT"; NULL: none. The caller frees.
char *hub_repository_of(const char *folder);

// file_rule: how the records of one file are read, where that differs from the options of the data set.
#pragma once

#include "json_pool.h"
#include "message.h"
#include "prompt_format.h"
#include "record_format.h"

// Keys of a record that may have another name in a file; role, content, train and reasoning_content
// are keys of messages.
typedef enum {
    COLUMN_MESSAGES,
    COLUMN_TOOLS,
    COLUMN_SYSTEM,
    COLUMN_PROMPT,
    COLUMN_COMPLETION,
    COLUMN_INSTRUCTION,
    COLUMN_INPUT,
    COLUMN_OUTPUT,
    COLUMN_HISTORY,
    COLUMN_TEXT,
    COLUMN_LABEL,
    COLUMN_CHOSEN,
    COLUMN_REJECTED,
    COLUMN_ANCHOR,
    COLUMN_POSITIVE,
    COLUMN_NEGATIVE,
    COLUMN_SCORE,
    COLUMN_TOKENS,
    COLUMN_TAGS,
    COLUMN_ROLE,
    COLUMN_CONTENT,
    COLUMN_TRAIN,
    COLUMN_REASONING,
    RECORD_KEYS
} RecordKey;
const char *column_name(RecordKey c); // "messages", ...

// Names that roles have in the file: "bot" is the assistant.
#define ROLE_TARGETS(X)                                                                                                \
    X(TARGET_SYSTEM, "system", "instructions")                                                                         \
    X(TARGET_USER, "user", "questions")                                                                                \
    X(TARGET_ASSISTANT, "assistant", "answers")                                                                        \
    X(TARGET_TOOL, "tool", "results of tools")                                                                         \
    X(TARGET_FUNCTION_CALL, "function_call", "an answer that is a call of a tool, as JSON text")
typedef enum { ROLE_TARGETS(ENUM_CONSTANT) } RoleTarget;
typedef struct RoleName {
    char *name;
    RoleTarget target;
} RoleName;

typedef struct FileRule { // init with {0}: no difference
    DatasetFormat format; // FORMAT_AUTO: that of the options
    double limit;         // only the first records: a number, below 1 a fraction of them; 0: all
    char *split;          // a split's name with a slice of its records (record_slice.h); NULL: all
    double probability;   // of interleaving (subset.h); 0: none
    size_t entry;         // of train_file, from 0: files of one entry are interleaved as one
    unsigned roles;       // LearntTurns.roles; 0: those of the options
    bool has_eos;         // eos counts, not that of the options
    TrainOnEos eos;
    RoleName *role_names; // [n_role_names]
    size_t n_role_names;
    PromptFormat prompt;        // of FORMAT_ALPACA_PROMPT
    char *columns[RECORD_KEYS]; // name of the key in this file, "a.b" in an object; NULL: its own name
} FileRule;
FileRule file_rule_copy(const FileRule *r);
void file_rule_clear(FileRule *r);
void file_rule_add_role(FileRule *r, const char *name, RoleTarget target);
bool file_rule_has_columns(const FileRule *r);
LearntTurns file_rule_learnt(const FileRule *r, LearntTurns options); // r may be NULL
void file_rule_print(StrBuf *out, const FileRule *r); // for hashes; nothing where there is no difference
// An error where the first record of a file has no key of a name that it must have; a warning where it may lack it.
int file_rule_check(const Json *record, const FileRule *r, Err *err);
void file_rule_add_columns(FileRule *r, const FileRule *others); // those of `others` that r has not
const PromptFormat *file_rule_prompt(const FileRule *r);         // NULL: Stanford Alpaca's; r may be NULL
// The record with the keys' and the roles' own names; its parts belong to it and to the pool.
int file_rule_rename(Json *record, const FileRule *r, JsonPool *pool, Err *err);
// Puts the names of the file into a message about a renamed record: "antwort: found nothing", not "completion: ...".
// root: the record as it is in the file. r, err may be NULL. Returns -1. (file_rule_explain.c)
int file_rule_explain(const Json *root, const FileRule *r, Err *err);

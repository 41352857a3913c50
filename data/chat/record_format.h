// record_format: the layouts of records that data files have, and how the parts of a record are read.
#pragma once

typedef enum {
    FORMAT_AUTO, // in statistics: files of several formats
    FORMAT_MESSAGES,
    FORMAT_SHAREGPT,
    FORMAT_ALPACA,
    FORMAT_PROMPT_COMPLETION,
    FORMAT_TEXT,
    FORMAT_INPUT_IDS,
    FORMAT_CLASSIFICATION,
    FORMAT_COUNT
} DatasetFormat;
const char *dataset_format_name(DatasetFormat f); // as in the config: "auto", "messages", ...

// Control tokens that data spells: tokens in text and raw prompts and completions (auto), in classified texts too (on),
// or nowhere (off). In messages of a conversation they are plain text always.
typedef enum { PARSE_SPECIAL_AUTO, PARSE_SPECIAL_ON, PARSE_SPECIAL_OFF } ParseSpecial;
// Text of a message that the chat template leaves out.
typedef enum { UNRENDERED_ERROR, UNRENDERED_WARN } Unrendered;

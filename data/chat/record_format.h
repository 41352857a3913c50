// record_format: the layouts of records that data files have, and how the parts of a record are read.
#pragma once

#include <stdint.h>

#include "enum_words.h"

// FORMAT_AUTO in statistics: files of several formats. Token caches hold the numbers: new formats come last.
#define DATASET_FORMATS(X)                                                                                             \
    X(FORMAT_AUTO, "auto", "detected from the first record of each file")                                              \
    X(FORMAT_MESSAGES, "messages", "{\"messages\": [{\"role\", \"content\"}, ...]}")                                   \
    X(FORMAT_SHAREGPT, "sharegpt", "{\"conversations\": [{\"from\", \"value\"}, ...]}")                                \
    X(FORMAT_ALPACA, "alpaca", "{\"instruction\", \"input\", \"output\"}")                                             \
    X(FORMAT_PROMPT_COMPLETION, "prompt_completion", "{\"prompt\", \"completion\"}")                                   \
    X(FORMAT_TEXT, "text", "{\"text\"}")                                                                               \
    X(FORMAT_INPUT_IDS, "input_ids", "{\"input_ids\", \"labels\"}")                                                    \
    X(FORMAT_CLASSIFICATION, "classification", "a text and its label; task classification")                            \
    X(FORMAT_ALPACA_PROMPT, "alpaca_prompt", "as alpaca, but raw text with the prompt of Stanford Alpaca")             \
    X(FORMAT_SEGMENTS, "segments",                                                                                     \
      "{\"segments\": [{\"text\", \"label\"}, ...]}: raw text, learnt where label is true")                            \
    X(FORMAT_GEMINI, "gemini", "{\"contents\": [{\"role\", \"parts\"}, ...]}")                                         \
    X(FORMAT_PREFERENCE, "preference",                                                                                 \
      "answers with a verdict: {\"prompt\", \"chosen\", \"rejected\"}; task preference")                               \
    X(FORMAT_EMBEDDING, "embedding",                                                                                   \
      "texts that belong together: {\"anchor\", \"positive\", \"negative\"}, {\"sentence1\", \"sentence2\", "          \
      "\"score\"}; task embedding")                                                                                    \
    X(FORMAT_TOKEN_CLASSIFICATION, "token_classification",                                                             \
      "{\"tokens\", \"tags\"} or {\"text\", \"entities\"}; task token_classification")
typedef enum { DATASET_FORMATS(ENUM_CONSTANT) FORMAT_COUNT } DatasetFormat;
static inline const char *dataset_format_name(int64_t f) { // as in the config: "auto", "messages", ...
    return ENUM_WORDS(DATASET_FORMATS)[f].word;
}

// What preference data holds. Token caches hold the numbers.
typedef enum {
    PREFERENCE_NONE,  // other data
    PREFERENCE_PAIRS, // a prompt with two answers, of which one was chosen
    PREFERENCE_LABELS // a prompt with an answer that is desirable or not
} PreferenceData;
enum { LEARNT_PROMPT = 2 }; // in a mask of supervised tokens: one of a prompt, that is learnt as text

// What data of sentence embeddings holds. Token caches hold the numbers.
typedef enum {
    EMBEDDING_NONE,   // other data
    EMBEDDING_RANKED, // an anchor, its positive, negatives
    EMBEDDING_SCORED, // two texts with a number
    EMBEDDING_COSINES // the same, with a number from -1 to 1
} EmbeddingData;
// The vector of a text, from the last hidden states.
#define POOLINGS(X)                                                                                                    \
    X(POOLING_AUTO, "auto", "as the model's folder says; else mean of encoders, last of decoders")                     \
    X(POOLING_CLS, "cls", "of the first token")                                                                        \
    X(POOLING_MEAN, "mean", "the mean of all tokens")                                                                  \
    X(POOLING_LAST, "last", "of the last token")
typedef enum { POOLINGS(ENUM_CONSTANT) } Pooling;

// Where control tokens that are spelled out in data are tokens; in messages of a conversation they always stay text.
#define PARSE_SPECIALS(X)                                                                                              \
    X(PARSE_SPECIAL_AUTO, "auto", "in text and in raw prompts and completions")                                        \
    X(PARSE_SPECIAL_ON, "true", "in classified texts, too")                                                            \
    X(PARSE_SPECIAL_OFF, "false", "nowhere")
typedef enum { PARSE_SPECIALS(ENUM_CONSTANT) } ParseSpecial;

// Text of a message that the chat template leaves out.
#define UNRENDEREDS(X) X(UNRENDERED_ERROR, "error", "stop") X(UNRENDERED_WARN, "warn", "print a warning")
typedef enum { UNRENDEREDS(ENUM_CONSTANT) } Unrendered;

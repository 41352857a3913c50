// enum_words: an enum whose values have words. One list gives the constants, the words and what they mean:
//
//     #define TRUNCATIONS(X) X(TRUNCATION_DROP, "drop", "leave the sample out") X(TRUNCATION_ERROR, "error", "stop")
//     typedef enum { TRUNCATIONS(ENUM_CONSTANT) } Truncation;
//     ENUM_WORDS(TRUNCATIONS)[TRUNCATION_ERROR].word is "error"
#pragma once

#include <stddef.h>

typedef struct EnumWord {
    const char *word, *help;
} EnumWord;

#define ENUM_CONSTANT(constant, word, help) constant,
#define ENUM_WORD(constant, word, help) {word, help},
// All words in the order of their constants; the last one is NULL. At file scope the array lives as long as the
// program.
#define ENUM_WORDS(LIST) ((const EnumWord[]){LIST(ENUM_WORD){NULL, NULL}})

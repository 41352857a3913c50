// minhash: a text as 128 bytes from which the similarity of two texts is estimated (Broder 1997), and by which pairs of
// similar texts are found (locality-sensitive hashing, Leskovec et al., Mining of Massive Datasets, chapter 3).
//
// Similarity is the Jaccard index of the sets of shingles: |A and B| / |A or B|. A shingle is three words in sequence;
// a word is letters and digits (ASCII letters in lower case), each other character that is no white space, and each
// character of a script without spaces between words (Han, Thai, ...). Shorter texts are one shingle.
// 128 hash functions keep their least value over the shingles, as one byte: equal in a share of J + (1 - J) / 256 of
// them. The estimate has a standard deviation of at most 0.045, 0.035 where J is 0.8.
// Bands of 8 bytes, of which 16 make the signature: two texts are compared if a band is equal, which happens with
// probability 1 - (1 - J^8)^16: 95% where J is 0.8, 99.4% at 0.85, 99.99% at 0.9.
#pragma once

#include "base.h"

enum { SHINGLE_WORDS = 3, MINHASH_BANDS = 16, MINHASH_ROWS = 8, MINHASH_BYTES = MINHASH_BANDS * MINHASH_ROWS };
#define SIMILAR 0.8 // texts of at least this estimate are near duplicates

typedef struct MinHashFamily { // of hash functions: the same for all texts
    uint32_t factor[MINHASH_BYTES], offset[MINHASH_BYTES];
} MinHashFamily;
void minhash_family(MinHashFamily *f);

typedef struct MinHash { // of one text while it is read; init with minhash_begin
    const MinHashFamily *family;
    uint32_t least[MINHASH_BYTES];
    uint64_t words[SHINGLE_WORDS]; // hashes of the last words, oldest first
    uint64_t n;                    // words so far
} MinHash;
void minhash_begin(MinHash *m, const MinHashFamily *f);
void minhash_add(MinHash *m, const char *text, size_t len); // valid UTF-8; further texts follow as words
void minhash_add_word(MinHash *m, uint64_t hash);           // a word of another kind, as a token id
// False: the text has no words, and nothing is similar to it.
bool minhash_end(MinHash *m, uint8_t signature[MINHASH_BYTES]);
double minhash_similarity(const uint8_t a[MINHASH_BYTES], const uint8_t b[MINHASH_BYTES]); // the estimate, 0 to 1

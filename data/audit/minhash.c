#include "minhash.h"

#include <string.h>

#include "fnv.h"
#include "scripts.h"
#include "unicode.h"

// Finaliser of MurmurHash3 (64 bits).
static uint64_t mixed(uint64_t x) {
    x = (x ^ x >> 33) * UINT64_C(0xFF51AFD7ED558CCD);
    x = (x ^ x >> 33) * UINT64_C(0xC4CEB9FE1A85EC53);
    return x ^ x >> 33;
}

void minhash_family(MinHashFamily *f) {
    for (uint32_t k = 0; k < MINHASH_BYTES; k++) {
        uint64_t x = mixed(k + 1);
        f->factor[k] = (uint32_t)x | 1;
        f->offset[k] = (uint32_t)(x >> 32);
    }
}

void minhash_begin(MinHash *m, const MinHashFamily *f) {
    m->family = f;
    m->n = 0;
    memset(m->least, 0xFF, sizeof m->least);
    memset(m->words, 0, sizeof m->words);
}

static void add_shingle(MinHash *m) {
    uint64_t h = 0;
    for (int i = 0; i < SHINGLE_WORDS; i++) h = mixed(h ^ m->words[i]) + (uint64_t)i;
    uint32_t x = (uint32_t)(h >> 32);
    const uint32_t *factor = m->family->factor, *offset = m->family->offset;
    uint32_t *least = m->least;
    for (int k = 0; k < MINHASH_BYTES; k++) {
        uint32_t y = factor[k] * x + offset[k];
        least[k] = y < least[k] ? y : least[k];
    }
}

void minhash_add_word(MinHash *m, uint64_t hash) {
    memmove(m->words, m->words + 1, (SHINGLE_WORDS - 1) * sizeof *m->words);
    m->words[SHINGLE_WORDS - 1] = hash;
    if (++m->n >= SHINGLE_WORDS) add_shingle(m);
}

typedef enum { SPACE, PART_OF_WORD, WORD } CharacterKind;

static CharacterKind kind_of(int32_t c) {
    if (unicode_is_space(c)) return SPACE;
    if (c < 0x80) return (c >= '0' && c <= '9') || script_of(c) == SCRIPT_LATIN ? PART_OF_WORD : WORD;
    if (c >= 0x300 && c <= 0x36F) return PART_OF_WORD; // combining marks
    Script s = script_of(c);
    return s == SCRIPT_NONE || script_is_unspaced(s) ? WORD : PART_OF_WORD;
}

void minhash_add(MinHash *m, const char *text, size_t len) {
    uint64_t word = FNV64_START;
    bool in_word = false;
    for (size_t i = 0, n; i < len; i += n) {
        n = 1;
        int32_t c = (unsigned char)text[i];
        if (c >= 0x80) c = utf8_decode(text + i, len - i, &n);
        CharacterKind kind = kind_of(c);
        if (in_word && kind != PART_OF_WORD) {
            minhash_add_word(m, word);
            word = FNV64_START;
            in_word = false;
        }
        if (kind == SPACE) continue;
        if (c >= 'A' && c <= 'Z') c += 'a' - 'A';
        word = (word ^ (uint64_t)c) * UINT64_C(1099511628211);
        in_word = kind == PART_OF_WORD;
        if (in_word) continue;
        minhash_add_word(m, word);
        word = FNV64_START;
    }
    if (in_word) minhash_add_word(m, word);
}

bool minhash_end(MinHash *m, uint8_t signature[MINHASH_BYTES]) {
    if (m->n && m->n < SHINGLE_WORDS) add_shingle(m);
    for (int k = 0; k < MINHASH_BYTES; k++) signature[k] = (uint8_t)(mixed(m->least[k]) >> 56);
    return m->n != 0;
}

double minhash_similarity(const uint8_t a[MINHASH_BYTES], const uint8_t b[MINHASH_BYTES]) {
    int equal = 0;
    for (int k = 0; k < MINHASH_BYTES; k++) equal += a[k] == b[k];
    double share = (double)equal / MINHASH_BYTES, chance = 1.0 / 256;
    return share > chance ? (share - chance) / (1 - chance) : 0;
}

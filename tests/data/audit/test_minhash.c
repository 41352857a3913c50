// minhash: estimates next to the exact Jaccard index, what counts as a word, and the share of pairs that bands find.
#include "minhash.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "duplicates.h"
#include "test.h"

static void sign(uint8_t signature[MINHASH_BYTES], const char *text) {
    MinHashFamily f;
    MinHash m;
    minhash_family(&f);
    minhash_begin(&m, &f);
    minhash_add(&m, text, strlen(text));
    assert_true(minhash_end(&m, signature));
}

static double similarity(const char *a, const char *b) {
    uint8_t x[MINHASH_BYTES], y[MINHASH_BYTES];
    sign(x, a);
    sign(y, b);
    return minhash_similarity(x, y);
}

// ---- against the exact index ----

static uint64_t next_random(uint64_t *state) { // splitmix64
    uint64_t x = (*state += UINT64_C(0x9E3779B97F4A7C15));
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

enum { WORDS = 120 };
typedef struct Text {
    int words[WORDS];
    char *text;
} Text;

static void write_text(Text *t) {
    StrBuf text = {0};
    for (int i = 0; i < WORDS; i++) str_printf(&text, "w%d ", t->words[i]);
    t->text = text.data;
}

static bool has_shingle(const Text *t, const int *shingle, int end) {
    for (int i = 0; i < end; i++)
        if (memcmp(t->words + i, shingle, 3 * sizeof *shingle) == 0) return true;
    return false;
}

// |A and B| / |A or B| of the sets of three words in sequence, by comparing all of them.
static double exact(const Text *a, const Text *b) {
    int of_a = 0, of_b = 0, both = 0;
    for (int i = 0; i + 3 <= WORDS; i++) {
        if (!has_shingle(a, a->words + i, i)) {
            of_a++;
            both += has_shingle(b, a->words + i, WORDS - 2);
        }
        of_b += !has_shingle(b, b->words + i, i);
    }
    return (double)both / (of_a + of_b - both);
}

static void test_minhash_estimates_the_jaccard_index(void **state) {
    (void)state;
    enum { PAIRS = 600 };
    uint64_t random = 7;
    double sum = 0, squares = 0, worst = 0;
    for (int k = 0; k < PAIRS; k++) {
        Text a, b;
        for (int i = 0; i < WORDS; i++) b.words[i] = a.words[i] = (int)(next_random(&random) % 40);
        for (int i = 0; i < k * WORDS / PAIRS / 2; i++) // from equal texts to different ones
            b.words[next_random(&random) % WORDS] = (int)(next_random(&random) % 40);
        write_text(&a);
        write_text(&b);
        double error = similarity(a.text, b.text) - exact(&a, &b);
        if (k == 0) assert_true(error == 0);
        sum += error;
        squares += error * error;
        worst = fmax(worst, fabs(error));
        mem_free(a.text);
        mem_free(b.text);
    }
    double bias = sum / PAIRS, deviation = sqrt(squares / PAIRS);
    // The deviation of 128 independent hash functions is sqrt(J (1 - J) / 128): below 0.045, about 0.036 on average.
    if (!(fabs(bias) < 0.006 && deviation < 0.045 && deviation > 0.01 && worst < 0.2))
        fail_msg("bias %g, standard deviation %g, worst %g", bias, deviation, worst);
}

// Of pairs with J near 0.9 nearly all share a band; of unrelated texts none is found.
static void test_minhash_bands_find_similar_texts(void **state) {
    (void)state;
    enum { PAIRS = 200 };
    static AuditEntry e[2 * PAIRS];
    uint64_t random = 8;
    int similar = 0, found = 0;
    bool expected[PAIRS];
    for (int k = 0; k < PAIRS; k++) {
        Text a, b;
        for (int i = 0; i < WORDS; i++) b.words[i] = a.words[i] = (int)(next_random(&random) % 100000);
        for (int i = 0; i < 2; i++) b.words[10 + 50 * i] = -1; // 6 of 118 shingles differ
        if (k % 2)
            for (int i = 0; i < WORDS; i++) b.words[i] = (int)(next_random(&random) % 100000);
        expected[k] = exact(&a, &b) > 0.88;
        write_text(&a);
        write_text(&b);
        const char *texts[] = {a.text, b.text};
        for (int i = 0; i < 2; i++) {
            AuditEntry *x = &e[2 * k + i];
            *x = (AuditEntry){.hash = (uint64_t)(2 * k + i), .readable = true, .comparable = true};
            sign(x->signature, texts[i]);
            mem_free((char *)texts[i]);
        }
    }
    AUTO_CALL(duplicates_clear) Duplicates d = {0};
    duplicates_find(&d, e, 2 * PAIRS);
    for (int k = 0; k < PAIRS; k++) {
        uint32_t near = d.near[2 * k + 1];
        similar += expected[k];
        found += expected[k] && near == (uint32_t)(2 * k);
        if (!expected[k]) assert_int_equal(near, DUPLICATE_NONE);
        assert_int_equal(d.near[2 * k], DUPLICATE_NONE);
    }
    assert_int_equal(similar, PAIRS / 2);
    assert_true(found >= similar - 2);
}

// Many copies of one text cost linear time, and each is similar to the first.
static void test_minhash_many_copies(void **state) {
    (void)state;
    enum { COPIES = 100000 };
    AuditEntry *e = mem_calloc(COPIES, sizeof *e);
    sign(e[0].signature, "one and the same text for each of the records");
    for (int i = 0; i < COPIES; i++) {
        memcpy(e[i].signature, e[0].signature, MINHASH_BYTES);
        e[i].hash = (uint64_t)i;
        e[i].readable = e[i].comparable = true;
        e[i].validation = i >= COPIES / 2;
    }
    AUTO_CALL(duplicates_clear) Duplicates d = {0};
    duplicates_find(&d, e, COPIES);
    for (uint32_t i = 0; i < COPIES; i++) {
        uint32_t first = i < COPIES / 2 ? 0 : COPIES / 2;
        assert_int_equal(d.near[i], i == first ? DUPLICATE_NONE : first);
        assert_int_equal(d.leaked_near[i], first ? 0 : DUPLICATE_NONE);
    }
    mem_free(e);
}

// ---- words ----

static void test_minhash_words(void **state) {
    (void)state;
    assert_true(similarity("One two  three\nfour", "one TWO three four") == 1);
    assert_true(similarity("What is 3+4?", "What is 3-4?") < 0.5); // signs are words
    assert_true(similarity("yes", "no") == 0);
    assert_true(similarity("yes", "Yes") == 1);
    // 9 characters of Han are 9 words: 7 shingles each, 4 in common
    double han = similarity("我们今天去看电影吧", "我们今天去看电视吧");
    assert_true(han > 0.2 && han < 0.75);
    assert_true(similarity("слово за слово и так далее", "слово за слово и так далее") == 1);
    uint8_t signature[MINHASH_BYTES];
    MinHashFamily f;
    MinHash m;
    minhash_family(&f);
    minhash_begin(&m, &f);
    minhash_add(&m, " \n\t", 3);
    assert_false(minhash_end(&m, signature));
}

TEST_MAIN(TEST(test_minhash_estimates_the_jaccard_index), TEST(test_minhash_bands_find_similar_texts),
          TEST(test_minhash_many_copies), TEST(test_minhash_words))

#include "proof.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include <nettle/hmac.h>
#include <nettle/memops.h>

_Static_assert(sizeof(Hello) == 24 + PROOF_NONCE, "a hello has no padding");
_Static_assert((int)GROUP_KEY == (int)SHA256_DIGEST_SIZE && (int)PROOF_SIZE == (int)SHA256_DIGEST_SIZE, "SHA-256");

int proof_nonce(unsigned char nonce[PROOF_NONCE], Err *err) {
    if (getrandom(nonce, PROOF_NONCE, 0) == PROOF_NONCE) return 0;
    return err_runtime(err, "getrandom: %s", strerror(errno));
}

void proof_make(unsigned char proof[PROOF_SIZE], const unsigned char key[GROUP_KEY], Side side, const Hello *h,
                const unsigned char nonce[PROOF_NONCE]) {
    static const uint8_t sides[2][8] = {"rank 0", "peer"};
    struct hmac_sha256_ctx c;
    hmac_sha256_set_key(&c, GROUP_KEY, key);
    hmac_sha256_update(&c, sizeof sides[0], sides[side]);
    hmac_sha256_update(&c, sizeof *h, (const uint8_t *)h);
    hmac_sha256_update(&c, PROOF_NONCE, nonce);
    hmac_sha256_digest(&c, PROOF_SIZE, proof);
}

bool proof_matches(const unsigned char proof[PROOF_SIZE], const unsigned char key[GROUP_KEY], Side side, const Hello *h,
                   const unsigned char nonce[PROOF_NONCE]) {
    unsigned char expected[PROOF_SIZE];
    proof_make(expected, key, side, h, nonce);
    return memeql_sec(expected, proof, PROOF_SIZE) != 0;
}

void proof_key(unsigned char key[GROUP_KEY], const void *secret, size_t n, const void *use, size_t n_use) {
    struct hmac_sha256_ctx c;
    hmac_sha256_set_key(&c, n, secret);
    hmac_sha256_update(&c, n_use, use);
    hmac_sha256_digest(&c, GROUP_KEY, key);
}

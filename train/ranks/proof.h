// proof: mutual authentication of two ranks by the run's key, which is not sent.
//
// Challenge and response: HMAC-SHA256 (nettle) over the side that proves, the hello of the connecting rank, and a nonce
// of each side. Nonces prevent replay, the side prevents reflection, channel and rank bind it to one connection.
#pragma once

#include "group.h"

enum { PROOF_NONCE = 16, PROOF_SIZE = 32 };

typedef struct Hello {
    uint64_t magic;
    int32_t channel, rank, ranks, zero;
    unsigned char nonce[PROOF_NONCE];
} Hello;

typedef enum { SIDE_RANK_0, SIDE_PEER } Side;

int proof_nonce(unsigned char nonce[PROOF_NONCE], Err *err); // from the kernel's generator
// `nonce`: rank 0's; the peer's is in its hello.
void proof_make(unsigned char proof[PROOF_SIZE], const unsigned char key[GROUP_KEY], Side side, const Hello *h,
                const unsigned char nonce[PROOF_NONCE]);
// In constant time.
bool proof_matches(const unsigned char proof[PROOF_SIZE], const unsigned char key[GROUP_KEY], Side side, const Hello *h,
                   const unsigned char nonce[PROOF_NONCE]);
// Derives a key from a secret or another key; `use`: a text or random bytes.
void proof_key(unsigned char key[GROUP_KEY], const void *secret, size_t n, const void *use, size_t n_use);

// proof: how two ranks show each other that they know the run's key, without sending it.
//
// Challenge and response: HMAC-SHA256 (nettle) over which side proves, the hello of the rank that connects, and a nonce
// of each side. Fresh nonces make a recorded proof useless, the side one that is sent back, channel and rank one that
// was made for another connection.
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
// `nonce`: of rank 0; the peer's is in its hello.
void proof_make(unsigned char proof[PROOF_SIZE], const unsigned char key[GROUP_KEY], Side side, const Hello *h,
                const unsigned char nonce[PROOF_NONCE]);
// In a time that does not depend on how much of it is right.
bool proof_is_right(const unsigned char proof[PROOF_SIZE], const unsigned char key[GROUP_KEY], Side side,
                    const Hello *h, const unsigned char nonce[PROOF_NONCE]);
// A key for one use, made of a secret or of another key; `use`: a text or random bytes.
void proof_key(unsigned char key[GROUP_KEY], const void *secret, size_t n, const void *use, size_t n_use);

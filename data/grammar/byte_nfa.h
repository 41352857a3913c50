// byte_nfa: expressions over characters as a nondeterministic automaton over the bytes of their UTF-8 (Thompson 1968).
// Parts are put together from smaller ones; each part is used once.
#pragma once

#include "base.h"

enum { NFA_MAX_NODES = 1 << 18, CODE_POINT_MAX = 0x10FFFF };
#define NFA_NOWHERE UINT32_MAX

typedef struct NfaNode {
    bool bytes;     // one byte of lo..hi leads to a; else a and b are reached without one
    uint8_t lo, hi; // of bytes
    uint32_t a, b;  // NFA_NOWHERE: none
} NfaNode;

typedef struct ByteNfa { // init with {0}
    NfaNode *nodes;
    size_t count, capacity;
    bool full; // NFA_MAX_NODES are not enough: the parts are not complete
} ByteNfa;

typedef struct NfaPart {
    uint32_t start, end; // the end leads nowhere yet
} NfaPart;

typedef struct CodeRange {
    uint32_t lo, hi;
} CodeRange;

void nfa_clear(ByteNfa *n);
NfaPart nfa_empty(ByteNfa *n);   // the empty text
NfaPart nfa_nothing(ByteNfa *n); // no text at all
NfaPart nfa_bytes(ByteNfa *n, uint8_t lo, uint8_t hi);
NfaPart nfa_text(ByteNfa *n, const char *text, size_t len);
// One character of the ranges; surrogates are left out.
NfaPart nfa_class(ByteNfa *n, const CodeRange *ranges, size_t count);
NfaPart nfa_sequence(ByteNfa *n, NfaPart x, NfaPart y);
NfaPart nfa_either(ByteNfa *n, NfaPart x, NfaPart y);
// x is made of the nodes from `first` on, all of them. max -1: no limit.
NfaPart nfa_repeat(ByteNfa *n, NfaPart x, size_t first, int64_t min, int64_t max);

// Sorts the ranges and joins those that touch; returns how many are left.
size_t code_ranges_join(CodeRange *ranges, size_t count);
// What the joined ranges leave out, into out [count + 1]; returns how many.
size_t code_ranges_others(CodeRange *out, const CodeRange *ranges, size_t count);

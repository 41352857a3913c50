// token_trie: the texts of a vocabulary's tokens as a tree of bytes, so that an automaton walks over what tokens have
// in common once. Control tokens and tokens without text are not in it.
#pragma once

#include "byte_kind.h"
#include "tokenizer.h"

enum { TRIE_MAX_DEPTH = 1024, TRIE_MAX_PLAIN = 64 }; // longer tokens are left out

typedef struct TrieNode { // in the order of a walk: a node, then those below it
    uint32_t end;         // the next node that is not below this one
    uint32_t first;       // tokens [first, first of the next node) end here
    uint16_t depth;       // of its byte, from 1
    uint16_t deepest;     // of this node and those below it
    ByteKinds below;      // of the bytes of the nodes below it
    uint8_t byte;
} TrieNode;

typedef struct Trie {
    TrieNode *nodes; // [count + 1], node 0 is the root, the last one ends the lists
    size_t count;
    int32_t *tokens; // those that end at or below a node are neighbours
} Trie;

typedef struct TokenTrie { // read-only after it was made
    const Tokenizer *tokenizer;
    size_t words; // of a mask of 64 tokens each
    Trie all;     // after the first token of a text
    Trie first;   // count 0: as all
    // plain[k]: a mask of the tokens of at most k characters that may all stand between the quotes of a string of JSON
    // as they are; rest: the others.
    uint64_t *plain[TRIE_MAX_PLAIN + 1];
    Trie rest;
} TokenTrie;

TokenTrie *token_trie_new(const Tokenizer *t); // t must outlive it
void token_trie_free(TokenTrie *t);
DEFINE_AUTO(TokenTrie, token_trie_free)

// What a token adds to a text; begun: it is not the text's first token. Uses *room where it has to. Empty: nothing that
// a text may hold.
JsonStr token_trie_text(const TokenTrie *t, int32_t id, bool begun, StrBuf *room);

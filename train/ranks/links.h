// links: TCP connections of a rank to its neighbours in a chain, and messages over them (group_exchange).
//
// Both ends know the size of each message. A header with its number and size precedes it, so that ranks that are out of
// step notice; no length is taken from it.
#pragma once

#include "rendezvous.h"

typedef struct Links {
    int peers[NEIGHBOURS], fds[NEIGHBOURS]; // -1: none
    uint64_t sent[NEIGHBOURS], received[NEIGHBOURS];
} Links;

// Collective (rendezvous_neighbours). links_close is the caller's in any case.
int links_open(Links *l, Group *g, const int neighbours[NEIGHBOURS], double seconds, Err *err);
void links_close(Links *l);
// deadline: time_now; may be INFINITY.
int links_exchange(Links *l, const GroupMessage *out, const GroupMessage *in, double deadline, Err *err);

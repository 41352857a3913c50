// group_tcp: a group over TCP. All data passes through rank 0, which also sums: for control messages and small jobs;
// gradients of GPUs use NCCL, those of many CPU ranks MPI.
//
// Every call starts with a header that describes it. If the ranks' headers differ, all get an error that names both.
#pragma once

#include "rendezvous.h"

// Takes ownership of the connections. Fills calls and ranks; until ranks_open sets the nodes, each rank counts as one.
void group_tcp_open(Group *g, RankSockets *sockets);

// group_tcp: a group over TCP. Everything goes through rank 0, which also adds up: made for what ranks agree about and
// for small jobs; gradients of GPUs go through NCCL, those of many CPU ranks through MPI.
//
// Every call starts with what each rank believes that all are doing. Where they do not believe the same, all get an
// error that says so.
#pragma once

#include "rendezvous.h"

// Takes the connections over. Fills the calls and the number of ranks; the numbers of machines are of one rank each.
void group_tcp_open(Group *g, RankSockets *sockets);

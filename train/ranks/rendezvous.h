// rendezvous: TCP connections between rank 0 of a job and each of the other ranks.
//
// Rank 0 listens; the others retry until it does. Both sides prove that they know the run's key (proof.h): any other
// connection (a port scanner, a rank of another job, a silent or slow peer) is closed and delays nobody. The
// connections are not encrypted; they carry the messages of a group (group_tcp.h) or of a heartbeat.
#pragma once

#include "group.h"

typedef struct RankSockets {
    int rank, ranks;
    int *fds; // [ranks] blocking sockets; rank 0: fds[r] leads to rank r (fds[0] = -1), others: only fds[0] is set
    unsigned char key[GROUP_KEY];
    char address[GROUP_ADDRESS]; // rank 0: the address it listened on, "": all interfaces
} RankSockets;

// The purpose of a connection; a job may have one rendezvous of each.
typedef enum { RENDEZVOUS_GROUP, RENDEZVOUS_HEARTBEAT, RENDEZVOUS_LINK } RendezvousChannel;

typedef struct RendezvousOptions {
    RendezvousChannel channel;
    int rank, ranks;
    unsigned char key[GROUP_KEY]; // the same on all ranks
    const char *hosts;            // names or addresses of rank 0, separated by commas, tried in turn
    int port;                     // of rank 0
    int listener;                 // rank 0: the listening socket (socket_listen); closed at the end, also on failure
    double seconds;               // deadline for the other ranks
} RendezvousOptions;

// Returns on all ranks when all are connected; else -1 on all of them, with the same reason.
int rendezvous_open(RankSockets *s, const RendezvousOptions *place, Err *err);
// The same for ranks that have a group already: rank 0 picks the port and broadcasts it. Collective.
int rendezvous_over_group(RankSockets *s, Group *g, RendezvousChannel channel, double seconds, Err *err);
// Of chains of ranks, which name each other: a connection to each neighbour (-1: none), which the earlier rank accepts.
// Collective.
enum { PREVIOUS, NEXT, NEIGHBOURS };
int rendezvous_neighbours(int fds[NEIGHBOURS], Group *g, const int neighbours[NEIGHBOURS], double seconds, Err *err);
void rank_sockets_close(RankSockets *s); // {0} is allowed

// All bytes until `deadline` (time_now; may be INFINITY), or -1 with a message that names the peer. `peer`: a rank; on
// ranks above 0 it must be 0.
int rank_sockets_send(const RankSockets *s, int peer, const void *data, size_t n, double deadline, Err *err);
int rank_sockets_receive(const RankSockets *s, int peer, void *data, size_t n, double deadline, Err *err);

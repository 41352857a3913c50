// rendezvous: TCP connections between rank 0 of a job and each of the other ranks.
//
// Rank 0 listens; the others try until it is there. Both sides prove that they know the run's key (proof.h): whatever
// else connects (a port scanner, a rank of another job, a stranger that says nothing or a byte a second) is closed and
// holds nobody up. What the connections carry is the business of their user: the messages of a group (group_tcp.h), the
// beats of a heartbeat. They are not encrypted.
#pragma once

#include "group.h"

typedef struct RankSockets {
    int rank, ranks;
    int *fds; // [ranks] blocking sockets; rank 0: fds[r] leads to rank r (fds[0] = -1), others: only fds[0] is set
    unsigned char key[GROUP_KEY];
    char address[GROUP_ADDRESS]; // rank 0: where it has listened, "": on all interfaces
} RankSockets;

// What a connection is for; one job may have one rendezvous of each.
typedef enum { RENDEZVOUS_GROUP, RENDEZVOUS_HEARTBEAT } RendezvousChannel;

typedef struct RendezvousOptions {
    RendezvousChannel channel;
    int rank, ranks;
    unsigned char key[GROUP_KEY]; // the same on all ranks
    const char *hosts;            // names or addresses of rank 0, separated by commas; they are tried in turn
    int port;                     // of rank 0
    int listener;   // rank 0: the socket that listens there (socket_listen); closed at the end, also on failure
    double seconds; // how long the other ranks are waited for
} RendezvousOptions;

// Returns on all ranks when all are there; else -1 on all of them, and rank 0 has told the others why.
int rendezvous_open(RankSockets *s, const RendezvousOptions *place, Err *err);
// The same where the ranks have a group already: rank 0 picks the port and tells the others. Collective.
int rendezvous_over_group(RankSockets *s, Group *g, RendezvousChannel channel, double seconds, Err *err);
void rank_sockets_close(RankSockets *s); // {0} is allowed

// All of the bytes until `deadline` (time_now; INFINITY), or -1: the message names the peer. `peer`: a rank; of those
// above 0 only rank 0 is one.
int rank_sockets_send(const RankSockets *s, int peer, const void *data, size_t n, double deadline, Err *err);
int rank_sockets_receive(const RankSockets *s, int peer, void *data, size_t n, double deadline, Err *err);

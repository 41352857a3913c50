// sockets: TCP with deadlines. All are closed on exec; none raises SIGPIPE.
#pragma once

#include "base.h"

// Listens on *port (0: a free one, which it sets), on the interface with the address of `host`. NULL: on all
// interfaces, IPv6 and IPv4; also, with a warning, if `host` is not an address of this machine that others can reach
// (many /etc/hosts resolve a machine's own name to loopback).
int socket_listen(int *fd, int *port, const char *host, Err *err);
// A blocking socket connected to `host` (a name or an address). Tries all its addresses, each for at most `timeout`
// seconds, until `deadline` (time_now). -1: the message is that of the last one.
int socket_connect(const char *host, int port, double timeout, double deadline, Err *err);
// A pending connection, as a blocking socket; -1: none.
int socket_accept(int listener);

// All n bytes, or -1 with errno: 0: closed by the peer; ETIMEDOUT: `deadline` (time_now; may be INFINITY) has passed.
int socket_send(int fd, const void *data, size_t n, double deadline);
int socket_receive(int fd, void *data, size_t n, double deadline);
// The numeric address of a listening socket; "": all interfaces.
void socket_own_address(char *text, size_t size, int fd);
bool socket_is_closed(int fd); // by the peer
// Numeric addresses of this machine, separated by commas, loopback last; as many as fit.
void socket_addresses(char *list, size_t size);
// Milliseconds until `deadline` for poll, rounded up, at most `most` seconds; 0: it has passed.
int socket_milliseconds(double deadline, double most);

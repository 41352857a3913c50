// sockets: TCP with deadlines. All are closed on exec; none raises SIGPIPE.
#pragma once

#include "base.h"

// Listens at `port` (0: any free one) and says which in *port: on the interface that has the address of `host` alone.
// NULL: on all interfaces, IPv6 and IPv4. Also, with a warning, where `host` has no address here that others can reach
// (of a name that leads to a loopback address here, as in many /etc/hosts, others know another address).
int socket_listen(int *fd, int *port, const char *host, Err *err);
// A blocking socket connected to `host` (a name or an address), all of its addresses tried, none for longer than
// `patience`, until `deadline` (time_now). -1: the message says why the last one failed.
int socket_connect(const char *host, int port, double patience, double deadline, Err *err);
// A connection that waits, made ready for use (blocking); -1: none.
int socket_accept(int listener);

// All of n bytes, or -1 with errno; 0: the peer has closed; ETIMEDOUT: not all until `deadline` (time_now; INFINITY).
int socket_send(int fd, const void *data, size_t n, double deadline);
int socket_receive(int fd, void *data, size_t n, double deadline);
// The numeric address of a socket that listens; "": all.
void socket_own_address(char *text, size_t size, int fd);
// Nothing more can come from there.
bool socket_is_closed(int fd);
// Numeric addresses of this machine, separated by commas, those that only this machine knows last; as many as fit.
void socket_addresses(char *list, size_t size);
// Milliseconds for poll until `deadline`, rounded up, at most `most` seconds; 0 when it has passed.
int socket_milliseconds(double deadline, double most);

#include "sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int socket_milliseconds(double deadline, double most) {
    double left = deadline - time_now();
    if (left <= 0) return 0;
    return (int)((left < most ? left : most) * 1e3) + 1;
}

static void set_option(int fd, int level, int option) {
    int on = 1;
    (void)setsockopt(fd, level, option, &on, sizeof on); // optional: the connection works without it
}

// ---- listening ----

static int bind_to(const struct sockaddr *address, socklen_t size) {
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), off = 0;
    if (fd < 0) return -1;
    set_option(fd, SOL_SOCKET, SO_REUSEADDR); // connections of an earlier run may be in TIME_WAIT
    if (address->sa_family == AF_INET6) (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (!bind(fd, address, size) && !listen(fd, SOMAXCONN)) return fd;
    int reason = errno;
    close(fd);
    errno = reason;
    return -1;
}

static int bind_any(int port) {
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = bind_to((struct sockaddr *)&six, sizeof six);
    return fd >= 0 || errno == EADDRINUSE ? fd : bind_to((struct sockaddr *)&four, sizeof four); // without IPv6
}

static int port_of(int fd) {
    struct sockaddr_storage a = {0};
    socklen_t size = sizeof a;
    if (getsockname(fd, (struct sockaddr *)&a, &size)) return -1;
    if (a.ss_family == AF_INET) return ntohs(((struct sockaddr_in *)&a)->sin_port);
    return a.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&a)->sin6_port) : -1;
}

static bool is_loopback(const struct sockaddr *a) {
    if (a->sa_family == AF_INET) return ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 24 == 127;
    return a->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)a)->sin6_addr);
}

static struct addrinfo *addresses_of(const char *host, int port, int flags, int *why) {
    char service[16];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | flags}, *list = NULL;
    snprintf(service, sizeof service, "%d", port);
    *why = getaddrinfo(host, service, &hints, &list);
    return *why ? NULL : list;
}

// -1 with errno: none of these addresses is of this machine, or the port is taken.
static int bind_one_of(const struct addrinfo *list, bool by_name) {
    int fd = -1, reason = EADDRNOTAVAIL;
    for (; list && fd < 0 && reason != EADDRINUSE && reason != EACCES; list = list->ai_next) {
        if (by_name && is_loopback(list->ai_addr)) continue;
        fd = bind_to(list->ai_addr, list->ai_addrlen);
        if (fd < 0) reason = errno;
    }
    errno = reason;
    return fd;
}

int socket_listen(int *fd, int *port, const char *host, Err *err) {
    int why;
    if (host && !strcmp(host, "localhost")) host = "127.0.0.1";
    struct addrinfo *numeric = host ? addresses_of(host, *port, AI_NUMERICHOST, &why) : NULL;
    struct addrinfo *list = numeric || !host ? numeric : addresses_of(host, *port, 0, &why);
    *fd = bind_one_of(list, !numeric);
    int reason = errno;
    if (list) freeaddrinfo(list);
    if (*fd < 0 && reason != EADDRINUSE && reason != EACCES) {
        if (host)
            log_warn("%.255s is not an address of this machine that others can reach: rank 0 listens on all interfaces",
                     host);
        *fd = bind_any(*port);
        reason = errno;
    }
    if (*fd < 0)
        return err_runtime(err, "port %d: %s%s", *port, strerror(reason),
                           reason == EADDRINUSE ? "; set LORAC_PORT to another one on all ranks" : "");
    *port = port_of(*fd);
    return 0;
}

void socket_own_address(char *text, size_t size, int fd) {
    struct sockaddr_storage a = {0};
    socklen_t length = sizeof a;
    text[0] = 0;
    if (getsockname(fd, (struct sockaddr *)&a, &length)) return;
    if (getnameinfo((struct sockaddr *)&a, length, text, (socklen_t)size, NULL, 0, NI_NUMERICHOST)) text[0] = 0;
    if (!strcmp(text, "::") || !strcmp(text, "0.0.0.0")) text[0] = 0;
}

int socket_accept(int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) return -1;
    set_option(fd, IPPROTO_TCP, TCP_NODELAY);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE);
    return fd;
}

// ---- connecting ----

// 0 or an errno.
static int connect_within(int fd, const struct addrinfo *a, double timeout, double deadline) {
    if (!connect(fd, a->ai_addr, a->ai_addrlen)) return 0;
    if (errno != EINPROGRESS) return errno;
    double limit = time_now() + timeout < deadline ? time_now() + timeout : deadline;
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int ready, error = 0;
    do ready = poll(&p, 1, socket_milliseconds(limit, timeout));
    while (ready < 0 && errno == EINTR);
    socklen_t size = sizeof error;
    if (ready < 0 || (ready && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size))) return errno;
    return ready ? error : ETIMEDOUT;
}

static int connect_to(const struct addrinfo *a, double timeout, double deadline, int *why) {
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    *why = fd < 0 ? errno : connect_within(fd, a, timeout, deadline);
    int flags = *why ? 0 : fcntl(fd, F_GETFL);
    if (!*why && (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK))) *why = errno; // blocking from here
    if (*why) {
        if (fd >= 0) close(fd);
        return -1;
    }
    set_option(fd, IPPROTO_TCP, TCP_NODELAY);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE);
    return fd;
}

int socket_connect(const char *host, int port, double timeout, double deadline, Err *err) {
    int why, fd = -1;
    struct addrinfo *list = addresses_of(host, port, 0, &why);
    if (!list) return err_runtime(err, "%.255s: %s", host, gai_strerror(why));
    why = ETIMEDOUT;
    for (const struct addrinfo *a = list; a && fd < 0 && time_now() < deadline; a = a->ai_next)
        fd = connect_to(a, timeout, deadline, &why);
    freeaddrinfo(list);
    return fd >= 0 ? fd : err_runtime(err, "%.255s port %d: %s", host, port, strerror(why));
}

// ---- bytes ----

// 0: the socket is ready; -1 with errno.
static int wait_for(int fd, short events, double deadline) {
    for (;;) {
        struct pollfd wait = {.fd = fd, .events = events};
        int ready = poll(&wait, 1, socket_milliseconds(deadline, 60));
        if (ready > 0) return 0;
        if (ready < 0 && errno != EINTR) return -1;
        if (ready == 0 && time_now() >= deadline) {
            errno = ETIMEDOUT;
            return -1;
        }
    }
}

int socket_send(int fd, const void *data, size_t n, double deadline) {
    for (const char *p = data; n > 0;) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0 && (errno != EAGAIN || wait_for(fd, POLLOUT, deadline))) return -1;
        if (sent > 0) p += sent, n -= (size_t)sent;
    }
    return 0;
}

int socket_receive(int fd, void *data, size_t n, double deadline) {
    for (char *p = data; n > 0;) {
        ssize_t got = recv(fd, p, n, MSG_DONTWAIT);
        if (got < 0 && errno == EINTR) continue;
        if (got == 0) {
            errno = 0;
            return -1;
        }
        if (got < 0 && (errno != EAGAIN || wait_for(fd, POLLIN, deadline))) return -1;
        if (got > 0) p += got, n -= (size_t)got;
        if (n > 0 && got > 0 && time_now() >= deadline) { // a byte now and then
            errno = ETIMEDOUT;
            return -1;
        }
    }
    return 0;
}

bool socket_is_closed(int fd) {
    char byte;
    ssize_t got = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
}

// ---- addresses of this machine ----

static bool numeric_address(const struct ifaddrs *i, char *text, size_t size) {
    const struct sockaddr *a = i->ifa_addr;
    if (!a || !(i->ifa_flags & IFF_UP)) return false;
    bool six = a->sa_family == AF_INET6;
    if (!six && a->sa_family != AF_INET) return false;
    // A link-local address needs an interface name, which differs between machines.
    if (six && IN6_IS_ADDR_LINKLOCAL(&((const struct sockaddr_in6 *)a)->sin6_addr)) return false;
    socklen_t length = six ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    return !getnameinfo(a, length, text, (socklen_t)size, NULL, 0, NI_NUMERICHOST);
}

void socket_addresses(char *list, size_t size) {
    struct ifaddrs *all = NULL;
    size_t used = 0;
    list[0] = 0;
    if (getifaddrs(&all)) all = NULL;
    for (int loopback = 0; loopback < 2; loopback++)
        for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
            char text[INET6_ADDRSTRLEN + 16];
            if (!numeric_address(i, text, sizeof text) || is_loopback(i->ifa_addr) != loopback) continue;
            if (used + strlen(text) + 2 > size) break;
            used += (size_t)snprintf(list + used, size - used, "%s%s", used ? "," : "", text);
        }
    if (all) freeifaddrs(all);
}

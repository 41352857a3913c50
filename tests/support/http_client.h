// http_client: a client of the test's own on loopback, that may send anything and stop anywhere.
#pragma once

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "test.h"

static inline int client_open(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval limit = {.tv_sec = 20};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&a, sizeof a)) fail_msg("port %d: connect: %s", port, strerror(errno));
    return fd;
}

// False: the server has closed the connection.
static inline bool client_send(int fd, const void *data, size_t size) {
    for (size_t at = 0; at < size;) {
        ssize_t n = send(fd, (const char *)data + at, size - at, MSG_NOSIGNAL);
        if (n <= 0) return false;
        at += (size_t)n;
    }
    return true;
}

static inline void client_say(int fd, const char *text) { client_send(fd, text, strlen(text)); }

// Until `part` has come (NULL: until the end); closes nothing. Caller frees.
static inline char *client_read(int fd, const char *part) {
    StrBuf text = {0};
    char piece[4096];
    ssize_t n;
    str_puts(&text, "");
    while ((!part || !strstr(text.data, part)) && (n = recv(fd, piece, sizeof piece, 0)) > 0)
        str_add(&text, piece, (size_t)n);
    if (part && !strstr(text.data, part)) fail_msg("\"%s\" came, then the end; expected \"%s\"", text.data, part);
    return text.data;
}

// One connection, one request, all of its answer. Caller frees.
static inline char *client_ask_bytes(int port, const void *request, size_t size) {
    int fd = client_open(port);
    client_send(fd, request, size);
    char *answer = client_read(fd, NULL);
    close(fd);
    return answer;
}

static inline char *client_ask(int port, const char *request) {
    return client_ask_bytes(port, request, strlen(request));
}

// `line`: "GET /path"; more: header lines that end with \r\n; body may be NULL.
static inline char *client_request(int port, const char *line, const char *more, const char *body) {
    AUTO_FREE char *length = body ? mem_printf("Content-Length: %zu\r\n", strlen(body)) : mem_strdup("");
    AUTO_FREE char *request =
        mem_printf("%s HTTP/1.1\r\n%s%s%sConnection: close\r\n\r\n%s", line,
                   strstr(more, "Host:") ? "" : "Host: localhost\r\n", more, length, body ? body : "");
    return client_ask(port, request);
}

static inline int status_of(const char *answer) {
    int status = 0;
    return sscanf(answer, "HTTP/1.1 %d", &status) == 1 ? status : 0;
}

#define ASSERT_STATUS(answer, want)                                                                                    \
    do {                                                                                                               \
        AUTO_FREE char *answer_ = (answer);                                                                            \
        if (status_of(answer_) != (want)) fail_msg("%s: \"%.300s\"; expected status %d", #answer, answer_, want);      \
    } while (0)
#define ASSERT_ANSWER(answer, want, part)                                                                              \
    do {                                                                                                               \
        AUTO_FREE char *answer_ = (answer);                                                                            \
        if (status_of(answer_) != (want) || !strstr(answer_, part))                                                    \
            fail_msg("%s: \"%.400s\"; expected status %d and \"%s\"", #answer, answer_, want, part);                   \
    } while (0)

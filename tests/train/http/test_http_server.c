// test_http_server: lorac-http.so with clients that behave, and with those that do not.
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "http_client.h"
#include "http_server.h"

enum { STREAMS = 64, EVENTS = 20, MAX_BODY_HERE = 100000 };

static HttpServer *g_server;
static int g_port;
static HttpExchange *_Atomic g_kept; // the exchange of /keep, held
static atomic_int g_calls;

static void sleep_seconds(double s) {
    nanosleep(&(struct timespec){(time_t)s, (long)((s - (double)(time_t)s) * 1e9)}, NULL);
}

// ---- the handler ----

static void *answer_later(void *arg) {
    HttpExchange *x = arg;
    sleep_seconds(0.05);
    http_answer_text(x, 201, "text/plain", "later");
    http_release(x);
    return NULL;
}

static void *stream_events(void *arg) {
    HttpExchange *x = arg;
    for (int i = 0; i < EVENTS; i++) {
        AUTO_FREE char *data = mem_printf("%s\n%d", x->body, i);
        http_append_event(x, i % 2 ? "odd" : NULL, i, data);
        sleep_seconds(0.01);
    }
    http_finish(x);
    http_release(x);
    return NULL;
}

static void *flood(void *arg) {
    static const char block[65536] = "x";
    HttpExchange *x = arg;
    while (!http_append(x, block, sizeof block)) {
    }
    http_release(x);
    atomic_fetch_add(&g_calls, 1000);
    return NULL;
}

static void in_thread(void *(*work)(void *), HttpExchange *x) {
    pthread_t thread;
    http_hold(x);
    pthread_create(&thread, NULL, work, x);
    pthread_detach(thread);
}

static void handle(HttpExchange *x) {
    atomic_fetch_add(&g_calls, 1);
    if (strcmp(x->path, "/echo") == 0) {
        const char *q = http_query(x, "q"), *h = http_header(x, "X-Mine");
        AUTO_FREE char *text =
            mem_printf("%s q=%s h=%s body=%zu:%s|", x->method, q ? q : "none", h ? h : "none", x->body_size, x->body);
        http_add_header(x, "X-Answer", "yes");
        http_answer_text(x, 200, "text/plain", text);
        http_answer_text(x, 500, "text/plain", "a second answer is dropped");
    } else if (strcmp(x->path, "/later") == 0) {
        in_thread(answer_later, x);
    } else if (strcmp(x->path, "/events") == 0) {
        http_stream(x, 200, "text/event-stream");
        in_thread(stream_events, x);
    } else if (strcmp(x->path, "/keep") == 0) {
        if (http_query(x, "stream")) http_stream(x, 200, "text/event-stream");
        http_hold(x);
        atomic_store(&g_kept, x);
    } else if (strcmp(x->path, "/flood") == 0) {
        http_stream(x, 200, "application/octet-stream");
        in_thread(flood, x);
    } else if (strcmp(x->path, "/big") == 0) {
        AUTO_FREE char *big = mem_calloc(3000000, 1);
        http_answer(x, 200, "application/octet-stream", big, 3000000);
    } else if (strcmp(x->path, "/forgotten") != 0) {
        http_answer_error(x, 404, "no \"%s\" here", x->path);
    }
}

static void start(HttpServerOptions o) {
    Err err;
    o.handle = handle;
    o.max_body = MAX_BODY_HERE;
    if (!o.read_seconds) o.read_seconds = 20;
    ASSERT_OK(http_server_start(&g_server, &o, &err), &err);
    g_port = http_server_port(g_server);
    atomic_store(&g_calls, 0);
    atomic_store(&g_kept, NULL);
}

static void stop(void) {
    http_server_stop(g_server, 0);
    g_server = NULL;
}

static HttpExchange *wait_kept(void) {
    for (int i = 0; i < 1000 && !atomic_load(&g_kept); i++) sleep_seconds(0.01);
    assert_non_null(atomic_load(&g_kept));
    return atomic_load(&g_kept);
}

static void wait_gone(HttpExchange *x) {
    double start = time_now();
    while (!http_is_gone(x)) {
        if (time_now() - start > 15) fail_msg("a client that went away was not noticed");
        sleep_seconds(0.01);
    }
}

#define GET(path) client_request(g_port, "GET " path, "", NULL)

// ---- answers ----

static void answers_whole(void **state) {
    start((HttpServerOptions){0});
    assert_true(http_server_on_loopback(g_server));
    ASSERT_ANSWER(client_request(g_port, "GET /echo?q=a%20b&empty", "X-Mine: 7\r\n", NULL), 200,
                  "GET q=a b h=7 body=0:|");
    ASSERT_ANSWER(client_request(g_port, "POST /echo?q", "", "{\"a\": 1}"), 200, "POST q= h=none body=8:{\"a\": 1}|");
    ASSERT_ANSWER(GET("/echo"), 200, "\r\nX-Answer: yes\r\n");
    ASSERT_ANSWER(GET("/echo"), 200, "\r\nX-Content-Type-Options: nosniff\r\n");
    ASSERT_ANSWER(GET("/no%22\\x"), 404, "{\"error\": {\"message\": \"no \\\"/no\\\"\\\\x\\\" here\", \"code\": 404}}");
    ASSERT_STATUS(GET("/forgotten"), 500);
    ASSERT_ANSWER(GET("/later"), 201, "\r\n\r\nlater");
    AUTO_FREE char *head = client_request(g_port, "HEAD /echo", "", NULL);
    assert_true(status_of(head) == 200 && ends_with(head, "\r\n\r\n"));
    // two requests on a connection, the second in chunks and byte by byte
    const char *second = "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
                         "3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n";
    int fd = client_open(g_port);
    client_say(fd, "GET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n");
    mem_free(client_read(fd, "body=0:|"));
    for (const char *c = second; *c; c++) client_send(fd, c, 1);
    mem_free(client_read(fd, "POST q=none h=none body=7:abcdefg|"));
    close(fd);
    stop();
}

static void half_closed_client_gets_its_answer(void **state) {
    start((HttpServerOptions){0});
    int fd = client_open(g_port);
    client_say(fd, "GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n");
    shutdown(fd, SHUT_WR);
    char *piece = mem_alloc(4000000, 1);
    size_t got = 0;
    for (ssize_t n; (n = recv(fd, piece, 4000000, 0)) > 0;) got += (size_t)n;
    mem_free(piece);
    close(fd);
    assert_true(got > 3000000);
    stop();
}

// ---- streams ----

static void streams_to_many_clients(void **state) {
    int fds[STREAMS];
    start((HttpServerOptions){0});
    for (int i = 0; i < STREAMS; i++) {
        AUTO_FREE char *request = mem_printf("POST /events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                                             "Content-Length: 3\r\n\r\n%03d",
                                             i);
        fds[i] = client_open(g_port);
        client_say(fds[i], request);
    }
    for (int i = 0; i < STREAMS; i++) {
        AUTO_FREE char *answer = client_read(fds[i], NULL);
        const char *at = answer;
        assert_non_null(strstr(answer, "Content-Type: text/event-stream\r\n"));
        for (int k = 0; k < EVENTS; k++) {
            AUTO_FREE char *want =
                mem_printf("id: %d\n%sdata: %03d\ndata: %d\n\n", k, k % 2 ? "event: odd\n" : "", i, k);
            if (!(at = strstr(at, want))) fail_msg("client %d: event %d is missing or out of order: %s", i, k, answer);
        }
        assert_true(ends_with(answer, "\r\n0\r\n\r\n"));
        close(fds[i]);
    }
    stop();
}

static void a_client_that_goes_away_is_noticed(void **state) {
    static const char *const lines[] = {"/keep", "/keep?stream"};
    start((HttpServerOptions){0});
    for (int i = 0; i < 4; i++) {
        AUTO_FREE char *request = mem_printf("GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", lines[i % 2]);
        int fd = client_open(g_port);
        atomic_store(&g_kept, NULL);
        client_say(fd, request);
        HttpExchange *x = wait_kept();
        assert_false(http_is_gone(x));
        if (i < 2)
            close(fd);
        else
            shutdown(fd, SHUT_WR);
        wait_gone(x);
        assert_int_equal(http_append(x, "x", 1), -1);
        http_answer_text(x, 200, "text/plain", "dropped");
        http_release(x);
        if (i >= 2) close(fd);
    }
    stop();
}

static void an_idle_stream_has_beats(void **state) {
    start((HttpServerOptions){.beat_seconds = 0.1});
    int fd = client_open(g_port);
    client_say(fd, "GET /keep?stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
    mem_free(client_read(fd, ":\n\n"));
    http_append_event(wait_kept(), NULL, -1, "one");
    mem_free(client_read(fd, "data: one\n\n"));
    http_release(wait_kept()); // without an end: cut
    AUTO_FREE char *rest = client_read(fd, NULL);
    assert_null(strstr(rest, "\r\n0\r\n\r\n"));
    close(fd);
    stop();
}

static void a_client_that_does_not_read_is_cut(void **state) {
    start((HttpServerOptions){0});
    int fd = client_open(g_port);
    client_say(fd, "GET /flood HTTP/1.1\r\nHost: localhost\r\n\r\n");
    for (int i = 0; i < 1500 && atomic_load(&g_calls) < 1000; i++) sleep_seconds(0.01);
    assert_int_equal(atomic_load(&g_calls), 1001);
    ASSERT_STATUS(GET("/echo"), 200);
    close(fd);
    stop();
    // also within the limit of memory: by time
    start((HttpServerOptions){.write_seconds = 0.5});
    fd = client_open(g_port);
    const int least = 1; // else the buffers of a fast connection take all of it
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &least, sizeof least), 0);
    client_say(fd, "GET /keep?stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
    HttpExchange *x = wait_kept();
    char *much = mem_calloc(1 << 20, 1);
    for (int i = 0; i < 3; i++) http_append(x, much, 1 << 20);
    http_append(x, much, 1 << 20);
    mem_free(much);
    wait_gone(x);
    http_release(x);
    close(fd);
    stop();
}

// ---- what is refused ----

static void refuses_malformed_requests(void **state) {
    static const char *const requests[] = {
        "\r\n\r\n\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "nonsense\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n", // no Host
        "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: abc\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\nabc\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        "FFFFFFFFFFFFFFFFFFFF\r\nabc\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999999999\r\n\r\n",
    };
    start((HttpServerOptions){.read_seconds = 1});
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        AUTO_FREE char *answer = client_ask(g_port, requests[i]);
        int status = status_of(answer);
        if (*answer && (status < 400 || status >= 600)) fail_msg("request %zu: %s", i, answer);
    }
    assert_int_equal(atomic_load(&g_calls), 0);
    ASSERT_STATUS(GET("/echo"), 200);
    stop();
}

static void refuses_what_is_too_large(void **state) {
    start((HttpServerOptions){0});
    AUTO_FREE char *body = mem_alloc(MAX_BODY_HERE + 2, 1);
    memset(body, 'b', MAX_BODY_HERE + 1);
    body[MAX_BODY_HERE + 1] = 0;
    ASSERT_ANSWER(client_request(g_port, "POST /echo", "", body), 413, "the body is too large");
    body[MAX_BODY_HERE] = 0;
    ASSERT_ANSWER(client_request(g_port, "POST /echo", "", body), 200, "body=100000:bbb");
    ASSERT_STATUS(client_request(g_port, "POST /echo", "Expect: 100-continue\r\nContent-Length: 2000000\r\n", NULL),
                  413);
    AUTO_STR StrBuf chunks = {0};
    str_puts(&chunks, "POST /echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                      "Transfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 11; i++) str_printf(&chunks, "2710\r\n%.10000s\r\n", body);
    str_puts(&chunks, "0\r\n\r\n");
    ASSERT_STATUS(client_ask(g_port, chunks.data), 413);
    assert_int_equal(atomic_load(&g_calls), 1);
    AUTO_FREE char *path = mem_printf("GET /%s", body), *header = mem_printf("X-Long: %s\r\n", body);
    AUTO_FREE char *long_path = client_request(g_port, path, "", NULL);
    AUTO_FREE char *long_header = client_request(g_port, "GET /echo", header, NULL);
    assert_true(!*long_path || status_of(long_path) == 414 || status_of(long_path) == 431);
    assert_true(!*long_header || status_of(long_header) == 431 || status_of(long_header) == 413);
    ASSERT_STATUS(GET("/echo"), 200);
    stop();
}

// Each byte comes in time, the request does not.
static void refuses_slow_clients(void **state) {
    static const char *const heads[] = {"GET /echo HTTP/1.1\r\nX: ",
                                        "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"};
    start((HttpServerOptions){.read_seconds = 0.7});
    for (size_t i = 0; i < 2; i++) {
        int fd = client_open(g_port);
        double start_time = time_now();
        client_say(fd, heads[i]);
        while (client_send(fd, "x", 1) && time_now() - start_time < 15) sleep_seconds(0.05);
        assert_true(time_now() - start_time < 15);
        close(fd);
    }
    assert_int_equal(atomic_load(&g_calls), 0);
    stop();
}

static void idle_connections_make_room(void **state) {
    int fds[8];
    start((HttpServerOptions){.read_seconds = 0.7, .max_connections = 8});
    for (int i = 0; i < 8; i++) fds[i] = client_open(g_port);
    ASSERT_STATUS(GET("/echo"), 200); // waits for the first that is closed
    for (int i = 0; i < 8; i++) close(fds[i]);
    stop();
}

static void survives_random_bytes(void **state) {
    static const char *const words[] = {"GET ",
                                        "POST ",
                                        "/echo",
                                        "/later",
                                        "/events",
                                        " HTTP/1.1",
                                        "\r\n",
                                        "\r\n\r\n",
                                        "Host: ",
                                        "localhost",
                                        "Content-Length: ",
                                        "7",
                                        "Transfer-Encoding: chunked",
                                        "%",
                                        "?q=",
                                        "\r\n\r\n5\r\nabcde\r\n",
                                        "Expect: 100-continue"};
    const size_t n_words = sizeof words / sizeof *words;
    uint64_t random = 1;
    start((HttpServerOptions){.read_seconds = 0.3, .write_seconds = 2});
    for (uint64_t i = 0; i < 300; i++) {
        int fd = client_open(g_port);
        for (uint64_t k = 0; k < 24; k++) {
            uint64_t r = random = random * 6364136223846793005u + 1442695040888963407u;
            r >>= 16;
            char byte = (char)(r >> 40);
            if (r % 8 == 0)
                client_send(fd, &byte, 1);
            else
                client_say(fd, words[(r >> 8) % n_words]);
        }
        if (i % 3 == 0) shutdown(fd, SHUT_WR);
        if (i % 3 == 1) mem_free(client_read(fd, NULL));
        close(fd);
    }
    ASSERT_STATUS(GET("/echo"), 200);
    http_server_stop(g_server, 5);
}

// ---- who may ask ----

static void wants_the_token(void **state) {
    start((HttpServerOptions){.token = "secret"});
    ASSERT_ANSWER(GET("/echo"), 401, "\r\nWWW-Authenticate: Bearer\r\n");
    ASSERT_STATUS(GET("/echo?token=secre"), 401);
    ASSERT_STATUS(GET("/echo?token=secrets"), 401);
    ASSERT_STATUS(GET("/echo?token="), 401);
    ASSERT_STATUS(client_request(g_port, "POST /echo", "Authorization: Bearer other\r\n", "x"), 401);
    assert_int_equal(atomic_load(&g_calls), 0);
    ASSERT_STATUS(GET("/echo?token=secret"), 200);
    ASSERT_STATUS(client_request(g_port, "POST /echo", "Authorization: bearer secret\r\n", "x"), 200);
    stop();
    start((HttpServerOptions){.token = "secret", .open_to_read = true});
    ASSERT_STATUS(GET("/echo"), 200);
    ASSERT_STATUS(client_request(g_port, "POST /echo", "", "x"), 401);
    ASSERT_STATUS(client_request(g_port, "PUT /echo?token=secret", "", "x"), 200);
    stop();
}

static void refuses_other_names_and_origins(void **state) {
    static const struct {
        const char *line, *more;
        int status;
    } cases[] = {
        {"GET /echo", "Host: evil.example\r\n", 403},
        {"GET /echo", "Host: evil.example:80\r\n", 403},
        {"GET /echo", "Host: 127.0.0.1.evil.example\r\n", 403},
        {"GET /echo", "Host: localhost.evil.example\r\n", 403},
        {"GET /echo", "Host: [::1\r\n", 403},
        {"GET /echo", "Host: LocalHost:99\r\n", 200},
        {"GET /echo", "Host: 127.0.0.1:80\r\n", 200},
        {"GET /echo", "Host: [::1]:80\r\n", 200},
        {"GET /echo", "Origin: http://evil.example\r\n", 200}, // the answer is not readable there
        {"POST /echo", "Origin: http://evil.example\r\n", 403},
        {"POST /echo", "Origin: null\r\n", 403},
        {"POST /echo", "Host: localhost:5\r\nOrigin: http://localhost:6\r\n", 403},
        {"POST /echo", "Sec-Fetch-Site: cross-site\r\n", 403},
        {"POST /echo", "Sec-Fetch-Site: same-site\r\n", 403},
        {"POST /echo", "Host: localhost:5\r\nOrigin: http://localhost:5\r\nSec-Fetch-Site: same-origin\r\n", 200},
        {"OPTIONS /echo", "Origin: http://evil.example\r\n", 403},
    };
    start((HttpServerOptions){0});
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO_FREE char *answer =
            client_request(g_port, cases[i].line, cases[i].more, *cases[i].line == 'P' ? "x" : NULL);
        if (status_of(answer) != cases[i].status)
            fail_msg("%s, %s: %s; expected %d", cases[i].line, cases[i].more, answer, cases[i].status);
    }
    stop();
}

// ---- start and stop ----

static void *stop_slowly(void *arg) {
    http_server_stop(g_server, 10);
    return NULL;
}

static void stop_lets_requests_finish(void **state) {
    pthread_t thread;
    start((HttpServerOptions){0});
    int idle = client_open(g_port), waiting = client_open(g_port);
    client_say(waiting, "GET /keep HTTP/1.1\r\nHost: localhost\r\n\r\n");
    HttpExchange *x = wait_kept();
    pthread_create(&thread, NULL, stop_slowly, NULL);
    sleep_seconds(0.3);
    http_answer_text(x, 200, "text/plain", "in time");
    mem_free(client_read(waiting, "in time"));
    http_release(x);
    pthread_join(thread, NULL);
    close(idle);
    close(waiting);
}

static void stop_cuts_what_does_not_finish(void **state) {
    start((HttpServerOptions){0});
    int fd = client_open(g_port);
    client_say(fd, "GET /keep?stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
    HttpExchange *x = wait_kept();
    double begin = time_now();
    http_server_stop(g_server, 0.3);
    assert_true(time_now() - begin < 8);
    mem_free(client_read(fd, NULL));
    close(fd);
    assert_true(http_is_gone(x)); // still valid
    assert_int_equal(http_append(x, "x", 1), -1);
    http_release(x);
    http_server_stop(NULL, 0);
}

static void start_says_what_is_wrong(void **state) {
    HttpServer *other = NULL;
    Err err;
    start((HttpServerOptions){0});
    HttpServerOptions o = {.handle = handle, .port = g_port};
    AUTO_FREE char *taken = mem_printf("127.0.0.1, port %d: in use by another program", g_port);
    ASSERT_REFUSED(http_server_start(&other, &o, &err), &err, taken);
    assert_int_equal(err.kind, ERR_INPUT);
    assert_null(other);
    stop();
    o = (HttpServerOptions){.handle = handle, .address = "192.0.2.1"};
    ASSERT_REFUSED(http_server_start(&other, &o, &err), &err, "192.0.2.1: not an address of this machine");
    o.address = "not a name";
    ASSERT_REFUSED(http_server_start(&other, &o, &err), &err, "not a name: ");
    setenv("LORAC_MODULES", "/nowhere", 1);
    ASSERT_REFUSED(http_server_start(&other, &o, &err), &err, "lorac-http.so not found");
    unsetenv("LORAC_MODULES");
}

static void reads_addresses(void **state) {
    static const struct {
        const char *text, *address;
        int port;
    } cases[] = {{"7860", NULL, 7860},
                 {":7860", NULL, 7860},
                 {"127.0.0.1:1", "127.0.0.1", 1},
                 {"[::1]:65535", "::1", 65535},
                 {"host:0", "host", 0}};
    static const char *const wrong[] = {"",      ":",     "host",       "host:", "1:2:3",         "::1",
                                        "[::1]", "65536", "1.2.3.4:-1", "a/b:1", "127.0.0.1:80x", "[]:1"};
    char *address;
    int port;
    Err err;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ASSERT_OK(http_address_parse(&address, &port, cases[i].text, &err), &err);
        assert_int_equal(port, cases[i].port);
        assert_true(cases[i].address ? address && !strcmp(address, cases[i].address) : !address);
        mem_free(address);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        ASSERT_REFUSED(http_address_parse(&address, &port, wrong[i], &err), &err, "expected a port or an address");
}

TEST_MAIN(TEST(answers_whole), TEST(half_closed_client_gets_its_answer), TEST(streams_to_many_clients),
          TEST(a_client_that_goes_away_is_noticed), TEST(an_idle_stream_has_beats),
          TEST(a_client_that_does_not_read_is_cut), TEST(refuses_malformed_requests), TEST(refuses_what_is_too_large),
          TEST(refuses_slow_clients), TEST(idle_connections_make_room), TEST(survives_random_bytes),
          TEST(wants_the_token), TEST(refuses_other_names_and_origins), TEST(stop_lets_requests_finish),
          TEST(stop_cuts_what_does_not_finish), TEST(start_says_what_is_wrong), TEST(reads_addresses))

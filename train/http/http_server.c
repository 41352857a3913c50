#include "http_server.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "module.h"

// Each server begins with its module's functions, as each exchange does.
static const HttpApi *api_of(const HttpServer *s) { return *(const HttpApi *const *)s; }

int http_server_start(HttpServer **out, const HttpServerOptions *o, Err *err) {
    int (*open)(const HttpApi **, Err *) = NULL;
    const HttpApi *api = NULL;
    *out = NULL;
    if (module_symbol(&open, "lorac-http.so", "lorac_http_api", "libmicrohttpd-dev", err) || open(&api, err)) return -1;
    return api->start(out, o, err);
}

void http_server_stop(HttpServer *s, double seconds) {
    if (s) api_of(s)->stop(s, seconds);
}

int http_server_port(const HttpServer *s) { return api_of(s)->port(s); }

bool http_server_on_loopback(const HttpServer *s) { return api_of(s)->on_loopback(s); }

int http_address_parse(char **address, int *port, const char *text, Err *err) {
    const char *colon = strrchr(text, ':'), *digits = colon ? colon + 1 : text, *start = text;
    size_t n = colon ? (size_t)(colon - text) : 0, digits_size = strlen(digits);
    *address = NULL;
    *port = 0;
    bool number = digits_size && digits_size <= 5 && strspn(digits, "0123456789") == digits_size;
    bool bracketed = n > 2 && *start == '[' && start[n - 1] == ']';
    if (bracketed) start++, n -= 2;
    if (number) *port = (int)strtol(digits, NULL, 10);
    if (!number || *port > 65535 || (!bracketed && memchr(start, ':', n)) || (n && strcspn(start, "[/ ") < n))
        return err_input(
            err, "found \"%s\"; expected a port or an address and a port: 7860, 127.0.0.1:7860 or [::1]:7860", text);
    if (n) *address = mem_strndup(start, n);
    return 0;
}

void http_answer_text(HttpExchange *x, int status, const char *type, const char *text) {
    http_answer(x, status, type, text, strlen(text));
}

// JSON strings need quotes, backslashes and control characters escaped; err_* has replaced the latter.
void http_answer_error(HttpExchange *x, int status, const char *fmt, ...) {
    AUTO_STR StrBuf body = {0};
    char message[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    clean_line(message);
    str_puts(&body, "{\"error\": {\"message\": \"");
    for (const char *c = message; *c; c++) {
        if (*c == '"' || *c == '\\') str_puts(&body, "\\");
        str_add(&body, c, 1);
    }
    str_printf(&body, "\", \"code\": %d}}\n", status);
    http_answer(x, status, "application/json", body.data, body.len);
}

int http_append_event(HttpExchange *x, const char *name, int64_t id, const char *data) {
    AUTO_STR StrBuf event = {0};
    if (id >= 0) str_printf(&event, "id: %ld\n", id);
    if (name) str_printf(&event, "event: %s\n", name);
    for (const char *line = data;;) { // a line ends with \r, \n or both
        size_t n = strcspn(line, "\r\n");
        str_puts(&event, "data: ");
        str_add(&event, line, n);
        str_puts(&event, "\n");
        if (!line[n]) break;
        line += n + (line[n] == '\r' && line[n + 1] == '\n' ? 2 : 1);
    }
    str_puts(&event, "\n");
    return http_append(x, event.data, event.len);
}

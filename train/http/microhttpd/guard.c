// guard: who may ask. Tokens, and what a web page of another origin can make a browser send.
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server_internal.h"

static const char *header_of(struct MHD_Connection *c, const char *name) {
    return MHD_lookup_connection_value(c, MHD_HEADER_KIND, name);
}

// In a time that does not tell how many bytes agree.
static bool same_token(const char *a, const char *b) {
    size_t n = strlen(a), m = strlen(b);
    unsigned differ = n != m;
    for (size_t i = 0; i < m; i++) differ |= (unsigned char)b[i] ^ (unsigned char)a[n ? i % n : 0];
    return !differ;
}

static bool has_token(const HttpServer *s, struct MHD_Connection *c) {
    const char *bearer = header_of(c, "Authorization"),
               *query = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "token");
    if (bearer && strncasecmp(bearer, "Bearer ", 7) == 0 && same_token(bearer + 7, s->token)) return true;
    return query && same_token(query, s->token);
}

// The name of "name", "name:port" or "[address]:port"; false: none of these.
static bool host_name(char name[256], const char *host) {
    const char *end = *host == '[' ? strchr(host, ']') : strchr(host, ':');
    if (*host == '[' && !end) return false;
    if (*host == '[') host++;
    size_t n = end ? (size_t)(end - host) : strlen(host);
    if (n == 0 || n >= 256) return false;
    memcpy(name, host, n);
    name[n] = 0;
    return true;
}

// A name that a page's own DNS server can point to this machine is no address of it.
static bool is_own_name(const HttpServer *s, const char *host) {
    char name[256];
    unsigned char address[sizeof(struct in6_addr)];
    if (!host_name(name, host)) return false;
    return inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1 ||
           strcasecmp(name, "localhost") == 0 || ends_with_nocase(name, strlen(name), ".localhost") ||
           (s->address && strcasecmp(name, s->address) == 0);
}

static bool is_cross_site(struct MHD_Connection *c, const char *host) {
    const char *origin = header_of(c, "Origin"), *site = header_of(c, "Sec-Fetch-Site");
    if (site && strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0) return true;
    if (!origin) return false;
    const char *scheme_end = strstr(origin, "://");
    return !scheme_end || !host || strcasecmp(scheme_end + 3, host) != 0;
}

int guard_request(const HttpServer *s, struct MHD_Connection *c, const char *method, const char **why) {
    const char *host = header_of(c, "Host"), *length = header_of(c, "Content-Length");
    bool reads = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
    // With a token for everything a name can be anything: a page that does not know the token gets nothing.
    bool any_name = s->token && !s->options.open_to_read && !s->loopback;
    *why = "this host name is not one of this server; use its address or localhost";
    if (host && !any_name && !is_own_name(s, host)) return 403;
    *why = "a page of another origin may not send this";
    if (!reads && is_cross_site(c, host)) return 403;
    *why = "expected a token: Authorization: Bearer TOKEN, or ?token=TOKEN";
    if (s->token && !(reads && s->options.open_to_read) && !has_token(s, c)) return 401;
    *why = BODY_TOO_LARGE;
    size_t digits = length ? strspn(length, "0123456789") : 0;
    if (digits > 15 || (digits && strtoull(length, NULL, 10) > s->options.max_body)) return 413;
    return 0;
}

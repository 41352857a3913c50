#include "say.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// ---- which characters ----

// The code point of the well-formed character of n bytes at s, -1 when it is none (Unicode table 3-7).
static int32_t decode(const uint8_t *s, size_t n) {
    static const int32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    int32_t c = s[0] & (0x7F >> n);
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xC0) != 0x80) return -1;
        c = c << 6 | (s[i] & 0x3F);
    }
    return c < least[n] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF) ? -1 : c;
}

static bool turns_direction(int32_t c) {
    return c == 0x61C || c == 0x200E || c == 0x200F || (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069);
}

// *c: the code point, -1 for a byte that begins no character.
static size_t character(const char *text, size_t len, int32_t *c, bool *safe) {
    const uint8_t *s = (const uint8_t *)text;
    size_t n = s[0] < 0x80 ? 1 : s[0] < 0xC2 ? 0 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : s[0] < 0xF5 ? 4 : 0;
    *c = n == 1 ? s[0] : n == 0 || n > len ? -1 : decode(s, n);
    *safe = *c < 0x80 ? (*c >= 0x20 && *c != 0x7F) || *c == '\n' || *c == '\t' : *c >= 0xA0 && !turns_direction(*c);
    return *c < 0 ? 1 : n;
}

size_t say_character(const char *text, size_t len, bool *safe) {
    int32_t c;
    return character(text, len, &c, safe);
}

// ---- printing ----

void say_bytes(FILE *out, const char *text, size_t len) {
    size_t from = 0, n;
    for (size_t at = 0; at < len; at += n) {
        int32_t c;
        bool safe;
        n = character(text + at, len - at, &c, &safe);
        if (safe) continue;
        fwrite(text + from, 1, at - from, out);
        if (n == 1)
            fprintf(out, "\\x%02X", (unsigned char)text[at]);
        else
            fprintf(out, "\\u%04X", (unsigned)c);
        from = at + n;
    }
    if (len > from) fwrite(text + from, 1, len - from, out);
}

void say_escape(StrBuf *out, const char *text, size_t len) {
    for (size_t at = 0, n; at < len; at += n) {
        int32_t c;
        bool safe;
        n = character(text + at, len - at, &c, &safe);
        if (safe)
            str_add(out, text + at, n);
        else
            str_printf(out, n == 1 ? "\\x%02X" : "\\u%04X", n == 1 ? (unsigned char)text[at] : (unsigned)c);
    }
}

int say_list(FILE *out, const char *fmt, va_list args) {
    char line[1024]; // nearly all fit: a step that prints its line allocates nothing
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(line, sizeof line, fmt, args);
    CHECK(n >= 0);
    if ((size_t)n < sizeof line) {
        say_bytes(out, line, (size_t)n);
    } else {
        AUTO_FREE char *text = mem_alloc((size_t)n + 1, 1);
        vsnprintf(text, (size_t)n + 1, fmt, again);
        say_bytes(out, text, (size_t)n);
    }
    va_end(again);
    return n;
}

int say_to(FILE *out, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    int n = say_list(out, fmt, args);
    va_end(args);
    return n;
}

void say(const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    say_list(stdout, fmt, args);
    va_end(args);
}

void say_generated(const char *text, size_t len, bool raw) {
    if (raw || !isatty(STDOUT_FILENO))
        fwrite(text, 1, len, stdout);
    else
        say_bytes(stdout, text, len);
    fflush(stdout);
}

void say_color(SayColor c) {
    const char *terminal = getenv("TERM"), *none = getenv("NO_COLOR");
    bool has = terminal && strcmp(terminal, "dumb") != 0 && (!none || !*none) && isatty(STDOUT_FILENO);
    if (has) printf("\033[%dm", (int)c);
}

void say_clear_line(void) { fputs("\r\033[K", stdout); }

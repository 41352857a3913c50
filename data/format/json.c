// json: recursive descent over the text, at most JSON_MAX_DEPTH deep.
//
// Values of an open array or object wait on a stack that all levels share; closing the level copies them, now
// contiguous, into the document's arena. Duplicate keys of large objects are found by sorting, so no choice of keys is
// quadratic.
#include "json_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>
#include <xxhash.h>

// Arena: blocks in a list, doubled in size up to BLOCK_MAX, so that small records cost one allocation.
enum { BLOCK_MIN = 4096, BLOCK_MAX = 1 << 20 };

typedef struct Block {
    struct Block *next;
    size_t used, size;
    _Alignas(8) char bytes[];
} Block;

struct JsonDoc {
    Block *blocks;
    Json root;
};

typedef struct PendingKey {
    JsonStr key;
    const char *at; // in the text
} PendingKey;

typedef struct Parser {
    const char *start, *p, *end;
    const char *name;
    size_t line; // of start
    size_t line_here;
    Err *err;
    JsonDoc *doc;
    bool any_number; // json_parse_data
    bool named_nan;  // json_parse_columns
    bool settings;   // json_parse_config
    int depth;
    size_t n_values; // of the whole document
    Json *values;    // stack of finished values whose container is still open
    size_t values_len, values_capacity;
    PendingKey *keys; // likewise for object keys
    size_t keys_len, keys_capacity;
} Parser;

JsonDoc *json_doc_new(void) { return mem_calloc(1, sizeof(JsonDoc)); }

Json *json_doc_root(JsonDoc *doc) { return &doc->root; }

void *json_doc_alloc(JsonDoc *doc, size_t count, size_t size) {
    size_t bytes;
    CHECK(size_mul(count, size, &bytes) && bytes <= SIZE_MAX - sizeof(Block) - 8);
    bytes = (bytes + 7) & ~(size_t)7;
    Block *b = doc->blocks;
    if (!b || b->size - b->used < bytes) {
        size_t block_size = !b ? BLOCK_MIN : b->size < BLOCK_MAX / 2 ? b->size * 2 : BLOCK_MAX;
        if (block_size < bytes) block_size = bytes;
        b = mem_alloc(1, sizeof(Block) + block_size);
        *b = (Block){.next = doc->blocks, .size = block_size};
        doc->blocks = b;
    }
    void *out = b->bytes + b->used;
    b->used += bytes;
    return out;
}

// ---- errors ----

static size_t line_at(const Parser *ps, const char *at) {
    size_t line = ps->line;
    for (const char *p = ps->start; p < at; p++) line += *p == '\n';
    return line;
}

static int fail_at(Parser *ps, const char *at, const char *found, const char *expected) {
    const char *begin = at; // of the line
    if (!ps->line)
        return err_input(ps->err, "%s: found %s at byte %zu; expected %s", ps->name, found, (size_t)(at - ps->start),
                         expected);
    while (begin > ps->start && begin[-1] != '\n') begin--;
    return err_input(ps->err, "%s:%zu: found %s at column %zu; expected %s", ps->name, line_at(ps, at), found,
                     (size_t)(at - begin) + 1, expected);
}

// Reports the character at `at`.
static int fail_found(Parser *ps, const char *at, const char *expected) {
    char found[32];
    unsigned char c = at < ps->end ? (unsigned char)*at : 0;
    if (at == ps->end)
        snprintf(found, sizeof found, "the end");
    else if (c > 32 && c < 127)
        snprintf(found, sizeof found, "'%c'", c);
    else
        snprintf(found, sizeof found, "byte 0x%02X", c);
    return fail_at(ps, at, found, expected);
}

// ---- scalars ----

// Comments, where they are allowed, are space.
static void skip_space(Parser *ps) {
    for (; ps->p < ps->end; ps->p++) {
        if (ps->settings && *ps->p == '/' && ps->end - ps->p > 1 && ps->p[1] == '/')
            while (ps->p < ps->end && *ps->p != '\n') ps->p++;
        if (ps->p == ps->end || !json_is_space(*ps->p)) return;
        ps->line_here += *ps->p == '\n';
    }
}

static const char *skip_digits(const char *p, const char *end) {
    while (p < end && *p >= '0' && *p <= '9') p++;
    return p;
}

JsonStr json_doc_text(JsonDoc *doc, const char *text, size_t len) {
    char *copy = json_doc_alloc(doc, len + 1, 1);
    memcpy(copy, text, len);
    copy[len] = 0;
    return (JsonStr){copy, len};
}

static bool fits_int64(const JsonStr *text, int64_t *out) {
    bool negative = text->data[0] == '-';
    int64_t v = 0;
    for (const char *p = text->data + negative; *p; p++) {
        int digit = *p - '0';
        if (__builtin_mul_overflow(v, 10, &v)) return false;
        if (__builtin_add_overflow(v, negative ? -digit : digit, &v)) return false;
    }
    *out = v;
    return true;
}

void json_set_number(Json *out, bool integral) {
    bool is_int = integral && fits_int64(&out->str, &out->integer);
    out->type = is_int ? JSON_INT : JSON_FLOAT;
    if (is_int && out->integer) // strtod is slow, and most numbers are token ids; -0 keeps its sign below
        out->number = (double)out->integer;
    else
        out->number = strtod(out->str.data, NULL);
}

static int parse_number(Parser *ps, Json *out) {
    const char *p = ps->p, *end = ps->end;
    bool integral = true;
    if (*p == '-') p++;
    const char *digits = p;
    p = skip_digits(p, end);
    if (p == digits) return fail_found(ps, p, "a digit");
    if (*digits == '0' && p > digits + 1) return fail_at(ps, digits, "a leading zero", "a number without one");
    if (p < end && *p == '.') {
        integral = false;
        digits = ++p;
        p = skip_digits(p, end);
        if (p == digits) return fail_found(ps, p, "a digit");
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        integral = false;
        p++;
        if (p < end && (*p == '+' || *p == '-')) p++;
        digits = p;
        p = skip_digits(p, end);
        if (p == digits) return fail_found(ps, p, "a digit");
    }
    out->str = json_doc_text(ps->doc, ps->p, (size_t)(p - ps->p));
    json_set_number(out, integral);
    if (!isfinite(out->number) && !ps->any_number)
        return fail_at(ps, ps->p, "a number too large for a double", "less than 1e308");
    ps->p = p;
    return 0;
}

// "(what it is)" after NaN.
static void parse_nan_name(Parser *ps, Json *out) {
    const char *close = ps->p < ps->end && *ps->p == '(' ? memchr(ps->p, ')', (size_t)(ps->end - ps->p)) : NULL;
    if (!close) return;
    out->str = json_doc_text(ps->doc, ps->p + 1, (size_t)(close - ps->p) - 1);
    ps->p = close + 1;
}

// true, false, null; and NaN, Infinity, -Infinity, as Python's json writes them.
static bool parse_word(Parser *ps, Json *out) {
    static const struct {
        const char *text;
        JsonType type;
        double number;
    } words[] = {{"true", JSON_TRUE, 0},   {"false", JSON_FALSE, 0},           {"null", JSON_NULL, 0},
                 {"NaN", JSON_FLOAT, NAN}, {"Infinity", JSON_FLOAT, INFINITY}, {"-Infinity", JSON_FLOAT, -INFINITY}};
    for (int i = 0; i < (ps->any_number ? 6 : 3); i++) {
        size_t n = strlen(words[i].text);
        if ((size_t)(ps->end - ps->p) < n || memcmp(ps->p, words[i].text, n) != 0) continue;
        out->type = words[i].type;
        out->number = words[i].number;
        if (out->type == JSON_FLOAT) out->str = (JsonStr){words[i].text, n};
        ps->p += n;
        if (isnan(out->number) && ps->named_nan) parse_nan_name(ps, out);
        return true;
    }
    return false;
}

// ---- strings ----

static int hex4(const char *p, const char *end) {
    if (end - p < 4) return -1;
    int v = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i], lower = (char)(c | 32);
        int digit = c >= '0' && c <= '9' ? c - '0' : lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
        if (digit < 0) return -1;
        v = v * 16 + digit;
    }
    return v;
}

// *p is after "\u"; appends the character to *dst.
static int unescape_unicode(Parser *ps, const char **p, char **dst) {
    const char *escape = *p - 2;
    int32_t c = hex4(*p, ps->end);
    if (c < 0) return fail_at(ps, escape, "a bad \\u escape", "four hexadecimal digits");
    if (c == 0 && ps->settings) return fail_at(ps, escape, "a NUL character", "text without it");
    *p += 4;
    if (c >= 0xD800 && c < 0xDC00) {
        int low = ps->end - *p >= 6 && (*p)[0] == '\\' && (*p)[1] == 'u' ? hex4(*p + 2, ps->end) : -1;
        if (low < 0xDC00 || low > 0xDFFF) return fail_at(ps, escape, "a lone surrogate", "a pair");
        *p += 6;
        c = 0x10000 + (c - 0xD800) * 0x400 + (low - 0xDC00);
    } else if (c >= 0xDC00 && c < 0xE000) {
        return fail_at(ps, escape, "a lone surrogate", "a pair");
    }
    *dst += utf8proc_encode_char(c, (utf8proc_uint8_t *)*dst);
    return 0;
}

// *p is after a backslash.
static int unescape(Parser *ps, const char **p, char **dst) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *hit = *p < ps->end && **p ? strchr(from, **p) : NULL;
    if (hit) {
        *(*dst)++ = to[hit - from];
        (*p)++;
        return 0;
    }
    if (*p == ps->end || **p != 'u') return fail_found(ps, *p, "an escape: one of \"\\/bfnrtu");
    (*p)++;
    return unescape_unicode(ps, p, dst);
}

// Finds the closing quote, so that the text can be unescaped into one allocation: it never grows.
static const char *closing_quote(const char *p, const char *end) {
    for (; p < end && *p != '"'; p++)
        if (*p == '\\' && ++p == end) break;
    return p < end ? p : end;
}

static int parse_string(Parser *ps, JsonStr *out) {
    const char *p = ps->p + 1, *close = closing_quote(p, ps->end);
    char *text = json_doc_alloc(ps->doc, (size_t)(close - p) + 1, 1), *dst = text;
    while (p < close) {
        unsigned char c = (unsigned char)*p;
        if (c == '\\') {
            p++;
            if (unescape(ps, &p, &dst)) return -1;
        } else if (c < 32) {
            return fail_found(ps, p, "control characters in a string to be escaped");
        } else if (c < 128 || ps->settings) {
            *dst++ = *p++;
        } else {
            utf8proc_int32_t unused;
            utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)p, close - p, &unused);
            if (n <= 0) return fail_found(ps, p, "valid UTF-8");
            memcpy(dst, p, (size_t)n);
            dst += n;
            p += n;
        }
    }
    if (close == ps->end) return fail_found(ps, close, "'\"' to end a string");
    *dst = 0;
    *out = (JsonStr){text, (size_t)(dst - text)};
    ps->p = close + 1;
    return 0;
}

// ---- objects' keys ----

typedef struct KeyRef {
    XXH64_hash_t hash;
    const PendingKey *key;
} KeyRef;

bool json_str_equal(JsonStr a, JsonStr b) { return a.len == b.len && memcmp(a.data, b.data, a.len) == 0; }

// By hash, because it is cheap; then by content, so that crafted collisions only cost comparisons.
static int compare_keys(const void *pa, const void *pb) {
    const KeyRef *a = pa, *b = pb;
    if (a->hash != b->hash) return a->hash < b->hash ? -1 : 1;
    if (a->key->key.len != b->key->key.len) return a->key->key.len < b->key->key.len ? -1 : 1;
    return memcmp(a->key->key.data, b->key->key.data, a->key->key.len);
}

static int fail_duplicate(Parser *ps, const PendingKey *a, const PendingKey *b) {
    const PendingKey *first = a < b ? a : b, *again = a < b ? b : a;
    char found[160];
    int len = (int)(first->key.len < 80 ? first->key.len : 80);
    snprintf(found, sizeof found, "key \"%.*s\" twice (first %s %zu)", len, first->key.data,
             ps->line ? "on line" : "at byte", ps->line ? line_at(ps, first->at) : (size_t)(first->at - ps->start));
    return fail_at(ps, again->at, found, "unique keys");
}

static int check_unique(Parser *ps, const PendingKey *keys, size_t n) {
    enum { FEW = 12 };
    if (n <= FEW) {
        for (size_t i = 1; i < n; i++)
            for (size_t j = 0; j < i; j++)
                if (json_str_equal(keys[i].key, keys[j].key)) return fail_duplicate(ps, &keys[i], &keys[j]);
        return 0;
    }
    AUTO_FREE KeyRef *sorted = mem_alloc(n, sizeof *sorted);
    for (size_t i = 0; i < n; i++) sorted[i] = (KeyRef){XXH3_64bits(keys[i].key.data, keys[i].key.len), &keys[i]};
    qsort(sorted, n, sizeof *sorted, compare_keys);
    for (size_t i = 1; i < n; i++)
        if (compare_keys(&sorted[i - 1], &sorted[i]) == 0) return fail_duplicate(ps, sorted[i - 1].key, sorted[i].key);
    return 0;
}

// ---- containers ----

static int parse_value(Parser *ps, Json *out);

static int parse_key(Parser *ps) {
    PendingKey key = {.at = ps->p};
    if (ps->p == ps->end || *ps->p != '"') return fail_found(ps, ps->p, "'\"' to begin a key");
    if (parse_string(ps, &key.key)) return -1;
    skip_space(ps);
    if (ps->p == ps->end || *ps->p != ':') return fail_found(ps, ps->p, "':'");
    ps->p++;
    MEM_GROW(ps->keys, ps->keys_capacity, ps->keys_len + 1);
    ps->keys[ps->keys_len++] = key;
    return 0;
}

static int parse_members(Parser *ps, char close) {
    skip_space(ps);
    if (ps->p < ps->end && *ps->p == close) return 0;
    for (;;) {
        Json value;
        skip_space(ps);
        if (close == '}' && parse_key(ps)) return -1;
        skip_space(ps);
        if (parse_value(ps, &value)) return -1;
        MEM_GROW(ps->values, ps->values_capacity, ps->values_len + 1);
        ps->values[ps->values_len++] = value;
        skip_space(ps);
        if (ps->p < ps->end && *ps->p == close) return 0;
        if (ps->p == ps->end || *ps->p != ',') return fail_found(ps, ps->p, close == '}' ? "',' or '}'" : "',' or ']'");
        ps->p++;
    }
}

static int parse_container(Parser *ps, char close, Json *out) {
    if (ps->depth == JSON_MAX_DEPTH) return fail_at(ps, ps->p, "nesting deeper than 64", "at most 64 levels");
    size_t first_value = ps->values_len, first_key = ps->keys_len;
    ps->depth++;
    ps->p++;
    if (parse_members(ps, close)) return -1;
    out->count = ps->values_len - first_value;
    Json *items = json_doc_alloc(ps->doc, out->count, sizeof *items);
    if (out->count) memcpy(items, ps->values + first_value, out->count * sizeof *items);
    out->items = items;
    out->type = JSON_ARRAY;
    if (close == '}') {
        if (out->count && check_unique(ps, ps->keys + first_key, out->count)) return -1;
        JsonStr *keys = json_doc_alloc(ps->doc, out->count, sizeof *keys);
        for (size_t i = 0; i < out->count; i++) keys[i] = ps->keys[first_key + i].key;
        out->keys = keys;
        out->type = JSON_OBJECT;
    }
    ps->values_len = first_value;
    ps->keys_len = first_key;
    ps->depth--;
    ps->p++;
    return 0;
}

static int parse_value(Parser *ps, Json *out) {
    *out = (Json){.type = JSON_NULL, .line = (uint32_t)ps->line_here};
    if (ps->p == ps->end) return fail_found(ps, ps->p, "a JSON value");
    if (ps->n_values++ == JSON_MAX_VALUES) return fail_at(ps, ps->p, "more than 4194304 values", "fewer");
    if (*ps->p == '{' || *ps->p == '[') return parse_container(ps, *ps->p == '{' ? '}' : ']', out);
    if (*ps->p == '"') {
        out->type = JSON_STRING;
        return parse_string(ps, &out->str);
    }
    if (*ps->p >= '0' && *ps->p <= '9') return parse_number(ps, out);
    if (parse_word(ps, out)) return 0;
    return *ps->p == '-' ? parse_number(ps, out) : fail_found(ps, ps->p, "a JSON value");
}

static int parse_document(Parser *ps) {
    skip_space(ps);
    if (parse_value(ps, &ps->doc->root)) return -1;
    skip_space(ps);
    return ps->p == ps->end ? 0 : fail_found(ps, ps->p, "nothing after the value");
}

static int run_parser(JsonDoc **doc, Parser ps, const char *text, size_t len) {
    ps.doc = json_doc_new();
    ps.start = ps.p = text;
    ps.end = text + len;
    ps.line_here = ps.line;
    int rc = parse_document(&ps);
    mem_free(ps.values);
    mem_free(ps.keys);
    if (rc) json_free(ps.doc);
    *doc = rc ? NULL : ps.doc;
    return rc;
}

int json_parse(JsonDoc **doc, const char *text, size_t len, const char *name, size_t line, Err *err) {
    return run_parser(doc, (Parser){.name = name, .line = line, .err = err}, text, len);
}

int json_parse_data(JsonDoc **doc, const char *text, size_t len, const char *name, size_t line, Err *err) {
    return run_parser(doc, (Parser){.name = name, .line = line, .err = err, .any_number = true}, text, len);
}

int json_parse_columns(JsonDoc **doc, const char *text, size_t len, const char *name, size_t line, Err *err) {
    Parser ps = {.name = name, .line = line, .err = err, .any_number = true, .named_nan = true};
    return run_parser(doc, ps, text, len);
}

int json_parse_config(JsonDoc **doc, const char *text, size_t len, const char *name, Err *err) {
    size_t mark = len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    return run_parser(doc, (Parser){.name = name, .line = 1, .err = err, .settings = true}, text + mark, len - mark);
}

const Json *json_root(const JsonDoc *doc) { return &doc->root; }

void json_free(JsonDoc *doc) {
    if (!doc) return;
    for (Block *b = doc->blocks, *next; b; b = next) {
        next = b->next;
        mem_free(b);
    }
    mem_free(doc);
}

// ---- reading the tree, writing strings ----

const Json *json_get(const Json *object, const char *key) {
    if (!object || object->type != JSON_OBJECT) return NULL;
    JsonStr want = {key, strlen(key)};
    for (size_t i = 0; i < object->count; i++)
        if (json_str_equal(object->keys[i], want)) return &object->items[i];
    return NULL;
}

const Json *json_given(const Json *object, const char *key) {
    const Json *v = json_get(object, key);
    return v && v->type != JSON_NULL ? v : NULL;
}

const char *json_type_name(const Json *v) {
    if (v && v->type == JSON_FLOAT && !isfinite(v->number))
        return isnan(v->number) ? v->str.data : "an infinite number";
    static const char *const names[] = {"null",    "false",    "true",     "an integer",
                                        "a float", "a string", "an array", "an object"};
    return v ? names[v->type] : "nothing";
}

bool json_str_is(JsonStr s, const char *text) { return json_str_equal(s, (JsonStr){text, strlen(text)}); }

bool json_is_off(const Json *v) {
    return !v || v->type == JSON_NULL || v->type == JSON_FALSE ||
           ((v->type == JSON_ARRAY || v->type == JSON_OBJECT) && v->count == 0);
}

bool json_is_string(const Json *v, const char *text) {
    return v && v->type == JSON_STRING && json_str_is(v->str, text);
}

bool json_whole(const Json *v, int64_t *out) {
    const double most = 9007199254740992; // 2^53: above it, not every integer is a double
    if (!v || (v->type != JSON_INT && v->type != JSON_FLOAT)) return false;
    if (v->type == JSON_FLOAT && (!(fabs(v->number) <= most) || v->number != floor(v->number))) return false;
    *out = v->type == JSON_INT ? v->integer : (int64_t)v->number;
    return true;
}

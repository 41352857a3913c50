// config_scan: config text to cJSON. cJSON has no line numbers and no comments and accepts duplicate keys. So the text
// is scanned first: `//` comments are blanked, the depth is bounded, the line of each member of the top object is
// noted.
#include "config_internal.h"

#include <string.h>

#include "file_faults.h"
#include "json.h"
#include "record_faults.h"

enum { MAX_DEPTH = 16 };

typedef struct Scan {
    const char *name;
    char *text; // a copy, comments blanked in place
    size_t pos, size;
    int line, depth;
    int *lines;
    size_t n_members, capacity;
} Scan;

// Ends after the closing quote. A line break in a string is an error, which cJSON would accept.
static int scan_string(Scan *s, Err *err) {
    for (s->pos++; s->pos < s->size && s->text[s->pos] != '"'; s->pos++) {
        if (s->text[s->pos] == '\n') break;
        if (s->text[s->pos] == '\\') s->pos++;
    }
    if (s->pos >= s->size || s->text[s->pos] != '"')
        return err_input(err, "%s:%d: a string without closing quote", s->name, s->line);
    s->pos++;
    return 0;
}

static void blank_comment(Scan *s) {
    while (s->pos < s->size && s->text[s->pos] != '\n') s->text[s->pos++] = ' ';
}

static int open_level(Scan *s, Err *err) {
    if (++s->depth > MAX_DEPTH) return err_input(err, "%s:%d: nested deeper than %d", s->name, s->line, MAX_DEPTH);
    s->pos++;
    return 0;
}

// Every ':' of depth 1 follows a member's name; cJSON checks the grammar afterwards.
static void note_member(Scan *s) {
    if (s->depth == 1) {
        MEM_GROW(s->lines, s->capacity, s->n_members + 1);
        s->lines[s->n_members++] = s->line;
    }
    s->pos++;
}

static int scan(Scan *s, Err *err) {
    while (s->pos < s->size) {
        char c = s->text[s->pos];
        if (c == 0) return err_input(err, "%s:%d: a NUL byte", s->name, s->line);
        if (c == '\n') s->line++;
        if (c == '"') {
            if (scan_string(s, err)) return -1;
        } else if (c == '/' && s->text[s->pos + 1] == '/') {
            blank_comment(s);
        } else if (c == '{' || c == '[') {
            if (open_level(s, err)) return -1;
        } else if (c == ':') {
            note_member(s);
        } else {
            s->depth -= c == '}' || c == ']';
            s->pos++;
        }
    }
    return 0;
}

static int line_of(const char *text, const char *at) {
    int line = 1;
    for (const char *p = text; p < at; p++) line += *p == '\n';
    return line;
}

// cJSON has only the position; json_parse has a message with the found and expected text.
static int fail_json(const Scan *s, int line, Err *err) {
    JsonDoc *doc;
    if (json_parse(&doc, s->text, s->size, s->name, 1, err)) return fault_in_value(s->name, s->text, s->size, err);
    json_free(doc);
    return err_input(err, "%s:%d: not JSON", s->name, line);
}

static int parse(cJSON **root, const Scan *s, Err *err) {
    const char *end = s->text;
    *root = cJSON_ParseWithLengthOpts(s->text, s->size + 1, &end, true);
    if (!*root) {
        fail_json(s, line_of(s->text, end), err);
        return -1;
    }
    if (!cJSON_IsObject(*root)) return err_input(err, "%s:1: expected one JSON object", s->name);
    return 0;
}

static int check_duplicates(const cJSON *root, const Scan *s, Err *err) {
    size_t i = 0, members = (size_t)cJSON_GetArraySize(root);
    CHECK(members == s->n_members, "%zu members, %zu lines", members, s->n_members);
    if (!members) return 0;
    for (const cJSON *m = root->child; m; m = m->next, i++) {
        size_t j = 0;
        for (const cJSON *p = root->child; p != m; p = p->next, j++) {
            if (strcmp(p->string, m->string) == 0)
                return err_input(err, "%s:%d: duplicate key \"%s\"; first on line %d", s->name, s->lines[i], m->string,
                                 s->lines[j]);
        }
    }
    return 0;
}

int config_scan(cJSON **root, int **lines, const char *text, size_t size, const char *name, Err *err) {
    *root = NULL;
    *lines = NULL;
    if (fault_in_file(name, text, size, true, err)) return -1;
    if (size >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) { // byte order mark
        text += 3;
        size -= 3;
    }
    Scan s = {.name = name, .text = mem_strndup(text, size), .size = size, .line = 1};
    int rc = scan(&s, err);
    if (!rc) rc = parse(root, &s, err);
    if (!rc) rc = check_duplicates(*root, &s, err);
    mem_free(s.text);
    if (rc) {
        cJSON_Delete(*root);
        *root = NULL;
        mem_free(s.lines);
        return -1;
    }
    *lines = s.lines;
    return 0;
}

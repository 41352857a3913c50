#include "key_notes.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

// ---- of one record ----

// Appends to buf what fits; control characters are written as \x1B, so that data cannot control a terminal.
static size_t add_escaped(char buf[KEY_NAME_BYTES], size_t at, const char *text, size_t len) {
    size_t i = 0;
    for (; i < len && at + 8 < KEY_NAME_BYTES; i++) {
        unsigned char c = (unsigned char)text[i];
        bool c1 = c == 0xC2 && i + 1 < len && (unsigned char)text[i + 1] < 0xA0; // U+0080 to U+009F
        if (c < 32 || c == 127 || c1)
            at += (size_t)snprintf(buf + at, KEY_NAME_BYTES - at, "\\x%02X", c1 ? (unsigned char)text[++i] : c);
        else
            buf[at++] = (char)c;
    }
    if (i < len) { // cut, at a whole character
        while (at && ((unsigned char)buf[at - 1] & 0xC0) == 0x80) at--;
        if (at && (unsigned char)buf[at - 1] & 0x80) at--;
        memcpy(buf + at, "...", 3);
        at += 3;
    }
    buf[at] = 0;
    return at;
}

const char *key_notes_next(const KeyNotes *n, const char *name) {
    if (!n->names.len) return NULL;
    if (!name) return n->names.data;
    name += strlen(name) + 1;
    return name < n->names.data + n->names.len ? name : NULL;
}

void key_notes_add(KeyNotes *n, const char *prefix, JsonStr key) {
    char name[KEY_NAME_BYTES];
    if (n->more) return;
    size_t len = add_escaped(name, add_escaped(name, 0, prefix, strlen(prefix)), key.data, key.len);
    for (const char *p = key_notes_next(n, NULL); p; p = key_notes_next(n, p))
        if (strcmp(p, name) == 0) return;
    n->more |= n->count == KEYS_NAMED;
    if (n->count == KEYS_NAMED) return;
    str_add(&n->names, name, len + 1);
    n->count++;
}

bool key_notes_has(const KeyNotes *n, JsonStr key) {
    char name[KEY_NAME_BYTES];
    add_escaped(name, 0, key.data, key.len);
    for (const char *p = key_notes_next(n, NULL); p; p = key_notes_next(n, p))
        if (strcmp(p, name) == 0) return true;
    return n->more;
}

void key_notes_clear(KeyNotes *n) {
    str_clear(&n->names);
    *n = (KeyNotes){0};
}

// ---- of all records ----

static size_t find(const KeyCounts *c, const char *name) {
    size_t i = 0;
    while (i < c->count && strcmp(c->names[i], name) != 0) i++;
    return i;
}

void key_counts_put(KeyCounts *c, const char *name, int64_t records) {
    MEM_GROW(c->names, c->capacity, c->count + 1);
    MEM_GROW(c->records, c->records_capacity, c->count + 1);
    c->names[c->count] = mem_strdup(name);
    c->records[c->count++] = records;
}

// False: there are KEYS_NAMED others.
static bool add_count(KeyCounts *c, const char *name, int64_t records) {
    size_t i = find(c, name);
    if (i == c->count && c->count == KEYS_NAMED) return false;
    if (i == c->count) key_counts_put(c, name, 0);
    c->records[i] += records;
    return true;
}

void key_counts_join(KeyCounts *c, const KeyCounts *more) {
    c->others += more->others;
    for (size_t i = 0; i < more->count; i++)
        if (!add_count(c, more->names[i], more->records[i])) c->others += more->records[i];
}

void key_counts_add(KeyCounts *c, const KeyNotes *n) {
    bool more = n->more;
    for (const char *p = key_notes_next(n, NULL); p; p = key_notes_next(n, p)) more |= !add_count(c, p, 1);
    c->others += more;
}

void key_counts_clear(KeyCounts *c) {
    for (size_t i = 0; i < c->count; i++) mem_free(c->names[i]);
    mem_free(c->names);
    mem_free(c->records);
    *c = (KeyCounts){0};
}

void key_counts_show(StrBuf *out, const KeyCounts *c) {
    enum { SHOWN = 20 };
    for (size_t i = 0; i < c->count && i < SHOWN; i++)
        str_printf(out, "%s%s (%ld%s)", i ? ", " : "", c->names[i], c->records[i],
                   i                    ? ""
                   : c->records[i] == 1 ? " record"
                                        : " records");
    if (c->count > SHOWN) str_printf(out, " and %zu more name%s", c->count - SHOWN, plural(c->count - SHOWN));
    if (c->others) str_printf(out, "; further keys (%ld)", c->others);
}

// ---- names ----

bool key_is_prompt_like(const char *name) {
    static const char *const known[] = {
        "context",        "contexts", "sql_context", "passage",    "passages",    "document",    "documents",
        "article",        "evidence", "paragraph",   "background", "premise",     "abstract",    "system_prompt",
        "system_message", "system",   "input",       "inputs",     "source_text", "facts",       "story",
        "knowledge",      "table",    "schema",      "history",    "question",    "instruction", "image",
        "images",         "video",    "videos",      "audio",      "audios"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcasecmp(name, known[i]) == 0) return true;
    return false;
}

static int lower(char c) { return tolower((unsigned char)c); }

// One row of the table at a time.
size_t edit_distance(const char *a, size_t n, const char *b, size_t m) {
    enum { LONGEST = 80 };
    size_t row[LONGEST + 1];
    if (n > LONGEST || m > LONGEST) return LONGEST;
    for (size_t j = 0; j <= m; j++) row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t least = diagonal + (lower(a[i - 1]) != lower(b[j - 1]));
            diagonal = row[j];
            if (row[j - 1] + 1 < least) least = row[j - 1] + 1;
            if (row[j] + 1 < least) least = row[j] + 1;
            row[j] = least;
        }
    }
    return row[m];
}

char *key_nearest(const char *key, const char *known) {
    const char *best = NULL;
    size_t len = strlen(key), least = len < 5 ? 2 : 3, best_len = 0; // at most one edit, of longer words two
    while (*known) {
        size_t n = strcspn(known, " "), d = edit_distance(key, len, known, n);
        if (d < least) least = d, best = known, best_len = n;
        known += n + strspn(known + n, " ");
    }
    return best ? mem_strndup(best, best_len) : NULL;
}

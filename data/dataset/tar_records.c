// tar_records: the groups of members of a .tar shard as records.
#include "records_internal.h"

#include <string.h>
#include <strings.h>

#include <xxhash.h>

#include "json_pool.h"
#include "tar_stream.h"

typedef enum { MEMBER_JSON, MEMBER_TEXT, MEMBER_CLASS, MEMBER_KINDS } MemberKind;
static const char *const suffixes[MEMBER_KINDS] = {".json", ".txt", ".cls"};

typedef struct Group {
    char *key;
    StrBuf content[MEMBER_KINDS]; // data NULL: no such member
} Group;

struct TarReader {
    char *path;
    TarStream *stream;
    Group group; // being collected
    bool at_end;
    uint64_t *seen; // hashes of the keys of finished groups: a hash table, 0 is free
    size_t n_seen, seen_capacity;
    KeyCounts *ignored;
    JsonPool held; // texts of records handed out
};

// ---- the archive ----

int tar_records_open(TarReader **reader, const char *path, KeyCounts *ignored, Err *err) {
    TarReader *t = mem_calloc(1, sizeof *t);
    *reader = t;
    t->path = mem_strdup(path);
    t->ignored = ignored;
    return tar_stream_open(&t->stream, path, err);
}

static void group_clear(Group *g) {
    for (int k = 0; k < MEMBER_KINDS; k++) str_clear(&g->content[k]);
    mem_free(mem_take(&g->key));
}

void tar_records_close(TarReader *t) {
    if (!t) return;
    tar_records_release(t);
    group_clear(&t->group);
    tar_stream_close(t->stream);
    mem_free(t->seen);
    mem_free(t->path);
    mem_free(t);
}

// kind: the name after the key, ".jpg", or what the member is.
static void ignore(TarReader *t, const char *kind) {
    AUTO_CALL(key_notes_clear) KeyNotes one = {0};
    key_notes_add(&one, *kind == '.' ? "*" : "", json_str(kind));
    key_counts_add(t->ignored, &one);
}

// The next regular file: 1, 0 at the end, -1.
static int next_file(TarReader *t, TarMember *m, Err *err) {
    for (;;) {
        int rc = tar_stream_next(t->stream, m, err);
        if (rc <= 0 || m->kind == TAR_FILE) return rc;
        if (m->kind == TAR_OTHER) ignore(t, "link or device");
    }
}

// ---- groups ----

// Bytes of the name up to the first dot of its last component; 0: no key.
static size_t key_length(const char *name) {
    const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name, *dot = strchr(base, '.');
    return dot && dot > base ? (size_t)(dot - name) : 0;
}

static MemberKind kind_of(const char *name, size_t key) {
    int k = 0;
    while (k < MEMBER_KINDS && !(key && strcasecmp(name + key, suffixes[k]) == 0)) k++;
    return (MemberKind)k;
}

static bool seen_insert(uint64_t *table, size_t capacity, uint64_t hash) {
    size_t i = hash & (capacity - 1);
    while (table[i] && table[i] != hash) i = (i + 1) & (capacity - 1);
    bool fresh = !table[i];
    table[i] = hash;
    return fresh;
}

// False: the key is not new.
static bool note_key(TarReader *t, const char *key) {
    uint64_t hash = XXH3_64bits(key, strlen(key));
    if (t->n_seen * 2 >= t->seen_capacity) {
        size_t capacity = t->seen_capacity ? t->seen_capacity * 2 : 1024;
        uint64_t *table = mem_calloc(capacity, sizeof *table);
        for (size_t i = 0; i < t->seen_capacity; i++)
            if (t->seen[i]) seen_insert(table, capacity, t->seen[i]);
        mem_free(t->seen);
        t->seen = table;
        t->seen_capacity = capacity;
    }
    bool fresh = seen_insert(t->seen, t->seen_capacity, hash ? hash : 1);
    t->n_seen += fresh;
    return fresh;
}

static int read_content(TarReader *t, const TarMember *m, StrBuf *out, Err *err) {
    char buf[4096];
    size_t n = 1;
    if (m->size > RECORD_MAX_BYTES)
        return err_input(err, "%s/%s: found %ld byte%s; expected at most %d in a record", t->path, m->name, m->size,
                         plural(m->size), RECORD_MAX_BYTES);
    while (n) { // memory as content arrives: the size in the header may be wrong
        if (tar_stream_read(t->stream, buf, sizeof buf, &n, err)) return -1;
        str_add(out, buf, n);
    }
    return 0;
}

static int add_member(TarReader *t, const TarMember *m, MemberKind kind, Err *err) {
    StrBuf *content = &t->group.content[kind];
    if (content->data)
        return err_input(err, "%s/%s: found the member twice in its group; expected it once", t->path, m->name);
    return read_content(t, m, content, err);
}

// ---- a group to a record ----

// The .txt or .cls as a key of the record, if that has none.
static int add_key(Json *record, JsonPool *pool, TarReader *t, MemberKind kind, Err *err) {
    const char *key = kind == MEMBER_TEXT ? "text" : "label";
    StrBuf *s = &t->group.content[kind];
    if (!s->data) return 0;
    if (json_given(record, key)) {
        ignore(t, suffixes[kind]);
        return 0;
    }
    AUTO_FREE char *name = mem_printf("%s/%s%s", t->path, t->group.key, suffixes[kind]);
    if (text_check(name, s->data, s->len, err)) return -1;
    JsonStr text = {s->data, s->len};
    if (kind == MEMBER_CLASS) {
        while (s->len && json_is_space(s->data[s->len - 1])) s->data[--s->len] = 0;
        size_t space = strspn(s->data, " \t\r\n");
        text = (JsonStr){s->data + space, s->len - space};
    }
    bool integer = kind == MEMBER_CLASS && json_text_is_integer(text.data, text.len);
    *record = json_with(pool, record, key, (Json){.type = integer ? JSON_INT : JSON_STRING, .str = text});
    return 0;
}

// The record's text; as it is in the .json if nothing is added to that.
static int compose(StrBuf *out, TarReader *t, const char *name, Err *err) {
    AUTO_JSON JsonDoc *doc = NULL;
    AUTO_CALL(json_pool_clear) JsonPool pool = {0};
    StrBuf *json = &t->group.content[MEMBER_JSON];
    bool alone = !t->group.content[MEMBER_TEXT].data && !t->group.content[MEMBER_CLASS].data;
    Json record = {.type = JSON_OBJECT};
    if (json->data && !alone) {
        if (json_parse_data(&doc, json->data, json->len, name, 1, err)) return -1;
        record = *json_root(doc);
        if (record.type != JSON_OBJECT)
            return err_input(err, "%s:1: found %s; expected a record, an object", name, json_type_name(&record));
    }
    const Json *items = record.items;
    if (add_key(&record, &pool, t, MEMBER_TEXT, err) || add_key(&record, &pool, t, MEMBER_CLASS, err)) return -1;
    if (json->data && record.items == items) {
        *out = *json;
        *json = (StrBuf){0};
    } else {
        json_print(out, &record);
    }
    return 0;
}

static const char *hold(TarReader *t, StrBuf *text) { return json_pool_text(&t->held, text).data; }

// The group as a record: 1; 0: all its members were ignored.
static int finish_group(TarReader *t, RecordSpan *span, Err *err) {
    const Group *g = &t->group;
    bool json = g->content[MEMBER_JSON].data, text = g->content[MEMBER_TEXT].data;
    if (!json && !text && !g->content[MEMBER_CLASS].data) return 0;
    if (!note_key(t, g->key))
        return err_input(
            err,
            "%s/%s: found members of this group again after those of another group; expected them next to each other",
            t->path, g->key);
    if (!json && !text)
        return err_input(err, "%s/%s.cls: found a label without a text; expected a .txt or .json next to it", t->path,
                         g->key);
    StrBuf record = {0}, name = {0};
    str_printf(&name, "%s/%s%s", t->path, g->key, suffixes[json ? MEMBER_JSON : MEMBER_TEXT]);
    *span = (RecordSpan){.line = 1, .name = hold(t, &name)};
    int rc = compose(&record, t, span->name, err);
    span->len = record.len;
    span->text = hold(t, &record);
    return rc ? -1 : 1;
}

static bool same_group(const Group *g, const char *name, size_t key) {
    return g->key && strlen(g->key) == key && memcmp(g->key, name, key) == 0;
}

int tar_records_next(TarReader *t, RecordSpan *span, Err *err) {
    int rc = 0;
    while (!rc && !t->at_end) {
        TarMember m;
        int more = next_file(t, &m, err);
        if (more < 0) return -1;
        t->at_end = more == 0;
        const char *name = more ? m.name : "";
        size_t key = key_length(name);
        MemberKind kind = kind_of(name, key);
        if (more && !key) {
            ignore(t, "name without a key");
            continue;
        }
        if (!more || !same_group(&t->group, name, key)) {
            rc = finish_group(t, span, err);
            group_clear(&t->group);
            if (more) t->group.key = mem_strndup(name, key);
        }
        if (more && kind == MEMBER_KINDS) ignore(t, name + key);
        if (rc >= 0 && more && kind != MEMBER_KINDS && add_member(t, &m, kind, err)) return -1;
    }
    return rc;
}

void tar_records_release(TarReader *t) { json_pool_clear(&t->held); }

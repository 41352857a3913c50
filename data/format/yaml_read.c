// The tree is built by recursive descent over the events; libyaml itself does not recurse. An alias shares the values
// of its anchor, so memory is linear in the text; what readers of the tree would walk through is counted and limited.
#include "yaml_read.h"

#include <string.h>

#include <yaml.h>

#include "json_internal.h"
#include "yaml_scalar.h"

typedef struct Anchor {
    char *name;
    Json value;
    size_t values, height; // of value: how many values, how many levels
} Anchor;

typedef struct Reader {
    yaml_parser_t parser;
    yaml_event_t event; // the current one
    const char *text, *name;
    size_t len;
    JsonDoc *doc;
    size_t depth, values;
    Anchor *anchors;
    size_t n_anchors, anchors_capacity;
    Err *err;
} Reader;

typedef struct Members { // of a mapping or a sequence that is being read
    JsonStr *keys;       // mapping
    Json *items;
    size_t count, keys_capacity, items_capacity;
} Members;

static void members_clear(Members *m) {
    mem_free(m->keys);
    mem_free(m->items);
}

// ---- errors ----

// The text at a mark, which counts lines from 0 and characters of its line.
static const char *text_at(const Reader *r, yaml_mark_t mark) {
    const char *p = r->text, *end = r->text + r->len;
    for (size_t line = 0; line < mark.line && p < end; p++) line += *p == '\n';
    for (size_t column = 0; column < mark.column && p < end && *p != '\n'; column++) do
            p++;
        while (p < end && ((unsigned char)*p & 0xC0) == 0x80);
    return p;
}

static void show_found(char found[32], const Reader *r, const char *p) {
    unsigned char c = p < r->text + r->len ? (unsigned char)*p : 0;
    if (p == r->text + r->len)
        snprintf(found, 32, "the end");
    else if (c == '\t' || c == '\n' || c == '\r')
        snprintf(found, 32, "%s", c == '\t' ? "a tab" : "the end of the line");
    else
        snprintf(found, 32, c > 32 && c < 127 ? "'%c'" : c == 32 ? "a space" : "byte 0x%02X", c);
}

static int fail_at(const Reader *r, yaml_mark_t mark, const char *found, const char *expected) {
    return err_input(r->err, "%s:%zu: found %s at column %zu; expected %s", r->name, mark.line + 1, found,
                     mark.column + 1, expected);
}

// libyaml's reader: control characters and what is not UTF-8, at a byte.
static int fail_character(const Reader *r) {
    const yaml_parser_t *p = &r->parser;
    size_t line = 1, column = 1, end = p->problem_offset < r->len ? p->problem_offset : r->len;
    for (size_t i = 0; i < end; i++) {
        line += r->text[i] == '\n';
        column = r->text[i] == '\n' ? 1 : column + (((unsigned char)r->text[i] & 0xC0) != 0x80);
    }
    return err_input(r->err,
                     "%s:%zu: found byte 0x%02X at column %zu; expected valid UTF-8 text without control characters",
                     r->name, line, end < r->len ? (unsigned char)r->text[end] : 0, column);
}

static int fail_syntax(const Reader *r) {
    const yaml_parser_t *p = &r->parser;
    if (p->error == YAML_MEMORY_ERROR) mem_exhausted(0);
    if (p->error == YAML_READER_ERROR) return fail_character(r);
    char found[32], context[160] = "";
    const char *at = text_at(r, p->problem_mark);
    bool tab = at < r->text + r->len && *at == '\t';
    show_found(found, r, at);
    if (p->context)
        snprintf(context, sizeof context, " (%s that begins on line %zu)", p->context, p->context_mark.line + 1);
    return err_input(r->err, "%s:%zu: found %s at column %zu: %s%s%s", r->name, p->problem_mark.line + 1, found,
                     p->problem_mark.column + 1, p->problem, context, tab ? "; expected spaces, not a tab" : "");
}

// ---- events ----

static int next(Reader *r) {
    yaml_event_delete(&r->event);
    return yaml_parser_parse(&r->parser, &r->event) ? 0 : fail_syntax(r);
}

// What follows "tag:yaml.org,2002:"; "": no tag; "str" for "!". NULL: another tag.
static const char *core_tag(const yaml_char_t *tag) {
    static const char core[] = "tag:yaml.org,2002:";
    const char *text = (const char *)tag;
    if (!text || !*text) return "";
    if (strcmp(text, "!") == 0) return "str";
    return starts_with(text, core) ? text + sizeof core - 1 : NULL;
}

static int fail_tag(const Reader *r, const yaml_char_t *tag) {
    char found[96];
    snprintf(found, sizeof found, "the tag \"%.64s\"", (const char *)tag);
    return fail_at(r, r->event.start_mark, found, "a plain value, or a tag of the core schema that fits it");
}

static int read_scalar(Reader *r, Json *out) {
    const yaml_event_t *e = &r->event;
    const char *tag = core_tag(e->data.scalar.tag), *why;
    JsonStr text = json_doc_text(r->doc, (const char *)e->data.scalar.value, e->data.scalar.length);
    bool plain = e->data.scalar.plain_implicit || (tag && *tag && strcmp(tag, "str") != 0);
    if (memchr(text.data, 0, text.len)) return fail_at(r, e->start_mark, "a NUL character", "text without it");
    if (!plain || (tag && strcmp(tag, "str") == 0))
        *out = (Json){.type = JSON_STRING, .str = text};
    else if ((why = yaml_scalar_resolve(out, r->doc, text)))
        return err_input(r->err, "%s:%zu: found %.40s at column %zu: %s", r->name, e->start_mark.line + 1, text.data,
                         e->start_mark.column + 1, why);
    if (!tag || !yaml_scalar_has_tag(out, tag)) return fail_tag(r, e->data.scalar.tag);
    return 0;
}

// ---- anchors ----

static char *take_anchor(const yaml_event_t *e) {
    const yaml_char_t *name = e->type == YAML_SCALAR_EVENT           ? e->data.scalar.anchor
                              : e->type == YAML_SEQUENCE_START_EVENT ? e->data.sequence_start.anchor
                              : e->type == YAML_MAPPING_START_EVENT  ? e->data.mapping_start.anchor
                                                                     : NULL;
    return name ? mem_strdup((const char *)name) : NULL;
}

static const Anchor *find_anchor(const Reader *r, const char *name) {
    for (size_t i = r->n_anchors; i-- > 0;)
        if (strcmp(r->anchors[i].name, name) == 0) return &r->anchors[i];
    return NULL;
}

static int count_values(Reader *r, size_t n) {
    r->values += n;
    if (r->values <= YAML_MAX_VALUES) return 0;
    return fail_at(r, r->event.start_mark, "more than 131072 values, with those that aliases repeat", "fewer");
}

static int read_alias(Reader *r, Json *out, size_t *height) {
    const char *name = (const char *)r->event.data.alias.anchor;
    const Anchor *a = find_anchor(r, name);
    if (!a) {
        char found[96];
        snprintf(found, sizeof found, "the alias *%.64s", name);
        return fail_at(r, r->event.start_mark, found, "an anchor of that name before it");
    }
    *out = a->value;
    *height = a->height;
    if (r->depth + a->height > JSON_MAX_DEPTH)
        return fail_at(r, r->event.start_mark, "an alias nested deeper than 64", "at most 64 levels");
    return count_values(r, a->values);
}

// ---- mappings and sequences ----

static int read_node(Reader *r, Json *out, size_t *height);

static bool has_key(const Members *m, JsonStr key) {
    for (size_t i = 0; i < m->count; i++)
        if (json_str_equal(m->keys[i], key)) return true;
    return false;
}

static int add_member(Reader *r, Members *m, const JsonStr *key, const Json *value) {
    MEM_GROW(m->items, m->items_capacity, m->count + 1);
    if (key) {
        if (m->count == YAML_MAX_KEYS)
            return fail_at(r, r->event.start_mark, "more than 1000 keys in a mapping", "fewer");
        MEM_GROW(m->keys, m->keys_capacity, m->count + 1);
        m->keys[m->count] = *key;
    }
    m->items[m->count++] = *value;
    return 0;
}

// Keys of merged mappings that the mapping itself, or one merged earlier, does not have.
static int merge(Reader *r, Members *m, const Json *from, yaml_mark_t mark) {
    if (from->type == JSON_ARRAY) {
        for (size_t i = 0; i < from->count; i++)
            if (from->items[i].type != JSON_OBJECT || merge(r, m, &from->items[i], mark))
                return from->items[i].type == JSON_OBJECT
                           ? -1
                           : fail_at(r, mark, "a merge key (<<) of other values", "a mapping or a list of mappings");
        return 0;
    }
    if (from->type != JSON_OBJECT)
        return fail_at(r, mark, "a merge key (<<) of another value", "a mapping or a list of mappings");
    for (size_t i = 0; i < from->count; i++)
        if (!has_key(m, from->keys[i]) && add_member(r, m, &from->keys[i], &from->items[i])) return -1;
    return 0;
}

typedef struct Key {
    JsonStr text;
    bool merges;
    yaml_mark_t mark;
} Key;

static int read_key(Reader *r, Key *key, const Members *m) {
    const yaml_event_t *e = &r->event;
    char found[128];
    key->mark = e->start_mark;
    if (e->type != YAML_SCALAR_EVENT) return fail_at(r, key->mark, "a key that is no text", "a word as the key");
    key->text = json_doc_text(r->doc, (const char *)e->data.scalar.value, e->data.scalar.length);
    key->merges = e->data.scalar.plain_implicit && json_str_is(key->text, "<<");
    if (memchr(key->text.data, 0, key->text.len)) return fail_at(r, key->mark, "a NUL character", "text without it");
    if (e->data.scalar.anchor || (e->data.scalar.tag && *e->data.scalar.tag))
        return fail_at(r, key->mark, "a key with an anchor or a tag", "a plain key");
    if (key->merges || !has_key(m, key->text)) return 0;
    snprintf(found, sizeof found, "key \"%.80s\" twice", key->text.data);
    return fail_at(r, key->mark, found, "unique keys");
}

// The first event of the mapping or sequence is current; at the end, its last.
static int read_members(Reader *r, Members *m, bool mapping, size_t *height) {
    AUTO_CALL(members_clear) Members merged = {0}; // values of merge keys
    yaml_mark_t mark = r->event.start_mark;
    yaml_event_type_t end = mapping ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT;
    for (;;) {
        Key key = {0};
        Json value;
        size_t h = 0;
        if (next(r)) return -1;
        if (r->event.type == end) break;
        if (mapping && (read_key(r, &key, m) || next(r))) return -1;
        if (read_node(r, &value, &h)) return -1;
        if (key.merges) mark = key.mark;
        if (mapping && !key.merges) value.line = (uint32_t)key.mark.line + 1;
        if (add_member(r, key.merges ? &merged : m, mapping && !key.merges ? &key.text : NULL, &value)) return -1;
        if (h > *height) *height = h;
    }
    for (size_t i = 0; i < merged.count; i++)
        if (merge(r, m, &merged.items[i], mark)) return -1;
    return 0;
}

static int read_collection(Reader *r, Json *out, size_t *height) {
    AUTO_CALL(members_clear) Members m = {0};
    bool mapping = r->event.type == YAML_MAPPING_START_EVENT;
    const yaml_char_t *given = mapping ? r->event.data.mapping_start.tag : r->event.data.sequence_start.tag;
    const char *tag = core_tag(given);
    if (!tag || (*tag && strcmp(tag, mapping ? "map" : "seq") != 0 && strcmp((const char *)given, "!") != 0))
        return fail_tag(r, given);
    if (r->depth++ == JSON_MAX_DEPTH)
        return fail_at(r, r->event.start_mark, "nesting deeper than 64", "at most 64 levels");
    if (read_members(r, &m, mapping, height)) return -1;
    r->depth--;
    ++*height;
    Json *items = json_doc_alloc(r->doc, m.count, sizeof *items);
    if (m.count) memcpy(items, m.items, m.count * sizeof *items);
    *out = (Json){.type = mapping ? JSON_OBJECT : JSON_ARRAY, .count = m.count, .items = items};
    if (!mapping) return 0;
    JsonStr *keys = json_doc_alloc(r->doc, m.count, sizeof *keys);
    if (m.count) memcpy(keys, m.keys, m.count * sizeof *keys);
    out->keys = keys;
    return 0;
}

static int read_value(Reader *r, Json *out, size_t *height) {
    if (count_values(r, 1)) return -1;
    switch (r->event.type) {
    case YAML_SCALAR_EVENT: return read_scalar(r, out);
    case YAML_ALIAS_EVENT: return read_alias(r, out, height);
    default: return read_collection(r, out, height);
    }
}

// The node that begins with the current event. *height: 0 for a scalar.
static int read_node(Reader *r, Json *out, size_t *height) {
    AUTO_FREE char *anchor = take_anchor(&r->event);
    uint32_t line = (uint32_t)r->event.start_mark.line + 1;
    size_t before = r->values;
    *height = 0;
    *out = (Json){0};
    if (read_value(r, out, height)) return -1;
    out->line = line;
    if (!anchor) return 0;
    if (r->n_anchors == YAML_MAX_ANCHORS) return fail_at(r, r->event.start_mark, "more than 1000 anchors", "fewer");
    MEM_GROW(r->anchors, r->anchors_capacity, r->n_anchors + 1);
    r->anchors[r->n_anchors++] = (Anchor){mem_take(&anchor), *out, r->values - before, *height};
    return 0;
}

// ---- the document ----

// libyaml compares each %TAG line with all others.
static int check_directives(Reader *r) {
    for (const char *p = r->text, *end = p + r->len; p && p < end;) {
        if (*p == '%') return fail_at(r, (yaml_mark_t){.line = r->values}, "a directive (%)", "none");
        p = memchr(p, '\n', (size_t)(end - p));
        if (p) p++;
        r->values++;
    }
    r->values = 0;
    return 0;
}

static int read_document(Reader *r, Json *root) {
    size_t height;
    if (r->len > YAML_MAX_BYTES)
        return err_input(r->err, "%s: found %zu bytes; expected at most %d of YAML", r->name, r->len, YAML_MAX_BYTES);
    if (check_directives(r) || next(r) || next(r)) return -1;
    if (r->event.type == YAML_STREAM_END_EVENT)
        return fail_at(r, r->event.start_mark, "no value", "a mapping of keys to values");
    if (next(r) || read_node(r, root, &height) || next(r) || next(r)) return -1;
    if (r->event.type == YAML_STREAM_END_EVENT) return 0;
    return fail_at(r, r->event.start_mark, "a second document", "one");
}

bool yaml_is_name(const char *path) {
    size_t n = strlen(path);
    return ends_with_nocase(path, n, ".yaml") || ends_with_nocase(path, n, ".yml");
}

int yaml_parse_config(JsonDoc **doc, const char *text, size_t len, const char *name, Err *err) {
    size_t mark = len >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    Reader r = {.text = text + mark, .len = len - mark, .name = name, .doc = json_doc_new(), .err = err};
    if (!yaml_parser_initialize(&r.parser)) mem_exhausted(0);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)r.text, r.len);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    int rc = read_document(&r, json_doc_root(r.doc));
    yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    for (size_t i = 0; i < r.n_anchors; i++) mem_free(r.anchors[i].name);
    mem_free(r.anchors);
    if (rc) json_free(r.doc);
    *doc = rc ? NULL : r.doc;
    return rc;
}

// jinja_json: the data a template sees (JSON to values) and the filter tojson (json.dumps of Python).
#include "jinja_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// ---- JSON to values ----

static Value str_from_json(Eval *e, JsonStr s, uint32_t origin) {
    eval_charge(e, 1 + s.len / 64);
    return (Value){.type = V_STR, .origin = origin, .str = str_in_arena(&e->arena, s.data, s.len, origin)};
}

static Value number_from_json(Eval *e, const Json *j, uint32_t origin) {
    if (j->type == JSON_INT) return (Value){.type = V_INT, .origin = origin, .i = j->integer};
    bool digits = j->str.len == strspn(j->str.data, "-0123456789");
    if (digits) { // an integer too large for int64
        Value v = str_from_json(e, j->str, origin);
        v.type = V_BIGINT;
        return v;
    }
    return (Value){.type = V_FLOAT, .origin = origin, .f = j->number};
}

// Room for n pairs. Of messages it is kept which of them the template reads.
static Value dict_of(Eval *e, size_t n, uint32_t origin) {
    Value v = v_dict(e);
    v.dict->keys = eval_alloc(e, n, sizeof *v.dict->keys);
    v.dict->values = eval_alloc(e, n, sizeof *v.dict->values);
    v.dict->count = v.dict->capacity = n;
    if (origin < JINJA_ORIGIN_MESSAGE) return v;
    v.dict->read = eval_alloc(e, n, sizeof *v.dict->read);
    memset(v.dict->read, false, n * sizeof *v.dict->read);
    return v;
}

// The JSON document must outlive the values: strings are borrowed.
Value value_from_json(Eval *e, const Json *j, uint32_t origin) {
    Value v;
    switch (j->type) {
    case JSON_NULL:
        return (Value){.type = V_NONE, .origin = origin};
    case JSON_FALSE:
    case JSON_TRUE:
        return (Value){.type = V_BOOL, .origin = origin, .b = j->type == JSON_TRUE};
    case JSON_INT:
    case JSON_FLOAT:
        return number_from_json(e, j, origin);
    case JSON_STRING:
        return str_from_json(e, j->str, origin);
    case JSON_ARRAY: {
        Value *items = eval_alloc(e, j->count, sizeof *items);
        for (size_t i = 0; i < j->count; i++) items[i] = value_from_json(e, &j->items[i], origin);
        v = v_seq(e, V_LIST, items, j->count);
        break;
    }
    default: { // keys of a JSON object are unique
        v = dict_of(e, j->count, origin);
        Dict *d = v.dict;
        for (size_t i = 0; i < j->count; i++) {
            d->keys[i] = str_from_json(e, j->keys[i], origin);
            d->values[i] = value_from_json(e, &j->items[i], origin);
        }
    }
    }
    v.origin = origin;
    return v;
}

// Templates build control tokens and headers out of role names ('<|' + role + '|>'). A role of this closed list is a
// word of the chat format, not text of the data, so it has origin 0; any other role stays data.
static bool is_known_role(const Json *role) {
    static const char *const known[] = {"system",      "developer",   "user",    "assistant", "model",
                                        "tool",        "function",    "ipython", "human",     "gpt",
                                        "observation", "environment", "context", "documents", "tool_response"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (json_is_string(role, known[i])) return true;
    }
    return false;
}

Value field_from_json(Eval *e, const Json *j, uint32_t origin, size_t key) {
    if (j->type != JSON_ARRAY) return value_from_json(e, j, origin | jinja_place(key, 0));
    Value *items = eval_alloc(e, j->count, sizeof *items);
    for (size_t i = 0; i < j->count; i++) items[i] = value_from_json(e, &j->items[i], origin | jinja_place(key, i));
    Value v = v_seq(e, V_LIST, items, j->count);
    v.origin = origin | jinja_place(key, 0);
    return v;
}

Value message_from_json(Eval *e, const Json *j, uint32_t origin) {
    if (j->type != JSON_OBJECT) return value_from_json(e, j, origin);
    Value v = dict_of(e, j->count, origin);
    Dict *d = v.dict;
    for (size_t i = 0; i < j->count; i++) {
        bool is_role = j->keys[i].len == 4 && memcmp(j->keys[i].data, "role", 4) == 0;
        d->keys[i] = str_from_json(e, j->keys[i], origin | jinja_place(i, 0));
        d->values[i] = is_role && is_known_role(&j->items[i]) ? value_from_json(e, &j->items[i], 0)
                                                              : field_from_json(e, &j->items[i], origin, i);
    }
    v.origin = origin;
    return v;
}

// ---- tojson ----

typedef struct Dump {
    Eval *e;
    Buffer *out;
    const Str *indent, *item_sep, *key_sep;
    bool ascii, sort_keys;
} Dump;

static void dump_value(Dump *d, Value v, int level);

static void dump_escape(Dump *d, int32_t cp, uint32_t origin) {
    static const char plain[] = "\"\"\\\\\nn\rr\tt\ff\bb";
    for (size_t i = 0; i + 1 < sizeof plain; i += 2) {
        if (plain[i] != cp) continue;
        buf_printf(d->e, d->out, origin, "\\%c", plain[i + 1]);
        return;
    }
    if (cp >= 0x10000) {
        buf_printf(d->e, d->out, origin, "\\u%04x", (unsigned)(0xD800 + ((cp - 0x10000) >> 10)));
        cp = 0xDC00 + ((cp - 0x10000) & 0x3FF);
    }
    buf_printf(d->e, d->out, origin, "\\u%04x", (unsigned)cp);
}

static void dump_string(Dump *d, const Str *s) {
    uint32_t edge = str_edge_origin(s);
    size_t plain_from = 0;
    buf_add(d->e, d->out, "\"", 1, edge);
    for (size_t at = 0; at < s->len && !d->e->failed;) {
        int32_t cp;
        size_t n = utf8_next(s->data, s->len, at, &cp);
        if (cp < 0x20 || cp == '"' || cp == '\\' || (d->ascii && cp >= 0x7F && cp != 0x7F)) {
            buf_slice(d->e, d->out, s, plain_from, at);
            dump_escape(d, cp, s->origins ? s->origins[at] : s->origin);
            plain_from = at + n;
        }
        at += n;
    }
    buf_slice(d->e, d->out, s, plain_from, s->len);
    buf_add(d->e, d->out, "\"", 1, edge);
}

static void dump_break(Dump *d, int level, uint32_t origin) {
    if (!d->indent) return;
    buf_add(d->e, d->out, "\n", 1, origin);
    for (int i = 0; i < level && !d->e->failed; i++) buf_add(d->e, d->out, d->indent->data, d->indent->len, origin);
}

// Separators and brackets have the origin of the container they belong to.
static void dump_list(Dump *d, Value v, int level) {
    if (v.seq->count == 0) {
        buf_add(d->e, d->out, "[]", 2, v.origin);
        return;
    }
    buf_add(d->e, d->out, "[", 1, v.origin);
    for (size_t i = 0; i < v.seq->count && !d->e->failed; i++) {
        if (i) buf_add(d->e, d->out, d->item_sep->data, d->item_sep->len, v.origin);
        dump_break(d, level + 1, v.origin);
        dump_value(d, v.seq->items[i], level + 1);
    }
    dump_break(d, level, v.origin);
    buf_add(d->e, d->out, "]", 1, v.origin);
}

static void dump_key(Dump *d, Value key) {
    if (key.type == V_STR) {
        dump_string(d, key.str);
    } else if (is_number(key) || key.type == V_NONE || key.type == V_BIGINT) {
        buf_add(d->e, d->out, "\"", 1, key.origin);
        dump_value(d, key, 0);
        buf_add(d->e, d->out, "\"", 1, key.origin);
    } else {
        eval_fail(d->e, "tojson: a key is of type '%s'", type_name(key));
    }
}

// Order of the pairs: as they are, or by key.
static size_t *dump_order(Dump *d, const Dict *dict) {
    size_t *order = eval_alloc(d->e, dict->count, sizeof *order);
    for (size_t i = 0; i < dict->count; i++) {
        size_t at = i;
        for (; d->sort_keys && at > 0 && value_compare(d->e, dict->keys[i], dict->keys[order[at - 1]], "<") < 0; at--) {
            order[at] = order[at - 1];
            eval_charge(d->e, 1);
        }
        order[at] = i;
    }
    return order;
}

static void dump_dict(Dump *d, Value v, int level) {
    if (v.dict->count == 0) {
        buf_add(d->e, d->out, "{}", 2, v.origin);
        return;
    }
    size_t *order = dump_order(d, v.dict);
    dict_read_all(v.dict);
    buf_add(d->e, d->out, "{", 1, v.origin);
    for (size_t i = 0; i < v.dict->count && !d->e->failed; i++) {
        if (i) buf_add(d->e, d->out, d->item_sep->data, d->item_sep->len, v.origin);
        dump_break(d, level + 1, v.origin);
        dump_key(d, v.dict->keys[order[i]]);
        buf_add(d->e, d->out, d->key_sep->data, d->key_sep->len, v.origin);
        dump_value(d, v.dict->values[order[i]], level + 1);
    }
    dump_break(d, level, v.origin);
    buf_add(d->e, d->out, "}", 1, v.origin);
}

static void dump_float(Dump *d, Value v) {
    char number[40];
    if (isfinite(v.f)) {
        buf_add(d->e, d->out, number, format_float(number, v.f), v.origin);
    } else {
        if (v.origin) eval_fail(d->e, "tojson: a number of the data is NaN or infinite");
        buf_printf(d->e, d->out, v.origin, "%s", isnan(v.f) ? "NaN" : v.f < 0 ? "-Infinity" : "Infinity");
    }
}

static void dump_value(Dump *d, Value v, int level) {
    eval_charge(d->e, 1);
    if (++d->e->depth > JINJA_MAX_DEPTH) eval_fail(d->e, "nested too deep");
    switch (d->e->failed ? V_MISSING : v.type) {
    case V_MISSING:
        break;
    case V_NONE:
        buf_printf(d->e, d->out, v.origin, "null");
        break;
    case V_BOOL:
        buf_printf(d->e, d->out, v.origin, v.b ? "true" : "false");
        break;
    case V_INT:
        buf_printf(d->e, d->out, v.origin, "%lld", (long long)v.i);
        break;
    case V_BIGINT:
        buf_str(d->e, d->out, v.str);
        break;
    case V_FLOAT:
        dump_float(d, v);
        break;
    case V_STR:
        dump_string(d, v.str);
        break;
    case V_LIST:
    case V_TUPLE:
        dump_list(d, v, level);
        break;
    case V_DICT:
        dump_dict(d, v, level);
        break;
    default:
        eval_fail(d->e, "tojson: a value of type '%s' is not JSON serializable", type_name(v));
    }
    d->e->depth--;
}

static const Str *indent_of(Eval *e, Value v) {
    int64_t n;
    if (!v_given(v) || v.type == V_NONE) return NULL;
    if (v.type == V_STR) return v.str;
    if (!as_int(v, &n) || n > 64) {
        eval_fail(e, "tojson: indent is neither a string nor an integer up to 64");
        return NULL;
    }
    char spaces[64];
    memset(spaces, ' ', sizeof spaces);
    return str_make(e, spaces, n > 0 ? (size_t)n : 0, 0);
}

Value to_json(Eval *e, Value v, const Value *a) {
    static const Str comma = {.data = ",", .len = 1}, comma_space = {.data = ", ", .len = 2};
    static const Str colon_space = {.data = ": ", .len = 2};
    Buffer b = {0};
    Dump d = {.e = e, .out = &b, .ascii = v_given(a[0]) && value_truth(e, a[0]), .indent = indent_of(e, a[1])};
    d.item_sep = d.indent ? &comma : &comma_space;
    d.key_sep = &colon_space;
    d.sort_keys = v_given(a[3]) && value_truth(e, a[3]);
    if (v_given(a[2]) && a[2].type != V_NONE) {
        Value pair = iter_list(e, a[2]);
        if (pair.seq->count != 2 || pair.seq->items[0].type != V_STR || pair.seq->items[1].type != V_STR) {
            return eval_fail(e, "tojson: separators are not two strings");
        }
        d.item_sep = pair.seq->items[0].str;
        d.key_sep = pair.seq->items[1].str;
    }
    dump_value(&d, v, 0);
    return buf_value(e, &b);
}

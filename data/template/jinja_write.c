// jinja_write: values to text, as Python writes them (str, repr) and as its json.dumps does.
#include "jinja_eval.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

typedef struct Writer {
    Eval *e;
    Buffer out;
    const Str *item_sep, *key_sep;
    bool json; // false: repr
    // of JSON
    const Str *indent; // NULL: one line
    bool ascii, sort_keys;
} Writer;

static void write_value(Writer *w, Value v, int level);

static void write_mark(Writer *w, const char *text, uint32_t origin) {
    buf_add(w->e, &w->out, text, strlen(text), origin);
}

// ---- numbers ----

// Shortest digits that read back as the same double, in Python's repr form.
static void format_float(char buf[40], double f) {
    char digits[40];
    for (int precision = 0; precision < 17; precision++) {
        snprintf(digits, sizeof digits, "%.*e", precision, f);
        if (strtod(digits, NULL) == f) break;
    }
    char *exp = strchr(digits, 'e');
    int e10 = (int)strtol(exp + 1, NULL, 10);
    int n_digits = (int)(exp - digits) - (digits[0] == '-') - (strchr(digits, '.') != NULL);
    int decimals = n_digits - 1 - e10;
    if (e10 < -4 || e10 >= 16) // d.ddde+XX as C writes it
        snprintf(buf, 40, "%s", digits);
    else
        snprintf(buf, 40, "%.*f", decimals < 1 ? 1 : decimals, f);
}

static void write_float(Writer *w, Value v) {
    char text[40];
    if (isfinite(v.f)) {
        format_float(text, v.f);
    } else {
        if (v.origin) eval_fail(w->e, "a number of the data is NaN or infinite");
        const char *name = isnan(v.f) ? (w->json ? "NaN" : "nan") : w->json ? "Infinity" : "inf";
        snprintf(text, sizeof text, "%s%s", !isnan(v.f) && v.f < 0 ? "-" : "", name);
    }
    write_mark(w, text, v.origin);
}

// ---- strings ----

static bool is_printable(int32_t cp) { // in the order of utf8proc's categories, spaces and controls come last
    utf8proc_category_t c = utf8proc_category(cp);
    return cp == ' ' || (c != UTF8PROC_CATEGORY_CN && c < UTF8PROC_CATEGORY_ZS);
}

static bool is_plain(const Writer *w, int32_t cp, char quote) {
    if (cp == quote || cp == '\\') return false;
    return w->json ? cp >= 0x20 && (cp <= 0x7F || !w->ascii) : is_printable(cp);
}

static void write_escape(Writer *w, int32_t cp, char quote, uint32_t origin) {
    static const char named[] = "\nn\rr\tt\bb\ff"; // repr has the first three
    char letter = cp == quote || cp == '\\' ? (char)cp : 0;
    for (int i = 0; i < (w->json ? 10 : 6); i += 2)
        if (named[i] == cp) letter = named[i + 1];
    if (letter) {
        buf_printf(w->e, &w->out, origin, "\\%c", letter);
    } else if (!w->json) {
        const char *form = cp < 0x100 ? "\\x%02x" : cp < 0x10000 ? "\\u%04x" : "\\U%08x";
        buf_printf(w->e, &w->out, origin, form, (unsigned)cp);
    } else if (cp < 0x10000) {
        buf_printf(w->e, &w->out, origin, "\\u%04x", (unsigned)cp);
    } else {
        buf_printf(w->e, &w->out, origin, "\\u%04x\\u%04x", (unsigned)(0xD800 + ((cp - 0x10000) >> 10)),
                   (unsigned)(0xDC00 + ((cp - 0x10000) & 0x3FF)));
    }
}

static void write_string(Writer *w, const Str *s) {
    bool single = !w->json && (!memchr(s->data, '\'', s->len) || memchr(s->data, '"', s->len));
    char quote = single ? '\'' : '"';
    size_t plain = 0; // bytes before are written
    buf_add(w->e, &w->out, &quote, 1, str_origin(s, 0));
    for (size_t at = 0; at < s->len && !w->e->failed;) {
        size_t from = at;
        int32_t cp = str_next(s, &at);
        if (is_plain(w, cp, quote)) continue;
        buf_slice(w->e, &w->out, s, plain, from);
        write_escape(w, cp, quote, str_origin(s, from));
        plain = at;
    }
    buf_slice(w->e, &w->out, s, plain, s->len);
    buf_add(w->e, &w->out, &quote, 1, str_origin(s, 0));
}

// ---- containers; marks have the origin of the container that they belong to ----

static void write_break(Writer *w, int level, uint32_t origin) {
    const Str *indent = w->indent;
    if (!indent) return;
    write_mark(w, "\n", origin);
    for (int i = 0; i < level && !w->e->failed; i++) buf_add(w->e, &w->out, indent->data, indent->len, origin);
}

static void write_separator(Writer *w, size_t i, int level, uint32_t origin) {
    const Str *sep = w->item_sep;
    if (i) buf_add(w->e, &w->out, sep->data, sep->len, origin);
    write_break(w, level, origin);
}

static void write_items(Writer *w, Value v, int level) {
    const Seq *q = v.seq;
    bool tuple = v.type == V_TUPLE && !w->json;
    if (v.type == V_VIEW) buf_printf(w->e, &w->out, v.origin, "dict_%s(", q->view);
    write_mark(w, tuple ? "(" : "[", v.origin);
    for (size_t i = 0; i < q->count && !w->e->failed; i++) {
        write_separator(w, i, level + 1, v.origin);
        write_value(w, q->items[i], level + 1);
    }
    if (q->count) write_break(w, level, v.origin);
    if (tuple && q->count == 1) write_mark(w, ",", v.origin);
    write_mark(w, tuple ? ")" : "]", v.origin);
    if (v.type == V_VIEW) write_mark(w, ")", v.origin);
}

static void write_key(Writer *w, Value key) {
    bool quoted = w->json && (is_number(key) || key.type == V_NONE || key.type == V_BIGINT);
    if (w->json && !quoted && key.type != V_STR) eval_fail(w->e, "tojson: a key is of type '%s'", type_name(key));
    if (quoted) write_mark(w, "\"", key.origin);
    write_value(w, key, 0);
    if (quoted) write_mark(w, "\"", key.origin);
}

// Order of the pairs: as they are, or by key.
static size_t *dict_order(Writer *w, const Dict *d) {
    size_t *order = eval_alloc(w->e, d->count, sizeof *order);
    for (size_t i = 0; i < d->count; i++) {
        size_t at = i;
        for (; w->sort_keys && at > 0; at--) {
            if (value_compare(w->e, d->keys[i], d->keys[order[at - 1]], "<") >= 0) break;
            order[at] = order[at - 1];
            eval_charge(w->e, 1);
        }
        order[at] = i;
    }
    return order;
}

static void write_dict(Writer *w, Value v, int level) {
    const Dict *d = v.dict;
    size_t *order = dict_order(w, d);
    dict_read_all(d);
    write_mark(w, "{", v.origin);
    for (size_t i = 0; i < d->count && !w->e->failed; i++) {
        write_separator(w, i, level + 1, v.origin);
        write_key(w, d->keys[order[i]]);
        buf_add(w->e, &w->out, w->key_sep->data, w->key_sep->len, v.origin);
        write_value(w, d->values[order[i]], level + 1);
    }
    if (d->count) write_break(w, level, v.origin);
    write_mark(w, "}", v.origin);
}

static void write_other(Writer *w, Value v, int level) {
    if (w->json) {
        eval_fail(w->e, "tojson: a value of type '%s' is not JSON serializable", type_name(v));
    } else if (v.type == V_VIEW) {
        write_items(w, v, level);
    } else if (v.type == V_NAMESPACE) {
        write_mark(w, "<Namespace ", v.origin);
        write_dict(w, v, level);
        write_mark(w, ">", v.origin);
    } else if (v.type == V_UNDEFINED) {
        write_mark(w, "Undefined", v.origin);
    } else {
        eval_fail(w->e, "printing a value of type '%s' is not supported", type_name(v));
    }
}

static void write_value(Writer *w, Value v, int level) {
    static const char *const words[][2] = {{"None", "null"}, {"False", "false"}, {"True", "true"}};
    eval_charge(w->e, 1);
    if (!eval_enter(w->e)) return;
    if (v.type == V_NONE || v.type == V_BOOL)
        write_mark(w, words[v.type == V_NONE ? 0 : 1 + v.b][w->json], v.origin);
    else if (v.type == V_INT)
        buf_printf(w->e, &w->out, v.origin, "%ld", v.i);
    else if (v.type == V_BIGINT)
        buf_str(w->e, &w->out, v.str);
    else if (v.type == V_FLOAT)
        write_float(w, v);
    else if (v.type == V_STR)
        write_string(w, v.str);
    else if (v.type == V_LIST || v.type == V_TUPLE)
        write_items(w, v, level);
    else if (v.type == V_DICT)
        write_dict(w, v, level);
    else
        write_other(w, v, level);
    w->e->depth--;
}

// ---- interface ----

static const Str comma = STR_INIT(","), comma_space = STR_INIT(", "), colon_space = STR_INIT(": ");

Value to_repr(Eval *e, Value v) {
    Writer w = {.e = e, .item_sep = &comma_space, .key_sep = &colon_space};
    write_value(&w, v, 0);
    return buf_value(e, &w.out);
}

const Str *to_str(Eval *e, Value v) {
    if (v.type == V_STR || v.type == V_BIGINT) return v.str;
    return (v.type == V_UNDEFINED ? v_text(e, "") : to_repr(e, v)).str;
}

static const Str *json_indent(const Call *c, Value v) {
    char spaces[64];
    int64_t n = 0;
    if (!is_set(v)) return NULL;
    if (v.type == V_STR) return v.str;
    if (!as_int(v, &n) || n > (int64_t)sizeof spaces) fail_type(c, v, "a string or an integer up to 64");
    memset(spaces, ' ', sizeof spaces);
    return str_make(c->e, spaces, c->e->failed || n < 0 ? 0 : (size_t)n);
}

// The filter tojson: ensure_ascii indent separators sort_keys
Value json_filter(const Call *c) {
    Writer w = {.e = c->e, .json = true, .key_sep = &colon_space};
    w.ascii = arg_truth(c, 0);
    w.sort_keys = arg_truth(c, 3);
    w.indent = json_indent(c, c->arg[1]);
    w.item_sep = w.indent ? &comma : &comma_space;
    if (is_set(c->arg[2])) {
        const Seq *pair = iter_list(c->e, c->arg[2]).seq;
        if (pair->count != 2) return eval_fail(c->e, "tojson: separators are not two strings");
        w.item_sep = want_str(c, pair->items[0]);
        w.key_sep = want_str(c, pair->items[1]);
    }
    write_value(&w, c->self, 0);
    return buf_value(c->e, &w.out);
}

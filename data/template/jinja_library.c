// jinja_library: the table of filters, tests, methods and global functions, and how arguments are bound to them. To add
// one: its row here, its declaration in jinja_eval.h, its code.
//
// Not supported, refused by name: escaping and HTML (escape, forceescape, striptags, urlize, xmlattr, urlencode),
// random, pprint, filesizeformat, wordwrap, wordcount, truncate, groupby, batch, slice, attr; the test escaped.
#include "jinja_eval.h"

#include <string.h>
#include <time.h>

// ---- tests ----

static Value is_type(const Call *c) { // mode: the types
    return v_bool(has_type(c->self, c->f->mode));
}

static Value is_bool(const Call *c) { // mode: the value
    return v_bool(c->self.type == V_BOOL && c->self.b == c->f->mode);
}

static Value is_compared(const Call *c) { // mode: CompareOp
    return v_bool(op_compare(c->e, (CompareOp)c->f->mode, c->self, c->arg[0]));
}

static Value is_in_library(const Call *c) { // mode: FILTER or TEST
    return v_bool(c->self.type == V_STR && find_function(c->f->mode, c->self.str));
}

// sameas: identity. For strings and numbers it depends on CPython's interning, so it is refused.
static Value is_same(const Call *c) {
    Value v = c->self, other = c->arg[0];
    if (v.type != other.type) return v_bool(false);
    if (has_type(v, TYPE(V_STR) | TYPE(V_INT) | TYPE(V_FLOAT) | TYPE(V_BIGINT)))
        return eval_fail(c->e, "sameas on a '%s' is not supported", type_name(v));
    return v_bool(v.type == V_BOOL ? v.b == other.b : v.type == V_NONE || v.seq == other.seq);
}

static Value value_default(const Call *c) {
    bool use = c->self.type == V_UNDEFINED || (arg_truth(c, 1) && !value_truth(c->e, c->self));
    if (!use) return c->self;
    return v_given(c->arg[0]) ? c->arg[0] : v_text(c->e, "");
}

// ---- global functions: those of the Hugging Face environment; cycler, joiner and lipsum are not among them ----

static Value global_range(const Call *c) {
    const CallArgs *given = c->given;
    int64_t v[3] = {0, 0, 1}, n = 0;
    if (given->kw.count || given->n_pos < 1 || given->n_pos > 3) return eval_fail(c->e, "range takes 1 to 3 numbers");
    for (size_t i = 0; i < given->n_pos; i++)
        if (!as_int(given->pos[i], &v[given->n_pos == 1 ? 1 : i])) return fail_type(c, given->pos[i], "an integer");
    int64_t start = v[0], stop = v[1], step = v[2], at = start;
    if (step == 0) return eval_fail(c->e, "range: step is zero");
    while ((step > 0 ? at < stop : at > stop) && n <= JINJA_MAX_RANGE) {
        n++;
        if (__builtin_add_overflow(at, step, &at)) break;
    }
    if (n > JINJA_MAX_RANGE) return eval_fail(c->e, "range is longer than %d", JINJA_MAX_RANGE);
    Value *items = eval_alloc(c->e, (size_t)n, sizeof *items);
    for (int64_t i = 0; i < n; i++) items[i] = v_int(start + i * step);
    return v_seq(c->e, V_RANGE, items, (size_t)n);
}

static void dict_set_all(Eval *e, Dict *d, const Dict *from) {
    dict_read_all(from);
    for (size_t i = 0; i < from->count; i++) dict_set(e, d, from->keys[i], from->values[i]);
}

// dict(mapping or pairs, name=value, ...)
static Value global_dict(const Call *c) {
    Value d = v_dict(c->e), item;
    const CallArgs *given = c->given;
    if (given->n_pos > 1) return eval_fail(c->e, "dict takes at most one value without name");
    if (given->n_pos == 1 && given->pos[0].type == V_DICT) {
        dict_set_all(c->e, d.dict, given->pos[0].dict);
    } else if (given->n_pos == 1) {
        for (Iter *it = iter_new(c->e, given->pos[0]); iter_next(c->e, it, &item);) {
            const Seq *pair = iter_list(c->e, item).seq;
            if (pair->count != 2) return eval_fail(c->e, "dict: an item is not a pair");
            if (is_hashable(c->e, pair->items[0])) dict_set(c->e, d.dict, pair->items[0], pair->items[1]);
        }
    }
    dict_set_all(c->e, d.dict, &given->kw);
    return d;
}

static Value global_namespace(const Call *c) {
    Value ns = global_dict(c);
    for (size_t i = 0; !c->e->failed && i < ns.dict->count; i++) {
        Value key = ns.dict->keys[i];
        if (key.type == V_STR) check_namespace_name(c->e, key.str);
    }
    if (!c->e->failed) ns.type = V_NAMESPACE;
    return ns;
}

static Value global_raise(const Call *c) {
    const Str *why = to_str(c->e, c->arg[0]);
    return eval_fail(c->e, "the template refuses the conversation: %.*s", STR_SHOWN(why, 600));
}

// The clock is never read: always 1 January 2026, 00:00:00, a Thursday.
static Value global_strftime(const Call *c) {
    const struct tm day = {.tm_year = 126, .tm_mon = 0, .tm_mday = 1, .tm_wday = 4, .tm_yday = 0};
    const Str *f = want_str(c, c->arg[0]);
    Buffer b = {0};
    for (size_t at = 0; at < f->len && !c->e->failed; at++) {
        if (f->data[at] != '%') {
            buf_slice(c->e, &b, f, at, at + 1);
            continue;
        }
        char format[4] = "%", text[64];
        size_t n = 1;
        at++;
        if (at < f->len && f->data[at] == '-') format[n++] = f->data[at++];
        if (at >= f->len || !f->data[at] || !strchr("aAbBdHIjmMpSyYeDFTR%", f->data[at]))
            return eval_fail(c->e, "strftime_now: unsupported format");
        format[n] = f->data[at];
        buf_add(c->e, &b, text, strftime(text, sizeof text, format, &day), 0);
    }
    return buf_value(c->e, &b);
}

// ---- the table ----

#define NUMBERS (TYPE(V_INT) | TYPE(V_BIGINT) | TYPE(V_FLOAT) | TYPE(V_BOOL))
#define SEQUENCES (TYPE(V_LIST) | TYPE(V_TUPLE) | TYPE(V_RANGE) | TYPE(V_STR) | TYPE(V_DICT) | TYPE(V_UNDEFINED))
#define ITERABLES (SEQUENCES | TYPE(V_VIEW) | TYPE(V_ITER) | TYPE(V_LOOP))
#define CALLABLES (TYPE(V_MACRO) | TYPE(V_METHOD) | TYPE(V_FUNCTION) | TYPE(V_LOOP) | TYPE(V_UNDEFINED))
enum { STR = TYPE(V_STR), LIST = TYPE(V_LIST), TUPLE = TYPE(V_TUPLE), DICT = TYPE(V_DICT), LOOP = TYPE(V_LOOP) };

// clang-format off
static const Function library[] = {
    {FILTER, "abs", number_abs, "", 0},
    {FILTER, "capitalize", text_case, "", 'c'},
    {FILTER, "center", text_pad, "width?", '^'},
    {FILTER | ON_MARKUP, "count", seq_length, "", 0},
    {FILTER | ON_MARKUP, "d", value_default, "default_value? boolean?", 0},
    {FILTER | ON_MARKUP, "default", value_default, "default_value? boolean?", 0},
    {FILTER, "dictsort", seq_dictsort, "case_sensitive? by? reverse?", 0},
    {FILTER, "first", seq_first, "", 0},
    {FILTER, "float", number_float, "default?", 0},
    {FILTER, "format", format_filter, NULL, 0},
    {FILTER, "indent", text_indent, "width? first? blank?", 0},
    {FILTER, "int", number_int, "default? base?", 0},
    {FILTER, "items", seq_items, "", 0},
    {FILTER, "join", seq_join, "d? attribute?", 0},
    {FILTER, "last", seq_last, "", 0},
    {FILTER | ON_MARKUP, "length", seq_length, "", 0},
    {FILTER, "list", seq_list, "", 0},
    {FILTER, "lower", text_case, "", 'l'},
    {FILTER, "map", seq_map, NULL, 0},
    {FILTER, "max", seq_extreme, "case_sensitive? attribute?", '>'},
    {FILTER, "min", seq_extreme, "case_sensitive? attribute?", '<'},
    {FILTER, "reject", seq_select, NULL, 0},
    {FILTER, "rejectattr", seq_select, NULL, SELECT_ATTRIBUTE},
    {FILTER, "replace", text_replace, "old new count?", 0},
    {FILTER, "reverse", seq_reverse, "", 0},
    {FILTER, "round", number_round, "precision? method?", 0},
    {FILTER | ON_MARKUP, "safe", text_safe, "", 0},
    {FILTER, "select", seq_select, NULL, SELECT_TRUE},
    {FILTER, "selectattr", seq_select, NULL, SELECT_TRUE | SELECT_ATTRIBUTE},
    {FILTER, "sort", seq_sort, "reverse? case_sensitive? attribute?", 0},
    {FILTER | ON_MARKUP, "string", text_string, "", 0},
    {FILTER, "sum", seq_sum, "attribute? start?", 0},
    {FILTER, "title", text_title, "", 0},
    {FILTER, "tojson", json_filter, "ensure_ascii? indent? separators? sort_keys?", 0},
    {FILTER, "trim", text_strip, "chars?", 3},
    {FILTER, "unique", seq_unique, "case_sensitive? attribute?", 0},
    {FILTER, "upper", text_case, "", 'u'},

    {TEST, "boolean", is_type, "", TYPE(V_BOOL)},
    {TEST, "callable", is_type, "", CALLABLES},
    {TEST, "defined", is_type, "", ~TYPE(V_UNDEFINED)},
    {TEST, "divisibleby", number_remainder, "other /", 0},
    {TEST, "even", number_remainder, "", 0},
    {TEST, "false", is_bool, "", false},
    {TEST, "filter", is_in_library, "", FILTER},
    {TEST, "float", is_type, "", TYPE(V_FLOAT)},
    {TEST, "integer", is_type, "", TYPE(V_INT) | TYPE(V_BIGINT)},
    {TEST, "iterable", is_type, "", ITERABLES},
    {TEST, "lower", text_is_cased, "", CLASS_LOWER},
    {TEST, "mapping", is_type, "", TYPE(V_DICT)},
    {TEST, "none", is_type, "", TYPE(V_NONE)},
    {TEST, "number", is_type, "", NUMBERS},
    {TEST, "odd", number_remainder, "", 1},
    {TEST, "sameas", is_same, "other /", 0},
    {TEST, "sequence", is_type, "", SEQUENCES},
    {TEST, "string", is_type, "", TYPE(V_STR)},
    {TEST, "test", is_in_library, "", TEST},
    {TEST, "true", is_bool, "", true},
    {TEST, "undefined", is_type, "", TYPE(V_UNDEFINED)},
    {TEST, "upper", text_is_cased, "", CLASS_UPPER},
    {TEST, "!=", is_compared, "other /", OP_NE},
    {TEST, "<", is_compared, "other /", OP_LT},
    {TEST, "<=", is_compared, "other /", OP_LE},
    {TEST, "==", is_compared, "other /", OP_EQ},
    {TEST, ">", is_compared, "other /", OP_GT},
    {TEST, ">=", is_compared, "other /", OP_GE},
    {TEST, "eq", is_compared, "other /", OP_EQ},
    {TEST, "equalto", is_compared, "other /", OP_EQ},
    {TEST, "ge", is_compared, "other /", OP_GE},
    {TEST, "greaterthan", is_compared, "other /", OP_GT},
    {TEST, "gt", is_compared, "other /", OP_GT},
    {TEST, "in", is_compared, "other /", OP_IN},
    {TEST, "le", is_compared, "other /", OP_LE},
    {TEST, "lessthan", is_compared, "other /", OP_LT},
    {TEST, "lt", is_compared, "other /", OP_LT},
    {TEST, "ne", is_compared, "other /", OP_NE},

    {STR, "capitalize", text_case, "", 'c'},
    {STR, "center", text_pad, "width fillchar? /", '^'},
    {STR, "count", text_count, "sub /", 0},
    {STR, "endswith", text_affix, "suffix /", 1},
    {STR, "find", text_find, "sub start? /", 'f'},
    {STR, "format", format_braces, NULL, 0},
    {STR, "index", text_find, "sub start? /", 'i'},
    {STR, "isalnum", text_is, "", CLASS_ALPHA | CLASS_DIGIT},
    {STR, "isalpha", text_is, "", CLASS_ALPHA},
    {STR, "isdigit", text_is, "", CLASS_DIGIT},
    {STR, "islower", text_is_cased, "", CLASS_LOWER},
    {STR, "isspace", text_is, "", CLASS_SPACE},
    {STR, "isupper", text_is_cased, "", CLASS_UPPER},
    {STR, "join", seq_join, "iterable /", 0},
    {STR, "ljust", text_pad, "width fillchar? /", '<'},
    {STR, "lower", text_case, "", 'l'},
    {STR, "lstrip", text_strip, "chars? /", 1},
    {STR, "partition", text_partition, "sep /", 0},
    {STR, "removeprefix", text_remove_affix, "prefix /", 0},
    {STR, "removesuffix", text_remove_affix, "suffix /", 1},
    {STR, "replace", text_replace, "old new count? /", 0},
    {STR, "rfind", text_find, "sub /", 'r'},
    {STR, "rjust", text_pad, "width fillchar? /", '>'},
    {STR, "rpartition", text_partition, "sep /", 1},
    {STR, "rsplit", text_split, "sep? maxsplit?", 1},
    {STR, "rstrip", text_strip, "chars? /", 2},
    {STR, "split", text_split, "sep? maxsplit?", 0},
    {STR, "splitlines", text_splitlines, "keepends?", 0},
    {STR, "startswith", text_affix, "prefix /", 0},
    {STR, "strip", text_strip, "chars? /", 3},
    {STR, "title", text_case, "", 't'},
    {STR, "upper", text_case, "", 'u'},
    {STR, "zfill", text_zfill, "width /", 0},
    {LIST | TUPLE, "count", seq_count, "value /", 0},
    {LIST | TUPLE, "index", seq_index, "value /", 0},
    {LIST | DICT, "copy", seq_copy, "", 0},
    {DICT, "get", seq_get, "key default? /", 0},
    {DICT, "items", seq_view, "", 0},
    {DICT, "keys", seq_view, "", 0},
    {DICT, "values", seq_view, "", 0},
    {LOOP, "changed", loop_changed, NULL, 0},
    {LOOP, "cycle", loop_cycle, NULL, 0},

    {GLOBAL, "dict", global_dict, NULL, 0},
    {GLOBAL, "namespace", global_namespace, NULL, 0},
    {GLOBAL, "raise_exception", global_raise, "message", 0},
    {GLOBAL, "range", global_range, NULL, 0},
    {GLOBAL, "strftime_now", global_strftime, "format", 0},
};
// clang-format on

const Function *find_function(unsigned kind, const Str *name) {
    for (size_t i = 0; i < sizeof library / sizeof *library; i++)
        if (library[i].kind & kind && str_is(name, library[i].name)) return &library[i];
    return NULL;
}

const char *kind_name(unsigned kind) {
    return kind & FILTER ? "filter" : kind & TEST ? "test" : kind & GLOBAL ? "function" : "method";
}

bool is_mutator(ValueType type, const Str *name) {
    const char *words = type == V_LIST   ? "append clear extend insert pop remove reverse sort"
                        : type == V_DICT ? "clear pop popitem setdefault update"
                                         : "";
    return is_among(name->data, name->len, words);
}

bool is_python_attr(ValueType type, const Str *name) {
    static const struct {
        unsigned types;
        const char *words;
    } known[] = {
        {STR, "casefold encode expandtabs format_map isascii isdecimal isidentifier isnumeric isprintable istitle "
              "maketrans rindex swapcase translate"},
        {DICT, "fromkeys"},
        {NUMBERS, "real imag numerator denominator conjugate as_integer_ratio is_integer bit_length bit_count to_bytes "
                  "from_bytes hex fromhex"},
        {TYPE(V_RANGE), "count index start stop step"},
        {TYPE(V_VIEW), "isdisjoint mapping"},
        {TYPE(V_ITER), "close send throw"},
        {TYPE(V_MACRO), "name arguments catch_kwargs catch_varargs caller explicit_caller"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].types & TYPE(type)) return is_among(name->data, name->len, known[i].words);
    return false;
}

// ---- binding ----

bool fail_unexpected(const Call *c) {
    const Dict *kw = &c->given->kw;
    for (size_t i = 0; i < kw->count; i++)
        if (!kw->read[i])
            eval_fail(c->e, "%s %s: unexpected argument '%.*s'", kind_name(c->f->kind), c->f->name,
                      STR_SHOWN(kw->keys[i].str, 100));
    return c->e->failed;
}

// Binds what was given to the parameters, by position or by name.
static void bind(Call *c) {
    const CallArgs *given = c->given;
    const Function *f = c->f;
    bool by_name = !strchr(f->params, '/');
    size_t n = 0, len;
    for (const char *p = f->params; *p && *p != '/'; p += len + (p[len] == ' '), n++) {
        len = strcspn(p, " ");
        bool optional = p[len - 1] == '?';
        const Str name = {.data = p, .len = len - optional};
        CHECK(n < MAX_PARAMS);
        if (n < given->n_pos)
            c->arg[n] = given->pos[n];
        else if (!(by_name && dict_get_str(&given->kw, &name, &c->arg[n])) && !optional)
            eval_fail(c->e, "%s %s: an argument is missing", kind_name(f->kind), f->name);
    }
    fail_unexpected(c);
    if (given->n_pos > n)
        eval_fail(c->e, "%s %s takes at most %zu arguments, found %zu", kind_name(f->kind), f->name, n, given->n_pos);
}

Value call_function(Eval *e, const Function *f, Value self, const CallArgs *args) {
    CallArgs given = *args;
    Call c = {.e = e, .f = f, .self = self, .given = &given};
    dict_track(e, &given.kw);
    if (f->params) bind(&c);
    return e->failed ? v_none() : f->call(&c);
}

Value call_named(Eval *e, unsigned kind, const Str *name, Value self, const CallArgs *args) {
    const Function *f = find_function(kind, name);
    if (!f) return eval_fail(e, "no %s named '%.*s'", kind_name(kind), STR_SHOWN(name, 100));
    if (kind == FILTER && self.type == V_STR && self.str->markup && !(f->kind & ON_MARKUP))
        return eval_fail(e, "filter %s on a string marked as safe is not supported", f->name);
    return call_function(e, f, self, args);
}

// ---- arguments ----

Value fail_type(const Call *c, Value found, const char *expected) {
    if (found.type == V_UNDEFINED) return fail_undefined(c->e, found);
    return eval_fail(c->e, "%s %s: found a value of type '%s'; expected %s", kind_name(c->f->kind), c->f->name,
                     type_name(found), expected);
}

const Str *want_str(const Call *c, Value v) {
    static const Str empty = STR_INIT("");
    if (v.type == V_STR) return v.str;
    fail_type(c, v, "a string");
    return &empty;
}

const Str *arg_str(const Call *c, int i, const Str *absent) {
    return is_set(c->arg[i]) ? want_str(c, c->arg[i]) : absent;
}

int64_t arg_int(const Call *c, int i, int64_t absent) {
    int64_t n = absent;
    if (v_given(c->arg[i]) && !as_int(c->arg[i], &n)) fail_type(c, c->arg[i], "an integer");
    return n;
}

bool arg_truth(const Call *c, int i) { return value_truth(c->e, c->arg[i]); }

bool arg_is(const Call *c, int i, const char *word) { return c->arg[i].type == V_STR && str_is(c->arg[i].str, word); }

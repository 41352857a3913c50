// jinja_methods: the methods of Python's str, list, tuple and dict, and of jinja2's loop.
#include "jinja_internal.h"

#include <string.h>

#include <utf8proc.h>

static const Str *want_str(Eval *e, Value v) {
    static const Str empty = {.data = ""};
    if (v.type == V_STR) return v.str;
    eval_fail(e, "argument is of type '%s'; expected a string", type_name(v));
    return &empty;
}

static int64_t want_int(Eval *e, Value v, int64_t absent) {
    int64_t i = absent;
    if (v_given(v) && !as_int(v, &i)) eval_fail(e, "argument is of type '%s'; expected an integer", type_name(v));
    return i;
}

static const Str *optional_str(Eval *e, Value v) { // NULL when absent or none
    return v_given(v) && v.type != V_NONE ? want_str(e, v) : NULL;
}

// ---- str ----

static Value m_upper(Eval *e, Value self, const Value *a) {
    (void)a;
    return str_case(e, self.str, 'u');
}
static Value m_lower(Eval *e, Value self, const Value *a) {
    (void)a;
    return str_case(e, self.str, 'l');
}
static Value m_title(Eval *e, Value self, const Value *a) {
    (void)a;
    return str_case(e, self.str, 't');
}
static Value m_capitalize(Eval *e, Value self, const Value *a) {
    (void)a;
    return str_case(e, self.str, 'c');
}
static Value m_strip(Eval *e, Value self, const Value *a) {
    return str_strip(e, self.str, optional_str(e, a[0]), true, true);
}
static Value m_lstrip(Eval *e, Value self, const Value *a) {
    return str_strip(e, self.str, optional_str(e, a[0]), true, false);
}
static Value m_rstrip(Eval *e, Value self, const Value *a) {
    return str_strip(e, self.str, optional_str(e, a[0]), false, true);
}

static bool has_affix(const Str *s, const Str *affix, bool at_end) {
    if (affix->len > s->len) return false;
    return memcmp(s->data + (at_end ? s->len - affix->len : 0), affix->data, affix->len) == 0;
}

static Value test_affix(Eval *e, Value self, Value affix, bool at_end) {
    if (affix.type != V_TUPLE) return v_bool(has_affix(self.str, want_str(e, affix), at_end));
    bool found = false;
    for (size_t i = 0; i < affix.seq->count; i++) {
        found |= has_affix(self.str, want_str(e, affix.seq->items[i]), at_end);
    }
    return v_bool(found);
}
static Value m_startswith(Eval *e, Value self, const Value *a) {
    return test_affix(e, self, a[0], false);
}
static Value m_endswith(Eval *e, Value self, const Value *a) {
    return test_affix(e, self, a[0], true);
}
static Value m_removeprefix(Eval *e, Value self, const Value *a) {
    const Str *s = self.str, *p = want_str(e, a[0]);
    return has_affix(s, p, false) ? str_slice(e, s, p->len, s->len) : self;
}
static Value m_removesuffix(Eval *e, Value self, const Value *a) {
    const Str *s = self.str, *p = want_str(e, a[0]);
    return has_affix(s, p, true) ? str_slice(e, s, 0, s->len - p->len) : self;
}

static Value m_replace(Eval *e, Value self, const Value *a) {
    return str_replace(e, self.str, want_str(e, a[0]), want_str(e, a[1]), want_int(e, a[2], -1));
}

static Value m_join(Eval *e, Value self, const Value *a) {
    return str_join(e, self.str, a[0], false);
}

static int64_t char_index(const Str *s, size_t at) {
    int64_t n = 0;
    for (size_t i = 0; i < at; i++) n += (s->data[i] & 0xC0) != 0x80;
    return n;
}

static size_t find_last(const Str *s, const Str *needle) {
    for (size_t at = s->len + 1; at-- > 0;) {
        if (needle->len <= s->len - at && memcmp(s->data + at, needle->data, needle->len) == 0) return at;
    }
    return SIZE_MAX;
}

static Value m_find(Eval *e, Value self, const Value *a) {
    int64_t start = want_int(e, a[1], 0), n = (int64_t)self.str->chars;
    if (start < 0) start = start < -n ? 0 : start + n;
    if (start > n) return v_int(-1);
    size_t hit = str_find(self.str, want_str(e, a[0]), str_offset(self.str, (size_t)start), self.str->len);
    return v_int(hit == SIZE_MAX ? -1 : char_index(self.str, hit));
}
static Value m_rfind(Eval *e, Value self, const Value *a) {
    size_t hit = find_last(self.str, want_str(e, a[0]));
    return v_int(hit == SIZE_MAX ? -1 : char_index(self.str, hit));
}
static Value m_index(Eval *e, Value self, const Value *a) {
    Value at = m_find(e, self, a);
    return at.i < 0 ? eval_fail(e, "substring not found") : at;
}

static Value m_count(Eval *e, Value self, const Value *a) {
    const Str *s = self.str, *needle = want_str(e, a[0]);
    int64_t n = 0;
    if (needle->len == 0) return v_int((int64_t)s->chars + 1);
    for (size_t at = 0; (at = str_find(s, needle, at, s->len)) != SIZE_MAX; at += needle->len) n++;
    return v_int(n);
}

static Value three(Eval *e, Value a, Value b, Value c) {
    Value *items = eval_alloc(e, 3, sizeof *items);
    items[0] = a, items[1] = b, items[2] = c;
    return v_seq(e, V_TUPLE, items, 3);
}

static Value cut_at(Eval *e, Value self, size_t at, const Str *sep, bool last) {
    if (sep->len == 0) return eval_fail(e, "empty separator");
    Value empty = v_text(e, "");
    if (at == SIZE_MAX) return last ? three(e, empty, empty, self) : three(e, self, empty, empty);
    return three(e, str_slice(e, self.str, 0, at), v_str(sep), str_slice(e, self.str, at + sep->len, self.str->len));
}
static Value m_partition(Eval *e, Value self, const Value *a) {
    const Str *sep = want_str(e, a[0]);
    return cut_at(e, self, str_find(self.str, sep, 0, self.str->len), sep, false);
}
static Value m_rpartition(Eval *e, Value self, const Value *a) {
    const Str *sep = want_str(e, a[0]);
    return cut_at(e, self, find_last(self.str, sep), sep, true);
}

// ---- split, padding ----

static Value split(Eval *e, Value self, const Value *a, bool from_right) {
    return str_split(e, self.str, optional_str(e, a[0]), want_int(e, a[1], -1), from_right);
}
static Value m_split(Eval *e, Value self, const Value *a) {
    return split(e, self, a, false);
}
static Value m_rsplit(Eval *e, Value self, const Value *a) {
    return split(e, self, a, true);
}
static Value m_splitlines(Eval *e, Value self, const Value *a) {
    return str_splitlines(e, self.str, v_given(a[0]) && value_truth(e, a[0]));
}

static Value pad(Eval *e, Value self, const Value *a, char align) {
    static const Str space = {.data = " ", .len = 1, .chars = 1};
    const Str *fill = v_given(a[1]) ? want_str(e, a[1]) : &space;
    if (fill->chars != 1) return eval_fail(e, "the fill must be one character");
    return str_pad(e, self.str, want_int(e, a[0], 0), fill, align);
}
static Value m_ljust(Eval *e, Value self, const Value *a) {
    return pad(e, self, a, '<');
}
static Value m_rjust(Eval *e, Value self, const Value *a) {
    return pad(e, self, a, '>');
}
static Value m_center(Eval *e, Value self, const Value *a) {
    return pad(e, self, a, '^');
}

static Value m_zfill(Eval *e, Value self, const Value *a) {
    static const Str zero = {.data = "0", .len = 1, .chars = 1};
    const Str *s = self.str;
    size_t sign = s->len && (s->data[0] == '-' || s->data[0] == '+');
    int64_t width = want_int(e, a[0], 0);
    if (width <= (int64_t)s->chars) return self;
    Value digits = str_pad(e, str_slice(e, s, sign, s->len).str, width - (int64_t)sign, &zero, '>');
    Buffer b = {0};
    buf_slice(e, &b, s, 0, sign);
    if (!e->failed) buf_str(e, &b, digits.str);
    return buf_value(e, &b);
}

// ---- classes of characters ----

enum { CLASS_ALPHA = 1, CLASS_DIGIT = 2, CLASS_LOWER = 4, CLASS_UPPER = 8, CLASS_TITLE = 16, CLASS_SPACE = 32 };

static int char_class(Eval *e, int32_t cp) {
    int c = char_is_space(cp) ? CLASS_SPACE : 0;
    switch (utf8proc_category(cp)) {
    case UTF8PROC_CATEGORY_LL:
        return c | CLASS_ALPHA | CLASS_LOWER;
    case UTF8PROC_CATEGORY_LU:
        return c | CLASS_ALPHA | CLASS_UPPER;
    case UTF8PROC_CATEGORY_LT:
        return c | CLASS_ALPHA | CLASS_TITLE;
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
        return c | CLASS_ALPHA;
    case UTF8PROC_CATEGORY_ND:
        return c | CLASS_DIGIT;
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        eval_fail(e, "the class of U+%04X is not supported", (unsigned)cp);
        return c;
    default:
        return c;
    }
}

// Every character has one of the classes.
static Value all_are(Eval *e, const Str *s, int classes) {
    for (size_t at = 0; at < s->len;) {
        int32_t cp;
        at += utf8_next(s->data, s->len, at, &cp);
        if (!(char_class(e, cp) & classes)) return v_bool(false);
    }
    return v_bool(s->len > 0);
}

// At least one character of case `want`, none of the cases `not_these`.
static Value cased_as(Eval *e, const Str *s, int want, int not_these) {
    bool found = false;
    for (size_t at = 0; at < s->len;) {
        int32_t cp;
        at += utf8_next(s->data, s->len, at, &cp);
        int c = cp < 0x80 || utf8proc_category(cp) < UTF8PROC_CATEGORY_MN ? char_class(e, cp) : 0;
        if (c & not_these) return v_bool(false);
        found |= (c & want) != 0;
    }
    return v_bool(found);
}
static Value m_isalpha(Eval *e, Value self, const Value *a) {
    (void)a;
    return all_are(e, self.str, CLASS_ALPHA);
}
static Value m_isdigit(Eval *e, Value self, const Value *a) {
    (void)a;
    return all_are(e, self.str, CLASS_DIGIT);
}
static Value m_isalnum(Eval *e, Value self, const Value *a) {
    (void)a;
    return all_are(e, self.str, CLASS_ALPHA | CLASS_DIGIT);
}
static Value m_isspace(Eval *e, Value self, const Value *a) {
    (void)a;
    return all_are(e, self.str, CLASS_SPACE);
}
static Value m_islower(Eval *e, Value self, const Value *a) {
    (void)a;
    return cased_as(e, self.str, CLASS_LOWER, CLASS_UPPER | CLASS_TITLE);
}
static Value m_isupper(Eval *e, Value self, const Value *a) {
    (void)a;
    return cased_as(e, self.str, CLASS_UPPER, CLASS_LOWER | CLASS_TITLE);
}

// ---- list, tuple, dict, loop ----

static Value m_seq_index(Eval *e, Value self, const Value *a) {
    for (size_t i = 0; i < self.seq->count; i++) {
        if (value_equal(e, self.seq->items[i], a[0])) return v_int((int64_t)i);
    }
    return eval_fail(e, "the value is not in the %s", type_name(self));
}
static Value m_seq_count(Eval *e, Value self, const Value *a) {
    int64_t n = 0;
    for (size_t i = 0; i < self.seq->count; i++) n += value_equal(e, self.seq->items[i], a[0]);
    return v_int(n);
}
static Value m_copy(Eval *e, Value self, const Value *a) { // lists and dicts cannot change
    (void)e;
    (void)a;
    return self;
}

static Value view(Eval *e, Value *items, size_t count, const char *name, uint32_t origin) {
    Seq *q = eval_alloc(e, 1, sizeof *q);
    *q = (Seq){.items = items, .count = count, .view = name};
    return (Value){.type = V_VIEW, .seq = q, .origin = origin};
}
static Value m_keys(Eval *e, Value self, const Value *a) {
    (void)a;
    return view(e, self.dict->keys, self.dict->count, "dict_keys", self.origin);
}
static Value m_values(Eval *e, Value self, const Value *a) {
    (void)a;
    dict_read_all(self.dict);
    return view(e, self.dict->values, self.dict->count, "dict_values", self.origin);
}
static Value m_items(Eval *e, Value self, const Value *a) {
    (void)a;
    Value *items = eval_alloc(e, self.dict->count, sizeof *items);
    dict_read_all(self.dict);
    for (size_t i = 0; i < self.dict->count; i++) {
        Value *pair = eval_alloc(e, 2, sizeof *pair);
        pair[0] = self.dict->keys[i];
        pair[1] = self.dict->values[i];
        items[i] = v_seq(e, V_TUPLE, pair, 2);
        items[i].origin = self.origin;
    }
    return view(e, items, self.dict->count, "dict_items", self.origin);
}
static Value m_get(Eval *e, Value self, const Value *a) {
    Value v;
    if (!is_hashable(a[0])) return eval_fail(e, "unhashable type '%s'", type_name(a[0]));
    if (dict_get(e, self.dict, a[0], &v)) return v;
    return v_given(a[1]) ? a[1] : v_none();
}

static Value m_cycle(Eval *e, Value self, const CallArgs *args) {
    if (args->n_kw || args->n_pos == 0) return eval_fail(e, "loop.cycle needs values without names");
    return args->pos[(size_t)self.loop->index0 % args->n_pos];
}
static Value m_changed(Eval *e, Value self, const CallArgs *args) {
    if (args->n_kw) return eval_fail(e, "loop.changed takes values without names");
    Value now = v_seq(e, V_TUPLE, args->pos, args->n_pos);
    bool same = v_given(self.loop->last_changed) && value_equal(e, self.loop->last_changed, now);
    self.loop->last_changed = now;
    return v_bool(!same);
}

static const Function str_methods[] = {
    {.name = "capitalize", .call = m_capitalize, .params = ""},
    {.name = "center", .call = m_center, .params = "width fillchar", .required = 1},
    {.name = "count", .call = m_count, .params = "sub", .required = 1},
    {.name = "endswith", .call = m_endswith, .params = "suffix", .required = 1},
    {.name = "find", .call = m_find, .params = "sub start", .required = 1},
    {.name = "format", .raw = format_braces},
    {.name = "index", .call = m_index, .params = "sub start", .required = 1},
    {.name = "isalnum", .call = m_isalnum, .params = ""},
    {.name = "isalpha", .call = m_isalpha, .params = ""},
    {.name = "isdigit", .call = m_isdigit, .params = ""},
    {.name = "islower", .call = m_islower, .params = ""},
    {.name = "isspace", .call = m_isspace, .params = ""},
    {.name = "isupper", .call = m_isupper, .params = ""},
    {.name = "join", .call = m_join, .params = "iterable", .required = 1},
    {.name = "ljust", .call = m_ljust, .params = "width fillchar", .required = 1},
    {.name = "lower", .call = m_lower, .params = ""},
    {.name = "lstrip", .call = m_lstrip, .params = "chars"},
    {.name = "partition", .call = m_partition, .params = "sep", .required = 1},
    {.name = "removeprefix", .call = m_removeprefix, .params = "prefix", .required = 1},
    {.name = "removesuffix", .call = m_removesuffix, .params = "suffix", .required = 1},
    {.name = "replace", .call = m_replace, .params = "old new count", .required = 2},
    {.name = "rfind", .call = m_rfind, .params = "sub", .required = 1},
    {.name = "rjust", .call = m_rjust, .params = "width fillchar", .required = 1},
    {.name = "rpartition", .call = m_rpartition, .params = "sep", .required = 1},
    {.name = "rsplit", .call = m_rsplit, .params = "sep maxsplit", .keywords = true},
    {.name = "rstrip", .call = m_rstrip, .params = "chars"},
    {.name = "split", .call = m_split, .params = "sep maxsplit", .keywords = true},
    {.name = "splitlines", .call = m_splitlines, .params = "keepends", .keywords = true},
    {.name = "startswith", .call = m_startswith, .params = "prefix", .required = 1},
    {.name = "strip", .call = m_strip, .params = "chars"},
    {.name = "title", .call = m_title, .params = ""},
    {.name = "upper", .call = m_upper, .params = ""},
    {.name = "zfill", .call = m_zfill, .params = "width", .required = 1},
};
static const Function seq_methods[] = {
    {.name = "count", .call = m_seq_count, .params = "value", .required = 1},
    {.name = "index", .call = m_seq_index, .params = "value", .required = 1},
    {.name = "copy", .call = m_copy, .params = ""}, // last: not for tuples
};
static const Function dict_methods[] = {
    {.name = "copy", .call = m_copy, .params = ""},
    {.name = "get", .call = m_get, .params = "key default", .required = 1},
    {.name = "items", .call = m_items, .params = ""},
    {.name = "keys", .call = m_keys, .params = ""},
    {.name = "values", .call = m_values, .params = ""},
};
static const Function loop_methods[] = {
    {.name = "cycle", .raw = m_cycle},
    {.name = "changed", .raw = m_changed},
};

const Function *table_find(const Function *table, size_t count, const Str *name) {
    for (size_t i = 0; i < count; i++) {
        if (str_is(name, table[i].name)) return &table[i];
    }
    return NULL;
}

const Function *find_method(ValueType type, const Str *name) {
    switch (type) {
    case V_STR:
        return TABLE_FIND(str_methods, name);
    case V_LIST:
        return TABLE_FIND(seq_methods, name);
    case V_TUPLE:
        return table_find(seq_methods, 2, name);
    case V_DICT:
        return TABLE_FIND(dict_methods, name);
    case V_LOOP:
        return TABLE_FIND(loop_methods, name);
    default:
        return NULL;
    }
}

static bool has_word(const char *words, const Str *name) {
    for (const char *w = words; *w; w += strcspn(w, " "), w += *w == ' ') {
        if (strcspn(w, " ") == name->len && memcmp(w, name->data, name->len) == 0) return true;
    }
    return false;
}

bool is_mutator(ValueType type, const Str *name) {
    if (type == V_LIST) return has_word("append clear extend insert pop remove reverse sort", name);
    return type == V_DICT && has_word("clear pop popitem setdefault update", name);
}

bool is_python_attr(ValueType type, const Str *name) {
    static const char number[] = "real imag numerator denominator conjugate as_integer_ratio is_integer bit_length "
                                 "bit_count to_bytes from_bytes hex fromhex";
    switch (type) {
    case V_STR:
        return has_word("casefold encode expandtabs format_map isascii isdecimal isidentifier isnumeric isprintable "
                        "istitle maketrans rindex swapcase translate",
                        name);
    case V_DICT:
        return has_word("fromkeys", name);
    case V_BOOL:
    case V_INT:
    case V_BIGINT:
    case V_FLOAT:
        return has_word(number, name);
    case V_RANGE:
        return has_word("count index start stop step", name);
    case V_VIEW:
        return has_word("isdisjoint mapping", name);
    case V_ITER:
        return has_word("close send throw", name);
    case V_MACRO:
        return has_word("name arguments catch_kwargs catch_varargs caller explicit_caller", name);
    default:
        return false;
    }
}

// jinja_text: filters and methods of strings: cutting, searching, replacing, padding, letter case.
#include "jinja_eval.h"

#include <string.h>

#include <utf8proc.h>

static const Str space = STR_INIT(" ");

// The last place of needle before `end`.
static size_t find_last(const Str *s, const Str *needle, size_t end) {
    for (size_t at = end + 1; at-- > 0;)
        if (needle->len <= end - at && str_has(s, at, needle)) return at;
    return SIZE_MAX;
}

Value text_string(const Call *c) { return c->self.type == V_STR ? c->self : v_str(to_str(c->e, c->self)); }

Value text_safe(const Call *c) { return str_as_markup(c->e, to_str(c->e, c->self)); }

// mode: 1 the left end, 2 the right one, 3 both.
Value text_strip(const Call *c) {
    const Str *s = to_str(c->e, c->self), *chars = arg_str(c, 0, NULL);
    size_t from = c->f->mode & 1 ? str_run(s, 0, chars, true) : 0;
    size_t to = c->f->mode & 2 ? str_run_back(s, from, s->len, chars, true) : s->len;
    eval_charge(c->e, (s->len - (to - from)) / 16);
    return str_slice(c->e, s, from, to);
}

// The filter takes str() of its arguments, the method strings.
Value text_replace(const Call *c) {
    Eval *e = c->e;
    bool filter = c->f->kind & FILTER;
    const Str *s = to_str(e, c->self);
    const Str *old = filter ? to_str(e, c->arg[0]) : want_str(c, c->arg[0]);
    const Str *with = filter ? to_str(e, c->arg[1]) : want_str(c, c->arg[1]);
    int64_t max = filter && c->arg[2].type == V_NONE ? -1 : arg_int(c, 2, -1); // below 0: all
    Buffer b = {0};
    size_t at = 0;
    for (int64_t n = 0; (max < 0 || n < max) && !e->failed; n++) {
        size_t hit = str_find(s, old, at), from = at;
        if (hit == SIZE_MAX) break;
        buf_slice(e, &b, s, at, hit);
        buf_str(e, &b, with);
        at = hit + old->len;
        if (old->len) continue; // an empty string is found before every character and at the end
        if (at == s->len) return buf_value(e, &b);
        str_next(s, &at);
        buf_slice(e, &b, s, from, at);
    }
    if (at == 0) return v_str(s);
    buf_slice(e, &b, s, at, s->len);
    return buf_value(e, &b);
}

// ---- searching ----

// startswith (mode 0), endswith (1): one of a tuple, or a string.
Value text_affix(const Call *c) {
    const Str *s = c->self.str;
    Value one = c->arg[0];
    const Value *items = one.type == V_TUPLE ? one.seq->items : &one;
    bool found = false;
    for (size_t i = 0, n = one.type == V_TUPLE ? one.seq->count : 1; i < n; i++) {
        const Str *affix = want_str(c, items[i]);
        found |= affix->len <= s->len && str_has(s, c->f->mode ? s->len - affix->len : 0, affix);
    }
    return v_bool(found);
}

// removeprefix (mode 0), removesuffix (1).
Value text_remove_affix(const Call *c) {
    const Str *s = c->self.str, *affix = want_str(c, c->arg[0]);
    size_t rest = s->len - affix->len;
    if (affix->len > s->len || !str_has(s, c->f->mode ? rest : 0, affix)) return c->self;
    return c->f->mode ? str_slice(c->e, s, 0, rest) : str_slice(c->e, s, affix->len, s->len);
}

// find (mode 'f'), index ('i'), rfind ('r'): in code points, -1 where it is absent.
Value text_find(const Call *c) {
    const Str *s = c->self.str, *needle = want_str(c, c->arg[0]);
    int64_t start = arg_int(c, 1, 0), n = (int64_t)s->chars;
    if (start < 0) start = start < -n ? 0 : start + n;
    size_t hit = SIZE_MAX;
    if (c->f->mode == 'r')
        hit = find_last(s, needle, s->len);
    else if (start <= n)
        hit = str_find(s, needle, str_offset(s, (size_t)start));
    if (hit == SIZE_MAX) return c->f->mode == 'i' ? eval_fail(c->e, "substring not found") : v_int(-1);
    return v_int((int64_t)str_slice(c->e, s, 0, hit).str->chars);
}

Value text_count(const Call *c) {
    const Str *s = c->self.str, *needle = want_str(c, c->arg[0]);
    int64_t n = 0;
    if (needle->len == 0) return v_int((int64_t)s->chars + 1);
    for (size_t at = 0; (at = str_find(s, needle, at)) != SIZE_MAX; at += needle->len) n++;
    return v_int(n);
}

// partition (mode 0), rpartition (1).
Value text_partition(const Call *c) {
    const Str *s = c->self.str, *sep = want_str(c, c->arg[0]);
    if (sep->len == 0) return eval_fail(c->e, "empty separator");
    size_t at = c->f->mode ? find_last(s, sep, s->len) : str_find(s, sep, 0);
    Value empty = v_text(c->e, "");
    if (at == SIZE_MAX)
        return v_tuple(c->e, 3, c->f->mode ? (Value[]){empty, empty, c->self} : (Value[]){c->self, empty, empty});
    Value parts[] = {str_slice(c->e, s, 0, at), v_str(sep), str_slice(c->e, s, at + sep->len, s->len)};
    return v_tuple(c->e, 3, parts);
}

// ---- splitting ----

typedef struct Pieces {
    Eval *e;
    const Str *s;
    Value *items;
    size_t count;
    int64_t max; // pieces before the rest; below 0: no limit
} Pieces;

static void add_piece(Pieces *p, size_t from, size_t to) {
    p->items = eval_grow(p->e, p->items, p->count, sizeof *p->items);
    p->items[p->count++] = str_slice(p->e, p->s, from, to);
}

static bool more_pieces(const Pieces *p) { return (p->max < 0 || (int64_t)p->count < p->max) && !p->e->failed; }

// Cuts pieces off s[from, to) at its left or right end. sep NULL: words; the rest after max pieces keeps its white
// space at the far end, as in Python.
static void split(Pieces *p, const Str *sep, bool right) {
    const Str *s = p->s;
    size_t from = 0, to = s->len, n = sep ? sep->len : 0;
    for (bool found = true; found && !p->e->failed;) {
        if (!sep && right) to = str_run_back(s, from, to, NULL, true);
        if (!sep && !right) from = str_run(s, from, NULL, true);
        if (!sep && from == to) return;
        size_t cut = sep && right ? find_last(s, sep, to)
                     : sep        ? str_find(s, sep, from)
                     : right      ? str_run_back(s, from, to, NULL, false)
                                  : str_run(s, from, NULL, false);
        found = more_pieces(p) && cut != SIZE_MAX && (sep || cut != (right ? from : to));
        if (right)
            add_piece(p, found ? cut + n : from, to);
        else
            add_piece(p, from, found ? cut : to);
        *(right ? &to : &from) = right ? cut : cut + n;
    }
}

// split (mode 0), rsplit (1).
Value text_split(const Call *c) {
    bool right = c->f->mode;
    const Str *sep = arg_str(c, 0, NULL);
    Pieces p = {.e = c->e, .s = c->self.str, .max = arg_int(c, 1, -1)};
    if (sep && sep->len == 0) return eval_fail(c->e, "empty separator");
    split(&p, sep, right);
    Value list = v_seq(c->e, V_LIST, p.items, p.count);
    return right ? get_reversed(c->e, list) : list;
}

static bool is_line_end(int32_t cp) {
    return (cp >= 0x0A && cp <= 0x0D) || (cp >= 0x1C && cp <= 0x1E) || cp == 0x85 || cp == 0x2028 || cp == 0x2029;
}

static Value split_lines(Eval *e, const Str *s, bool keep_ends) {
    Pieces p = {.e = e, .s = s};
    for (size_t from = 0, end = 0; from < s->len && !e->failed; from = end) {
        size_t to = from;
        int32_t cp = 0;
        while (end < s->len && !is_line_end(cp)) {
            to = end;
            cp = str_next(s, &end);
        }
        if (!is_line_end(cp)) to = end;
        if (cp == '\r' && end < s->len && s->data[end] == '\n') end++;
        add_piece(&p, from, keep_ends ? end : to);
    }
    return v_seq(e, V_LIST, p.items, p.count);
}

Value text_splitlines(const Call *c) { return split_lines(c->e, c->self.str, arg_truth(c, 0)); }

// ---- padding ----

Value str_pad(Eval *e, const Str *s, int64_t width, const Str *fill, char align) {
    if (width <= (int64_t)s->chars) return v_str(s);
    if (width > JINJA_MAX_STRING) return eval_fail(e, "a width of %ld is too large", width);
    int64_t pad = width - (int64_t)s->chars;
    // str.center puts the odd one on the left when the width is odd
    int64_t left = align == '<' ? 0 : align == '>' ? pad : pad / 2 + (pad & width & 1);
    Buffer b = {0};
    for (int64_t i = 0; i < pad && !e->failed; i++) {
        if (i == left) buf_str(e, &b, s);
        buf_str(e, &b, fill);
    }
    if (left == pad) buf_str(e, &b, s);
    return buf_value(e, &b);
}

// ljust, rjust, center: mode '<', '>', '^'.
Value text_pad(const Call *c) {
    const Str *fill = v_given(c->arg[1]) ? want_str(c, c->arg[1]) : &space;
    if (fill->chars != 1) return eval_fail(c->e, "the fill must be one character");
    return str_pad(c->e, to_str(c->e, c->self), arg_int(c, 0, 80), fill, (char)c->f->mode);
}

Value text_zfill(const Call *c) {
    static const Str zero = STR_INIT("0");
    const Str *s = c->self.str;
    size_t sign = s->len && (s->data[0] == '-' || s->data[0] == '+');
    int64_t width = arg_int(c, 0, 0);
    if (width <= (int64_t)s->chars) return c->self;
    Value digits = str_pad(c->e, str_slice(c->e, s, sign, s->len).str, width - (int64_t)sign, &zero, '>');
    return str_concat(c->e, str_slice(c->e, s, 0, sign).str, digits.str);
}

Value text_indent(const Call *c) {
    static const Str newline = STR_INIT("\n");
    Eval *e = c->e;
    if (c->self.type != V_STR) return fail_type(c, c->self, "a string");
    Value by = v_given(c->arg[0]) ? c->arg[0] : v_int(4);
    if (by.type != V_STR) by = op_binary(e, '*', v_str(&space), by);
    bool first = arg_truth(c, 1), blank = arg_truth(c, 2);
    Value with_end = op_binary(e, '+', c->self, v_str(&newline));
    if (e->failed) return by;
    Value lines = split_lines(e, with_end.str, false);
    Buffer b = {0};
    for (size_t i = 0; i < lines.seq->count && !e->failed; i++) {
        const Str *line = lines.seq->items[i].str;
        if (i) buf_str(e, &b, &newline);
        if (i ? blank || line->len : first) buf_str(e, &b, by.str);
        buf_str(e, &b, line);
    }
    return buf_value(e, &b);
}

// ---- letter case and classes of characters, as Python's str has them ----

// Letters whose case changes depend on their neighbours or give several letters: refused rather than approximated.
static bool has_special_case(int32_t cp) {
    return cp == 0xDF || cp == 0x130 || cp == 0x149 || cp == 0x1F0 || cp == 0x390 || cp == 0x3A3 || cp == 0x3B0 ||
           cp == 0x587 || (cp >= 0x1E96 && cp <= 0x1E9E) || (cp >= 0x1F50 && cp <= 0x1FFC) ||
           (cp >= 0xFB00 && cp <= 0xFB17);
}

static bool is_cased(int32_t cp) {
    utf8proc_category_t c = utf8proc_category(cp);
    return c == UTF8PROC_CATEGORY_LU || c == UTF8PROC_CATEGORY_LL || c == UTF8PROC_CATEGORY_LT;
}

static void add_cased(Eval *e, Buffer *b, int32_t cp, int32_t (*change)(int32_t), uint32_t origin) {
    char out[4];
    if (has_special_case(cp)) eval_fail(e, "letter case of U+%04X is not supported", (unsigned)cp);
    buf_add(e, b, out, (size_t)utf8proc_encode_char(change(cp), (utf8proc_uint8_t *)out), origin);
}

Value str_case(Eval *e, const Str *s, int mode) {
    Buffer b = {0};
    bool start = true; // of a word (title) or of s (capitalize)
    for (size_t at = 0; at < s->len && !e->failed;) {
        size_t from = at;
        int32_t cp = str_next(s, &at);
        bool first = start && mode != 'l' && mode != 'u';
        add_cased(e, &b, cp,
                  mode == 'u' ? utf8proc_toupper
                  : first     ? utf8proc_totitle
                              : utf8proc_tolower,
                  str_origin(s, from));
        start = mode == 't' && !is_cased(cp);
    }
    return buf_value(e, &b);
}

Value text_case(const Call *c) { return str_case(c->e, to_str(c->e, c->self), (int)c->f->mode); }

// The filter title: words begin after white space and - ( { [ <, unlike in str.title, with a letter in upper case.
Value text_title(const Call *c) {
    const Str *s = to_str(c->e, c->self);
    Buffer b = {0};
    bool start = true;
    for (size_t at = 0; at < s->len && !c->e->failed;) {
        size_t from = at;
        int32_t cp = str_next(s, &at);
        bool between = char_is_space(cp) || (cp > 0 && cp < 0x80 && strchr("-({[<", cp));
        if (between)
            buf_slice(c->e, &b, s, from, at);
        else
            add_cased(c->e, &b, cp, start ? utf8proc_toupper : utf8proc_tolower, str_origin(s, from));
        start = between;
    }
    return buf_value(c->e, &b);
}

static unsigned char_class(Eval *e, int32_t cp) {
    static const unsigned classes[] = {[UTF8PROC_CATEGORY_LL] = CLASS_ALPHA | CLASS_LOWER,
                                       [UTF8PROC_CATEGORY_LU] = CLASS_ALPHA | CLASS_UPPER,
                                       [UTF8PROC_CATEGORY_LT] = CLASS_ALPHA | CLASS_TITLE,
                                       [UTF8PROC_CATEGORY_LM] = CLASS_ALPHA,
                                       [UTF8PROC_CATEGORY_LO] = CLASS_ALPHA,
                                       [UTF8PROC_CATEGORY_ND] = CLASS_DIGIT};
    utf8proc_category_t c = utf8proc_category(cp);
    if (c == UTF8PROC_CATEGORY_NL || c == UTF8PROC_CATEGORY_NO)
        eval_fail(e, "the class of U+%04X is not supported", (unsigned)cp);
    return (c <= UTF8PROC_CATEGORY_ND ? classes[c] : 0) | (char_is_space(cp) ? CLASS_SPACE : 0);
}

// isalpha, isdigit, isalnum, isspace: not empty, and every character has one of the classes (mode).
Value text_is(const Call *c) {
    const Str *s = c->self.str;
    for (size_t at = 0; at < s->len;)
        if (!(char_class(c->e, str_next(s, &at)) & c->f->mode)) return v_bool(false);
    return v_bool(s->len > 0);
}

// islower, isupper: a character of the case (mode), none of another.
Value text_is_cased(const Call *c) {
    const Str *s = to_str(c->e, c->self);
    bool found = false;
    for (size_t at = 0; at < s->len;) {
        int32_t cp = str_next(s, &at);
        unsigned other = (CLASS_LOWER | CLASS_UPPER | CLASS_TITLE) & ~c->f->mode;
        unsigned class = cp < 0x80 || utf8proc_category(cp) < UTF8PROC_CATEGORY_MN ? char_class(c->e, cp) : 0;
        if (class & other) return v_bool(false);
        found |= (class & c->f->mode) != 0;
    }
    return v_bool(found);
}

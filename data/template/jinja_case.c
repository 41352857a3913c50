// jinja_case: letter case and the classes of characters, as Python's str has them.
#include "jinja_eval.h"

#include <string.h>

#include <utf8proc.h>

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

Value text_case(const Call *c) {
    return str_case(c->e, to_str(c->e, c->self), (int)c->f->mode);
}

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

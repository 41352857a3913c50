// schema_number: numbers between bounds. Decimal digits are compared with those of the bounds while they are read, so
// bounds are exact, not rounded to a double.
#include <stdlib.h>
#include <string.h>

#include "schema_internal.h"

enum { BOUND_DIGITS = 400, DIGITS = 18 }; // of a bound, before the point and after it; of a number that is written

// ---- bounds ----

typedef struct Decimal { // whole and fraction have no zeros at their outer ends; whole "" for 0
    bool negative;
    char whole[BOUND_DIGITS + 1], fraction[BOUND_DIGITS + 1];
} Decimal;

// The digits of JSON's number with its point moved by the exponent.
static bool decimal_read(Decimal *d, JsonStr text) {
    char digits[2 * BOUND_DIGITS + 1];
    long n = 0, point = -1;
    const char *p = text.data;
    *d = (Decimal){.negative = *p == '-'};
    for (p += d->negative; *p && *p != 'e' && *p != 'E'; p++) {
        if (*p == '.')
            point = n;
        else if (n == BOUND_DIGITS)
            return false;
        else
            digits[n++] = *p;
    }
    if (point < 0) point = n;
    if (*p) {
        long exponent = strtol(p + 1, NULL, 10);
        if (exponent > BOUND_DIGITS || exponent < -BOUND_DIGITS) return false;
        point += exponent;
    }
    if (point > BOUND_DIGITS || n - point > BOUND_DIGITS) return false;
    long n_whole = 0, n_fraction = 0;
    for (long i = 0; i < point; i++) {
        char c = i < n ? digits[i] : '0';
        if (n_whole || c != '0') d->whole[n_whole++] = c;
    }
    for (long i = point; i < n; i++) d->fraction[n_fraction++] = i < 0 ? '0' : digits[i];
    while (n_fraction && d->fraction[n_fraction - 1] == '0') d->fraction[--n_fraction] = 0;
    return true;
}

static int compare_digits(const Decimal *a, const Decimal *b) {
    size_t n = strlen(a->whole), k = strlen(b->whole);
    int order = n != k ? (n > k) - (n < k) : strcmp(a->whole, b->whole);
    return order ? order : strcmp(a->fraction, b->fraction); // a missing digit is less, as a zero is
}

static int compare(const Decimal *a, const Decimal *b) {
    bool zeros = !*a->whole && !*a->fraction && !*b->whole && !*b->fraction;
    if (zeros) return 0;
    if (a->negative != b->negative) return a->negative ? -1 : 1;
    return a->negative ? compare_digits(b, a) : compare_digits(a, b);
}

typedef struct Bound {
    bool given, exclusive;
    Decimal at;
} Bound;

// The tighter of both. upper: the smaller one.
static void tighten(Bound *b, const Decimal *at, bool exclusive, bool upper) {
    int order = b->given ? compare(at, &b->at) : 0;
    bool tighter = !b->given || (upper ? order < 0 : order > 0) || (order == 0 && exclusive);
    if (tighter) *b = (Bound){true, exclusive, *at};
}

static int read_bounds(const SchemaCompiler *c, const SchemaSet *s, Bound *lo, Bound *hi) {
    static const struct {
        const char *name;
        bool upper, exclusive;
    } names[] = {{"minimum", false, false},
                 {"exclusiveMinimum", false, true},
                 {"maximum", true, false},
                 {"exclusiveMaximum", true, true}};
    for (size_t i = 0; i < s->count; i++)
        for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
            const Json *v = json_get(s->items[i].schema, names[k].name);
            Decimal at;
            if (!v) continue;
            if (!decimal_read(&at, v->str))
                return schema_refuse(c, v, "\"%s\" has more than %d digits", names[k].name, BOUND_DIGITS);
            tighten(names[k].upper ? hi : lo, &at, names[k].exclusive, names[k].upper);
        }
    return 0;
}

// ---- digits as they are read ----

// What the digits of a number without its sign must be. For numbers below zero the bounds change places.
typedef struct Magnitude {
    bool possible;
    Bound least, most;
} Magnitude;

typedef struct NumberRules {
    Magnitude of[2]; // [negative]
    bool integer;
} NumberRules;

typedef enum { AT_START, AT_SIGN, IN_WHOLE, AT_POINT, IN_FRACTION } Phase;

typedef struct NumberState { // bytes, so that equal states are equal keys
    uint8_t phase, negative;
    uint8_t digits;     // of the part that is being read
    uint8_t zero;       // the whole part is 0
    int8_t least, most; // the digits so far, compared with as many of the bound's
} NumberState;

static Magnitude magnitude(const Bound *lo, const Bound *hi, bool negative) {
    const Decimal zero = {0};
    Magnitude m = {.possible = true, .least = negative ? *hi : *lo, .most = negative ? *lo : *hi};
    bool beyond = m.most.given && (negative ? compare(&m.most.at, &zero) > 0 : compare(&m.most.at, &zero) < 0);
    if (beyond) m.possible = false;
    if (m.least.given && (negative ? compare(&m.least.at, &zero) > 0 : compare(&m.least.at, &zero) < 0))
        m.least.given = false;
    return m;
}

static void compare_next(int8_t *order, const char *bound, size_t at, uint8_t digit) {
    size_t n = strlen(bound);
    uint8_t other = at < n ? (uint8_t)bound[at] : '0';
    if (!*order) *order = (int8_t)((digit > other) - (digit < other));
}

// A whole part of another length than the bound's is smaller or larger whatever its digits are.
static void end_whole(int8_t *order, const Bound *b, const NumberState *s) {
    size_t n = strlen(b->at.whole), digits = s->zero ? 0 : s->digits;
    if (digits != n) *order = digits > n ? 1 : -1;
}

static bool read_digit(const NumberRules *r, NumberState *s, uint8_t digit) {
    const Magnitude *m = &r->of[s->negative];
    bool whole = s->phase < AT_POINT;
    if (s->digits == DIGITS || (whole && s->zero)) return false;
    if (!whole) {
        compare_next(&s->least, m->least.at.fraction, s->digits, digit);
        compare_next(&s->most, m->most.at.fraction, s->digits, digit);
        s->phase = IN_FRACTION;
    } else if (digit == '0' && s->digits == 0) {
        s->zero = 1;
        s->phase = IN_WHOLE;
    } else {
        compare_next(&s->least, m->least.at.whole, s->digits, digit);
        compare_next(&s->most, m->most.at.whole, s->digits, digit);
        s->phase = IN_WHOLE;
    }
    s->digits++;
    return true;
}

static bool number_step(void *user, JsonStr state, uint8_t byte, StrBuf *to) {
    const NumberRules *r = user;
    NumberState s;
    memcpy(&s, state.data, sizeof s);
    bool ok = false;
    if (byte == '-' && s.phase == AT_START) {
        s.phase = AT_SIGN;
        s.negative = 1;
        ok = true;
    } else if (byte == '.' && s.phase == IN_WHOLE && !r->integer) {
        end_whole(&s.least, &r->of[s.negative].least, &s);
        end_whole(&s.most, &r->of[s.negative].most, &s);
        s.phase = AT_POINT;
        s.digits = 0;
        ok = true;
    } else if (byte >= '0' && byte <= '9') {
        ok = r->of[s.negative].possible && read_digit(r, &s, byte);
    }
    str_add(to, (const char *)&s, sizeof s);
    return ok;
}

// How the number compares with a bound at its end.
static int final_order(const Bound *b, const NumberState *s, int8_t order) {
    bool whole = s->phase == IN_WHOLE;
    if (whole) end_whole(&order, b, s);
    if (order) return order;
    return strlen(b->at.fraction) > (whole ? 0u : s->digits) ? -1 : 0;
}

static bool number_accepts(void *user, JsonStr state) {
    const NumberRules *r = user;
    NumberState s;
    memcpy(&s, state.data, sizeof s);
    const Magnitude *m = &r->of[s.negative];
    if (s.phase != IN_WHOLE && s.phase != IN_FRACTION) return false;
    int least = m->least.given ? final_order(&m->least, &s, s.least) : 1;
    int most = m->most.given ? final_order(&m->most, &s, s.most) : -1;
    return (least > 0 || (least == 0 && !m->least.exclusive)) && (most < 0 || (most == 0 && !m->most.exclusive));
}

int schema_number(SchemaCompiler *c, const SchemaSet *s, unsigned types, uint32_t *pc) {
    Bound lo = {0}, hi = {0};
    ByteDfa *d;
    bool integer = !(types & TYPE_FRACTION);
    if (read_bounds(c, s, &lo, &hi)) return -1;
    if (!lo.given && !hi.given) return schema_lex_program(c, integer ? LEX_INTEGER : LEX_NUMBER, GRAMMAR_RETURN, pc);
    NumberRules r = {.of = {magnitude(&lo, &hi, false), magnitude(&lo, &hi, true)}, .integer = integer};
    bool cut[256] = {0};
    for (int b = '-'; b <= '9' + 1; b++) cut[b] = true;
    const DfaSource source = {&r, number_step, number_accepts, cut};
    const NumberState start = {0};
    if (dfa_build(&d, &source, (JsonStr){(const char *)&start, sizeof start}, c->err))
        return err_context(c->err, "schema: bounds");
    *pc = grammar_dfa(c->g, grammar_add_dfa(c->g, d), GRAMMAR_RETURN);
    return 0;
}

// jinja_tests: what may stand behind `is`. `escaped` is refused by name.
#include "jinja_internal.h"

#include <string.h>

static Value t_defined(Eval *e, Value v, const Value *a) {
    (void)e, (void)a;
    return v_bool(v.type != V_UNDEFINED);
}
static Value t_undefined(Eval *e, Value v, const Value *a) {
    (void)e, (void)a;
    return v_bool(v.type == V_UNDEFINED);
}
static Value t_none(Eval *e, Value v, const Value *a) {
    (void)e, (void)a;
    return v_bool(v.type == V_NONE);
}
static Value t_boolean(Eval *e, Value v, const Value *a) {
    (void)e, (void)a;
    return v_bool(v.type == V_BOOL);
}
static Value t_true(Eval *e, Value v, const Value *a) {
    (void)e, (void)a;
    return v_bool(v.type == V_BOOL && v.b);
}
static Value t_false(Eval *e, Value v, const Value *a) {
    (void)e, (void)a;
    return v_bool(v.type == V_BOOL && !v.b);
}
static Value t_integer(Eval *e, Value v, const Value *a) {
    (void)e, (void)a;
    return v_bool(v.type == V_INT || v.type == V_BIGINT);
}
static Value t_float(Eval *e, Value v, const Value *a) {
    (void)e, (void)a;
    return v_bool(v.type == V_FLOAT);
}
static Value t_number(Eval *e, Value v, const Value *a) {
    (void)e, (void)a;
    return v_bool(is_number(v) || v.type == V_BIGINT);
}
static Value t_string(Eval *e, Value v, const Value *a) {
    (void)e, (void)a;
    return v_bool(v.type == V_STR);
}
static Value t_mapping(Eval *e, Value v, const Value *a) {
    (void)e, (void)a;
    return v_bool(v.type == V_DICT);
}
static Value t_sequence(Eval *e, Value v, const Value *a) {
    (void)e, (void)a;
    return v_bool((is_seq(v) && v.type != V_VIEW) || v.type == V_STR || v.type == V_DICT || v.type == V_UNDEFINED);
}
static Value t_iterable(Eval *e, Value v, const Value *a) {
    (void)e, (void)a;
    return v_bool(is_seq(v) || v.type == V_STR || v.type == V_DICT || v.type == V_UNDEFINED || v.type == V_ITER ||
                  v.type == V_LOOP);
}
static Value t_callable(Eval *e, Value v, const Value *a) {
    (void)e, (void)a;
    return v_bool(v.type == V_MACRO || v.type == V_METHOD || v.type == V_FUNCTION || v.type == V_LOOP ||
                  v.type == V_UNDEFINED);
}

static Value t_lower(Eval *e, Value v, const Value *a) {
    (void)a;
    static const Str name = {.data = "islower", .len = 7, .chars = 7};
    const Function *f = find_method(V_STR, &name);
    return f->call(e, v_str(to_str(e, v)), NULL);
}
static Value t_upper(Eval *e, Value v, const Value *a) {
    (void)a;
    static const Str name = {.data = "isupper", .len = 7, .chars = 7};
    const Function *f = find_method(V_STR, &name);
    return f->call(e, v_str(to_str(e, v)), NULL);
}

static Value t_odd(Eval *e, Value v, const Value *a) {
    (void)a;
    return v_bool(value_equal(e, op_binary(e, '%', v, v_int(2)), v_int(1)));
}
static Value t_even(Eval *e, Value v, const Value *a) {
    (void)a;
    return v_bool(value_equal(e, op_binary(e, '%', v, v_int(2)), v_int(0)));
}
static Value t_divisibleby(Eval *e, Value v, const Value *a) {
    return v_bool(value_equal(e, op_binary(e, '%', v, a[0]), v_int(0)));
}

static Value t_eq(Eval *e, Value v, const Value *a) {
    return v_bool(op_compare(e, OP_EQ, v, a[0]));
}
static Value t_ne(Eval *e, Value v, const Value *a) {
    return v_bool(op_compare(e, OP_NE, v, a[0]));
}
static Value t_gt(Eval *e, Value v, const Value *a) {
    return v_bool(op_compare(e, OP_GT, v, a[0]));
}
static Value t_ge(Eval *e, Value v, const Value *a) {
    return v_bool(op_compare(e, OP_GE, v, a[0]));
}
static Value t_lt(Eval *e, Value v, const Value *a) {
    return v_bool(op_compare(e, OP_LT, v, a[0]));
}
static Value t_le(Eval *e, Value v, const Value *a) {
    return v_bool(op_compare(e, OP_LE, v, a[0]));
}
static Value t_in(Eval *e, Value v, const Value *a) {
    return v_bool(op_compare(e, OP_IN, v, a[0]));
}

// Identity. Of strings and numbers it is Python's accident, so it is refused.
static Value t_sameas(Eval *e, Value v, const Value *a) {
    if (v.type == V_STR || v.type == V_INT || v.type == V_FLOAT || v.type == V_BIGINT) {
        return v.type == a[0].type ? eval_fail(e, "sameas on a '%s' is not supported", type_name(v)) : v_bool(false);
    }
    if (v.type != a[0].type) return v_bool(false);
    if (v.type == V_BOOL) return v_bool(v.b == a[0].b);
    return v_bool(v.type == V_NONE || v.seq == a[0].seq);
}

static Value t_filter(Eval *e, Value v, const Value *a) {
    (void)e, (void)a;
    return v_bool(v.type == V_STR && find_filter(v.str));
}
static Value t_test(Eval *e, Value v, const Value *a) {
    (void)e, (void)a;
    return v_bool(v.type == V_STR && find_test(v.str));
}

#define TEST_OF_ONE(test_name, function)                                                                               \
    { .name = (test_name), .call = (function), .params = "" }
#define TEST_OF_TWO(test_name, function)                                                                               \
    { .name = (test_name), .call = (function), .params = "other", .required = 1 }
static const Function tests[] = {
    TEST_OF_ONE("boolean", t_boolean),
    TEST_OF_ONE("callable", t_callable),
    TEST_OF_ONE("defined", t_defined),
    TEST_OF_ONE("even", t_even),
    TEST_OF_ONE("false", t_false),
    TEST_OF_ONE("filter", t_filter),
    TEST_OF_ONE("float", t_float),
    TEST_OF_ONE("integer", t_integer),
    TEST_OF_ONE("iterable", t_iterable),
    TEST_OF_ONE("lower", t_lower),
    TEST_OF_ONE("mapping", t_mapping),
    TEST_OF_ONE("none", t_none),
    TEST_OF_ONE("number", t_number),
    TEST_OF_ONE("odd", t_odd),
    TEST_OF_ONE("sequence", t_sequence),
    TEST_OF_ONE("string", t_string),
    TEST_OF_ONE("test", t_test),
    TEST_OF_ONE("true", t_true),
    TEST_OF_ONE("undefined", t_undefined),
    TEST_OF_ONE("upper", t_upper),
    TEST_OF_TWO("!=", t_ne),
    TEST_OF_TWO("<", t_lt),
    TEST_OF_TWO("<=", t_le),
    TEST_OF_TWO("==", t_eq),
    TEST_OF_TWO(">", t_gt),
    TEST_OF_TWO(">=", t_ge),
    TEST_OF_TWO("eq", t_eq),
    TEST_OF_TWO("equalto", t_eq),
    TEST_OF_TWO("ge", t_ge),
    TEST_OF_TWO("greaterthan", t_gt),
    TEST_OF_TWO("gt", t_gt),
    TEST_OF_TWO("in", t_in),
    TEST_OF_TWO("le", t_le),
    TEST_OF_TWO("lessthan", t_lt),
    TEST_OF_TWO("lt", t_lt),
    TEST_OF_TWO("ne", t_ne),
    TEST_OF_TWO("sameas", t_sameas),
    TEST_OF_TWO("divisibleby", t_divisibleby),
};

const Function *find_test(const Str *name) {
    return TABLE_FIND(tests, name);
}

Value call_test(Eval *e, const Str *name, Value v, const CallArgs *args) {
    const Function *f = find_test(name);
    if (!f) return eval_fail(e, "no test named '%.*s'", STR_SHOWN(name, 100));
    return call_function(e, f, "test", v, args);
}

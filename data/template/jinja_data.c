// jinja_data: the data that a template reads: JSON to values.
#include "jinja_eval.h"

#include <string.h>

static Value str_from_json(Eval *e, JsonStr s, uint32_t origin) {
    eval_charge(e, 1 + s.len / 64);
    return (Value){.type = V_STR, .origin = origin, .str = str_in_arena(&e->arena, s.data, s.len, origin)};
}

static Value float_from_json(Eval *e, const Json *j, uint32_t origin) {
    if (j->str.len != strspn(j->str.data, "-0123456789"))
        return (Value){.type = V_FLOAT, .origin = origin, .f = j->number};
    Value v = str_from_json(e, j->str, origin); // an integer too large for int64
    v.type = V_BIGINT;
    return v;
}

// Room for n pairs. Of messages, the render notes which values the template reads.
static Value dict_of(Eval *e, size_t n, uint32_t origin) {
    Value v = v_dict(e);
    v.origin = origin;
    v.dict->keys = eval_alloc(e, n, sizeof *v.dict->keys);
    v.dict->values = eval_alloc(e, n, sizeof *v.dict->values);
    v.dict->count = n;
    if (origin >= JINJA_ORIGIN_MESSAGE) dict_track(e, v.dict);
    return v;
}

static Value value_from_json(Eval *e, const Json *j, uint32_t origin);

// places: item i gets its place (jinja.h).
static Value list_from_json(Eval *e, const Json *j, uint32_t origin, bool places) {
    Value *items = eval_alloc(e, j->count, sizeof *items);
    for (size_t i = 0; i < j->count; i++)
        items[i] = value_from_json(e, &j->items[i], places ? origin | jinja_place(0, i) : origin);
    Value v = v_seq(e, V_LIST, items, j->count);
    v.origin = origin;
    return v;
}

static Value value_from_json(Eval *e, const Json *j, uint32_t origin) {
    switch (j->type) {
    case JSON_NULL:
        return (Value){.type = V_NONE, .origin = origin};
    case JSON_FALSE:
    case JSON_TRUE:
        return (Value){.type = V_BOOL, .origin = origin, .b = j->type == JSON_TRUE};
    case JSON_INT:
        return (Value){.type = V_INT, .origin = origin, .i = j->integer};
    case JSON_FLOAT:
        return float_from_json(e, j, origin);
    case JSON_STRING:
        return str_from_json(e, j->str, origin);
    case JSON_ARRAY:
        return list_from_json(e, j, origin, false);
    default:
        break;
    }
    Value v = dict_of(e, j->count, origin); // keys of a JSON object are unique
    for (size_t i = 0; i < j->count; i++) {
        v.dict->keys[i] = str_from_json(e, j->keys[i], origin);
        v.dict->values[i] = value_from_json(e, &j->items[i], origin);
    }
    return v;
}

// Templates build control tokens and headers from role names ('<|' + role + '|>'). A role of this closed list is a
// word of the chat format, not text of the data, so it has origin 0; any other role stays data.
static bool is_known_role(const Json *role) {
    static const char *const known[] = {"system",      "developer",   "user",    "assistant", "model",
                                        "tool",        "function",    "ipython", "human",     "gpt",
                                        "observation", "environment", "context", "documents", "tool_response"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (json_is_string(role, known[i])) return true;
    return false;
}

Value field_from_json(Eval *e, const Json *j, uint32_t origin, size_t key) {
    origin |= jinja_place(key, 0);
    return j->type == JSON_ARRAY ? list_from_json(e, j, origin, true) : value_from_json(e, j, origin);
}

Value message_from_json(Eval *e, const Json *j, uint32_t origin) {
    if (j->type != JSON_OBJECT) return value_from_json(e, j, origin);
    Value v = dict_of(e, j->count, origin);
    for (size_t i = 0; i < j->count; i++) {
        bool known_role = json_str_is(j->keys[i], "role") && is_known_role(&j->items[i]);
        v.dict->keys[i] = str_from_json(e, j->keys[i], origin | jinja_place(i, 0));
        v.dict->values[i] =
            known_role ? value_from_json(e, &j->items[i], 0) : field_from_json(e, &j->items[i], origin, i);
    }
    return v;
}

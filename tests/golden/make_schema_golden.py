#!/usr/bin/env python3
"""usage: make_schema_golden.py [SCHEMAS [SEED]] > schema_golden.jsonl

JSON schemas and texts, each with the verdict of jsonschema (pip install jsonschema; 4.26.0): a line is
{"schema": ..., "texts": [[text, valid], ...]}. Schemas are random; texts are values made for the schema, most of them
then changed at one place, and written as data/grammar/schema.h wants them: what is valid must be accepted, all else not.
"""
import json
import random
import sys

import jsonschema

NAMES = ["a", "b", "name", "x y", "q\"", "ä", "ab", "/"]
TEXTS = ["", "a", "ab", "abc", "x\"y", "back\\slash", "line\nend", "é", "日本", "😀😀", "a-1", "2024-02-28", "12:30:00Z", "null"]
PATTERNS = ["^a", "b$", "^[a-c]+$", "^(ab|cd)*$", "^\\d{2,3}-[x-z]?$", "o", "^.$", "^[^a-z]*$", "é|\"", "^\\w+\\s\\w+$", "^x{0,3}$"]
FORMATS = ["date", "uuid", "ipv4"]


def refused(s, root):
    """Whether data/grammar may refuse the schema: a choice that leads to itself, and enum with bounds."""
    def texts(part):
        return json.dumps(part)
    def leads(part):
        return isinstance(part, dict) and (part.get("$ref") == "#" or any(leads(p) for k in ("anyOf", "allOf") for p in part.get(k, [])))
    def mixed(part):
        if isinstance(part, dict):
            return ("allOf" in part and any(w in texts(part) for w in ('"enum"', '"const"', '"$ref"'))) or any(map(mixed, part.values()))
        return isinstance(part, list) and any(map(mixed, part))
    return leads(s) or mixed(s)


def scalar_schema(r):
    kind = r.randrange(8)
    if kind == 0:
        return {"type": r.choice(["null", "boolean", "integer", "number", "string"])}
    if kind == 1:
        return {"enum": r.sample(["a", "b", 1, 2.5, None, True, "x\"y", [1, 2], {"a": 1}, "é", -3], r.randint(1, 4))}
    if kind == 2:
        return {"const": r.choice(["a", 0, False, None, [], {}, "日本"])}
    if kind == 3:
        s = {"type": "integer"}
        lo, hi = sorted((r.randint(-120, 120), r.randint(-1200, 1200)))
        if r.random() < 0.8:
            s[r.choice(["minimum", "exclusiveMinimum"])] = lo
        if r.random() < 0.8:
            s[r.choice(["maximum", "exclusiveMaximum"])] = hi
        return s
    if kind == 4:
        s = {"type": "number"}
        lo, hi = sorted((round(r.uniform(-3, 3), r.randint(0, 3)), round(r.uniform(-12, 12), r.randint(0, 2))))
        if r.random() < 0.8:
            s[r.choice(["minimum", "exclusiveMinimum"])] = lo
        if r.random() < 0.8:
            s[r.choice(["maximum", "exclusiveMaximum"])] = hi
        return s
    if kind == 5:
        s = {"type": "string", "pattern": r.choice(PATTERNS)}
        if r.random() < 0.3:
            s["maxLength"] = r.randint(1, 4)
        return s
    s = {"type": "string"}
    if kind == 6 and r.random() < 0.5:
        s["format"] = r.choice(FORMATS)
    if r.random() < 0.6:
        s["minLength"] = r.randint(0, 3)
    if r.random() < 0.6:
        s["maxLength"] = r.randint(1, 4)
    return s


def schema(r, depth):
    if depth == 0 or r.random() < 0.2:
        return scalar_schema(r)
    kind = r.randrange(9)
    if kind == 0:
        return r.choice([True, {}, {"$ref": "#/$defs/d"}, {"$ref": "#"}])
    if kind < 4:
        s = {"type": "object", "properties": {n: schema(r, depth - 1) for n in r.sample(NAMES, r.randint(0, 4))}}
        names = list(s["properties"])
        if names and r.random() < 0.8:
            s["required"] = r.sample(names, r.randint(1, len(names)))
        if r.random() < 0.7:
            s["additionalProperties"] = False if r.random() < 0.6 else schema(r, depth - 1)
        return s
    if kind < 6:
        s = {"type": "array", "items": schema(r, depth - 1)}
        if r.random() < 0.3:
            s["prefixItems"] = [schema(r, depth - 1) for _ in range(r.randint(1, 2))]
        if r.random() < 0.5:
            s["minItems"] = r.randint(0, 2)
        if r.random() < 0.5:
            s["maxItems"] = r.randint(1, 3)
        return s
    if kind == 6:
        return {"anyOf": [schema(r, depth - 1) for _ in range(r.randint(1, 3))]}
    if kind == 7:
        return {"allOf": [schema(r, depth - 1) for _ in range(2)]}
    return {"type": r.sample(["null", "boolean", "integer", "string", "array", "object"], 2)}


def value(r, s, root, depth=0):
    """A value that may fit."""
    if depth > 6 or s is True or s == {} or s is False:
        return r.choice([None, True, 0, -7, 1.5, "ab", [], {}, [1], {"a": None}])
    if "$ref" in s:
        return value(r, root if s["$ref"] == "#" else root["$defs"]["d"], root, depth + 1)
    for key in ("anyOf", "oneOf", "allOf"):
        if key in s:
            return value(r, r.choice(s[key]), root, depth + 1)
    if "enum" in s:
        return r.choice(s["enum"])
    if "const" in s:
        return s["const"]
    kind = s.get("type")
    if isinstance(kind, list):
        kind = r.choice(kind)
    if kind == "object":
        props = s.get("properties", {})
        names = [n for n in props if n in s.get("required", []) or r.random() < 0.5]
        r.shuffle(names)
        v = {n: value(r, props[n], root, depth + 1) for n in names}
        if r.random() < 0.2:
            v[r.choice(NAMES)] = value(r, s.get("additionalProperties", True), root, depth + 1)
        return v
    if kind == "array":
        n = r.randint(s.get("minItems", 0), max(s.get("minItems", 0), s.get("maxItems", 2)))
        prefix = s.get("prefixItems", [])
        return [value(r, prefix[i] if i < len(prefix) else s.get("items", True), root, depth + 1) for i in range(n)]
    if kind == "string":
        special = {"uuid": "01234567-89ab-cdef-0123-456789abcdef", "ipv4": "10.0.255.1", "date": "2024-12-31"}
        return special.get(s.get("format"), r.choice(TEXTS + ["ab", "abab", "12-x", "a b", "ccc", "xxx"]))
    if kind == "integer":
        near = [s[k] for k in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum") if k in s] or [0]
        return r.choice(near) + r.choice([-1, 0, 1, 5, -20])
    if kind == "number":
        near = [s[k] for k in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum") if k in s] or [0]
        return round(r.choice(near) + r.choice([-1, 0, 0.5, 0.001, -0.001, 2]), 4)
    return {"boolean": True, "null": None}.get(kind)


def change(r, v):
    """The value with something changed somewhere."""
    if isinstance(v, dict) and v and r.random() < 0.7:
        v = dict(v)
        name = r.choice(list(v))
        if r.random() < 0.3:
            del v[name]
        else:
            v[name] = change(r, v[name])
        return v
    if isinstance(v, list) and v and r.random() < 0.7:
        v = list(v)
        i = r.randrange(len(v))
        v[i:i + 1] = r.choice([[], [change(r, v[i])], [v[i], v[i]]])
        return v
    if isinstance(v, str) and r.random() < 0.6:
        return r.choice([v + "a", v[:-1], v + "\"", v.upper()])
    if isinstance(v, (int, float)) and not isinstance(v, bool) and r.random() < 0.6:
        return round(v + r.choice([-1, 1, 100]), 4)
    return r.choice([None, False, 3, 2.5, "zz", [], {}, ["a"], {"b": 1}])


def as_written(v):
    """What the automaton takes as a number: no float that is an integer, no exponent."""
    if isinstance(v, float):
        return not v.is_integer() and "e" not in repr(v)
    if isinstance(v, dict):
        return all(map(as_written, v.values()))
    return all(map(as_written, v)) if isinstance(v, list) else True


def write(r, v):
    indent, separators = r.choice([(None, None), (None, (",", ":")), (2, None), (4, None)])
    return r.choice(["", "", " ", "\n"]) + json.dumps(v, indent=indent, separators=separators, ensure_ascii=False)


def main():
    count, seed = int(sys.argv[1]) if len(sys.argv) > 1 else 120, int(sys.argv[2]) if len(sys.argv) > 2 else 1
    r = random.Random(seed)
    made = 0
    while made < count:
        s = schema(r, 3)
        if not isinstance(s, dict):
            continue
        s = {**s, "$defs": {"d": scalar_schema(r)}}
        if refused(s, s):
            continue
        check = jsonschema.Draft202012Validator(s, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)
        texts = []
        for _ in range(8):
            v = value(r, s, s)
            if r.random() < 0.6:
                v = change(r, v)
            try:
                valid = check.is_valid(v)
            except RecursionError:
                continue
            if as_written(v):
                texts.append([write(r, v), valid])
        print(json.dumps({"schema": s, "texts": texts}, ensure_ascii=False, separators=(",", ":")))
        made += 1


if __name__ == "__main__":
    main()

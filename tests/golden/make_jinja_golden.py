"""Writes jinja_golden.json: what jinja2, set up as transformers sets it up for chat templates, makes of the templates in
templates/ and of many small snippets. Run with an environment that has transformers and jinja2 >= 3.1.6:
    python tests/golden/make_jinja_golden.py
The clock is fixed to 1 January 2026, as in lorac. `null` stands for "jinja2 raises an error", `false` for "lorac refuses this on purpose" (jinja2 prints an address, or
what Python does is not supported and said so by name).
With arguments (paths of .jinja files), checks those instead and writes the cases to stdout: for templates that are not
ours to commit.
"""
import datetime, json, os, sys
import jinja2
from transformers.utils import chat_template_utils as hf

here = os.path.dirname(os.path.abspath(__file__))
WHEN = datetime.datetime(2026, 1, 1)

def compile(text):
    template = hf._cached_compile_jinja_template(text)
    template.environment.globals["strftime_now"] = WHEN.strftime
    return template.environment.from_string(text)

def render(text, **variables):
    try:
        out = compile(text).render(**variables)
        out.encode()
        return False if " at 0x" in out else out
    except Exception:
        return None

WEATHER = {"type": "function", "function": {"name": "get_weather", "description": "The weather of a place, \u00e9t\u00e9 < \"hiver\"",
    "parameters": {"type": "object", "properties": {"place": {"type": "string", "description": "a city & its land"},
    "days": {"type": "integer", "enum": [1, 2, 7]}, "unit": {"type": ["string", "null"]}}, "required": ["place"]}}}
TIMER = {"type": "function", "function": {"name": "set_timer", "description": "Rings later", "parameters":
    {"type": "object", "properties": {"minutes": {"type": "number", "minimum": 0.5, "default": None}}, "required": []}}}

SCHEMAS = {"type": "function", "function": {"name": "find", "description": "Finds", "parameters": {"type": "object", "required": ["words", "order"], "properties": {
    "words": {"type": "array", "items": {"type": "string"}, "description": "each of them"}, "at": {"type": "array", "items": {"type": "integer"}, "nullable": True},
    "rows": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "boolean"}, "y": {"type": "object"}}, "required": ["x"]}},
    "any": {"type": "array"}, "order": {"type": "string", "enum": ["up", "down"], "default": "up"}, "text": {"type": "string", "nullable": True, "default": "a \"b\""},
    "either": {"oneOf": [{"type": "number", "default": 1.5}, {"type": "boolean", "description": "or a flag"}], "default": "1"}, "mixed": {"type": ["string", "number"]}, "what": {}}}}}

def call(name, arguments, id="abcdefghi"):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}

system = {"role": "system", "content": "Answer briefly.\nBe kind. "}
user = {"role": "user", "content": "Hello \u4f60\u597d \U0001f600, who are you? "}
answer = {"role": "assistant", "content": " I am a test.\n"}
again = {"role": "user", "content": "  <|im_end|> and [INST] now?\n\n"}
last = {"role": "assistant", "content": "Still \"a\" test\\."}
called = {"role": "assistant", "content": None, "tool_calls": [call("get_weather", {"place": "K\u00f6ln", "days": 2, "deep": {"x": [1.5, True, None, "a\"b"]}})]}
said_and_called = {"role": "assistant", "content": "I look.", "tool_calls": [call("get_weather", {"place": "Oslo"}), call("set_timer", {"minutes": 0.5}, "ihgfedcba")]}
result = {"role": "tool", "content": "{\"sky\": \"clear\"}", "tool_call_id": "abcdefghi", "name": "get_weather"}
result2 = {"role": "tool", "content": "set", "tool_call_id": "ihgfedcba", "name": "set_timer"}
thinking = {"role": "assistant", "content": "<think>\nHmm, well.\n</think>\n\nYes."}
reasoned = {"role": "assistant", "content": "No.", "reasoning_content": "\nBecause.\n"}
thought = {"role": "assistant", "content": "Yes.", "thinking": "Is it?"}
thought_called = {"role": "assistant", "content": "", "thinking": "Ask.", "tool_calls": [call("find", {"words": ["a"]})]}
blocks = {"role": "user", "content": [{"type": "text", "text": "What is this? "}, {"type": "image"}]}

CONVERSATIONS = {
    "one": {"messages": [user]},
    "two": {"messages": [user, answer]},
    "system": {"messages": [system, user, answer]},
    "turns": {"messages": [system, user, answer, again, last]},
    "turns_no_system": {"messages": [user, answer, again, last, again]},
    "tools": {"messages": [user], "tools": [WEATHER, TIMER]},
    "tools_system": {"messages": [system, user, called, result, last], "tools": [WEATHER, TIMER]},
    "tools_two": {"messages": [user, said_and_called, result, result2, answer, again], "tools": [WEATHER]},
    "call_string": {"messages": [user, {"role": "assistant", "content": "", "tool_calls": [call("f", "{\"a\": 1}")]}]},
    "thinking": {"messages": [user, thinking, again, thinking]},
    "reasoned": {"messages": [system, user, reasoned, again, reasoned]},
    "no_thinking": {"messages": [user], "extra": {"enable_thinking": False}},
    "thinking_on": {"messages": [user, answer, again], "extra": {"enable_thinking": True}},
    "schemas": {"messages": [system, user, thought, again, thought_called, result], "tools": [SCHEMAS, TIMER], "extra": {"reasoning_effort": "high"}},
    "thoughts": {"messages": [user, thought_called, result, thought, again, thought]},
    "empty_answer": {"messages": [user, {"role": "assistant", "content": ""}]},
    "blocks": {"messages": [system, blocks, last]},
    "system_only": {"messages": [system]},
    "two_users": {"messages": [user, again]},
    "odd_role": {"messages": [user, {"role": "critic", "content": "no"}]},
    "no_content": {"messages": [user, {"role": "assistant"}]},
    "llama_extra": {"messages": [system, user, called], "tools": [WEATHER], "extra": {"tools_in_user_message": False, "date_string": "1 May 2025"}},
    "llama_builtin": {"messages": [user, {"role": "assistant", "content": "", "tool_calls": [call("search", {"query": "q"})]}],
                      "extra": {"builtin_tools": ["search", "code_interpreter"]}},
}

VARS = {"s": "Hello World", "u": "na\u00efve \u65e5\u672c \U0001f600!", "e": "", "n": 7, "neg": -3, "f": 2.5, "big": 12345678901234567890, "t": True, "nil": None,
        "l": [3, 1, 2], "words": ["pear", "Apple", "fig", "apple"], "d": {"b": 1, "a": "x", "items": 5}, "nest": {"x": {"y": [10, {"z": "deep"}]}},
        "people": [{"name": "Ann", "age": 30, "on": True}, {"name": "bob", "age": 25}, {"name": "Cy", "age": 30, "on": False}],
        "ws": "  pad\t\n", "lines": "one\ntwo\r\n\nthree", "mixed": [1, "a", None, 2.0, True, [], {}], "html": "<b>&'\"</b>"}

exec(open(os.path.join(here, "jinja_snippets.py")).read())

def cases(templates):
    for name, text in templates.items():
        for key, c in CONVERSATIONS.items():
            for add in (False, True):
                yield [name, key, add, render(text, messages=c["messages"], tools=c.get("tools"), documents=None,
                       add_generation_prompt=add, bos_token="<s>", eos_token="</s>", **c.get("extra", {}))]

def main():
    paths = sys.argv[1:] or [os.path.join(here, "templates", f) for f in sorted(os.listdir(os.path.join(here, "templates")))]
    templates = {os.path.splitext(os.path.basename(p))[0]: open(p, newline="").read() for p in paths}
    golden = {"conversations": CONVERSATIONS, "cases": list(cases(templates)), "vars": VARS, "snippets": []}
    for text in SNIPPETS:
        golden["snippets"].append([text, render(text, messages=[], tools=None, documents=None, add_generation_prompt=False, **VARS)])
    for refused in REFUSED:
        golden["snippets"].append(["{{ " + refused + " }}", False])
    errors = sum(c[3] is None for c in golden["cases"]), sum(s[1] is None for s in golden["snippets"])
    print(f"{len(golden['cases'])} cases ({errors[0]} errors), {len(golden['snippets'])} snippets ({errors[1]} errors)", file=sys.stderr)
    text = json.dumps(golden, ensure_ascii=False, indent=0) + "\n"
    if sys.argv[1:]:
        sys.stdout.write(text)
    else:
        with open(os.path.join(here, "jinja_golden.json"), "w") as out:
            out.write(text)


main()

"""Writes chat_golden.json: what transformers makes of conversations, for test_chat_golden.c. Run with an environment that
has transformers and jinja2 >= 3.1.6:
    python tests/golden/make_chat_golden.py

"masks": templates of several model families, of our own making where the name says nothing else, and the same with
{% generation %} around what an assistant has to write, as TRL's training templates have it (but the header of a turn,
which the generation prompt already has, stays outside). transformers renders the second and says which characters are
inside; lorac gets the first and must find the same ones. "marked" has them in [[ ]].

"learnt": masks of roles_to_train and train_on_eos as Axolotl defines them: a turn's content is where the conversation
up to it differs from the same with another content; its end token follows within three tokens.

"forms": one conversation in the form that the template reads, rendered, and other forms of it that must give the same
text: content as a string or as parts, arguments as an object or as JSON text, a tool's result as an object or as text.
"""
import datetime, json, os, re, sys
from transformers.utils import chat_template_utils as hf

here = os.path.dirname(os.path.abspath(__file__))
BOS, EOS = "<s>", "</s>"

class Clock(datetime.datetime):  # as lorac's, which is never read
    @classmethod
    def now(cls, tz=None): return cls(2026, 1, 1)
hf.datetime = Clock

def render(template, record, mask=False):
    texts, spans = hf.render_jinja_template([record["messages"]], tools=record.get("tools"), chat_template=template,
                                            return_assistant_tokens_mask=mask, bos_token=BOS, eos_token=EOS,
                                            **record.get("extra", {}))
    return texts[0], (spans[0] if mask else None)

def file(name):
    return open(os.path.join(here, "templates", name + ".jinja"), encoding="utf-8").read()

# ---- conversations ----

def user(text): return {"role": "user", "content": text}
def assistant(text): return {"role": "assistant", "content": text}
def call(name, arguments, content="", **more):
    return {"role": "assistant", "content": content, "tool_calls": [
        {"id": "abcdefghi", "type": "function", "function": {"name": name, "arguments": arguments}}], **more}
def result(content): return {"role": "tool", "content": content, "tool_call_id": "abcdefghi", "name": "get_tide"}

SYSTEM = {"role": "system", "content": "Be brief."}
TURNS = [user("Tide?"), assistant("Low."), user("Sure?"), assistant("Yes.")]
CALLS = [user("Tide at Vik?"), call("get_tide", {"at": "Vik"}), result("1.5"), assistant("1.5 m")]
TWICE = CALLS + [user("And Moss?"), call("get_tide", {"at": "Moss"}), result("0.3"), assistant("0.3 m")]
THOUGHT = [user("Tide?"), {"role": "assistant", "content": "Low.", "thinking": "Look it up."}, user("Sure?"),
           {"role": "assistant", "content": "Yes.", "thinking": "I am."}]

ASKED_FIRST = [call("get_tide", {"at": "Vik"}, thinking="Ask.") if m.get("tool_calls") else m for m in TWICE]

# ---- templates: with G and E where generation begins and ends ----

def plain(t): return t.replace("«", "").replace("»", "")
def marked(t): return t.replace("«", "{% generation %}").replace("»", "{% endgeneration %}")
def patched(name, *changes):
    t = file(name)
    for old, new in changes:
        assert old in t, (name, old)
        t = t.replace(old, new)
    assert plain(t) != "" and "«" in t
    return file(name), marked(t)
def own(t): return plain(t), marked(t)

chatml = own("{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}{% if m.role == 'assistant' %}«{{ m.content + '<|im_end|>' }}»"
             "{% else %}{{ m.content + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
llama = own("{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' }}{% if m.role == 'assistant' %}"
            "«{{ m.content | trim + '<|eot_id|>' }}»{% else %}{{ m.content | trim + '<|eot_id|>' }}{% endif %}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}")
# the call is closed by another token than an answer is
llama_call = own("{{ bos_token }}{% for m in messages %}{% set role = 'ipython' if m.role == 'tool' else m.role %}"
                 "{{ '<|start_header_id|>' + role + '<|end_header_id|>\\n\\n' }}{% if m.tool_calls %}«{{ '{\"name\": \"' + m.tool_calls[0].function.name + '\", \"parameters\": ' }}"
                 "{{ m.tool_calls[0].function.arguments | tojson }}{{ '}<|eom_id|>' }}»{% elif m.role == 'assistant' %}«{{ m.content + '<|eot_id|>' }}»"
                 "{% else %}{{ m.content + '<|eot_id|>' }}{% endif %}{% endfor %}"
                 "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}")
gemma = own("{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}{{ '<start_of_turn>model\\n' }}«{{ m.content | trim + '<end_of_turn>' }}»{{ '\\n' }}"
            "{% else %}{{ '<start_of_turn>' + m.role + '\\n' + m.content | trim + '<end_of_turn>\\n' }}{% endif %}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}")
# the last answer stands in front of all turns too
front = own("{% if messages[-1].role == 'assistant' %}{{ '<|im_start|>system\\nLast: ' + messages[-1].content + '<|im_end|>\\n' }}{% endif %}"
            "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}{% if m.role == 'assistant' %}«{{ m.content + '<|im_end|>' }}»"
            "{% else %}{{ m.content + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
# two closing tokens behind each turn, with and without something in between, and only behind the last
two = own("{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}{% if m.role == 'assistant' %}«{{ m.content + '<|end|><|im_end|>' }}»"
          "{% else %}{{ m.content + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
two_apart = own("{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}{% if m.role == 'assistant' %}«{{ m.content + '<|end|>\\n' + eos_token }}»"
                "{% else %}{{ m.content + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
# two closing tokens behind a call only
two_call = own("{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}{% if m.tool_calls %}«{{ m.tool_calls[0].function.name }}{{ m.tool_calls[0].function.arguments | tojson }}{{ '<|call|><|end|>' }}»"
               "{% elif m.role == 'assistant' %}«{{ m.content + '<|im_end|>' }}»{% else %}{{ m.content + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}"
               "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
# a header is written behind the last turn, asked for or not
always = own("{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}{% if m.role == 'assistant' %}«{{ m.content + '<|im_end|>' }}»"
             "{% else %}{{ m.content + '<|im_end|>' }}{% endif %}{% endfor %}{{ '<|im_start|>assistant\\n' }}")
# the name of the call stands in front of its result, in whose turn that ever is
repeat = own("{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}{% if m.tool_calls %}«{{ m.tool_calls[0].function.name + ' ' }}{{ m.tool_calls[0].function.arguments | tojson }}{{ '<|im_end|>' }}»"
             "{% elif m.role == 'tool' %}{{ messages[loop.index0 - 1].tool_calls[0].function.name + ' gave ' + m.content + '<|im_end|>' }}"
             "{% elif m.role == 'assistant' %}«{{ m.content + '<|im_end|>' }}»{% else %}{{ m.content + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}"
             "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
repeat_header = own("{% for m in messages %}{% if m.role == 'tool' %}{{ '<|im_start|>' + messages[loop.index0 - 1].tool_calls[0].function.name + '\\n' + m.content + '<|im_end|>' }}"
                    "{% else %}{{ '<|im_start|>' + m.role + '\\n' }}{% if m.tool_calls %}«{{ m.tool_calls[0].function.name + ' ' }}{{ m.tool_calls[0].function.arguments | tojson }}{{ '<|im_end|>' }}»"
                    "{% elif m.role == 'assistant' %}«{{ m.content + '<|im_end|>' }}»{% else %}{{ m.content + '<|im_end|>' }}{% endif %}{% endif %}{{ '\\n' }}{% endfor %}"
                    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
# an answer is quoted in the next question
quote = own("{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}{% if m.role == 'assistant' %}«{{ m.content + '<|im_end|>' }}»"
            "{% else %}{% if not loop.first %}{{ '> ' + messages[loop.index0 - 1].content + '\\n' }}{% endif %}{{ m.content + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
# no control token at all
words = own("{% for m in messages %}{% if m.role == 'user' %}{{ '### Question:\\n' + m.content + '\\n\\n### Answer:\\n' }}"
            "{% elif m.tool_calls %}«{{ m.tool_calls[0].function.name + '(' }}{{ m.tool_calls[0].function.arguments | tojson }}»{{ ')\\n\\n' }}"
            "{% elif m.role == 'tool' %}{{ '### Result of ' + messages[loop.index0 - 1].tool_calls[0].function.name + ':\\n' + m.content + '\\n\\n' }}"
            "{% else %}«{{ m.content }}»{{ '\\n\\n' }}{% endif %}{% endfor %}")
# in the shape of gpt-oss: a thought and an answer are two messages of one turn; three closing tokens; the name of the
# call is the role of its result
harmony = own("{% set ns = namespace(name='') %}{% for m in messages %}{% if m.role == 'assistant' %}{{ '<|start|>assistant' }}«{% if m.thinking %}{{ '<|channel|>analysis<|message|>' + m.thinking + '<|end|><|start|>assistant' }}{% endif %}"
              "{% if m.tool_calls %}{% set ns.name = m.tool_calls[0].function.name %}{{ ' to=functions.' + ns.name + '<|channel|>commentary json<|message|>' }}{{ m.tool_calls[0].function.arguments | tojson }}{{ '<|call|>' }}"
              "{% else %}{{ '<|channel|>final<|message|>' + m.content }}{{ '<|return|>' if loop.last else '<|end|>' }}{% endif %}»"
              "{% elif m.role == 'tool' %}{{ '<|start|>functions.' + ns.name + ' to=assistant<|channel|>commentary<|message|>' + m.content + '<|end|>' }}"
              "{% else %}{{ '<|start|>' + m.role + '<|message|>' + m.content + '<|end|>' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif %}")

deepseek = own("{{ bos_token }}{% set ns = namespace(output=false) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.output = false %}{{ '<|User|>' + m.content }}"
               "{% elif m.tool_calls %}{{ '<|Assistant|>' }}«{{ '<|tool_calls_begin|>' }}{% for t in m.tool_calls %}{{ '<|tool_call_begin|>' + t.type + '<|tool_sep|>' + t.function.name + '\\n```json\\n' }}{{ t.function.arguments | tojson }}{{ '\\n```<|tool_call_end|>' }}{% endfor %}"
               "{{ '<|tool_calls_end|><|end_of_sentence|>' }}»{% elif m.role == 'assistant' %}{{ '<|Assistant|>' }}«{{ m.content + '<|end_of_sentence|>' }}»"
               "{% else %}{{ '<|tool_outputs_begin|>' + m.content + '<|tool_outputs_end|>' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|Assistant|>' }}{% endif %}")
# in the shape of Qwen 3: thoughts are written from their own key, those of earlier turns are left out
qwen3 = own("{% set ns = namespace(last=-1) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}"
            "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}{% if m.role == 'assistant' %}«{% if loop.index0 > ns.last %}{{ '<think>\\n' + (m.thinking or '') + '\\n</think>\\n\\n' }}{% endif %}{{ m.content }}"
            "{% for t in m.tool_calls or [] %}{{ '<tool_call>\\n{\"name\": \"' + t.function.name + '\", \"arguments\": ' }}{{ t.function.arguments | tojson }}{{ '}\\n</tool_call>' }}{% endfor %}{{ '<|im_end|>' }}»"
            "{% else %}{{ m.content + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")

TEMPLATES = {
    "deepseek": (deepseek, [TURNS, CALLS, TWICE]),
    "qwen3": (qwen3, [TURNS, THOUGHT, CALLS, TWICE]),
    "chatml": (chatml, [TURNS, [SYSTEM] + TURNS]),
    "llama": (llama, [TURNS, [SYSTEM] + TURNS]),
    "llama_call": (llama_call, [TURNS, CALLS, TWICE]),
    "gemma": (gemma, [TURNS]),
    "front": (front, [TURNS, [SYSTEM] + TURNS]),
    "two": (two, [TURNS]),
    "two_apart": (two_apart, [TURNS]),
    "two_call": (two_call, [TURNS, TWICE]),
    "always": (always, [TURNS]),
    "repeat": (repeat, [CALLS, TWICE]),
    "repeat_header": (repeat_header, [CALLS, TWICE]),
    "quote": (quote, [TURNS]),
    "words": (words, [TURNS, TWICE]),
    "harmony": (harmony, [TURNS, CALLS, TWICE, THOUGHT, ASKED_FIRST]),
    "gpt-oss": (patched("gpt-oss",
        ('{{- "<|start|>assistant<|channel|>final<|message|>" + message.content + "<|end|>" }}', '{{- "<|start|>assistant" }}«{{- "<|channel|>final<|message|>" + message.content + "<|end|>" }}»'),
        ('{%- if "thinking" in message %}\n                {{- "<|start|>assistant<|channel|>analysis<|message|>" + message.thinking + "<|end|>" }}\n            {%- endif %}\n            {{- "<|start|>assistant<|channel|>final<|message|>" + message.content + "<|return|>" }}',
         '{{- "<|start|>assistant" }}«{%- if "thinking" in message %}{{- "<|channel|>analysis<|message|>" + message.thinking + "<|end|><|start|>assistant" }}{%- endif %}{{- "<|channel|>final<|message|>" + message.content + "<|return|>" }}»'),
        ('{%- if message.content and message.thinking %}', '{{- "<|start|>assistant" }}«{%- if message.content and message.thinking %}'),
        ('{{- "<|start|>assistant<|channel|>analysis<|message|>" + message.content + "<|end|>" }}', '{{- "<|channel|>analysis<|message|>" + message.content + "<|end|><|start|>assistant" }}'),
        ('{{- "<|start|>assistant<|channel|>analysis<|message|>" + message.thinking + "<|end|>" }}', '{{- "<|channel|>analysis<|message|>" + message.thinking + "<|end|><|start|>assistant" }}'),
        ('{{- "<|start|>assistant to=" }}', '{{- " to=" }}'), ('{{- "<|call|>" }}', '{{- "<|call|>" }}»')),
        [TURNS, [SYSTEM] + TURNS, CALLS, TWICE, THOUGHT, ASKED_FIRST, ASKED_FIRST[:2]]),
    "qwen2.5": (patched("qwen2.5",
        ('(message.role == "assistant" and not message.tool_calls) %}\n        {{- \'<|im_start|>\' + message.role + \'\\n\' + message.content + \'<|im_end|>\' + \'\\n\' }}',
         '(message.role == "assistant" and not message.tool_calls) %}\n        {{- \'<|im_start|>\' + message.role + \'\\n\' }}{% if message.role == "assistant" %}«{{ message.content + \'<|im_end|>\' }}»{% else %}{{ message.content + \'<|im_end|>\' }}{% endif %}{{ \'\\n\' }}'),
        ("{{- '<|im_start|>' + message.role }}\n        {%- if message.content %}\n            {{- '\\n' + message.content }}\n        {%- endif %}",
         "{{- '<|im_start|>' + message.role + '\\n' }}«"),
        ("{{- '\\n<tool_call>\\n{\"name\": \"' }}", "{{- '<tool_call>\\n{\"name\": \"' }}"),
        ("        {%- endfor %}\n        {{- '<|im_end|>\\n' }}\n    {%- elif message.role == \"tool\" %}", "        {%- endfor %}\n        {{- '<|im_end|>' }}»{{ '\\n' }}\n    {%- elif message.role == \"tool\" %}")),
        [[SYSTEM] + TURNS, [SYSTEM] + TWICE]),
    "phi-3": (patched("phi-3", ("{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}", "{{'<|assistant|>\n'}}«{{ message['content'] + '<|end|>'}}»{{ '\n'}}")), [TURNS]),
    "phi-4": (patched("phi-4", ("{{'<|im_start|>assistant<|im_sep|>' + message['content'] + '<|im_end|>'}}", "{{'<|im_start|>assistant<|im_sep|>'}}«{{ message['content'] + '<|im_end|>'}}»")), [TURNS]),
    "phi-4-mini": (patched("phi-4-mini", ("{% else %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}", "{% elif message['role'] == 'assistant' %}{{ '<|assistant|>' }}«{{ message['content'] + '<|end|>' }}»{% else %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}")), [TURNS]),
    "mistral-v1": (patched("mistral-v1", ("{{ message['content'] + eos_token + ' ' }}", "«{{ message['content'] + eos_token }}»{{ ' ' }}")), [TURNS]),
    "mistral-v3-tools": (patched("mistral-v3-tools", ('        {{- "[TOOL_CALLS] [" }}', '        «{{- "[TOOL_CALLS] [" }}'), ('{{- "]" + eos_token }}\n            {%- endif %}\n        {%- endfor %}', '{{- "]" + eos_token }}\n            {%- endif %}\n        {%- endfor %}»'),
        ('{{- " " + message["content"]|trim + eos_token}}', '«{{- " " + message["content"]|trim + eos_token}}»')), [CALLS]),
    "mistral-small": (patched("mistral-small", ("{{- message['content'] + eos_token }}", "«{{- message['content'] + eos_token }}»")), [TURNS]),
    "zephyr": (patched("zephyr", ("{{ '<|assistant|>\n'  + message['content'] + eos_token }}", "{{ '<|assistant|>\n' }}«{{ message['content'] + eos_token }}»{{ '' }}")), [TURNS]),
}

def masks():
    for name, ((template, generation), conversations) in TEMPLATES.items():
        for messages in conversations:
            record = {"messages": messages}
            text, _ = render(template, record)
            same, spans = render(generation, record, True)
            if text != same: sys.exit("%s: the two templates differ:\n%r\n%r" % (name, text, same))
            out, at = "", 0
            for begin, end in spans:
                out += text[at:begin] + "[[" + text[begin:end] + "]]"
                at = end
            yield {"name": name, "template": template, "record": record, "marked": out + text[at:]}

# ---- roles_to_train and train_on_eos ----

SPLIT = re.compile(r"(<\|[a-z_]+\|>|<(?:start|end)_of_turn>|</?s>|\[/?INST\])")
def tokens(template, messages): # control tokens whole, everything else by characters
    return [t for part in SPLIT.split(render(template, {"messages": messages})[0]) for t in ([part] if SPLIT.fullmatch(part) else part)]

def learnt_mask(template, messages, eos, roles, train_on_eos):
    ids, bare = tokens(template, messages), [{"role": m["role"], "content": m["content"]} for m in messages]
    learnt, last = [False] * len(ids), None
    for i, m in enumerate(messages):
        wanted = m.get("train", m["role"] in roles)
        if not wanted and train_on_eos != "all": continue
        other, own = tokens(template, bare[:i] + [{"role": m["role"], "content": "[[dummy_message]]"}]), tokens(template, bare[:i + 1])
        n = min(len(other), len(own))
        begin = next(k for k in range(n) if other[k] != own[k])
        end = next(len(own) - k for k in range(n) if other[-1 - k] != own[-1 - k])
        if wanted: learnt[begin:end] = [True] * (end - begin)
        at = next((k for k in range(end, len(ids)) if ids[k] == eos), None)
        if at is None or at - end > 3: continue
        last = at
        if train_on_eos == "all" or train_on_eos == "turn" and wanted: learnt[at] = True
    if train_on_eos == "last" and last is not None: learnt[last] = True
    out = ""
    for k, t in enumerate(ids):
        before = k > 0 and learnt[k - 1]
        out += ("" if learnt[k] == before else "[[" if learnt[k] else "]]") + t
    return out + ("]]" if learnt[-1] else "")

def learnt():
    flagged = [dict(m, train=bool(i % 4 == 3)) if m["role"] == "assistant" else m for i, m in enumerate(TURNS)]
    for name, template, eos, system in (("chatml", chatml[0], "<|im_end|>", [SYSTEM]), ("llama", llama[0], "<|eot_id|>", [SYSTEM]),
                                        ("gemma", gemma[0], "<end_of_turn>", []), ("mistral-v1", file("mistral-v1"), EOS, [])):
        for messages in (system + TURNS, system + flagged):
            cases = [{"roles_to_train": roles, "train_on_eos": e, "marked": learnt_mask(template, messages, eos, roles, e)}
                     for roles in (["assistant"], ["user"], ["system", "user", "assistant"], []) for e in ("turn", "all", "last", "none")]
            yield {"name": name, "template": template, "record": {"messages": messages}, "cases": cases}

# ---- forms ----

def text_parts(*texts): return [{"type": "text", "text": t} for t in texts]

concat = "{% for m in messages %}{% if m.tool_calls %}{{ '<|im_start|>assistant\\n' + m.tool_calls[0].function.name + m.tool_calls[0].function.arguments + '<|im_end|>\\n' }}{% else %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endif %}{% endfor %}"
tojson = concat.replace(".arguments + '<|im_end|>\\n'", ".arguments | tojson + '<|im_end|>\\n'")
either = concat.replace("m.tool_calls[0].function.arguments + '", "(m.tool_calls[0].function.arguments if m.tool_calls[0].function.arguments is string else m.tool_calls[0].function.arguments | tojson) + '")
items = "{% for m in messages %}{% if m.tool_calls %}<|im_start|>assistant\n{% for k, v in m.tool_calls[0].function.arguments.items() %}<{{ k }}>{{ v }}</{{ k }}>{% endfor %}<|im_end|>{% else %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endif %}{% endfor %}"
walks = "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.content is string %}{{ m.content | trim }}{% else %}{% for p in m.content %}{% if p.type == 'text' %}{{ p.text | trim }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
walks_only = "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for p in m.content %}{% if p.type == 'text' %}{{ p.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
walks_user = "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'user' and m.content is not string %}{% for p in m.content %}{{ p.text }};{% endfor %}{% else %}{{ m.content + '' }}{% endif %}<|im_end|>\n{% endfor %}"
result_json = "{% for m in messages %}{{ '<|im_start|>' + m.role }}{% if m.role == 'tool' %}{{ m.content if m.content is string else m.content | tojson }}{% else %}{{ m.content }}{% endif %}<|im_end|>{% endfor %}"
result_text = "{% for m in messages %}{{ '<|im_start|>' + m.role + m.content + '<|im_end|>' }}{% endfor %}"

AS_TEXT, SPACED = '{"at": "Vik"}', '{ "at":"Vik" }'
def asked(arguments): return [user("Tide?"), call("get_tide", arguments), result("1.5"), assistant("1.5 m")]
def told(content): return [user("Tide?"), call("get_tide", {"at": "Vik"}), result(content), assistant("ok")]
TIDE = {"height": 1.5, "at": ["Vik", "M\u00f8ss"], "note": "a \"high\"\ttide", "ok": True, "next": None}
DUMPED = json.dumps(TIDE, ensure_ascii=False)

def thought(key): return [user("Tide?"), assistant("Low."), user("Sure?"), {"role": "assistant", "content": "Yes.", key: "Look it up."}]

FORMS = [  # name, template, as the template reads it, others
    ("concat", concat, asked(AS_TEXT), [asked({"at": "Vik"})]),
    ("concat", concat, asked(SPACED), []),
    ("tojson", tojson, asked({"at": "Vik"}), [asked(AS_TEXT), asked(SPACED)]),
    ("either", either, asked({"at": "Vik"}), []),
    ("either", either, asked(SPACED), []),
    ("items", items, asked({"at": "Vik"}), [asked(AS_TEXT), asked(SPACED)]),
    ("qwen2.5", file("qwen2.5"), asked({"at": "Vik"}), [asked(SPACED)]),
    ("qwen3", file("qwen3"), asked(SPACED), []),
    ("qwen3", file("qwen3"), asked({"at": "Vik"}), []),
    ("qwen3-coder", file("qwen3-coder"), asked({"at": "Vik"}), [asked(SPACED)]),
    ("llama-3.1", file("llama-3.1"), asked({"at": "Vik"}), [asked(AS_TEXT)]),
    ("mistral-v3-tools", file("mistral-v3-tools"), asked({"at": "Vik"}), [asked(AS_TEXT)]),
    ("deepseek-r1", file("deepseek-r1"), asked({"at": "Vik"}), [asked(AS_TEXT)]),
    ("walks", walks, [user(text_parts("Part one. ", "Part two.")), assistant("Fine.")], []),
    ("walks", walks, [user(text_parts("One ", " Two")), assistant(text_parts(" Fine ", "."))], []),
    ("walks_only", walks_only, [user(text_parts("One ", " Two")), assistant(text_parts("Fine."))], [[user(text_parts("One ", " Two")), assistant("Fine.")]]),
    ("walks_user", walks_user, [user(text_parts("One", "Two")), assistant("Fine.")], [[user(text_parts("One", "Two")), assistant(text_parts("Fi", "ne."))]]),
    ("chatml", file("chatml"), [SYSTEM, user("One Two"), assistant("Fine.")], [[{"role": "system", "content": text_parts("Be ", "brief.")}, user(text_parts("One ", "Two")), assistant(text_parts("Fine", "."))]]),
    ("gemma-3", file("gemma-3"), [SYSTEM, user(text_parts("One ", "Two")), assistant(text_parts("Fine ", "."))], [[{"role": "system", "content": text_parts("Be ", "brief.")}, user(text_parts("One ", "Two")), assistant(text_parts("Fine ", "."))]]),
    ("mistral-small", file("mistral-small"), [SYSTEM, user(text_parts("One ", "Two")), assistant("Fine.")], [[{"role": "system", "content": text_parts("Be ", "brief.")}, user(text_parts("One ", "Two")), assistant(text_parts("Fi", "ne."))]]),
    ("qwen3", file("qwen3"), [SYSTEM, user("One Two"), assistant("Fine.")], [[SYSTEM, user(text_parts("One ", "Two")), assistant(text_parts("Fine."))]]),
    ("qwen3", file("qwen3"), thought("reasoning_content"), [thought("thinking"), thought("reasoning")]),
    ("harmony", harmony[0], thought("thinking"), [thought("reasoning_content")]),
    ("gpt-oss", file("gpt-oss"), thought("thinking"), [thought("reasoning_content"), thought("reasoning")]),
    ("chatml", file("chatml"), TURNS, [thought("thinking")]),  # written from no key
    ("result_json", result_json, told(TIDE), [told(DUMPED)]),
    ("result_json", result_json, told([1, "a"]), [told('[1, "a"]')]),
    ("result_text", result_text, told(DUMPED), [told(TIDE)]),
    ("result_text", result_text, told("1.5"), [told(1.5)]),
    ("llama-3.1", file("llama-3.1"), told(TIDE), []),
    ("qwen2.5", file("qwen2.5"), told(DUMPED), [told(TIDE)]),
    ("qwen3", file("qwen3"), told(DUMPED), [told(TIDE)]),
]

def forms():
    for name, template, read, others in FORMS:
        text, _ = render(template, {"messages": read})
        yield {"name": name, "template": template, "text": text, "records": [{"messages": m} for m in [read] + others]}

if __name__ == "__main__":
    with open(os.path.join(here, "chat_golden.json"), "w", encoding="utf-8") as f:
        json.dump({"masks": list(masks()), "learnt": list(learnt()), "forms": list(forms())}, f, ensure_ascii=False, indent=1)
        f.write("\n")

"""Writes named_templates.json: conversations in the formats of model families, for test_named_templates.c.
    python tests/golden/make_named_templates_golden.py

Each format is given by what stands before and after the text of each role, as LLaMA-Factory's templates and the model
cards have it; what an assistant has to write is in [[ ]]. No template is rendered here.
"""
import json, os

here = os.path.dirname(os.path.abspath(__file__))
BOS, EOS = "<s>", "</s>"
QWEN = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
ALPACA = "Below is an instruction that describes a task. Write a response that appropriately completes the request."
VICUNA = ("A chat between a curious user and an artificial intelligence assistant. "
          "The assistant gives helpful, detailed, and polite answers to the user's questions.")

class Format:
    """user: before and after a question, with the header of the answer; answer: before, end, after."""
    def __init__(self, user, answer, system=None, prefix="", standard=None, joined=None, again="", end=""):
        self.__dict__.update(vars())

    def write(self, messages):
        out, first = self.prefix, ""
        system = messages[0]["content"] if messages[0]["role"] == "system" else self.standard
        if system and self.joined: first = self.joined[0] + system + self.joined[1]
        elif system: out += self.system[0] + system + self.system[1]
        turns = [m for m in messages if m["role"] != "system"]
        for i, m in enumerate(turns):
            if m["role"] == "user":
                out += (self.again if i else "") + self.user[0] + first + m["content"] + self.user[1]
                first = ""
            else:
                thought, begin, end, after = self.answer
                if callable(thought): thought = thought(m, i + 1 == len(turns))
                out += begin + "[[" + thought + m["content"] + end + "]]" + after
        return out + self.end

def chatml(**more):
    return Format(("<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"), more.pop("answer", ("", "", "<|im_end|>", "\n")),
                  ("<|im_start|>system\n", "<|im_end|>\n"), **more)
def thought(message, last):
    return "<think>\n" + message.get("reasoning_content", "") + "\n</think>\n\n" if last else ""
def header(role): return "<|start_header_id|>" + role + "<|end_header_id|>\n\n"
def turn(role): return "<|START_OF_TURN_TOKEN|><|" + role + "_TOKEN|>"
def role(name): return "<|start_of_role|>" + name + "<|end_of_role|>"

FORMATS = {
    "chatml": chatml(),
    "qwen": chatml(standard=QWEN),
    "qwen3": chatml(answer=(thought, "", "<|im_end|>", "\n")),
    "llama3": Format((header("user"), "<|eot_id|>" + header("assistant")), ("", "", "<|eot_id|>", ""), (header("system"), "<|eot_id|>"), BOS),
    "llama2": Format(("[INST] ", " [/INST]"), (" ", "", " " + EOS, ""), prefix=BOS, joined=("<<SYS>>\n", "\n<</SYS>>\n\n"), again=BOS),
    "mistral": Format(("[INST] ", "[/INST]"), (" ", "", EOS, ""), prefix=BOS, joined=("", "\n\n")),
    "mistral_v1": Format(("[INST] ", " [/INST]"), (" ", "", EOS, ""), prefix=BOS, joined=("", "\n\n")),
    "gemma": Format(("<start_of_turn>user\n", "<end_of_turn>\n<start_of_turn>model\n"), ("", "", "<end_of_turn>", "\n"), prefix=BOS, joined=("", "\n\n")),
    "phi3": Format(("<|user|>\n", "<|end|>\n<|assistant|>\n"), ("", "", "<|end|>", "\n"), ("<|system|>\n", "<|end|>\n"), end=EOS),
    "phi4": Format(("<|im_start|>user<|im_sep|>", "<|im_end|><|im_start|>assistant<|im_sep|>"), ("", "", "<|im_end|>", ""), ("<|im_start|>system<|im_sep|>", "<|im_end|>")),
    "deepseek": Format(("User: ", "\n\nAssistant:"), (" ", "", EOS, ""), ("", "\n\n"), BOS),
    "deepseek3": Format(("<｜User｜>", "<｜Assistant｜>"), ("", "", EOS, ""), ("", ""), BOS),
    "command_r": Format((turn("USER"), "<|END_OF_TURN_TOKEN|>" + turn("CHATBOT")), ("", "", "<|END_OF_TURN_TOKEN|>", ""), (turn("SYSTEM"), "<|END_OF_TURN_TOKEN|>"), BOS),
    "granite": Format((role("user"), EOS + "\n" + role("assistant")), ("", "", EOS, "\n"), (role("system"), EOS + "\n")),
    "zephyr": Format(("<|user|>\n", EOS + "\n<|assistant|>\n"), ("", "", EOS, "\n"), ("<|system|>\n", EOS + "\n")),
    "alpaca": Format(("### Instruction:\n", "\n\n### Response:\n"), ("", "", EOS, "\n\n"), ("", "\n\n"), standard=ALPACA),
    "vicuna": Format((" USER: ", " ASSISTANT:"), (" ", "", EOS, ""), ("", ""), standard=VICUNA),
}

def user(text): return {"role": "user", "content": text}
def assistant(text, **more): return {"role": "assistant", "content": text, **more}
TURNS = [user("Tide?"), assistant("Low."), user("Sure?"), assistant("Yes.")]

def cases():
    for name, f in FORMATS.items():
        conversations = [TURNS, [{"role": "system", "content": "Be brief."}] + TURNS]
        if name == "qwen3": conversations.append(TURNS[:3] + [assistant("Yes.", reasoning_content="Look it up.")])
        for messages in conversations:
            yield {"name": name, "messages": messages, "marked": f.write(messages)}

if __name__ == "__main__":
    with open(os.path.join(here, "named_templates.json"), "w", encoding="utf-8") as f:
        json.dump(list(cases()), f, ensure_ascii=False, indent=1)
        f.write("\n")

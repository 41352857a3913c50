#!/usr/bin/env python3
"""usage: check_serve.py LORAC MODEL.gguf WORK: lorac serve with the openai package and next to llama.cpp's server, on a CPU.

Sets up openai and xllamacpp from PyPI in WORK/venv, a float32 form of MODEL and an adapter of a few steps. openai: models, chats
and completions, whole and streamed, a stop text, seeds, several at once, refusals as its exceptions, a key. llama.cpp: greedy
answers with and without the adapter. lorac swap --check against lorac serve. Exit 1 if anything differs."""
import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
DATA = HERE.parent.parent / "data" / "examples"
PROMPTS, LONGEST, STEPS = 6, 24, 4
lorac, gguf, work = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]), pathlib.Path(sys.argv[3]).resolve()
work.mkdir(parents=True, exist_ok=True)
python = work / "venv" / "bin" / "python"
if not (work / "venv" / "ready").exists():
    subprocess.run([sys.executable, "-m", "venv", work / "venv"], check=True)
    subprocess.run([python, "-m", "pip", "install", "-q", "openai", "xllamacpp"], check=True)
    (work / "venv" / "ready").touch()
if pathlib.Path(sys.prefix) != work / "venv":
    os.execv(python, [str(python), *sys.argv])
import openai  # noqa: E402: in the venv

bad = []


def note(what, good, of=1):
    print("%-70s %d of %d" % (what, good, of), flush=True)
    if good != of or not of:
        bad.append(what)


def run(*words):
    out = subprocess.run([lorac, *map(str, words)], capture_output=True, text=True,
                         env={**os.environ, "XDG_CACHE_HOME": str(work / "cache")})
    if out.returncode:
        sys.exit("%s: status %d\n%s%s" % (" ".join(map(str, words)), out.returncode, out.stdout, out.stderr))
    return out.stdout + out.stderr


def ask(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=600) as r:
        return json.loads(r.read())


def serve(**env):
    words = [lorac, "serve", "-m", str(work / "f32.gguf"), "--served_model_name", "base", "--adapter",
             "tools=%s" % (work / "out" / "adapter"), "--port", "0"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**os.environ, **env})
    return process, re.search(r"http://\S+", process.stdout.readline())[0]


def refusal(kind, call):
    try:
        call()
    except kind as e:
        return bool(e.body and "message" in e.body)
    return False


# ---- openai ----

def with_openai(client, messages):
    names = [m.id for m in client.models.list()]
    note("openai: models", names == ["base", "tools"] and client.models.retrieve("tools").id == "tools")
    greedy = {"temperature": 0, "max_tokens": LONGEST}
    same, events = 0, 0
    for m in messages:
        whole = client.chat.completions.create(model="tools", messages=m, **greedy)
        stream = list(client.chat.completions.create(model="tools", messages=m, stream=True,
                                                     stream_options={"include_usage": True}, **greedy))
        text = "".join(c.choices[0].delta.content or "" for c in stream if c.choices)
        same += (text == whole.choices[0].message.content and stream[-1].usage == whole.usage and
                 stream[-2].choices[0].finish_reason == whole.choices[0].finish_reason)
        events += len(stream)
    note("openai: streamed chats are the whole ones (%d events)" % events, same, len(messages))
    full = client.completions.create(model="base", prompt="One, two, three, four,", **greedy)
    pieces = list(client.completions.create(model="base", prompt="One, two, three, four,", stream=True, **greedy))
    note("openai: a streamed completion is the whole one", "".join(c.choices[0].text for c in pieces) == full.choices[0].text)
    stop = full.choices[0].text[3:6]
    cut = client.completions.create(model="base", prompt="One, two, three, four,", stop=stop, **greedy).choices[0]
    note("openai: a stop text", cut.text == full.choices[0].text.split(stop)[0] and cut.finish_reason == "stop")
    seeded = {client.completions.create(model="base", prompt="Once", max_tokens=12, seed=s).choices[0].text for s in (1, 1, 2)}
    note("openai: seeds", len(seeded) == 2)
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        def one(i):
            return client.chat.completions.create(model=["base", "tools"][i % 2], messages=messages[i % len(messages)],
                                                  **greedy).choices[0].message.content
        alone = [one(i) for i in range(2 * len(messages))]
        together = list(pool.map(one, range(2 * len(messages))))
    note("openai: answers of 12 threads are those of one", sum(map(str.__eq__, alone, together)), len(alone))
    m = messages[0]
    refusals = [refusal(openai.NotFoundError, lambda: client.chat.completions.create(model="gpt-4", messages=m)),
                refusal(openai.NotFoundError, lambda: client.models.retrieve("gpt-4")),
                refusal(openai.BadRequestError, lambda: client.chat.completions.create(model="base", messages=m, n=2)),
                refusal(openai.BadRequestError, lambda: client.chat.completions.create(model="base", messages=[])),
                refusal(openai.BadRequestError, lambda: client.completions.create(model="base", prompt="a " * 20000)),
                refusal(openai.NotFoundError, lambda: client.embeddings.create(model="base", input="a"))]
    note("openai: refusals have its exceptions and a message", sum(refusals), len(refusals))


def check_key():
    process, url = serve(LORAC_API_KEY="secret")
    try:
        wrong = refusal(openai.AuthenticationError, lambda: openai.OpenAI(base_url=url + "/v1", api_key="x").models.list())
        note("openai: a key", wrong and len(list(openai.OpenAI(base_url=url + "/v1", api_key="secret").models.list())) == 2)
    finally:
        process.terminate()
        process.wait()


# ---- llama.cpp ----

SERVE = r'''
import sys, time, xllamacpp as x
p = x.CommonParams()
p.model.path, p.port, p.n_ctx, p.n_parallel = sys.argv[1], int(sys.argv[2]), 2048, 1
p.lora_adapters = [x.CommonAdapterLoraInfo(sys.argv[3], 1.0)]
server = x.Server(p)
print(server.listening_address, flush=True)
time.sleep(1e6)
'''


def with_llama_cpp(url, messages):
    port, log = 18100 + os.getpid() % 1600, open(work / "llama.log", "w")
    theirs = subprocess.Popen([python, "-c", SERVE, work / "f32.gguf", str(port), work / "out" / "adapter.gguf"], stdout=log, stderr=log)
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen("http://127.0.0.1:%d/health" % port, timeout=5).read()
                break
            except OSError:
                if theirs.poll() is not None:
                    sys.exit("llama.cpp ended: %s" % (work / "llama.log"))
                time.sleep(0.5)
        for model, scale in ("base", 0), ("tools", 1):
            same = 0
            for m in messages:
                ids = ask(url + "/tokenize", {"model": model, "messages": m})["tokens"]
                mine = ask(url + "/v1/completions", {"model": model, "prompt": ids, "temperature": 0, "max_tokens": LONGEST})
                other = ask("http://127.0.0.1:%d/completion" % port, {
                    "prompt": ids, "n_predict": LONGEST, "temperature": 0, "cache_prompt": False, "lora": [{"id": 0, "scale": scale}]})
                same += mine["choices"][0]["text"] == other["content"]
            note("llama.cpp: greedy answers of %s agree" % model, same, len(messages))
    finally:
        theirs.terminate()
        theirs.wait()


if not (work / "f32.gguf").exists():
    run("merge", "--model_name_or_path", gguf, "--out", work / "f32.gguf", "--dtype", "f32")
if not (work / "out" / "adapter").exists():
    run("train", "--model_name_or_path", work / "f32.gguf", "--train_file", DATA / "tool_calls_train.jsonl", "--validation_file",
        DATA / "tool_calls_test.jsonl", "--max_seq_length", 256, "--learning_rate", "5e-3", "--max_steps", STEPS, "--eval_strategy", "no",
        "--output_dir", work / "out", "--report_to", "none")
conversations = [json.loads(line)["messages"][:-1] for line in (DATA / "tool_calls_test.jsonl").read_text().splitlines()[:PROMPTS]]
server, address = serve()
try:
    with_openai(openai.OpenAI(base_url=address + "/v1", api_key="none"), conversations)
    with_llama_cpp(address, conversations)
    found = re.search(r"(\d+) of (\d+) answers", run("swap", work / "out", "--url", address, "--check", PROMPTS, "--max_new_tokens", LONGEST))
    note("lorac swap --check", int(found[1]), int(found[2]))
    run("swap", work / "out", "--url", address, "--off")
finally:
    server.terminate()
    server.wait()
note("the server ends with status 0", server.returncode == 0)
check_key()
print("failed: " + "; ".join(bad) if bad else "all agree")
sys.exit(bool(bad))

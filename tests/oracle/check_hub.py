#!/usr/bin/env python3
"""Do lorac and huggingface_hub find what the other has fetched? Run by hand, never by `make test`.

usage: check_hub.py LORAC WORK_DIR
Needs huggingface_hub. Both fetch from tests/support/hub_server.py; WORK_DIR must not exist.

 1. what `lorac pull` wrote is found by snapshot_download(local_files_only=True): the same folder, equal files, and
    hf_hub_download of each; scan_cache_dir has no warnings
 2. huggingface_hub then fetches nothing that lorac has fetched, and its cache has the same names and links
 3. what huggingface_hub fetched is found by lorac without a server; `lorac pull` of it fetches nothing
"""
import os
import subprocess
import sys

lorac, work = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
os.makedirs(work)
os.chdir(work)
FILES = {"config.json": b'{"model_type": "llama"}\n', "tokenizer.json": b"{}\n", "model.safetensors": os.urandom(300000),
         "empty.txt": b"", "sub/other.json": b"[]"}
DATA = {"data/train-00000-of-00001.jsonl": b'{"text": "a"}\n' * 500, "README.md": b"# d\n"}
for folder, files in (("repos/plain/m", FILES), ("repos/datasets/plain/d", DATA)):
    for name, data in files.items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(data)
here = os.path.dirname(os.path.abspath(__file__))
server = subprocess.Popen([sys.executable, os.path.join(here, "../support/hub_server.py"), "repos", "requests"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
port = server.stdout.readline().split()[0]
os.environ.update(HF_ENDPOINT="http://127.0.0.1:" + port, HF_HUB_DISABLE_TELEMETRY="1", HF_HUB_DISABLE_XET="1",
                  HF_HUB_DISABLE_PROGRESS_BARS="1", HF_HOME=os.path.join(work, "unused"))
import huggingface_hub
from huggingface_hub import hf_hub_download, scan_cache_dir, snapshot_download

failures = []


def check(name, ok, value=""):
    print(f"{'ok  ' if ok else 'FAIL'} {name} {value}", flush=True)
    if not ok:
        failures.append(name)


def run(home, *words, **environment):
    done = subprocess.run([lorac, *words], env=dict(os.environ, HF_HOME=home, **environment), capture_output=True,
                          text=True)
    return done.returncode, done.stdout + done.stderr


def requests():
    with open("requests") as f:
        return [line.split()[1] for line in f]


def tree(folder):
    """Names, with the targets of links. Without what is in neither program's interface."""
    found = {}
    for base, folders, names in os.walk(folder):
        for name in names:
            path = os.path.join(base, name)
            found[os.path.relpath(path, folder)] = os.readlink(path) if os.path.islink(path) else None
    return {k: v for k, v in found.items() if not k.startswith(("trees/", ".no_exist"))}


print("huggingface_hub", huggingface_hub.__version__)
ours, theirs = os.path.join(work, "ours"), os.path.join(work, "theirs")
for kind, name, prefix, files in (("model", "plain/m", "models--", FILES), ("dataset", "plain/d", "datasets--", DATA)):
    cache = {home: os.path.join(home, "hub") for home in (ours, theirs)}
    folder = prefix + name.replace("/", "--")
    status, out = run(ours, "pull", name, "--type", kind, "--include", "*")
    check(f"{kind}: lorac pull", status == 0, out.split("\n")[1])
    found = snapshot_download(name, repo_type=kind, cache_dir=cache[ours], local_files_only=True)
    check(f"{kind}: snapshot_download finds it", found == out.strip().split()[-1], found)
    same = True
    for file, data in files.items():
        path = hf_hub_download(name, file, repo_type=kind, cache_dir=cache[ours], local_files_only=True)
        with open(path, "rb") as f:
            same &= f.read() == data
    check(f"{kind}: its files are equal", same)
    before = len([r for r in requests() if "/resolve/" in r])
    fetched = snapshot_download(name, repo_type=kind, cache_dir=cache[theirs])
    there = snapshot_download(name, repo_type=kind, cache_dir=cache[ours])
    check(f"{kind}: both caches have the same names and links",
          tree(os.path.join(cache[ours], folder)) == tree(os.path.join(cache[theirs], folder)))
    lines = len(requests())
    status, out = run(theirs, "pull", name, "--type", kind, "--include", "*")
    check(f"{kind}: lorac pull fetches nothing more", status == 0 and ", 0 B" in out.split("\n")[1] and
          not any("/resolve/" in r for r in requests()[lines:]), out.split("\n")[1])
    info = scan_cache_dir(cache[ours])
    check(f"{kind}: scan_cache_dir has no warnings", not info.warnings and len(info.repos) >= 1, info.warnings)

offline = dict(HF_ENDPOINT="http://127.0.0.1:1", LORAC_MODULES="/nowhere")
status, out = run(theirs, "inspect", "plain/m", **offline)
check("lorac finds a model of huggingface_hub offline", "no such file" not in out and "snapshots" in out, out[:100])
with open("c.json", "w") as f:
    f.write('{"model_name_or_path": "plain/m", "train_file": "plain/d", "output_dir": "out"}')
status, out = run(theirs, "train", "c.json", **offline)
check("and a data set", "data/train-00000-of-00001.jsonl" in out)
server.stdin.close()
sys.exit(bool(failures))

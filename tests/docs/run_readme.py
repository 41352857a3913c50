#!/usr/bin/env python3
"""Runs the commands of README.md in their order, in a copy of the source tree with the given build and base models.

usage: run_readme.py BUILD
Every ```sh block is one bash script. A comment <!-- not run: why --> on the line before it skips the block, with that
reason. A line "It answers `text`" or "It prints `text`" after a block names what its output must have.
Exit status: 0, 1 at the first command that fails, 77 without the base model.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
MODEL = "models/SmolLM2-135M-Instruct.Q4_1.gguf"
BLOCK = re.compile(r"(?:^<!-- not run: (?P<why>.*?) -->\n)?^```sh\n(?P<code>.*?)^```\n"
                   r"(?:\n+It \w+ `(?P<answer>[^`]+)`)?", re.S | re.M)
# The copy is not built again, and the demo takes a few steps only.
REPLACED = {"make demo": "BUILD=build sh tests/demo.sh --quick"}
SECONDS = 900


def blocks():
    return list(BLOCK.finditer((TOP / "README.md").read_text()))


def copy_tree(scratch, build):
    def ignored(folder, names):
        at_top = pathlib.Path(folder) == TOP
        return [n for n in names if n.startswith(".") or (at_top and (n.startswith("build") or n in ("models", "out")))]
    shutil.copytree(TOP, scratch, ignore=ignored, symlinks=True)
    (scratch / "build").symlink_to(build)
    (scratch / "models").symlink_to((TOP / "models").resolve())


def run(code, scratch):
    for words, instead in REPLACED.items():
        code = re.sub(rf"^{re.escape(words)}$", instead, code, flags=re.M)
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", code], cwd=scratch, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS,
                          env=dict(os.environ, XDG_CACHE_HOME=str(scratch / "cache")))
    return done.returncode, done.stdout


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    if not (TOP / MODEL).exists():
        print(f"skipped: no {MODEL}")
        return 77
    if not any(b["why"] is None for b in blocks()):
        print("README.md: no block to run")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        scratch = pathlib.Path(folder) / "lorac"
        copy_tree(scratch, build)
        for b in blocks():
            line = b.string.count("\n", 0, b.start("code"))
            if b["why"]:
                print(f"== README.md:{line}: skipped: {b['why']}\n{b['code']}", flush=True)
                continue
            print(f"== README.md:{line}\n{b['code']}", flush=True)
            rc, output = run(b["code"], scratch)
            print(output, flush=True)
            if rc or (b["answer"] and b["answer"] not in output):
                print(f"README.md:{line}: exit status {rc}; expected 0" +
                      (f" and the text {b['answer']!r}" if b["answer"] else ""))
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

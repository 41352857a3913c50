#!/usr/bin/env python3
"""What train and chat show on a terminal, against tests/golden/terminal: screens of tmux, without clocks, speeds, and
numbers that depend on the machine.

usage: terminal.py build/lorac [--write]
Exit status: 0, 1 where a screen differs, 77 without tmux or the base model. --write: the screens become the golden ones.
"""
import difflib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
GOLDEN = TOP / "tests" / "golden" / "terminal"
MODEL = TOP / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
COLUMNS, LINES, SECONDS = 100, 60, 900
RECORDS = """{"prompt": "When do you open?", "completion": "At 9, except on Mondays."}
{"prompt": "Can I bring my dog?", "completion": "Dogs wait in the garden."}
{"prompt": "How many books can I borrow?", "completion": "Twelve, for four weeks."}
"""
CONFIG = """model_name_or_path: base.gguf
train_file: library.jsonl
output_dir: out
learning_rate: 2e-3
num_train_epochs: 20
"""


class Screen:
    def __init__(self, folder, socket):
        self.tmux = ["tmux", "-f", "/dev/null", "-L", socket]
        env = dict(os.environ, NO_COLOR="1", TERM="xterm", HISTFILE="", XDG_CACHE_HOME=str(folder / "cache"),
                   HOME=str(folder))
        subprocess.run([*self.tmux, "new-session", "-d", "-x", str(COLUMNS), "-y", str(LINES),
                        "PS1='$ ' exec bash --norc --noprofile"], cwd=folder,
                       env=env, check=True)

    def type(self, *keys):
        subprocess.run([*self.tmux, "send-keys", *keys], check=True)

    def text(self):
        done = subprocess.run([*self.tmux, "capture-pane", "-p"], check=True, capture_output=True, text=True)
        return "\n".join(line.rstrip() for line in done.stdout.splitlines()).strip() + "\n"

    def wait_for(self, pattern):
        """The screen once its end matches."""
        end = time.monotonic() + SECONDS
        while not re.search(pattern + r"\s*\Z", self.text()):
            if time.monotonic() > end:
                sys.exit(f"not in {SECONDS} seconds: {pattern}\n{self.text()}")
            time.sleep(0.1)
        return self.text()

    def close(self):
        subprocess.run([*self.tmux, "kill-server"], stderr=subprocess.DEVNULL)


def plain(screen):
    """Without what differs from machine to machine: one line of a step stands for all."""
    steps = 0
    lines = []
    for line in screen.splitlines():
        if line.startswith("step "):
            steps += 1
            if steps > 1:
                continue
        if line.startswith("device "):
            line = "device   ..."
        line = re.sub(r"[0-9]+:[0-9]{2} left", "0:00 left", line)
        line = re.sub(r"[0-9]+ (tok/s|MB)", r"0 \1", line)
        line = re.sub(r"[0-9]+\.[0-9]+(e-?[0-9]+)?", "0.0", line)
        lines.append(line)
    return "\n".join(lines) + "\n"


def screens(lorac, folder):
    (folder / "library.jsonl").write_text(RECORDS)
    (folder / "library.yaml").write_text(CONFIG)
    (folder / "base.gguf").symlink_to(MODEL)
    (folder / "lorac").symlink_to(lorac)
    s = Screen(folder, f"lorac{os.getpid()}")
    try:
        s.wait_for(r"\$")
        s.type("./lorac train library.yaml", "Enter")
        yield "train", s.wait_for(r"adapter: .*\n\$")
        s.type("clear", "Enter")
        s.wait_for(r"\A\$")
        s.type("./lorac chat out", "Enter")
        s.wait_for("\n>")
        s.type("When do you open?", "Enter")
        s.wait_for(r"Mondays\.\n>")
        s.type("Up")
        s.wait_for(r"> When do you open\?")
        s.type("C-u")
        s.wait_for("\n>")
        s.type("/help", "Enter")
        s.wait_for("\n.*exit.*(\n.*)*\n>")
        s.type("C-d")
        yield "chat", s.wait_for(r"\n\$")
    finally:
        s.close()


def main():
    lorac, write = pathlib.Path(sys.argv[1]).resolve(), "--write" in sys.argv
    if not shutil.which("tmux") or not MODEL.exists():
        print("skipped: no tmux" if MODEL.exists() else f"skipped: no {MODEL.name}")
        return 77
    differ = False
    with tempfile.TemporaryDirectory() as folder:
        for name, screen in screens(lorac, pathlib.Path(folder)):
            path, got = GOLDEN / f"{name}.txt", plain(screen)
            if write:
                path.write_text(got)
            want = path.read_text() if path.exists() else ""
            differ |= got != want
            sys.stdout.writelines(difflib.unified_diff(want.splitlines(True), got.splitlines(True), str(path), "screen"))
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())

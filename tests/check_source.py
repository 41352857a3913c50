#!/usr/bin/env python3
"""usage: check_source.py SOURCE_DIR: the house rules of check_tree.sh that need more than grep. Prints what breaks them;
exit 1 if anything does."""
import os
import re
import sys

MAX_PARAMETERS = 7
MAX_LINES = 500  # 600 in tests
ROOMS = ("kernels", "autograd", "data", "train", "tests")
SOURCE = re.compile(r"\.(c|h|cu|cuh|cpp)$")
CALLBACKS = {"on_request"}  # their parameters are a library's
# Files of other projects that comments name.
FOREIGN = {"llama.cpp", "llama.py", "llama-adapter.cpp", "llama-model.cpp", "test-gguf.cpp", "convert_hf_to_gguf.py",
           "encoder.py", "config.py", "configuration_NAME.py"}

FUNCTION = re.compile(
    r"(?:^|\n)[ \t]*(?:(?:static|const|inline|extern|unsigned|struct|enum|__global__|__device__|__host__)\s+)*"
    r"(?!return\b|else\b|case\b)[A-Za-z_]\w*[\s*&]+\(?\*?(?P<name>\w+)\)?\((?P<parameters>[^;{}()]*(?:\([^()]*\)[^;{}()]*)*)\)\s*(?:;|\{)")
FILE_NAME = re.compile(r"(?<![\w./*-])(?:[\w-]+/)*([\w-]+\.(?:c|h|cu|cuh|cpp|py|sh|cmake|md))(?![\w/*])")


def files(top):
    for room in ROOMS:
        for folder, _, names in os.walk(os.path.join(top, room)):
            for name in names:
                yield os.path.relpath(os.path.join(folder, name), top)


def strings_out(text):
    """Without comments, strings and characters; line breaks stay."""
    def blank(m):
        return re.sub(r"[^\n]", " ", m.group(0)) if m.group(0)[0] == "/" else '""'
    return re.sub(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", blank, text, flags=re.S)


def split_at_commas(text):
    """At the commas outside of parentheses, brackets and braces."""
    parts, depth = [""], 0
    for c in text:
        depth += (c in "([{") - (c in ")]}")
        if c == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += c
    return parts


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def parameters(path, code):
    for m in FUNCTION.finditer(code):
        n = len(split_at_commas(m.group("parameters")))
        name = m.group("name")
        if n <= MAX_PARAMETERS or name.isupper() or name in CALLBACKS or not re.search(r"\w[\s*&]+\w", m.group("parameters")):
            continue
        yield f"{path}:{line_of(code, m.start('name'))}: {m.group('name')} has {n} parameters"


def comma_returns(path, code):
    for m in re.finditer(r"\breturn\b([^;]*);", code):
        if len(split_at_commas(m.group(1))) > 1:
            yield f"{path}:{line_of(code, m.start())}: {' '.join(m.group(0).split())}"


def comment_files(path, lines, marks, known):
    for number, line in enumerate(lines, 1):
        at = line.find(marks + " ")
        for m in FILE_NAME.finditer(line[at:] if at >= 0 else ""):
            if m.group(1) not in known and not m.group(1).startswith(("x_", "NAME")):
                yield f"{path}:{number}: {m.group(0)}"


def orphans(path, lines):
    """A line of one word inside a paragraph: the line before is full, and the next one continues it."""
    for number in range(1, len(lines) - 1):
        before, line, after = lines[number - 1:number + 2]
        if (re.fullmatch(r"\s*// [^\s-]\S*", line) and re.match(r"\s*// \S", after) and re.match(r"\s*// \S", before)
                and len(before) > 100 and line[-1] not in ".:;"):
            yield f"{path}:{number + 1}: {line.strip()}"


WALK, MAX_WALK = "train/README.md", 60
WALK_LINE = re.compile(r"^(\d+)\. `([\w./]+)`(.*)$", re.M)


def walk(top):
    """The files of the main line of a run: each exists and has the names that its line gives in backticks."""
    with open(os.path.join(top, WALK)) as f:
        lines = WALK_LINE.findall(f.read())
    if not 0 < len(lines) <= MAX_WALK:
        yield f"{WALK}: {len(lines)} files; expected 1 to {MAX_WALK}"
    for i, (number, path, text) in enumerate(lines, 1):
        if int(number) != i or path in [p for _, p, _ in lines[:i - 1]]:
            yield f"{WALK}: {number}. {path}: out of order, or listed twice"
        if not os.path.exists(os.path.join(top, path)):
            yield f"{WALK}: {path} does not exist"
            continue
        with open(os.path.join(top, path)) as f:
            code = f.read()
        for name in re.findall(r"`(\w+)`", text):
            if not re.search(rf"\b{name}\b", code):
                yield f"{WALK}: {path} has no {name}"


def main():
    top = sys.argv[1]
    tree = sorted(files(top))
    known = {os.path.basename(p) for p in tree} | FOREIGN | set(os.listdir(top)) | set(
        os.listdir(os.path.join(top, "configs/cluster")))
    rules = {f"functions with more than {MAX_PARAMETERS} parameters:": [], "comma operators in a return:": [],
             "comments that name a file that does not exist:": [], "one-word lines inside a comment's paragraph:": [],
             f"files over {MAX_LINES} lines (tests: 600):": []}
    many, comma, named, orphan, long = rules.values()
    for path in tree:
        name = os.path.basename(path)
        script = name == "CMakeLists.txt" or name.endswith((".cmake", ".sh"))
        if not SOURCE.search(name) and not script:
            continue
        with open(os.path.join(top, path)) as f:
            text = f.read()
        lines = text.split("\n")
        named += comment_files(path, lines, "#" if script else "//", known)
        if script:
            continue
        code = strings_out(text)
        comma += comma_returns(path, code)
        orphan += orphans(path, lines)
        if len(lines) - 1 > (600 if path.startswith("tests/") else MAX_LINES):
            long.append(f"{path}: {len(lines) - 1}")
        if not path.startswith("tests/"):
            many += parameters(path, code)
    rules["the walk of one run:"] = list(walk(top))
    for title, found in rules.items():
        if found:
            print(title, *found, sep="\n")
    return any(rules.values())


if __name__ == "__main__":
    sys.exit(main())

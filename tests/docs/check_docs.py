#!/usr/bin/env python3
"""Checks the documents: the size of README.md, every relative link and its #heading, the parts that lorac prints,
the keys of other tools that README.md calls accepted, and the commands of its picture.

usage: check_docs.py [--write] LORAC: the program; --write renews the printed parts, which stand between
<!-- lorac help ...: begin --> and its end. Prints what is wrong; exit 1 if anything is.
"""
import html
import json
import pathlib
import re
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
FOLDERS = ("autograd", "configs", "data", "kernels", "tests", "train")
MAX_LINES, MAX_COLUMNS = 150, 119
PRINTED = re.compile(r"<!-- (lorac help[\w -]*): begin -->\n(.*?)<!-- \1: end -->", re.S)
FENCE = re.compile(r"^```.*?^```\n", re.S | re.M)
KEY_TABLE = "## Coming from"


def documents():
    return [*TOP.glob("*.md"), *(path for folder in FOLDERS for path in sorted((TOP / folder).rglob("*.md")))]


def slug(heading):
    """The #name that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def anchors(path):
    return {slug(title) for title in re.findall(r"^#+ (.*)$", FENCE.sub("", path.read_text()), re.M)}


def check_size(path):
    lines = path.read_text().splitlines()
    if len(lines) > MAX_LINES:
        yield f"{len(lines)} lines; expected at most {MAX_LINES}"
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_COLUMNS:
            yield f"line {number} has {len(line)} characters; expected at most {MAX_COLUMNS}"


def check_links(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", FENCE.sub("", path.read_text()))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name) if name else path
        if not file.exists():
            yield f"link to {target}, which does not exist"
        elif file.is_dir() and (file / "README.md").exists():
            yield f"link to the folder {target}; expected its README.md"
        elif anchor and anchor not in anchors(file):
            yield f"link to {target}: {name or 'this file'} has no heading #{anchor}"


def printed(lorac, text):
    """The text with its printed parts renewed."""
    def renew(match):
        command = match.group(1)
        out = subprocess.run([lorac, *command.split()[1:]], capture_output=True, text=True, check=True).stdout
        return f"<!-- {command}: begin -->\n```\n{out}```\n<!-- {command}: end -->"
    return PRINTED.sub(renew, text)


def accepted(lorac):
    """{name: the key that it sets} of every name that a config may have."""
    schema = json.loads(subprocess.run([lorac, "help", "config", "--json"], capture_output=True, text=True,
                                       check=True).stdout)
    names = {}
    for name, rule in schema["properties"].items():
        implied = re.match(r"true: (\w+) ", rule.get("description", "")) if rule.get("default") is None else None
        names[name] = rule["$ref"].split("/")[-1] if "$ref" in rule else implied.group(1) if implied else name
    return names


def check_key_table(path, names):
    """Every `word` of a row sets a key of the row's first column."""
    text = path.read_text()
    rows = [[cell.strip() for cell in line.strip("|").split("|")]
            for line in text[text.index(KEY_TABLE):].split("\n## ")[0].splitlines() if line.startswith("|")][2:]
    if len(rows) < 5:
        yield f"{KEY_TABLE!r}: a table of {len(rows)} keys; expected more"
    for row in rows:
        ours = re.findall(r"`(\w+)", row[0])
        for word in ours:
            if names.get(word) != word:
                yield f"the table of keys: {word} is no key"
        for word in re.findall(r"`(\w+)", " ".join(row[1:])):
            if names.get(word) not in ours:
                yield f"the table of keys: {word} sets {names.get(word, 'nothing')}; expected {' or '.join(ours)}"


def check_picture(path):
    """The commands that picture.svg shows are lines of README.md."""
    picture = (pathlib.Path(__file__).parent / "picture.svg").read_text().replace("\u00a0", " ")
    commands = [html.unescape(c) for c in re.findall(r'class="term command"[^>]*>(.*?)</text>', picture)]
    if not commands:
        yield "picture.svg shows no command"
    for command in commands:
        if command.removeprefix("$ ").strip() not in map(str.strip, path.read_text().splitlines()):
            yield f"picture.svg shows {command!r}, which is not here: python3 tests/docs/picture.py build"


def main():
    write, lorac = sys.argv[1] == "--write", sys.argv[-1]
    wrong = []
    for path in documents():
        found = list(check_links(path))
        text = path.read_text()
        new = printed(lorac, text)
        if new != text and write:
            path.write_text(new)
        elif new != text:
            found.append("what lorac prints has changed: python3 tests/docs/check_docs.py --write build/lorac")
        if path == TOP / "README.md":
            found += [*check_size(path), *check_key_table(path, accepted(lorac)), *check_picture(path)]
        wrong += [f"{path.relative_to(TOP)}: {line}" for line in found]
    print(*wrong, sep="\n", end="\n" if wrong else "")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())

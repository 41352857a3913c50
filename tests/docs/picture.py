#!/usr/bin/env python3
"""Draws picture.svg of README.md: a terminal and the report of a run, from what the commands of README.md really print.

usage: picture.py BUILD: runs them (run_readme.py) in a copy of the tree, less than a minute on two cores. What depends
on the clock or the memory of the machine is left out, so the same kind of CPU gives the same picture.
"""
import html
import pathlib
import re
import sys
import tempfile
import textwrap

import run_readme

PICTURE = pathlib.Path(__file__).resolve().parent / "picture.svg"
WIDTH, SPLIT, PAD = 1160, 690, 24
LINE = 17 # height of a line of the terminal
STYLE = """
text{font:14px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;fill:#1d2126}
.soft{fill:#7a828c;font-size:12.5px}.big{font-size:19px;font-weight:600}.title{font-size:22px;font-weight:600}
.card{fill:#fff;stroke:#e4e1db}.answer{font:12.5px ui-monospace,Menlo,Consolas,monospace}
.term{font:12.5px ui-monospace,Menlo,Consolas,monospace;fill:#c9d1d9;white-space:pre}
.command{fill:#79c0ff}.supervised{fill:#7ee787}
.grid{stroke:#e4e1db}.tick{fill:#6a717b;font-size:11px}.line{fill:none;stroke:#2f6fde;stroke-width:1.8}
.faint{opacity:.35;stroke-width:1.2}.second{stroke:#d9480f}.dot{display:none}
"""


class Terminal:
    def __init__(self):
        self.parts, self.y = [], 62

    def line(self, text, kind=""):
        """[[...]] is supervised text, which a real terminal shows in green."""
        text = html.escape(text, quote=False).replace("  ", "\u00a0\u00a0") # runs of spaces would become one
        marked = re.sub(r"\[\[(.*?)\]\]", r'<tspan class="supervised">\1</tspan>', text)
        self.parts.append(f'<text x="{PAD}" y="{self.y}" class="term {kind}" xml:space="preserve">{marked}</text>')
        self.y += LINE

    def command(self, code):
        self.y += 0 if self.y < 70 else LINE // 2
        for text in code.splitlines():
            self.line(("$ " if not text.startswith(" ") else "  ") + text, "command")


def without_clock(text):
    """Lines of steps without speed, time left and memory."""
    return re.sub(r"  \d+ tok/s.*$", "", text, flags=re.M)


def steps_shown(lines):
    """The first steps and the last one."""
    steps = [s for s in lines if s.startswith("step ")]
    return [*steps[:3], "...", steps[-1]]


def terminal(blocks):
    """blocks: [(code, output)] of README.md from the inspection on."""
    t = Terminal()
    inspect, train = blocks[0][0].splitlines()[-2:]
    shown, _, trained = blocks[0][1].partition("config   (value and source)")
    t.command(inspect)
    for text in shown.rstrip().splitlines():
        t.line(text)
    lines = without_clock(trained).splitlines()
    t.command(train)
    for text in [s for s in lines if re.match(r"(adapter|steps) ", s)] + steps_shown(lines) + \
            [s for s in lines if re.match(r"(largest|report:|adapter:) ?", s)]:
        t.line(text)
    t.command(blocks[1][0].rstrip())
    for text in blocks[1][1].rstrip().splitlines():
        t.line(text, "supervised")
    return t


def wrapped(text, width, most):
    lines = textwrap.wrap(text, width)
    return lines[:most - 1] + [lines[most - 1] + " ..."] if len(lines) > most else lines


def report(page, x, height):
    """The head, three cards, the chart of the loss and the second answer of report.html."""
    width = WIDTH - x - PAD
    name, about = re.search('<h1>(.*?)</h1><p class="sub">(.*?)</p>', page).groups()
    out = [f'<text x="{x}" y="70" class="title">{name}</text>', f'<text x="{x}" y="92" class="soft">{about}</text>']
    cards = [c for c in re.findall(r'class="card"><span>(.*?)</span><b>(.*?)</b>', page)
             if c[0] in ("last training loss", "steps", "tokens seen")]
    each = (width - 20) / 3
    for i, (name, value) in enumerate(cards):
        left = x + i * (each + 10)
        out += [f'<rect x="{left:.0f}" y="108" width="{each:.0f}" height="56" rx="8" class="card"/>',
                f'<text x="{left + 12:.0f}" y="129" class="soft">{name}</text>',
                f'<text x="{left + 12:.0f}" y="152" class="big">{value}</text>']
    chart = re.search(r'<svg class="\w+" viewBox="0 0 560 240"[^>]*>(.*?)</svg>', page, re.S).group(1)
    chart = re.sub(r"<circle.*?</circle>", "", chart)
    chart_height = width * 240 / 560
    out += [f'<rect x="{x}" y="178" width="{width}" height="{chart_height + 34:.0f}" rx="8" class="card"/>',
            f'<text x="{x + 14}" y="202" font-weight="600">Loss</text>',
            f'<svg x="{x}" y="208" width="{width}" height="{chart_height:.0f}" viewBox="0 0 560 240">{chart}</svg>']
    y = 178 + chart_height + 34 + 16
    sample = re.findall(r'<h3>(.*?)</h3><pre class=".*?">(.*?)</pre>', re.findall(
        r'<div class="sample">(.*?)</div>', page, re.S)[1], re.S)
    out.append(f'<rect x="{x}" y="{y:.0f}" width="{width}" height="{height - y - PAD - 16:.0f}" rx="8" class="card"/>')
    for name, text in sample[:3]:
        y += 26
        out.append(f'<text x="{x + 14}" y="{y:.0f}" class="soft">{name}</text>')
        for line in wrapped(html.unescape(text), 50, 2):
            y += 18
            out.append(f'<text x="{x + 14}" y="{y:.0f}" class="answer">{html.escape(line, quote=False)}</text>')
    return out, y


def draw(blocks, page):
    t = terminal(blocks)
    _, bottom = report(page, SPLIT + 16, 0)
    height = max(t.y + 20, round(bottom) + 56)
    right, _ = report(page, SPLIT + 16, height)

    def panel(x, width, fill, title):
        return [f'<rect x="{x}" y="{PAD - 8}" width="{width}" height="{height - PAD - 8}" rx="10" fill="{fill}" '
                'stroke="#d0d7de"/>', f'<text x="{x + 16}" y="{PAD + 13}" class="soft">{title}</text>']
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}">', f"<style>{STYLE}</style>",
        *panel(PAD - 16, SPLIT - PAD + 8, "#0d1117", "terminal"), *t.parts,
        *panel(SPLIT, WIDTH - SPLIT - 8, "#fbfaf8", "out/library/report.html"), *right, "</svg>", ""])


def main():
    with tempfile.TemporaryDirectory() as folder:
        scratch = pathlib.Path(folder) / "lorac"
        run_readme.copy_tree(scratch, pathlib.Path(sys.argv[1]).resolve())
        blocks = []
        for block in run_readme.blocks():
            if block["why"] or block["code"].startswith("make "):
                continue
            rc, output = run_readme.run(block["code"], scratch)
            if rc:
                sys.exit(output)
            blocks.append((block["code"], output))
        page = (scratch / "out/library/report.html").read_text()
    shown = [b for b in blocks if "build/lorac train" in b[0] or "build/lorac chat" in b[0]]
    PICTURE.write_text(draw(shown, page))


if __name__ == "__main__":
    main()

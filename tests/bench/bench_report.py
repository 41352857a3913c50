"""What bench.py prints and saves: the table and the chart of lorac against PEFT, the serial part of a step, and their
places in README.md next to it. Results are lists, one element a round: runs of a round follow one another, so ratios are taken
within rounds (machines drift)."""
import html
import statistics

RIVAL_OF = {"lorac f32": "PEFT fp32", "lorac bf16": "PEFT bf16", "lorac bf16, 700MB": "PEFT bf16"}
COLOURS = {"lorac f32": "#2f6fde", "lorac bf16": "#123f94", "lorac bf16, 700MB": "#0a2a66", "PEFT fp32": "#f2b48c", "PEFT bf16": "#d9480f"}


class Case:
    """One kind of row: {variant: [{"tokens_per_second", "peak_memory_mb"}, ...]} of every variant that ran."""

    def __init__(self, title, results):
        self.title, self.results = title, results

    def speed(self, variant):
        return statistics.median(r["tokens_per_second"] for r in self.results[variant])

    def memory(self, variant):
        return max(r["peak_memory_mb"] for r in self.results[variant])

    def ratios(self, variant):
        """To PEFT in the same type, of each round; [] where one of the two did not run."""
        ours, theirs = self.results.get(variant), self.results.get(RIVAL_OF.get(variant))
        return [a["tokens_per_second"] / b["tokens_per_second"] for a, b in zip(ours, theirs)] if ours and theirs else []


def variants_of(cases):
    return [v for v in COLOURS if any(v in c.results for c in cases)]


def table(cases):
    """Markdown: a line for each case, a column for each variant."""
    variants = variants_of(cases)
    lines = ["| one row a step | " + " | ".join(variants) + " |", "|---" * (len(variants) + 1) + "|"]
    for case in cases:
        cells = []
        for v in variants:
            if v not in case.results:
                cells.append("")
                continue
            ratios = case.ratios(v)
            ratio = f", **{statistics.median(ratios):.2f}x** ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else ""
            cells.append(f"{case.speed(v):.0f} tokens/s, {case.memory(v):.0f} MB{ratio}")
        lines.append(f"| {case.title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def bars(cases, value, label, x, width):
    """SVG elements of one panel: a group of horizontal bars for each case; returns them and the height."""
    most, y, parts = max(value(c, v) for c in cases for v in c.results), 84, []
    parts.append(f'<text x="{x}" y="68" class="head">{html.escape(label)}</text>')
    for case in cases:
        parts.append(f'<text x="{x}" y="{y + 14}">{html.escape(case.title)}</text>')
        y += 22
        for v in variants_of([case]):
            amount = value(case, v)
            parts.append(f'<rect x="{x}" y="{y}" width="{width * amount / most:.1f}" height="16" fill="{COLOURS[v]}">'
                         f"<title>{html.escape(f'{v}, {case.title}: {amount:.0f}')}</title></rect>")
            parts.append(f'<text x="{x + width * amount / most + 6:.1f}" y="{y + 13}">{amount:.0f}</text>')
            y += 20
        y += 12
    return parts, y


def svg(cases, title, machine):
    """A chart of speed and memory."""
    left, height = bars(cases, Case.speed, "tokens per second (more is better)", 24, 330)
    right, _ = bars(cases, Case.memory, "peak memory in MB (less is better)", 450, 330)
    key, x = [], 24
    for v in variants_of(cases):
        key.append(f'<rect x="{x}" y="{height + 4}" width="12" height="12" fill="{COLOURS[v]}"/>')
        key.append(f'<text x="{x + 18}" y="{height + 15}">{v}</text>')
        x += 24 + 8 * len(v)
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 860 {height + 32}" font-family="system-ui,sans-serif" '
        'font-size="13" fill="#1d2126">', "<style>.head{font-weight:600}.title{font-weight:600;font-size:14px}</style>",
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="24" y="22" class="title">{html.escape(title)}</text>',
        f'<text x="24" y="42" font-size="12">{html.escape(machine)}</text>', *left, *right, *key, "</svg>", ""])


def serial_parts(one, many, ahead=64):
    """From two profile.json of the same run on fewer and more threads: each row's seconds a step as serial + parallel /
    threads (Amdahl). Returns [(name, seconds with fewer, seconds with more, serial seconds)] and the share of the serial
    seconds in a step on `ahead` threads."""
    def seconds(profile):
        return {r["name"]: r["seconds"] / profile["steps"] for r in profile["rows"] if r["in_steps"]}
    a, b, n, m = seconds(one), seconds(many), one["threads"], many["threads"]
    if n >= m:
        raise ValueError(f"{n} and {m} threads; expected fewer in the first profile")
    rows = []
    for name in a:
        later = b.get(name, 0.0)
        parallel = (a[name] - later) / (1 / n - 1 / m)
        parallel = min(max(parallel, 0.0), a[name] * n)
        rows.append((name, a[name], later, a[name] - parallel / n))
    rows.sort(key=lambda row: -row[1])
    serial, total = sum(r[3] for r in rows), sum(r[1] for r in rows)
    return rows, serial / (serial + (total - serial) * n / ahead)


def serial_table(one, many, ahead=64):
    rows, share = serial_parts(one, many, ahead)
    lines = [f"{'milliseconds a step':<24} {one['threads']:>3} thread {many['threads']:>3} threads   serial"]
    lines += [f"{name:<24} {1e3 * a:10.2f} {1e3 * b:11.2f} {1e3 * s:8.2f}" for name, a, b, s in rows]
    lines.append(f"serial part of a step on {ahead} threads: {100 * share:.1f}%")
    return "\n".join(lines)


def fill(text, name, content):
    """README.md with `content` between the marks of that name."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"{name}: expected one begin and one end mark")
    return text[:text.index(begin) + len(begin)] + content.rstrip("\n") + "\n" + text[text.index(end):]

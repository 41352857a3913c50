"""Tests of bench_report.py: every number is in the table and in the chart."""
import pathlib
import unittest
import xml.etree.ElementTree

import bench_report as report


def run(speed, memory):
    return {"tokens_per_second": speed, "peak_memory_mb": memory}


CASES = [report.Case("T=512 & all", {"lorac f32": [run(300, 500), run(330, 510), run(310, 505)],
                                     "PEFT fp32": [run(150, 2500), run(150, 2510), run(200, 2490)],
                                     "PEFT bf16": [run(250, 1800)] * 3}),
         report.Case("T=1024", {"lorac f32": [run(280, 900)] * 3})]


def profile(threads, **seconds):
    return {"threads": threads, "steps": 2, "rows": [{"name": name, "in_steps": name != "log", "seconds": 2 * s}
                                                     for name, s in seconds.items()]}


class Report(unittest.TestCase):
    def test_table(self):
        lines = report.table(CASES).splitlines()
        self.assertEqual(lines[0], "| one row a step | lorac f32 | PEFT fp32 | PEFT bf16 |")
        self.assertEqual(lines[1], "|---|---|---|---|")
        # The ratios are 2.00, 2.20 and 1.55; their median is not the ratio of the medians.
        self.assertEqual(lines[2], "| T=512 & all | 310 tokens/s, 510 MB, **2.00x** (1.55 to 2.20) | "
                                   "150 tokens/s, 2510 MB | 250 tokens/s, 1800 MB |")
        self.assertEqual(lines[3], "| T=1024 | 280 tokens/s, 900 MB |  |  |")

    def test_svg(self):
        root = xml.etree.ElementTree.fromstring(report.svg(CASES, "a title", "a <CPU>"))
        texts = [t.text for t in root.iter() if t.text]
        for part in ("a title", "a <CPU>", "T=512 & all", "T=1024", "310", "150", "250", "280", "510", "2510", "1800", "900"):
            self.assertIn(part, texts)
        bars = [float(r.get("width")) for r in root.iter() if r.get("height") == "16"]
        self.assertEqual(len(bars), 8)
        self.assertAlmostEqual(bars[1] / bars[0], 150 / 310, places=2)

    def test_serial(self):
        one = profile(1, linear=0.9, step=0.1, log=5.0)
        rows, share = report.serial_parts(one, profile(2, linear=0.5, step=0.1, log=5.0))
        self.assertEqual([r[0] for r in rows], ["linear", "step"])
        self.assertAlmostEqual(rows[0][3], 0.1)
        self.assertAlmostEqual(rows[1][3], 0.1)
        self.assertAlmostEqual(share, 0.2 / (0.2 + 0.8 / 64))
        self.assertIn("94.1%", report.serial_table(one, profile(2, linear=0.5, step=0.1)))
        with self.assertRaises(ValueError):
            report.serial_parts(one, one)

    def test_fill(self):
        text = "a\n<!-- x: begin -->\nold\n<!-- x: end -->\nb\n"
        self.assertEqual(report.fill(text, "x", "new\n"), "a\n<!-- x: begin -->\nnew\n<!-- x: end -->\nb\n")
        with self.assertRaises(ValueError):
            report.fill(text, "y", "new")

    def test_readme(self):
        """The marks that bench.py --save fills."""
        text = (pathlib.Path(__file__).parent / "README.md").read_text()
        for name in ("speed", "lorac bench", "profile"):
            self.assertIn("new", report.fill(text, name, "new"))


unittest.main()

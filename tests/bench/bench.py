#!/usr/bin/env python3
"""Speed and memory of lorac on SmolLM2-135M, next to transformers + PEFT on the same rows where a venv is given.

usage: bench.py --lorac build/lorac --model MODEL.gguf --work DIR [--rival VENV --rival-model HF_DIR] [--rounds N] [--save]
                [--only TEXT]
--only: the kinds of work whose title holds TEXT, and nothing else.
Runs alternate (lorac f32, PEFT fp32, lorac bf16, PEFT bf16, lorac f32 ...), and what counts is the ratio within a round:
machines drift. --save writes the tables into README.md of this folder and the chart into speed.svg: on an idle machine
only.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import typing

import bench_report

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def run(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\nexit {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def environment(threads):
    return dict(os.environ, OMP_NUM_THREADS=str(threads), HF_HUB_OFFLINE="1")


class Work(typing.NamedTuple):
    """`count` rows of `length` tokens, the first `masked` part of each not supervised, and how both sides train them."""
    title: str
    length: int
    count: int
    masked: float = 0.0
    variants: tuple = ("lorac f32", "PEFT fp32", "lorac bf16", "lorac bf16, 700MB", "PEFT bf16")
    checkpoint: bool = False
    options: tuple = ()  # of lorac
    rival_options: tuple = ()
    environment: dict = {}


# PEFT without AVX-512: torch's own kernels, oneDNN and MKL.
AVX2 = {"LORAC_ISA": "v3", "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
F32, BF16 = ("lorac f32", "PEFT fp32"), ("lorac bf16", "PEFT bf16")
WORKS = (
    Work("T=512, all supervised", 512, 8),
    Work("T=1024, all supervised", 1024, 6),
    Work("T=512, 72% masked", 512, 8, 0.72),
    Work("T=512, all linear layers", 512, 8, variants=F32 + BF16, options=("--lora_target_modules", "all-linear"),
         rival_options=("--all-linear",)),
    Work("4 rows of 1024 a step, checkpointing", 1024, 12, variants=BF16, checkpoint=True,
         options=("--per_device_train_batch_size", "4"), rival_options=("--batch", "4", "--checkpoint")),
    Work("T=512, AVX2 only", 512, 8, variants=F32, environment=AVX2),
)
# Variants of lorac: max_memory leaves room for copies of the weights in the layout of the products.
OPTIONS = {"lorac f32": ("--dtype", "f32"), "lorac bf16": ("--dtype", "bf16"),
           "lorac bf16, 700MB": ("--dtype", "bf16", "--max_memory", "700MB")}


class Bench:
    def __init__(self, args):
        self.args = args
        self.work = pathlib.Path(args.work)
        self.work.mkdir(parents=True, exist_ok=True)
        text = (ROOT / "LICENSE").read_text() * 12
        (self.work / "text.txt").write_text(text)
        out = run([args.lorac, "tokenize", "--model_name_or_path", args.model, "--file", self.work / "text.txt"])
        self.ids = json.loads(out)["input_ids"]

    def rows(self, length, count, masked=0.0):
        """A file of `count` rows of `length` tokens; the first `masked` part of each row is not supervised."""
        path = self.work / f"rows_{length}_{count}_{int(masked * 100)}.jsonl"
        with open(path, "w") as f:
            for i in range(count):
                ids = [self.ids[(i * length + j) % len(self.ids)] for j in range(length)]
                cut = int(length * masked)
                f.write(json.dumps({"input_ids": ids, "labels": [-100] * cut + ids[cut:]}) + "\n")
        return path

    def train(self, rows, length, checkpoint=False, threads=2, options=(), extra={}):
        out = self.work / "run"
        shutil.rmtree(out, ignore_errors=True)
        self.output = run(
            [self.args.lorac, "train", "--model_name_or_path", self.args.model, "--train_file", rows, "--output_dir", out,
             "--max_seq_length", str(length), "--num_train_epochs", "1", "--shuffle", "false", "--lora_r", "16",
             "--gradient_checkpointing", str(checkpoint).lower(), "--save_steps", "1.0", "--warmup_ratio", "0",
             "--lr_scheduler_type", "constant", "--report_to", "[]", *options], env=environment(threads) | extra)
        steps = [json.loads(line) for line in open(out / "train_log.jsonl")]
        steps = [s for s in steps if "loss" in s]
        return {"tokens_per_second": statistics.median(s["tokens_per_second"] for s in steps[min(2, len(steps) - 1):]),
                "peak_memory_mb": max(s["peak_memory_bytes"] for s in steps) / 1e6}

    def rival(self, rows, dtype, options=(), extra={}, threads=2):
        python = pathlib.Path(self.args.rival) / "bin" / "python"
        out = run([python, HERE / "peft_train.py", self.args.rival_model, rows, "--threads", str(threads), "--dtype",
                   dtype, *options], env=environment(threads) | extra)
        return json.loads(out.strip().splitlines()[-1])

    def supports(self, dtype):
        """Whether lorac trains in a type on this CPU."""
        return subprocess.run([self.args.lorac, "bench", "--device", "cpu", "--dtype", dtype],
                              capture_output=True).returncode == 0

    def case(self, work):
        """Every variant in every round; those that the machine or the venv lacks are left out."""
        rows = self.rows(work.length, work.count, work.masked)
        results = {v: [] for v in work.variants
                   if (self.supports(OPTIONS[v][1]) if v in OPTIONS else self.args.rival)}
        for number in range(self.args.rounds):
            for v in results:
                if v in OPTIONS:
                    r = self.train(rows, work.length, work.checkpoint, extra=work.environment,
                                   options=["--device", "cpu", *OPTIONS[v], *work.options])
                else:
                    r = self.rival(rows, v.split()[1], work.rival_options, work.environment)
                results[v].append(r)
                print(f"  {work.title}, round {number + 1}: {v} {r['tokens_per_second']:.0f} tokens/s, "
                      f"{r['peak_memory_mb']:.0f} MB", flush=True)
        return bench_report.Case(work.title, results)

    def profile(self, rows, threads):
        """The table that the run prints, and profile.json."""
        self.train(rows, 512, threads=threads, options=["--profile"])
        table = self.output[self.output.index("\nprofile ") + 1:self.output.index("\nprofile: ") + 1]
        return table, json.loads((self.work / "run" / "profile.json").read_text())

    def generation(self):
        prompts = [json.loads(line) for line in open(ROOT / "data/examples/tool_calls_test.jsonl")][:16]
        path = self.work / "messages.json"
        path.write_text(json.dumps(prompts[0]["messages"][:-1]))
        for batch, limit in ((1, 4), (16, 16)):
            out = run([self.args.lorac, "eval", "--model_name_or_path", self.args.model, "--validation_file",
                       ROOT / "data/examples/tool_calls_test.jsonl", "--generate", "--limit", str(limit),
                       "--per_device_eval_batch_size", str(batch), "--json"], env=environment(2))
            print(f"generation, {batch} at once: {json.loads(out)['generated_tokens_per_second']:.0f} tokens/s", flush=True)


def save(cases, machine, outputs, venv):
    """The tables and the chart, into README.md and speed.svg next to this file."""
    versions = run([venv + "/bin/python", "-c", "import torch, transformers, peft; "
                    "print(f'torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}')"]
                   ).strip() if venv else "without PEFT"
    (HERE / "speed.svg").write_text(bench_report.svg(cases, "SmolLM2-135M, LoRA r=16 on q and v, one row a step", machine))
    text = (HERE / "README.md").read_text()
    text = bench_report.fill(text, "speed", f"![tokens per second and peak memory](speed.svg)\n\n{machine}; "
                             f"{versions}.\n\n{bench_report.table(cases)}")
    for name, output in outputs.items():
        text = bench_report.fill(text, name, f"```\n{output}```")
    (HERE / "README.md").write_text(text)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lorac", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--rival", help="venv with torch, transformers and peft")
    parser.add_argument("--rival-model", help="Hugging Face folder of the same weights")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--save", action="store_true")
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    bench = Bench(args)

    peaks = run([args.lorac, "bench", args.model, "--device", "cpu"], env=environment(2))
    print(peaks, flush=True)
    machine = re.search(r"cpu +(.*)", peaks).group(1)
    cases = [bench.case(w) for w in WORKS if args.only in w.title]
    print(f"{machine}; SmolLM2-135M Q4_1, LoRA r=16 on q/v; the ratio is to PEFT in the same type\n"
          f"{bench_report.table(cases)}", flush=True)
    if args.only:
        return
    (_, one), (table, two) = (bench.profile(bench.rows(512, 8), n) for n in (1, 2))
    serial = bench_report.serial_table(one, two)
    print(f"{table}\n{serial}", flush=True)
    if args.save:
        save(cases, machine, {"lorac bench": peaks, "profile": f"{table}{serial.splitlines()[-1]}\n"}, args.rival)
    plain = cases[0].speed("lorac f32")
    print(f"lorac f32, T=512: {plain * 0.606:.0f} GFLOP/s of 0.606 GFLOP a token", flush=True)
    for length, count in ((512, 6), (2048, 3), (8192, 1)):
        r = bench.train(bench.rows(length, count), length, checkpoint=True)
        note = f", {plain / r['tokens_per_second']:.2f} x the time without" if length == 512 else ""
        print(f"T={length}, checkpointing: {r['tokens_per_second']:.0f} tokens/s, {r['peak_memory_mb']:.0f} MB{note}",
              flush=True)
    bench.generation()


main()

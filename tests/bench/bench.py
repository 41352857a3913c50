#!/usr/bin/env python3
"""Speed and memory of lorac on SmolLM2-135M, next to transformers + PEFT on the same rows where a venv is given.

usage: bench.py --lorac build/lorac --model MODEL.gguf --work DIR [--rival VENV --rival-model HF_DIR] [--rounds N] [--save]
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

    def train(self, rows, length, checkpoint=False, threads=2, options=()):
        out = self.work / "run"
        shutil.rmtree(out, ignore_errors=True)
        self.output = run(
            [self.args.lorac, "train", "--model_name_or_path", self.args.model, "--train_file", rows, "--output_dir", out,
             "--max_seq_length", str(length), "--num_train_epochs", "1", "--shuffle", "false", "--lora_r", "16",
             "--gradient_checkpointing", str(checkpoint).lower(), "--save_steps", "1.0", "--warmup_ratio", "0",
             "--lr_scheduler_type", "constant", "--report_to", "[]", *options], env=environment(threads))
        steps = [json.loads(line) for line in open(out / "train_log.jsonl")]
        steps = [s for s in steps if "loss" in s]
        return {"tokens_per_second": statistics.median(s["tokens_per_second"] for s in steps[2:] or steps),
                "peak_memory_mb": max(s["peak_memory_bytes"] for s in steps) / 1e6}

    def rival(self, rows, dtype, threads=2):
        python = pathlib.Path(self.args.rival) / "bin" / "python"
        out = run([python, HERE / "peft_train.py", self.args.rival_model, rows, "--threads", str(threads), "--dtype",
                   dtype], env=environment(threads))
        return json.loads(out.strip().splitlines()[-1])

    def supports(self, dtype):
        """Whether lorac trains in a type on this CPU."""
        return subprocess.run([self.args.lorac, "bench", "--device", "cpu", "--dtype", dtype],
                              capture_output=True).returncode == 0

    def case(self, title, rows, length):
        """Every variant in every round; those that the machine or the venv lacks are left out."""
        variants = {f"lorac {d}": lambda d=d: self.train(rows, length, options=["--device", "cpu", "--dtype", d])
                    for d in ("f32", "bf16") if self.supports(d)}
        if self.args.rival:
            variants |= {f"PEFT {d}": lambda d=d: self.rival(rows, d) for d in ("fp32", "bf16")}
        results = {v: [] for v in ("lorac f32", "PEFT fp32", "lorac bf16", "PEFT bf16") if v in variants}
        for number in range(self.args.rounds):
            for v in results:
                results[v].append(variants[v]())
                print(f"  {title}, round {number + 1}: {v} {results[v][-1]['tokens_per_second']:.0f} tokens/s, "
                      f"{results[v][-1]['peak_memory_mb']:.0f} MB", flush=True)
        return bench_report.Case(title, results)

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
    args = parser.parse_args()
    bench = Bench(args)

    peaks = run([args.lorac, "bench", args.model, "--device", "cpu"], env=environment(2))
    print(peaks, flush=True)
    machine = re.search(r"cpu +(.*)", peaks).group(1)
    cases = [bench.case("T=512, all supervised", bench.rows(512, 8), 512),
             bench.case("T=1024, all supervised", bench.rows(1024, 6), 1024),
             bench.case("T=512, 72% masked", bench.rows(512, 8, 0.72), 512)]
    print(f"{machine}; SmolLM2-135M Q4_1, LoRA r=16 on q/v; the ratio is to PEFT in the same type\n"
          f"{bench_report.table(cases)}", flush=True)
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

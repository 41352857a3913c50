#!/usr/bin/env python3
"""Speed and memory of lorac on SmolLM2-135M, next to transformers + PEFT on the same rows where a venv is given.

usage: bench.py --lorac build/lorac --model MODEL.gguf --work DIR [--rival VENV --rival-model HF_DIR] [--pairs N]
Runs alternate (lorac, rival, lorac, rival ...), and what counts is the ratio of each pair: machines drift.
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

    def train(self, rows, length, checkpoint=False, threads=2):
        out = self.work / "run"
        shutil.rmtree(out, ignore_errors=True)
        run([self.args.lorac, "train", "--model_name_or_path", self.args.model, "--train_file", rows, "--output_dir", out,
             "--max_seq_length", str(length), "--num_train_epochs", "1", "--shuffle", "false", "--lora_r", "16",
             "--gradient_checkpointing", str(checkpoint).lower(), "--save_steps", "1.0", "--warmup_ratio", "0",
             "--lr_scheduler_type", "constant", "--report_to", "[]"], env=environment(threads))
        steps = [json.loads(line) for line in open(out / "train_log.jsonl")]
        steps = [s for s in steps if "loss" in s]
        return {"tokens_per_second": statistics.median(s["tokens_per_second"] for s in steps[2:] or steps),
                "peak_memory_mb": max(s["peak_memory_bytes"] for s in steps) / 1e6}

    def rival(self, rows, checkpoint=False, threads=2):
        python = pathlib.Path(self.args.rival) / "bin" / "python"
        flags = ["--checkpoint"] if checkpoint else []
        out = run([python, HERE / "peft_train.py", self.args.rival_model, rows, "--threads", str(threads), *flags],
                  env=environment(threads))
        return json.loads(out.strip().splitlines()[-1])

    def against_rival(self, title, rows, length):
        ours, theirs = [], []
        for _ in range(self.args.pairs):
            ours.append(self.train(rows, length))
            if self.args.rival:
                theirs.append(self.rival(rows))
        speed = statistics.median(r["tokens_per_second"] for r in ours)
        line = f"{title}: lorac {speed:.0f} tokens/s, {max(r['peak_memory_mb'] for r in ours):.0f} MB"
        if theirs:
            ratios = [a["tokens_per_second"] / b["tokens_per_second"] for a, b in zip(ours, theirs)]
            line += (f"; PEFT {statistics.median(r['tokens_per_second'] for r in theirs):.0f} tokens/s, "
                     f"{max(r['peak_memory_mb'] for r in theirs):.0f} MB; ratio {statistics.median(ratios):.2f} "
                     f"({', '.join(f'{r:.2f}' for r in ratios)})")
        print(line, flush=True)
        return speed

    def generation(self):
        prompts = [json.loads(line) for line in open(ROOT / "data/examples/tool_calls_test.jsonl")][:16]
        path = self.work / "messages.json"
        path.write_text(json.dumps(prompts[0]["messages"][:-1]))
        for batch, limit in ((1, 4), (16, 16)):
            out = run([self.args.lorac, "eval", "--model_name_or_path", self.args.model, "--validation_file",
                       ROOT / "data/examples/tool_calls_test.jsonl", "--generate", "--limit", str(limit),
                       "--per_device_eval_batch_size", str(batch), "--json"], env=environment(2))
            print(f"generation, {batch} at once: {json.loads(out)['generated_tokens_per_second']:.0f} tokens/s", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lorac", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--rival", help="venv with torch, transformers and peft")
    parser.add_argument("--rival-model", help="Hugging Face folder of the same weights")
    parser.add_argument("--pairs", type=int, default=3)
    bench = Bench(parser.parse_args())

    cpu = re.search(r"model name\s*:\s*(.*)", open("/proc/cpuinfo").read())
    print(f"machine: {cpu.group(1) if cpu else 'unknown'}, {os.cpu_count()} CPUs; SmolLM2-135M Q4_1, LoRA r=16 on q/v, "
          "float32, 2 threads", flush=True)
    rows = bench.rows(512, 8)
    plain = bench.against_rival("T=512, all supervised", rows, 512)
    print(f"  = {plain * 0.606:.0f} GFLOP/s of 0.606 GFLOP a token", flush=True)
    bench.against_rival("T=512, 72% masked", bench.rows(512, 8, 0.72), 512)
    for length, count in ((512, 6), (2048, 3), (8192, 1)):
        r = bench.train(bench.rows(length, count), length, checkpoint=True)
        note = f", {plain / r['tokens_per_second']:.2f} x the time without" if length == 512 else ""
        print(f"T={length}, checkpointing: {r['tokens_per_second']:.0f} tokens/s, {r['peak_memory_mb']:.0f} MB{note}",
              flush=True)
    bench.generation()


main()

#!/usr/bin/env python3
"""What gpu.sh runs: LoRA r=16 on q/v and on all linear layers, bf16, packed rows of 2048 tokens, 8 rows (16k tokens) a
step; see gpu.sh.

MFU counts what LoRA must compute: 4 FLOP per layer weight and token (forward, and backward to the inputs), the head both
ways, attention forward and 2.5 times that backward; recomputation is not counted. Peaks are NVIDIA's dense bf16 figures.
"""
import argparse
import json
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUDGET = 540.0  # seconds for all
LENGTH, ROWS_PER_STEP = 2048, 8
PEAK_TFLOPS = {"H100": 989, "H200": 989, "B200": 2250, "A100": 312, "L40S": 362, "4090": 165, "A6000": 155}
SMOLLM2 = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
           "num_key_value_heads": 3, "head_dim": 64, "vocab_size": 49152}


def flop_per_token(shape, length):
    hidden, heads, size = shape["hidden_size"], shape["num_attention_heads"], shape["head_dim"]
    layers = shape["num_hidden_layers"]
    projections = hidden * size * (2 * heads + 2 * shape["num_key_value_heads"])
    linear = layers * (projections + 3 * hidden * shape["intermediate_size"])
    attention = 2 * length * heads * size * layers  # causal: half of q k^T and of p v
    return 4 * (linear + hidden * shape["vocab_size"]) + 3.5 * attention


class Bench:
    def __init__(self, args):
        self.args, self.start = args, time.time()
        self.work = pathlib.Path(args.work)
        self.work.mkdir(parents=True, exist_ok=True)

    def left(self):
        return BUDGET - (time.time() - self.start)

    def run(self, command):
        """stdout, or None with the reason: a bench reports what failed and goes on."""
        try:
            done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=max(self.left(), 1))
        except subprocess.TimeoutExpired:
            return None, "no time left"
        except OSError as error:
            return None, str(error)
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return (done.stdout, None) if done.returncode == 0 else (None, f"exit {done.returncode}: {reason}")

    def rows(self, vocabulary, steps):
        path = self.work / f"rows_{vocabulary}_{steps}.jsonl"
        draw = random.Random(1)
        with open(path, "w") as f:
            for _ in range(steps * ROWS_PER_STEP):
                ids = [draw.randrange(vocabulary) for _ in range(LENGTH)]
                f.write(json.dumps({"input_ids": ids, "labels": ids}) + "\n")
        return path

    def lorac(self, model, rows, *options):
        out = self.work / "run"
        shutil.rmtree(out, ignore_errors=True)
        _, reason = self.run([self.args.build + "/lorac", "train", "--model_name_or_path", model, "--train_file", rows,
                              "--output_dir", out, "--device", self.args.device, "--max_seq_length", LENGTH,
                              "--per_device_train_batch_size", ROWS_PER_STEP, "--num_train_epochs", "1", "--shuffle",
                              "false", "--warmup_ratio", "0", "--save_steps", "1.0", "--report_to", "[]", *options])
        if reason:
            return {"failed": reason}
        steps = [json.loads(line) for line in open(out / "train_log.jsonl")]
        steps = [s for s in steps if "loss" in s]
        return {"tokens_per_second": statistics.median(s["tokens_per_second"] for s in steps[2:]),
                "peak_memory_gb": max(s["peak_memory_bytes"] for s in steps) / 1e9,
                "losses": [s["loss"] for s in steps]}

    def split(self, model, *options):
        """One pass as training replays it, and unrecorded; milliseconds per op, each op waited for (so their sum is more
        than a step takes)."""
        out, reason = self.run([self.args.build + "/bench_step", model, "--device", self.args.device, "--tokens",
                                LENGTH, "--samples", ROWS_PER_STEP, "--repeats", "3", "--json", *options])
        return {"failed": reason} if reason else json.loads(out.strip().splitlines()[-1])

    def rival(self, model, rows, *options):
        out, reason = self.run([self.args.rival + "/bin/python", HERE / "peft_train.py", model, rows, "--device", "cuda",
                                "--batch", ROWS_PER_STEP, *options])
        return {"failed": reason} if reason else json.loads(out.strip().splitlines()[-1])

    def rivals(self, model, rows):
        if not self.args.rival:
            return {}
        found = {"peft": self.rival(model, rows), "peft_checkpointing": self.rival(model, rows, "--checkpoint")}
        found["peft_liger"] = self.rival(model, rows, "--liger")
        return found

    def hf_folder(self, name, model):
        """The weights as a Hugging Face folder, for the rival."""
        if not str(model).endswith(".gguf"):
            return model
        folder = self.work / name
        if not folder.exists():
            self.run([self.args.rival + "/bin/python", ROOT / "tests/oracle/gguf_to_hf.py", model, folder])
        return folder

    def random_model(self, name):
        folder = self.work / name
        if not (folder / "model.safetensors").exists():
            _, reason = self.run([self.args.build + "/bench_random_model", HERE / "shapes" / f"{name}.json", folder])
            if reason:
                return None
        return folder

    def model(self, name, model, shape, steps, peak):
        if self.left() < 45:
            return {"skipped": "no time left"}
        if model is None:
            return {"failed": "no weights"}
        rows = self.rows(shape["vocab_size"], steps)
        result = {"lorac": self.lorac(model, rows)}
        speed = result["lorac"].get("tokens_per_second")
        if speed and peak:
            result["mfu"] = speed * flop_per_token(shape, LENGTH) / (peak * 1e12)
        result["ops"] = self.split(model)
        result["lorac_all_linear"] = self.lorac(model, rows, "--lora_target_modules", "all-linear")
        result["ops_all_linear"] = self.split(model, "--all-linear")
        if name == "llama-3.1-8b":
            result["lorac_nf4"] = self.lorac(model, rows, "--quantize_base", "nf4")
            result["lorac_fp8"] = self.lorac(model, rows, "--dtype", "fp8")
        if self.left() > 60:
            result.update(self.rivals(self.hf_folder(name, model) if self.args.rival else model, rows))
        return result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--model", required=True, help="SmolLM2-135M as GGUF")
    parser.add_argument("--work", required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rival")
    parser.add_argument("--models", default="smollm2-135m,llama-3.1-8b,llama-3.2-1b,qwen3-0.6b")
    args = parser.parse_args()
    bench = Bench(args)
    gpu, reason = bench.run(["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"])
    if reason:
        sys.exit(f"gpu.py: nvidia-smi: {reason}")
    peak = next((v for k, v in PEAK_TFLOPS.items() if k in gpu), None)
    result = {"gpu": gpu.strip(), "peak_tflops": peak, "tokens_per_step": LENGTH * ROWS_PER_STEP, "models": {}}
    for name in args.models.split(","):
        if name == "smollm2-135m":
            model, shape, steps = args.model, SMOLLM2, 10
        else:
            shape = json.loads((HERE / "shapes" / f"{name}.json").read_text())
            model, steps = bench.random_model(name), 8
        result["models"][name] = bench.model(name, model, shape, steps, peak)
    result["seconds"] = time.time() - bench.start
    print(json.dumps(result, indent=1))


main()

#!/usr/bin/env python3
"""How training scales over ranks: what adding up costs on a slow network, next to the formula, and tokens/s of 1 to 4 ranks.

usage: scaling.py --build BUILD [--model MODEL.gguf] [--ranks 1,2] [--steps N] [--pairs N] [--numbers N]
                  [--no-networks]
Prints one JSON object. The networks need root (namespaces and TAP devices); without them that part is null. Each rank
has one thread: more ranks than cores say nothing about tokens/s.
"""
import argparse
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
NETWORKS = [(0, 1000), (1, 1000), (5, 1000), (1, 200), (5, 200)]  # milliseconds one way, Mbit/s
ROW, ROWS_PER_STEP = 1024, 4
ENVIRONMENT = dict(os.environ, OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive")


def run(command, env=ENVIRONMENT):
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    if done.returncode == 77:
        return None
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\nexit {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def predicted(ranks, size, milliseconds, mbit):
    """Seconds of an all-reduce: every rank sends 2 (p-1)/p of the vector, in two rounds; before that all meet, which
    takes log2(p) rounds."""
    rounds = 2 + math.ceil(math.log2(ranks))
    return 2 * (ranks - 1) / ranks * size / (mbit * 125e3) + rounds * milliseconds / 1e3


def on_network(args, ranks, network, command):
    with tempfile.TemporaryDirectory(prefix="lorac_scaling_") as work:
        return run(["sh", HERE / "scaling_hosts.sh", args.build, str(ranks), *map(str, network), work, *command])


def adding_up(args):
    found = []
    for ranks in (2, 3, 4):
        for network in NETWORKS:
            text = on_network(args, ranks, network, [args.build / "bench_group", str(args.numbers)])
            if text is None:
                return None
            got = json.loads(text)
            want = predicted(ranks, got["bytes"], *network)
            found.append({"ranks": ranks, "milliseconds": network[0], "mbit": network[1], "bytes": got["bytes"],
                          "predicted": round(want, 4), "least": got["least"], "median": got["median"],
                          "ratio": round(got["median"] / want, 2)})
    return found


def rows(work):
    """Rows of exactly ROW tokens, for every step of every run."""
    path = work / "rows.jsonl"
    with open(path, "w") as f:
        for i in range(ROWS_PER_STEP * 8):
            ids = [1000 + (i * 7919 + j * 104729) % 40000 for j in range(ROW)]
            f.write(json.dumps({"input_ids": ids, "labels": ids}) + "\n")
    return path


def train_words(args, work, name, ranks):
    return [args.build / "lorac", "train", f"model={args.model}", f"train_file={work}/rows.jsonl",
            f"output_dir={work}/{name}", f"max_seq_length={ROW}", f"max_steps={args.steps}", "save_steps=1.0",
            f"gradient_accumulation_steps={ROWS_PER_STEP // ranks}", "report_to=[]"]


def read_log(path):
    """Of the steps after the first: tokens/s and the share of the time that went into adding up."""
    steps = [json.loads(line) for line in open(path / "train_log.jsonl")]
    steps = [s for s in steps if "loss" in s][1:]
    seconds = sum(s["tokens"] / s["tokens_per_second"] for s in steps)
    reducing = sum(s.get("reduce_seconds", 0) for s in steps)
    return {"tokens_per_second": sum(s["tokens"] for s in steps) / seconds, "reduce_share": reducing / seconds}


def training(args):
    found = []
    with tempfile.TemporaryDirectory(prefix="lorac_scaling_") as work:
        work = pathlib.Path(work)
        rows(work)
        env = dict(ENVIRONMENT, XDG_CACHE_HOME=str(work))
        for pair in range(args.pairs):
            for ranks in args.ranks:
                words = train_words(args, work, f"{pair}_{ranks}", ranks)
                run(words if ranks == 1 else ["sh", HERE.parent / "mpirun.sh", str(ranks), *words], env)
                found.append({"pair": pair, "ranks": ranks, **read_log(work / f"{pair}_{ranks}")})
        # What the machine itself allows: two runs that know nothing of each other.
        both = [subprocess.Popen(train_words(args, work, f"alone_{i}", 1), env=env, stdout=subprocess.DEVNULL)
                for i in range(2)]
        if any([p.wait() for p in both]):
            sys.exit("two runs side by side: one failed")
        apart = sum(read_log(work / f"alone_{i}")["tokens_per_second"] for i in range(2))
    mean = {r: statistics.median(f["tokens_per_second"] for f in found if f["ranks"] == r) for r in args.ranks}
    return {"runs": found, "two_independent_runs_tokens_per_second": apart,
            "speedup": {r: round(mean[r] / mean[args.ranks[0]], 3) for r in args.ranks},
            "two_independent_runs_speedup": round(apart / mean[args.ranks[0]], 3)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=lambda p: pathlib.Path(p).resolve(), required=True)
    parser.add_argument("--model", type=lambda p: pathlib.Path(p).resolve())
    parser.add_argument("--ranks", type=lambda text: [int(r) for r in text.split(",")], default=[1, 2])
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--numbers", type=int, default=921600, help="of the vector: SmolLM2-135M, rank 16 on q and v")
    parser.add_argument("--no-networks", action="store_true")
    args = parser.parse_args()
    print(json.dumps({"load": os.getloadavg(), "cores": os.cpu_count(),
                      "adding_up": None if args.no_networks else adding_up(args),
                      "training": training(args) if args.model else None}, indent=1))


if __name__ == "__main__":
    main()

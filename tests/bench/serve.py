#!/usr/bin/env python3
"""usage: serve.py LORAC MODEL.gguf [ROUNDS]

Tokens per second of `lorac serve` with 1 and with 16 streams, and, where this Python has xllamacpp (PyPI), of llama.cpp's
server in the same process: the same prompts and lengths, greedy, two threads, by turns. Prints the medians.
"""
import json
import statistics
import subprocess
import sys
import threading
import time
import urllib.request

THREADS, TOKENS = 2, 96


def prompt(i):
    return f"Write a long story about a dragon and a knight, number {i}. Once upon a time"


class Lorac:
    name = "lorac"

    def __init__(self, program, model):
        self.process = subprocess.Popen([program, "serve", "-m", model, "--port", "0", "--max_seq_length", "512"],
                                        stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().split()[3] + "/v1/completions"

    def answer(self, i):
        body = {"prompt": prompt(i), "max_tokens": TOKENS, "temperature": 0, "ignore_eos": True}
        request = urllib.request.Request(self.url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as reply:
            return json.load(reply)["usage"]["completion_tokens"]

    def end(self):
        self.process.terminate()
        self.process.wait()


class LlamaCpp:
    name = "llama.cpp"

    def __init__(self, model, streams):
        import xllamacpp

        p = xllamacpp.CommonParams()
        p.model.path = model
        p.n_ctx, p.n_parallel, p.n_gpu_layers, p.warmup = 512 * streams, streams, 0, False
        p.cpuparams.n_threads = p.cpuparams_batch.n_threads = THREADS
        self.server = xllamacpp.Server(p)

    def answer(self, i):
        body = {"prompt": prompt(i), "n_predict": TOKENS, "temperature": 0, "ignore_eos": True, "cache_prompt": False}
        return self.server.handle_completions(body)["timings"]["predicted_n"]

    def end(self):
        del self.server


def speed(engine, streams):
    counts = [0] * streams

    def one(i):
        counts[i] = engine.answer(i)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(streams)]
    start = time.monotonic()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return sum(counts) / (time.monotonic() - start)


def engines(program, model, streams):
    yield Lorac(program, model)
    try:
        yield LlamaCpp(model, streams)
    except ImportError:
        print("no xllamacpp in this Python: lorac alone")


def main():
    program, model, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 3
    for streams in (1, 16):
        both = list(engines(program, model, streams))
        results = {e.name: [] for e in both}
        for e in both:
            speed(e, streams)  # warm: pages of the file, the first allocation
        for _ in range(rounds):
            for e in both:
                results[e.name].append(speed(e, streams))
        for e in both:
            e.end()
        line = ", ".join(f"{name} {statistics.median(r):.0f} ({min(r):.0f} to {max(r):.0f})" for name, r in results.items())
        print(f"{streams} stream{'s' if streams > 1 else ''}: {line} tokens/s", flush=True)


if __name__ == "__main__":
    main()

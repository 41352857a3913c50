#!/usr/bin/env python3
"""usage: load_serve.py PORT PID REQUESTS BASE NAME=FOLDER NAME=FOLDER WORK [--any-memory]

Requests to a `lorac serve` on loopback from 32 connections at once: whole and streamed answers of the base and of two adapters
that it serves, adapters loaded and unloaded in between, an adapter whose logits are not finite (written into WORK), clients
that leave before or during their answer or are slow, malformed and huge bodies. Every greedy answer must be the one that its
model gives alone, every refusal must have its status, and each answer its counts; at the end only the first models are left,
and, of 1000 requests or more, the most memory that the server has in the second half is that of the first, within
8 MB: single samples differ by several MB, with what is in flight and what the C library keeps."""
import collections
import http.client
import json
import os
import random
import shutil
import socket
import struct
import sys
import threading
import time

CONNECTIONS, TOKENS, SECONDS = 32, 24, 120
port, pid, count, base = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
(first, first_path), (second, second_path) = (word.split("=", 1) for word in sys.argv[5:7])
bad, bad_path = "bad", os.path.join(os.path.abspath(sys.argv[7]), "bad")
any_memory = "--any-memory" in sys.argv
PROMPTS = ["Hello", "a", "When do you open?", "\u00e9\u4e16", "0123456789" * 8, " ", "The quick brown fox", "\x00\x01"]
COMPLETIONS, CHATS = "/v1/completions", "/v1/chat/completions"
lock = threading.Lock()
left, done, faults, memory = count, collections.Counter(), [], []


def fail(what):
    with lock:
        faults.append(what)


def memory_now():
    with open("/proc/%d/status" % pid) as f:
        return int(next(line for line in f if line.startswith("VmRSS")).split()[1])


# ---- requests ----

def post(path, body, timeout=SECONDS):
    """Status and body of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        connection.request("POST", path, data, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def question(model, prompt, chat, stream):
    body = {"model": model, "temperature": 0, "max_tokens": TOKENS, "ignore_eos": True}
    body.update({"messages": [{"role": "user", "content": prompt}]} if chat else {"prompt": prompt})
    if stream:
        body.update({"stream": True, "stream_options": {"include_usage": True}})
    return (CHATS if chat else COMPLETIONS), body


def read_answer(status, data, stream):
    """(text, finish_reason, usage), whole or of a stream."""
    if status != 200:
        return ("status %d: %s" % (status, data[:200].decode("utf-8", "replace")), None, None)
    if not stream:
        answer = json.loads(data)
        choice = answer["choices"][0]
        return choice["message"]["content"] if "message" in choice else choice["text"], choice["finish_reason"], answer["usage"]
    text, reason, usage, lines = "", None, None, data.decode().split("\n\n")
    if lines[-2:] != ["data: [DONE]", ""]:
        return ("stream ends with %r" % data[-200:], None, None)
    for line in lines[:-2]:
        if line.startswith(":"):
            continue
        event = json.loads(line[len("data: "):])
        if "error" in event:
            return ("error: " + event["error"]["message"], None, None)
        usage = event.get("usage") or usage
        for choice in event["choices"]:
            text += choice.get("text", "") or choice.get("delta", {}).get("content", "")
            reason = choice["finish_reason"] or reason
    return text, reason, usage


def ask(model, prompt, chat, stream):
    path, body = question(model, prompt, chat, stream)
    return read_answer(*post(path, body), stream)


def raw(path, body, length=None):
    head = "POST %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    return (head % (path, len(body) if length is None else length)).encode() + body


def open_socket():
    s = socket.create_connection(("127.0.0.1", port), SECONDS)
    s.settimeout(SECONDS)
    return s


def read_all(s):
    data = b""
    while part := s.recv(65536):
        data += part
    return data


def status_of(data):
    return int(data.split(b" ", 2)[1]) if data.startswith(b"HTTP/1.1 ") else 0


def expect(what, got, want):
    if got != want:
        fail("%s: %r; expected %r" % (what, got, want))


# ---- kinds of clients ----

alone = {}


def check(model, known, rng):
    i, chat, stream = rng.randrange(len(PROMPTS)), rng.random() < 0.5, rng.random() < 0.5
    expect("%s, prompt %d, chat %d, stream %d" % (model, i, chat, stream), ask(model, PROMPTS[i], chat, stream),
           alone[known, i, chat])


def plain(rng, number):
    model = rng.choice([base, first, second])
    check(model, model, rng)


def swapped(rng, number):
    """A version of an adapter comes, answers and goes."""
    known, path = rng.choice([(first, first_path), (second, second_path)])
    name = "%s-%d" % (known, number)
    status, data = post("/v1/load_lora_adapter", {"lora_name": name, "lora_path": path})
    expect("load", (status, data), (200, b"Success: adapter loaded.\n"))
    for _ in range(2):
        check(name, known, rng)
    expect("unload", post("/v1/unload_lora_adapter", {"lora_name": name})[0], 200)
    expect("unloaded", post(*question(name, "a", False, False))[0], 404)


def not_finite(rng, number):
    stream = rng.random() < 0.5
    text = ask(bad, rng.choice(PROMPTS), rng.random() < 0.5, stream)[0]
    if "not finite" not in text or not text.startswith("error" if stream else "status 500"):
        fail("%s answers %r" % (bad, text))


def leaves(rng, number):
    """Before its answer, or during it; with and without a reset."""
    path, body = question(rng.choice([base, first, second]), "leaves", True, rng.random() < 0.7)
    body["max_tokens"] = 200
    data = raw(path, json.dumps(body).encode())
    s = open_socket()
    s.sendall(data[:rng.choice([3, 60, len(data), len(data), len(data)])])
    if rng.random() < 0.5:
        time.sleep(rng.random() * 0.05)
    if rng.random() < 0.4 and body.get("stream") and b"stream" in data:
        s.settimeout(0.5)
        try:
            s.recv(rng.choice([1, 300, 2000]))
        except OSError:
            pass
    if rng.random() < 0.5:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def slow(rng, number):
    """Sends and reads in small pieces."""
    model, i = rng.choice([base, first, second]), rng.randrange(len(PROMPTS))
    path, body = question(model, PROMPTS[i], False, False)
    data, answer = raw(path, json.dumps(body).encode()), b""
    with open_socket() as s:
        for at in range(0, len(data), 40):
            s.sendall(data[at:at + 40])
            time.sleep(0.02)
        while part := s.recv(50):
            answer += part
            time.sleep(0.01)
    expect("a slow client", read_answer(status_of(answer), answer.split(b"\r\n\r\n", 1)[1], False), alone[model, i, False])


def malformed(rng, number):
    bodies = [b"", b"{", b"[1, 2", b"\xff\xfe", b'{"prompt": "\\ud800"}', b'{"prompt": "a", "model": 5}', b"null", b"[" * 5000,
              b'{"prompt": "a", "prompt": "b"}', b'{"prompt": "a", "temperature": 1e999}', b'{"prompt": [1e99]}',
              b'{"messages": [{"role": "user"}]}', b'{"prompt": "a", "n": 2}', rng.randbytes(rng.randrange(1, 3000))]
    expect("a malformed body", post(rng.choice([COMPLETIONS, CHATS]), rng.choice(bodies))[0], 400)


def no_http(rng, number):
    with open_socket() as s:
        try:
            s.sendall(rng.choice([b"\r\n\r\n\r\n", b"GET\r\n\r\n", rng.randbytes(400) + b"\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n",
                                  b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n"]))
            s.shutdown(socket.SHUT_WR)
            read_all(s)
        except OSError:
            pass


def huge(rng, number):
    text = b'{"prompt": "' + b"a" * (3 << 20) + b'"}'
    with open_socket() as s:
        if rng.random() < 0.5:
            s.sendall(raw(COMPLETIONS, text))
        else:
            s.sendall(raw(COMPLETIONS, b"", 10 ** 12))
        expect("a huge body", status_of(read_all(s)), 413)


def long_prompt(rng, number):
    expect("a prompt beyond the context", post(COMPLETIONS, {"model": base, "prompt": "a b" * 200000})[0], 400)


def unknown(rng, number):
    expect("an unknown model", post(*question("no-such-model", "a", True, False))[0], 404)


KINDS = [(plain, 50), (swapped, 8), (not_finite, 4), (leaves, 14), (slow, 4), (malformed, 8), (no_http, 3), (huge, 3), (long_prompt, 2),
         (unknown, 4)]


def client(seed):
    global left
    rng = random.Random(seed)
    while True:
        with lock:
            if left == 0:
                return
            left -= 1
            number = left
            if number % 10 == 0:
                memory.append(memory_now())
        kind = rng.choices([k for k, _ in KINDS], [weight for _, weight in KINDS])[0]
        try:
            kind(rng, number)
        except Exception as e:  # a connection that is cut, or an answer that is none
            fail("%s: %r" % (kind.__name__, e))
        with lock:
            done[kind.__name__] += 1


def write_bad():
    """A copy whose values are finite, and its logits not."""
    shutil.copytree(first_path, bad_path)
    path = os.path.join(bad_path, "adapter_model.safetensors")
    data = bytearray(open(path, "rb").read())
    start = 8 + struct.unpack("<Q", data[:8])[0]
    for name, tensor in json.loads(data[8:start]).items():
        if "lora_B" in name:
            begin, end = tensor["data_offsets"]
            data[start + begin:start + end] = struct.pack("<f", 3e38) * ((end - begin) // 4)
    with open(path, "wb") as f:
        f.write(data)


write_bad()
expect("load", post("/v1/load_lora_adapter", {"lora_name": bad, "lora_path": bad_path})[0], 200)
for model in (base, first, second):
    for i, prompt in enumerate(PROMPTS):
        for chat in (False, True):
            alone[model, i, chat] = ask(model, prompt, chat, False)
            if alone[model, i, chat][1] != "length" or alone[model, i, chat][2]["completion_tokens"] != TOKENS:
                sys.exit("%s alone: %r" % (model, alone[model, i, chat]))
differ = sum(len({alone[model, i, chat][0] for model in (base, first, second)}) == 3 for i in range(len(PROMPTS)) for chat in (False, True))
if differ < len(PROMPTS):
    sys.exit("the models differ in %d of %d prompts only" % (differ, 2 * len(PROMPTS)))
threads = [threading.Thread(target=client, args=(seed,), daemon=True) for seed in range(CONNECTIONS)]
begin = time.monotonic()
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(max(1, begin + 600 - time.monotonic()))
if any(thread.is_alive() for thread in threads):
    sys.exit("a client waits for its answer")
time.sleep(1)  # what clients left is given up
for kind, _ in (plain, 0), (not_finite, 0):
    kind(random.Random(0), 0)
connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
connection.request("GET", "/v1/models")
names = [m["id"] for m in json.loads(connection.getresponse().read())["data"]]
connection.close()
expect("models at the end", sorted(names), sorted([base, first, second, bad]))
memory.append(memory_now())
early, late = max(memory[:len(memory) // 2], default=0), max(memory[len(memory) // 2:])
print("%d requests in %.1f s: %s; memory at most %d kB, then %d kB" % (sum(done.values()), time.monotonic() - begin,
      ", ".join("%d %s" % (n, kind) for kind, n in done.most_common()), early, late))
expect("requests", sum(done.values()), count)
if not any_memory and count >= 1000 and late > early + 8192:
    faults.append("memory grew from %d to %d kB" % (early, late))
for fault in faults[:20]:
    print(fault)
sys.exit(bool(faults))

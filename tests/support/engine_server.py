#!/usr/bin/env python3
"""usage: engine_server.py LOG: stand-ins of vLLM, SGLang and llama.cpp's server on loopback, for tests. Prints the ports of two servers,
then serves until its standard input ends. A URL is http://127.0.0.1:PORT/KIND/MODE: each has adapters of its own, and MODE
says what goes wrong. The second server is the other host of redirects. Each request is a line of LOG: port, method, path,
Authorization, body. llama.cpp's adapters are the lines of the file `adapters`; the answer to every prompt is the file `answer`."""
import http.server
import json
import os
import socketserver
import sys
import threading
import time

LOG = open(sys.argv[1], "a", buffering=1)
states, lock, ports = {}, threading.Lock(), []
BASE = "/models/base"


def state(kind, mode):
    with lock:
        return states.setdefault((kind, mode), {"loaded": {}, "scales": {}, "count": {}, "erased": 0})


def lines(name):
    return open(name).read().split("\n")[:-1] if os.path.exists(name) else []


class Engine(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, value="", **headers):
        body = (value if isinstance(value, str) else json.dumps(value)).encode()
        self.send_response(status)
        for key, text in headers.items():
            self.send_header(key, text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def cut(self):
        self.close_connection = True
        self.connection.shutdown(2)

    def do_POST(self):
        self.serve(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())

    def do_GET(self):
        self.serve("")

    def serve(self, body):
        port = ports.index(self.server.server_address[1])
        print(port, self.command, self.path, self.headers.get("Authorization"), body, file=LOG)
        _, kind, mode, route = self.path.split("/", 3)
        if kind not in ("vllm", "sglang", "llama"):
            return self.answer(404, "nothing here")
        s, route = state(kind, mode), route.split("?")[0]
        with lock:
            s["count"][route] = s["count"].get(route, 0) + 1
        if mode == "key" and self.headers.get("Authorization") != "Bearer sesame":
            return self.answer(401, {"error": "Unauthorized"})
        if mode == "moved":
            return self.answer(307, Location="http://127.0.0.1:%d%s" % (ports[1], self.path))
        if mode == "deaf":
            time.sleep(3600)
        if mode == "page":
            return self.answer(200, "<html>Log in</html>")
        if mode == "huge":
            return self.answer(200, "[" + " " * (9 << 20) + "]")
        getattr(self, kind)(s, mode, route, json.loads(body) if body else None)

    # ---- vLLM and SGLang ----

    def models(self, s):
        base = {"id": "base", "root": BASE, "parent": None}
        self.answer(200, {"data": [base] + [{"id": n, "root": p, "parent": "base"} for n, p in s["loaded"].items()]})

    def load(self, s, mode, body, refuse):
        name, path = body["lora_name"], body["lora_path"]
        n = s["count"]["load"] = s["count"].get("load", 0) + 1
        if mode == "cut":
            return self.cut()
        if mode == "stalls":
            time.sleep(3600)
        if mode == "fails" or (mode == "busy" and n <= 2):
            return refuse(500, "LoRA rank 99 is greater than max_lora_rank 16.")
        if mode == "bad":
            return refuse(400, "no \x1b[31mcolour\n")
        if mode == "lies":
            return self.answer(200, "Success: LoRA adapter '%s' added successfully." % name)
        if name in s["loaded"]:
            return refuse(400, "The lora adapter '%s' has already been loaded." % name)
        if not os.path.isfile(path + "/adapter_model.safetensors"):
            return refuse(404, "No adapter found for " + path)
        s["loaded"][name] = path
        if mode == "lost":  # loaded, but the answer does not come
            return self.cut()
        self.answer(200, "Success: LoRA adapter '%s' added successfully." % name)

    def unload(self, s, mode, body, refuse):
        if mode != "keeps" and body["lora_name"] not in s["loaded"]:
            return refuse(404, "The lora adapter '%s' cannot be found." % body["lora_name"])
        if mode != "keeps":
            del s["loaded"][body["lora_name"]]
        self.answer(200, "Success: LoRA adapter '%s' removed successfully." % body["lora_name"])

    def vllm(self, s, mode, route, body):
        def refuse(status, message):
            self.answer(status, {"error": {"message": message, "type": "x", "code": status}})
        if route == "version":
            return self.answer(200, {"version": "0.32.0"})
        if route == "v1/models":
            return self.models(s)
        if route == "v1/load_lora_adapter" and mode != "noroute":
            return self.load(s, mode, body, refuse)
        if route == "v1/unload_lora_adapter":
            return self.unload(s, mode, body, refuse)
        if route == "v1/completions":
            if body["model"] not in s["loaded"] and body["model"] != BASE:
                return refuse(404, "The model does not exist.")
            return self.answer(200, {"choices": [{"text": open("answer").read()}]})
        self.answer(404, {"detail": "Not Found"})

    def sglang(self, s, mode, route, body):
        def refuse(status, message):
            self.answer(400, {"success": False, "error_message": message, "loaded_adapters": s["loaded"]})
        if route == "get_server_info":
            return self.answer(200, {"model_path": BASE, "version": "0.5.23", "enable_lora": mode != "off",
                                     "max_lora_rank": 1 if mode == "small" else 64,
                                     "lora_target_modules": ["k_proj"] if mode == "other" else ["all"]})
        if route == "v1/models":
            return self.models(s)
        if route == "load_lora_adapter":
            return self.load(s, mode, body, refuse)
        if route == "unload_lora_adapter":
            return self.unload(s, mode, body, refuse)
        if route == "generate":
            return self.answer(200, {"text": open("answer").read()})
        self.answer(404, {"detail": "Not Found"})

    # ---- llama.cpp ----

    def llama(self, s, mode, route, body):
        paths = lines("adapters")
        if route == "props":
            return self.answer(200, {"default_generation_settings": {}, "total_slots": 2, "model_path": BASE + ".gguf"})
        if route == "lora-adapters" and self.command == "GET":
            return self.answer(200, [{"id": i, "path": p, "scale": s["scales"].get(i, 1.0)} for i, p in enumerate(paths)])
        if route == "lora-adapters":
            if mode != "lies":  # ids that are left out become 0
                s["scales"] = dict.fromkeys(range(len(paths)), 0.0)
                s["scales"].update((a["id"], a["scale"]) for a in body)
            return self.answer(200, {"success": True})
        if route.startswith("slots/"):
            if mode == "noslots":
                return self.answer(501, {"error": {"message": "Start it with `--slot-save-path`", "code": 501}})
            return self.answer(200, {"id_slot": 0, "n_erased": 1})
        if route == "completion":
            return self.answer(200, {"content": open("answer").read()})
        self.answer(404, {"error": {"message": "File Not Found", "code": 404}})


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


servers = [Server(("127.0.0.1", 0), Engine) for _ in range(2)]
ports += [s.server_address[1] for s in servers]
for server in servers:
    threading.Thread(target=server.serve_forever, daemon=True).start()
print(*ports, flush=True)
sys.stdin.read()

#!/usr/bin/env python3
"""usage: hub_server.py FOLDER LOG [CERTIFICATE.pem]: a hub on loopback, for tests. Prints the ports of two servers, then serves until its
standard input ends. FOLDER/OWNER/NAME holds the files of a repository (of a data set: FOLDER/datasets/OWNER/NAME). The
owner says what goes wrong with them; the second server is the other host of redirects. Each request is a line of LOG:
port, path, Range, Authorization. With a certificate and its key the first server speaks TLS."""
import hashlib
import http.server
import json
import os
import socketserver
import ssl
import sys
import threading
import time
import urllib.parse

LARGE = 1000  # files from this size on are Git LFS files
ROOT, LOG = sys.argv[1], open(sys.argv[2], "a", buffering=1)
seen, lock, ports = {}, threading.Lock(), []


def count(key):
    """How often this was called with the key, before."""
    with lock:
        seen[key] = seen.get(key, 0) + 1
        return seen[key] - 1


def files(folder):
    for base, _, names in sorted(os.walk(folder)):
        for name in sorted(names):
            path = os.path.join(base, name)
            with open(path, "rb") as f:
                yield os.path.relpath(path, folder), f.read()


def entry(path, data):
    blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    e = {"type": "file", "path": path, "size": len(data), "oid": blob}
    if len(data) >= LARGE:
        e["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    return e


def commit(folder):
    h = hashlib.sha1()
    for path, data in files(folder):
        h.update(path.encode() + b"\0" + data)
    return h.hexdigest()


class Hub(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        headers.setdefault("Content_Length", len(body))
        for key, value in headers.items():
            if value is not None:
                self.send_header(key.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    def json(self, value, **headers):
        self.answer(200, json.dumps(value).encode(), Content_Type="application/json", **headers)

    def cut(self):
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(2)

    def do_HEAD(self):  # of huggingface_hub
        self.do_GET()

    def do_GET(self):
        port = self.server.server_address[1]
        url = urllib.parse.urlsplit(self.path)
        print(ports.index(port), self.path, self.headers.get("Range"), self.headers.get("Authorization"), file=LOG)
        parts = [urllib.parse.unquote(p) for p in url.path.split("/")[1:]]
        api = parts[0] == "api"
        if api:
            parts = parts[1:]
        data_set = parts[0] == "datasets"
        if parts[0] in ("models", "datasets"):
            parts = parts[1:]
        owner, name = parts[:2]
        folder = os.path.join(ROOT, *(["datasets"] if data_set else []), owner, name)
        if not os.path.isdir(folder):
            return self.answer(404, X_Error_Code="RepoNotFound", X_Error_Message="Repository not found")
        if owner == "private" and self.headers.get("Authorization") != "Bearer hf_secret":
            return self.answer(401, X_Error_Message="Invalid username or password.")
        if owner == "gated":
            return self.answer(403, X_Error_Message="Access to model %s/%s is restricted." % (owner, name))
        if owner == "busy" and count(self.path) < 2:
            return self.answer(429, Retry_After=0)
        if owner == "fails":
            return self.answer(503, b"<html>down</html>", Content_Type="text/html")
        if owner == "page":
            return self.answer(200, b"<html>Log in</html>", Content_Type="text/html")
        if api and parts[2] == "revision":
            if parts[3] not in ("main", "v1", commit(folder)):
                return self.answer(404, X_Error_Code="RevisionNotFound", X_Error_Message="Invalid rev id: " + parts[3])
            return self.json({"id": owner + "/" + name, "sha": "../../x" if owner == "badcommit" else commit(folder)})
        if api and parts[2] == "tree":
            return self.tree(owner, folder, urllib.parse.parse_qs(url.query))
        self.file(owner, folder, "/".join(parts[4:]), url)

    def tree(self, owner, folder, query):
        entries = [entry(path, data) for path, data in files(folder)]
        if owner == "hostile":
            bad = open(os.path.join(folder, "names")).read().split("\n")[0]
            entries.append(dict(entry("x.jsonl", b"{}"), path=bad.encode().decode("unicode_escape")))
        if owner == "twice":
            entries.append(entries[0])
        if owner == "badhash":
            entries[0]["oid"] = "../../../evil"
        if owner == "negative":
            entries[0]["size"] = -5
        if owner == "broken":
            return self.answer(200, b'[{"type": "file", "path": ')
        if owner in ("pages", "elsewhere"):
            at = int(query.get("cursor", ["0"])[0])
            port = ports[owner == "elsewhere"]
            more = "<http://127.0.0.1:%d%s?recursive=true&cursor=%d>; rel=\"next\"" % (port, self.path.split("?")[0], at + 2)
            return self.json(entries[at:at + 2], Link=more if at + 2 < len(entries) else None)
        self.json(entries)

    def file(self, owner, folder, path, url):
        full = os.path.join(folder, path)
        if not os.path.isfile(full):
            return self.answer(404, X_Error_Code="EntryNotFound", X_Error_Message="Entry not found")
        with open(full, "rb") as f:
            data = f.read()
        other = ports[1] == self.server.server_address[1]
        large = len(data) >= LARGE
        if owner == "moved" and large and not other:
            return self.answer(302, Location="http://127.0.0.1:%d%s" % (ports[1], self.path), X_Linked_Size=len(data))
        if owner == "relative" and "?" not in self.path:
            return self.answer(307, Location=self.path + "?again")
        if owner == "loop" and large:
            return self.answer(302, Location=self.path)
        if owner == "ftp" and large:
            return self.answer(302, Location="ftp://127.0.0.1/x")
        wanted = self.headers.get("Range")
        start = int(wanted[len("bytes="):].rstrip("-")) if wanted else 0
        if owner == "norange":
            start = 0
        if start and start >= len(data):
            return self.answer(416)
        body = data[start:]
        if owner == "otherrange" and start:
            start, body = start - 1, data[start - 1:]
        e = entry(path, data)
        headers = {"Content_Length": len(body), "X_Repo_Commit": commit(folder),
                   "ETag": '"%s"' % (e["lfs"]["oid"] if "lfs" in e else e["oid"])}
        if start:
            headers["Content_Range"] = "bytes %d-%d/%d" % (start, len(data) - 1, len(data))
        if owner == "damaged" and large:
            body = body[:-1] + bytes([body[-1] ^ 1])
        if owner == "longer" and large:
            body += b"more"
            headers["Content_Length"] = len(body)
        if owner == "shorter" and large:
            body = body[:-7]
            headers["Content_Length"] = len(body)
        if owner in ("endless", "early") and large:
            headers["Content_Length"] = None
            headers["Connection"] = "close"
            body = body + b"more" if owner == "endless" else body[:-7]
            self.close_connection = True
        self.send_response(206 if start else 200)
        for key, value in headers.items():
            if value is not None:
                self.send_header(key.replace("_", "-"), str(value))
        self.end_headers()
        if self.command == "HEAD":
            return None
        if owner in ("cut", "norange", "otherrange") and large and count((owner, path)) < 2 or owner == "cutting" and large:
            self.wfile.write(body[:len(body) // 3 if owner != "cutting" else 10])
            return self.cut()
        if owner == "stalls" and large and count((self.path, "stall")) < 1:
            self.wfile.write(body[:len(body) // 2])
            self.wfile.flush()
            time.sleep(20)
            return self.cut()
        if owner == "slow" and large:
            for i in range(0, len(body), 1 << 14):
                self.wfile.write(body[i:i + (1 << 14)])
                time.sleep(0.05)
            return None
        self.wfile.write(body)


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass  # clients leave


servers = [Server(("127.0.0.1", 0), Hub) for _ in range(2)]
if len(sys.argv) > 3:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(sys.argv[3])
    servers[0].socket = tls.wrap_socket(servers[0].socket, server_side=True)
ports += [s.server_address[1] for s in servers]
for s in servers:
    threading.Thread(target=s.serve_forever, daemon=True).start()
print(*ports, flush=True)
sys.stdin.read()

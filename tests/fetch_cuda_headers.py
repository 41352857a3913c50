#!/usr/bin/env python3
"""usage: fetch_cuda_headers.py [FOLDER]

Puts the CUDA headers that the tests of the CUDA backend need into FOLDER (third_party/cuda-headers), unless the CUDA
Toolkit is installed or they are there already. They come from NVIDIA's wheels on the package index that pip is set up
for; of each wheel, a zip file, only the table of contents and the headers are read, by HTTP ranges: about 10 MB instead
of 500. The headers are under NVIDIA's license for the CUDA Toolkit, whose text is stored with them; nothing of this is
committed. All of them or none: without network, index or ranges it prints the reason and ends with status 1, and those tests are
left out.
"""
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import zipfile

# Of one release of the toolkit: headers of different releases include each other's files in vain.
WHEELS = [
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-cuda-crt==13.0.88",
    "nvidia-cuda-cccl==13.0.85",
    "nvidia-cublas==13.0.2.14",
    "nvidia-nccl-cu13==2.28.9",
]
NEEDED = ["cuda_runtime.h", "cuda_bf16.h", "cuda_fp8.h", "crt/host_defines.h", "nv/target", "cublasLt.h", "nccl.h"]
CHUNK = 1 << 18


class RangeFile(io.RawIOBase):
    """A file at a URL, of which only the parts that are read are fetched."""

    def __init__(self, url):
        self.url, self.at, self.chunks = url, 0, {}
        with self.open(0, 0) as answer:
            if answer.status != 206:
                raise OSError("the package index does not serve ranges of files")
            self.size = int(answer.headers["Content-Range"].rsplit("/", 1)[1])

    def open(self, first, last):
        request = urllib.request.Request(self.url, headers={"Range": f"bytes={first}-{last}"})
        return urllib.request.urlopen(request, timeout=60)

    def seekable(self):
        return True

    def readable(self):
        return True

    def seek(self, offset, whence=io.SEEK_SET):
        self.at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.size}[whence]
        return self.at

    def tell(self):
        return self.at

    def chunk(self, i):
        if i not in self.chunks:
            with self.open(i * CHUNK, min(self.size, (i + 1) * CHUNK) - 1) as answer:
                self.chunks[i] = answer.read()
        return self.chunks[i]

    def readinto(self, buffer):
        n = min(len(buffer), self.size - self.at, CHUNK - self.at % CHUNK)
        if n <= 0:
            return 0
        start = self.at % CHUNK
        buffer[:n] = self.chunk(self.at // CHUNK)[start : start + n]
        self.at += n
        return n


def wheel_url(name):
    """The address of a wheel, from pip's own configuration."""
    with tempfile.TemporaryDirectory() as folder:
        report = os.path.join(folder, "report.json")
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--ignore-installed", "--quiet"]
        command += ["--only-binary=:all:", "--target", folder, "--report", report, name]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            raise OSError(f"{name}: {lines[-1] if lines else 'pip failed'}")
        with open(report) as f:
            return json.load(f)["install"][0]["download_info"]["url"]


def header_path(member):
    """Where a wheel's header goes, below an include folder; None: not a header."""
    parts = member.split("/")
    if "include" not in parts or member.endswith("/"):
        return None
    path = "/".join(parts[parts.index("include") + 1 :])
    if path.startswith("nv/"):
        return path  # these have no ending
    return path if path.endswith((".h", ".hpp")) and (path.count("/") == 0 or path.startswith("crt/")) else None


def take_headers(name, folder):
    with zipfile.ZipFile(io.BufferedReader(RangeFile(wheel_url(name)), CHUNK)) as wheel:
        count = 0
        for member in wheel.namelist():
            path = header_path(member)
            if path is None and "license" in os.path.basename(member).lower():
                path = f"LICENSE.{name.partition('==')[0]}"
            if path is None or ".." in path:
                continue
            target = os.path.join(folder, path)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "wb") as f:
                f.write(wheel.read(member))
            count += not path.startswith("LICENSE")
        print(f"{name}: {count} headers")


def toolkit_folders():
    roots = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda", "/usr"]
    nvcc = shutil.which("nvcc")
    if nvcc:
        roots.append(os.path.dirname(os.path.dirname(os.path.realpath(nvcc))))
    return [os.path.join(r, "include") for r in roots if r]


def missing(*folders):
    return [h for h in NEEDED if not any(os.path.exists(os.path.join(f, h)) for f in folders)]


def main():
    top = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(top, "third_party", "cuda-headers")
    include = os.path.join(folder, "include")
    if not missing(*toolkit_folders()) or not missing(include):
        return
    part = folder + ".part"
    shutil.rmtree(part, ignore_errors=True)
    try:
        for name in WHEELS:
            take_headers(name, os.path.join(part, "include"))
        lacking = missing(os.path.join(part, "include"))
        if lacking:
            raise OSError(f"the wheels lack {', '.join(lacking)}")
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(part, folder)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as problem:
        shutil.rmtree(part, ignore_errors=True)
        sys.exit(f"fetch_cuda_headers.py: {problem}; tests of the CUDA backend will be left out")


main()

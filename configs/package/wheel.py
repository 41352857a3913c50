"""usage: wheel.py FOLDER VERSION OUT: a Python wheel from an installed lorac in FOLDER (bin, lib, share): `pip install`
gives the command lorac. The tag names the glibc that the program needs. Standard library only."""
import base64
import hashlib
import os
import platform
import re
import sys
import zipfile

folder, version, out = sys.argv[1:]
with open(os.path.join(folder, "bin", "lorac"), "rb") as f:
    glibc = max(int(n) for n in re.findall(rb"GLIBC_2\.(\d+)", f.read()))
tag = f"py3-none-manylinux_2_{glibc}_{platform.machine()}"
info, data = f"lorac-{version}.dist-info", f"lorac-{version}.data"
record = []
path = os.path.join(out, f"lorac-{version}-{tag}.whl")

with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
    def put(name, content, mode=0o644):
        entry = zipfile.ZipInfo(name)  # dated 1980: the same input gives the same file
        entry.external_attr = (0o100000 | mode) << 16
        entry.compress_type = zipfile.ZIP_DEFLATED
        wheel.writestr(entry, content)
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        record.append(f"{name},sha256={digest},{len(content)}\n")

    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            full = os.path.join(parent, name)
            inner = os.path.relpath(full, folder)
            with open(full, "rb") as f:
                content = f.read()
            if inner == "bin/lorac":
                put(f"{data}/scripts/lorac", content, 0o755)
            elif inner.startswith(("lib/", "share/")):
                put(f"{data}/data/{inner}", content)
            elif inner == "LICENSE":
                put(f"{info}/{inner}", content)
    put(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: lorac\nVersion: {version}\n"
        "Summary: Fine-tune language models with LoRA adapters: one native program\n"
        "License: Apache-2.0\n".encode())
    put(f"{info}/WHEEL", f"Wheel-Version: 1.0\nGenerator: lorac\nRoot-Is-Purelib: false\nTag: {tag}\n".encode())
    wheel.writestr(f"{info}/RECORD", "".join(record) + f"{info}/RECORD,,\n")
print(path)

#!/usr/bin/env python3
"""usage: spills.py NVCC INCLUDE;... SOURCE.cu;... [ARCH ...]: compiles the kernels for every architecture that a release
has code for, and fails if the compiler warns or a kernel spills registers, which changes no result but costs speed.
Exit status 77: no nvcc, or one that does not know an architecture."""
import os
import re
import subprocess
import sys
import tempfile

ARCHITECTURES = ["80", "86", "89", "90", "100", "120"]
# Bytes of stores: so little the compiler spills of its own accord where one more block of threads fits in return.
MOST_SPILLED = 16
SPILLS = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")


def findings(text):
    """What is wrong in the output of ptxas -v, as lines; and the number of kernels in it."""
    found, kernels, name, arch = [], 0, "?", "?"
    for line in text.splitlines():
        if match := re.search(r"Compiling entry function '(\S+)' for '(\S+)'", line):
            name, arch = match.groups()
            kernels += 1
        elif match := SPILLS.search(line):
            if int(match[2]) > MOST_SPILLED:
                found.append(f"{arch}: {name}: {match[2]} bytes of spill stores, {match[3]} of spill loads; "
                             f"expected at most {MOST_SPILLED}")
        elif "warning" in line.lower():
            found.append(line.strip())
    return found, kernels


def compile_one(nvcc, includes, source, architectures):
    codes = [word for a in architectures for word in ("-gencode", f"arch=compute_{a},code=sm_{a}")]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([nvcc, "-std=c++17", "-O3", "-c", "-Xptxas", "-v", "-Xcompiler=-Wall,-Wextra,-fPIC",
                               "-D_GNU_SOURCE", "-DHOST_DEVICE=__host__ __device__", *codes,
                               *[f"-I{i}" for i in includes], "-o", f"{folder}/o.o", source],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return ([done.stdout.strip()], 0) if done.returncode else findings(done.stdout)


def main():
    nvcc, includes, sources = sys.argv[1], sys.argv[2].split(";"), sys.argv[3].split(";")
    architectures = sys.argv[4:] or ARCHITECTURES
    if not os.access(nvcc, os.X_OK):
        print("skipped: no nvcc")
        sys.exit(77)
    known = subprocess.run([nvcc, "--list-gpu-code"], capture_output=True, text=True, check=False).stdout.split()
    if unknown := [a for a in architectures if f"sm_{a}" not in known]:
        print(f"skipped: {nvcc} does not know sm_{', sm_'.join(unknown)}")
        sys.exit(77)
    bad = 0
    for source in sources:
        found, kernels = compile_one(nvcc, includes, source, architectures)
        found = found or ([] if kernels else ["no kernel was compiled"])
        print(f"{os.path.basename(source)}: {kernels} kernels for {', '.join(architectures)}", flush=True)
        for line in found:
            print("  " + line, flush=True)
        bad += len(found)
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()

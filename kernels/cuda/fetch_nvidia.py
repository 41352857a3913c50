#!/usr/bin/env python3
"""usage: fetch_nvidia.py [--cuda 12|13] NAME...: libraries of NVIDIA into third_party/nvidia, where cmake finds them

NAME: cudnn, frontend (cudnn-frontend, headers only), nccl; nvrtc and runtime for machines without the CUDA Toolkit, on
which they serve only the tests of cuDNN's plans. They come from NVIDIA's wheels on the package index that pip is set up
for: the versions below, checked against the hashes below. Nothing of it is committed; NVIDIA's licenses are stored with
the files. What is there in this version already is kept. Exit status 1: not fetched, with the reason.
"""
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile

TOP = pathlib.Path(__file__).resolve().parents[2]
TARGET = TOP / "third_party" / "nvidia"

# NAME and the major version of CUDA: wheel, version, sha256 for x86_64 and aarch64, folder of include and lib.
WHEELS = {
    ("cudnn", 13): ("nvidia-cudnn-cu13", "9.28.1.4", "nvidia/cudnn",
        "a54f205b1db1f2895d99f398754db1369816f0569dd459731f925635cf7b65ec",
        "759b6a4919951ed8ec603dec97b96f6a6396c8269b95b3d345526e2471fb433d"),
    ("cudnn", 12): ("nvidia-cudnn-cu12", "9.28.0.42", "nvidia/cudnn",
        "9ff58b7f36dacd0a93e89f8f2957b52466889217963701daa15e577317cfa375",
        "f88db8fc1a0a5f458e19aa7b08fbe3500aeb9e2bb8dea6293ecbce170364ad72"),
    ("nccl", 13): ("nvidia-nccl-cu13", "2.32.3", "nvidia/nccl",
        "1459723080ac889d73a26edfa3e04383a7928ab31ac8f0ec43b3ea9548b04ff3",
        "a5bee92b2f4af218c109f8d221c3c9adcc752b94ae0ffcb0ed5abf9341a7724c"),
    ("nccl", 12): ("nvidia-nccl-cu12", "2.32.3", "nvidia/nccl",
        "bb94b2348e4861d5e8aa00b36c3d12d9bdf9c6369b82cbb723de0b582280a21c",
        "061af42ae1044816820e16b872075e243d1ac0656f51860fbc8e106c257aa83a"),
    ("frontend", 0): ("nvidia-cudnn-frontend", "1.32.0", ".",
        "c6006556017a4d1c914c52a556c71b1267f2d6a0500f742e7b4edef539878df0",
        "15736b7f9eb12ea04bd78ebcc64ae654891ae496d8cb3788e721330ac7b07b9b"),
    ("nvrtc", 13): ("nvidia-cuda-nvrtc", "13.0.88", "nvidia/cu13",
        "ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575",
        "d27f20a0ca67a4bb34268a5e951033496c5b74870b868bacd046b1b8e0c3267b"),
    ("runtime", 13): ("nvidia-cuda-runtime", "13.0.96", "nvidia/cu13",
        "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
        "ef9bcbe90493a2b9d810e43d249adb3d02e98dd30200d86607d8d02687c43f55"),
}


def download(wheel, version, hashes, folder):
    """The wheel file. Its Python version is irrelevant: headers and libraries are the same in all of them."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{wheel}=={version} " + " ".join(f"--hash=sha256:{h}" for h in hashes) + "\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
               "--require-hashes", "--only-binary=:all:", "--implementation=cp", "--python-version=3.11",
               "--dest", str(folder), "--requirement", str(requirements)]
    for old in ("2_28", "2_27", "2_17", "2_12"):
        command.append(f"--platform=manylinux_{old}_{platform.machine()}")
    command += [f"--platform=manylinux2014_{platform.machine()}", f"--platform=manylinux2010_{platform.machine()}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise OSError(f"{wheel} {version}: {lines[-1] if lines else 'pip failed'}")
    return next(folder.glob("*.whl"))


def wanted_path(member, root):
    """Where a file of the wheel goes, below its folder in TARGET; None: not needed."""
    if ".." in member.split("/") or member.endswith("/"):
        return None
    if "/licenses/" in member:
        return member[member.index("/licenses/") + 1 :]
    inside = member if root == "." else member[len(root) + 1 :] if member.startswith(root + "/") else ""
    return inside if inside.startswith(("include/", "lib/")) else None


def fetch(name, cuda):
    key = (name, cuda) if (name, cuda) in WHEELS else (name, 0)
    if key not in WHEELS:
        raise OSError(f"{name} for CUDA {cuda} is unknown; expected one of "
                      + ", ".join(f"{n} ({c or 'any'})" for n, c in WHEELS))
    wheel, version, root, *hashes = WHEELS[key]
    target, label = TARGET / name, f"{wheel} {version}"
    stamp = target / "version"
    if stamp.exists() and stamp.read_text().strip() == label:
        return
    print(f"fetching {label}", flush=True)
    TARGET.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=TARGET) as work:
        folder = pathlib.Path(work)
        new = folder / name
        with zipfile.ZipFile(download(wheel, version, hashes, folder)) as archive:
            for member in archive.namelist():
                path = wanted_path(member, root)
                if path is None:
                    continue
                (new / path).parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, open(new / path, "wb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)
        (new / "version").write_text(label + "\n")
        shutil.rmtree(target, ignore_errors=True)
        os.rename(new, target)


def main():
    names, cuda = sys.argv[1:], 13
    if names[:1] == ["--cuda"] and len(names) > 1 and names[1].isdigit():
        cuda, names = int(names[1]), names[2:]
    if not names:
        sys.exit(__doc__)
    try:
        for name in names:
            fetch(name, cuda)
    except (OSError, zipfile.BadZipFile) as problem:
        sys.exit(f"fetch_nvidia.py: {problem}")


main()

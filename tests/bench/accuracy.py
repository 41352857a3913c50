#!/usr/bin/env python3
"""Perplexity of a model with its layers in each type, against float32: prints a markdown table.

usage: accuracy.py --lorac build/lorac --model MODEL.gguf --work DIR [--data FILE] [--types Q4_0,nf4,...]
pip install gguf numpy xllamacpp. Quantised files are made by ggml's own quantiser (ggml_quantize_chunk, without an
importance matrix) from MODEL's weights as float32, with llama.cpp's stand-ins for matrices whose columns are not whole
blocks of 256. Embeddings and norms stay float32 everywhere. int8 and nf4 are quantize_base over the float32 file.
"""
import argparse
import ctypes
import json
import pathlib
import subprocess
import sys

import gguf
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DENSE = ["F32", "F16", "BF16"]
BLOCKS = ["Q8_0", "Q6_K", "Q5_K", "Q5_1", "Q5_0", "Q4_K", "Q4_1", "Q4_0", "IQ4_NL", "IQ4_XS", "MXFP4", "Q3_K", "Q2_K"]
STAND_IN = {"Q2_K": "IQ4_NL", "Q3_K": "IQ4_NL", "IQ4_XS": "IQ4_NL", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
SHOWN = {"int8": "int8 (quantize_base)", "nf4": "nf4 (quantize_base)"}


def ggml():
    import xllamacpp  # loads what the library needs
    folder = pathlib.Path(xllamacpp.__file__).parent
    library = ctypes.CDLL(str(next(folder.glob("xllamacpp*.so"))))
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    library.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64,
                                            ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]
    return library


def packed(library, w, name):
    """The matrix in a type, as bytes, and the type that it was put in."""
    kind = gguf.GGMLQuantizationType[name]
    if name in DENSE:
        return gguf.quants.quantize(w, kind), kind
    block, size = gguf.GGML_QUANT_SIZES[kind]
    if w.shape[1] % block:
        return packed(library, w, STAND_IN[name])
    out = np.zeros((w.shape[0], w.shape[1] // block * size), np.uint8)
    w = np.ascontiguousarray(w)
    library.ggml_quantize_chunk(int(kind), w.ctypes.data, out.ctypes.data, 0, w.shape[0], w.shape[1], None)
    return out, kind


def is_linear(tensor):
    return tensor.name.startswith("blk.") and len(tensor.shape) == 2


def write(path, reader, name, library):
    """A copy of the file with its layers' matrices in a type; returns their bytes."""
    arch = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(path, arch)
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key == "general.architecture":
            continue
        sub = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(key, field.contents(), field.types[0], sub)
    total = 0
    for t in reader.tensors:
        w = gguf.quants.dequantize(t.data, t.tensor_type).reshape([int(n) for n in reversed(t.shape)])
        w = w.astype(np.float32)
        if is_linear(t):
            data, kind = packed(library, w, name)
            total += data.nbytes
            writer.add_tensor(t.name, data, raw_dtype=None if name == "F32" else kind)
        else:
            writer.add_tensor(t.name, w)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return total


def evaluate(args, path, quantize):
    command = [args.lorac, "eval", "--model_name_or_path", path, "--validation_file", args.data, "--json",
               "--train_on_inputs", "true", "--max_seq_length", "512", "--quantize_base", quantize]
    # A process counts its parent's peak as its own, so a small one runs in between.
    small = "import resource, subprocess, sys; code = subprocess.run(sys.argv[1:]).returncode; " \
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024); sys.exit(code)"
    done = subprocess.run([sys.executable, "-c", small, *map(str, command)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: {done.stderr}")
    result, peak = done.stdout.splitlines()
    return json.loads(result), int(peak)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lorac", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--data", default=ROOT / "data/examples/tool_calls_test.jsonl")
    parser.add_argument("--types", default=",".join(DENSE + ["int8", "nf4"] + BLOCKS))
    args = parser.parse_args()
    work, library, reader = pathlib.Path(args.work), ggml(), gguf.GGUFReader(args.model)
    work.mkdir(parents=True, exist_ok=True)
    dense, path = work / "base-F32.gguf", work / "base-type.gguf"
    elements = sum(int(np.prod(t.shape)) for t in reader.tensors if is_linear(t))
    write(dense, reader, "F32", library)
    reference, _ = evaluate(args, dense, "none")
    print(f"{reference['tokens']} tokens of {pathlib.Path(args.data).name}, {elements / 1e6:.1f} M weights in the layers")
    print("| type of the layers | MB | bits | perplexity | against F32 | peak MB |\n|---|---|---|---|---|---|")
    for name in args.types.split(","):
        if name in SHOWN:
            result, peak = evaluate(args, dense, name)
            size = elements * (8.5 if name == "int8" else 4.125) / 8  # nf4: and 4 bytes a row
        else:
            size = write(path, reader, name, library)
            result, peak = evaluate(args, path, "none")
        change = result["eval_perplexity"] / reference["eval_perplexity"] - 1
        print(f"| {SHOWN.get(name, name)} | {size / 1e6:.1f} | {size * 8 / elements:.2f} | {result['eval_perplexity']:.4f} "
              f"| {change:+.2%} | {peak / 1e6:.0f} |", flush=True)


main()

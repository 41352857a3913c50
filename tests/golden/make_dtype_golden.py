"""Writes dtype_golden.txt: random blocks of every quantised type and what gguf-py expands them to.

pip install gguf numpy; python3 make_dtype_golden.py
One line a block: type, the block's bytes in hex, then the XOR of all float32 bit patterns rotated by their index (a
checksum that depends on order and every bit), then the first and last 4 values as float32 bit patterns.
Blocks whose scales are not finite are left out.
"""
import os
import gguf
import numpy as np
from gguf.quants import dequantize

TYPES = ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K", "Q2_K", "Q3_K", "IQ4_NL", "IQ4_XS", "MXFP4"]
SCALES = {"Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q4_K": [0, 2], "Q5_K": [0, 2],
          "Q6_K": [208], "Q2_K": [80, 82], "Q3_K": [108], "IQ4_NL": [0], "IQ4_XS": [0], "MXFP4": []}
BLOCKS = 24

rng = np.random.default_rng(20260101)
here = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(here, "dtype_golden.txt"), "w") as out:
    for name in TYPES:
        kind = gguf.GGMLQuantizationType[name]
        _, size = gguf.GGML_QUANT_SIZES[kind]
        written = 0
        while written < BLOCKS:
            block = rng.integers(0, 256, size, dtype=np.uint8)
            if written % 3 == 0:  # scales of ordinary size; the others are any half, subnormal and huge ones too
                for at in SCALES[name]:
                    block[at:at + 2] = np.array([rng.normal() * 0.02], dtype=np.float16).view(np.uint8)
            if name == "MXFP4" and written < 5:  # the subnormal powers of two, the largest, one in the middle
                block[0] = [0, 1, 2, 252, 128][written]
            values = dequantize(block.reshape(1, -1), kind).reshape(-1).astype(np.float32)
            if not np.isfinite(values).all():
                continue
            bits = [int(v) for v in values.view(np.uint32)]
            check = 0
            for i, b in enumerate(bits):
                r = i % 32
                check ^= ((b << r) | (b >> (32 - r))) & 0xFFFFFFFF
            shown = bits[:4] + bits[-4:]
            out.write(" ".join([name, block.tobytes().hex(), f"{check:08x}"] + [f"{b:08x}" for b in shown]) + "\n")
            written += 1

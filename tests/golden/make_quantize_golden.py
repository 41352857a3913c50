"""Writes quantize_golden.txt: float32 numbers and their quantised blocks.

pip install gguf numpy; python3 make_quantize_golden.py
Q8_0 lines: the bit patterns of 32 numbers, then the block that gguf-py makes of them.
NF4 lines: 192 numbers (a row of three blocks of 64), the scale of the row, then the blocks, by brute force in double
precision: code = the one whose square is nearest to the block's largest magnitude in units of the row's scale, levels =
the nearest of bitsandbytes' 16 (bitsandbytes/functional.py, "nf4").
"""
import os
import gguf
import numpy as np
from gguf.quants import quantize

LEVELS = np.array([-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
                   -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
                   0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
                   0.7229568362236023, 1.0])
rng = np.random.default_rng(20260102)
here = os.path.dirname(os.path.abspath(__file__))


def bits(x):
    return ",".join(f"{int(v):x}" for v in x.astype(np.float32).view(np.uint32))


def q8_0_inputs():
    for i in range(24):
        x = (rng.normal(size=32) * 10.0 ** rng.integers(-8, 4)).astype(np.float32)
        if i == 0:
            x[:] = 0
        if i == 1:  # every quotient an exact half
            x = (np.arange(32) - 16 + np.where(np.arange(32) < 16, 0.5, -0.5)).astype(np.float32)
            x[0] = 127
        if i == 2:
            x[5:] = 0
        yield x


def nf4(row):
    scale = np.float32(np.abs(row).max() / np.float32(255 * 255))
    out = b""
    for block in row.astype(np.float64).reshape(-1, 64):
        codes = np.arange(256, dtype=np.float64) ** 2 * np.float64(scale)
        code = int(np.abs(np.sqrt(codes) - np.sqrt(np.abs(block).max())).argmin())
        step = np.float64(np.float32(code * code) * scale)
        q = np.abs(block[:, None] - LEVELS * step).argmin(1)
        out += bytes([code]) + bytes(int(q[2 * j]) | int(q[2 * j + 1]) << 4 for j in range(32))
    return scale, out


with open(os.path.join(here, "quantize_golden.txt"), "w") as f:
    for x in q8_0_inputs():
        block = quantize(x.reshape(1, -1), gguf.GGMLQuantizationType.Q8_0).tobytes()
        f.write(f"Q8_0 {bits(x)} 0 {block.hex()}\n")
    for i in range(12):
        x = (rng.normal(size=192) * 10.0 ** rng.integers(-6, 3)).astype(np.float32)
        x[:64] *= np.float32([1, 0.3, 0.05, 0.01][i % 4])
        scale, blocks = nf4(x)
        f.write(f"NF4 {bits(x)} {bits(np.array([scale]))} {blocks.hex()}\n")

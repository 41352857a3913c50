"""Writes pack_golden.txt: for each block type the relative squared error of ggml's own blocks, without importance matrix.

pip install gguf numpy xllamacpp; python3 make_pack_golden.py
The numbers are those of test_dtype_pack.c: sums of three uniform ones, whose size differs from group to group.
"""
import ctypes
import os

import gguf
import numpy as np
import xllamacpp.xllamacpp as module

COUNT, GROUP = 256 * 64, 32
here = os.path.dirname(os.path.abspath(__file__))
ggml = ctypes.CDLL(module.__file__)
ggml.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p] + [ctypes.c_int64] * 3 + [ctypes.c_void_p]


def numbers():
    seed, x = 11, np.zeros(COUNT, np.float32)

    def uniform():
        nonlocal seed
        seed = (seed * 1664525 + 1013904223) & 0xFFFFFFFF
        return np.float32((seed ^ 0x80000000) - 0x80000000) * np.float32(2.0**-31)

    for i in range(COUNT):
        size = np.float32(1 + i // GROUP * 7 % 11) * np.float32(2.0**-8)
        x[i] = np.float32(np.float32(uniform() + uniform()) + uniform()) * size
    return x


x = numbers()
with open(os.path.join(here, "pack_golden.txt"), "w") as f:
    for name in ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K"):
        t = getattr(gguf.GGMLQuantizationType, name)
        block, size = gguf.GGML_QUANT_SIZES[t]
        out = np.zeros(COUNT // block * size, np.uint8)
        ggml.ggml_quantize_chunk(int(t), x.ctypes.data, out.ctypes.data, 0, COUNT // 256, 256, None)
        error = gguf.quants.dequantize(out, t).astype(np.float64) - x
        f.write(f"{name} {(error**2).sum() / (x.astype(np.float64)**2).sum():.6e}\n")

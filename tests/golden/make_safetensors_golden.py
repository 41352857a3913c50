"""Writes safetensors_golden.txt: what the reference library writes for the tensors of test_safetensors.c, in hex.

pip install safetensors torch; python3 make_safetensors_golden.py
"""
import os
import torch
from safetensors.torch import save

tensors = {
    "b": torch.arange(6, dtype=torch.float32).reshape(2, 3),
    "a": torch.ones(3, dtype=torch.float16),
    "long": torch.arange(2),
    "u": torch.tensor([1, 2, 3], dtype=torch.uint8),
    "bf": torch.ones(2, dtype=torch.bfloat16),
    "i": torch.ones(1, dtype=torch.int32),
    "\u00e9\"\\\n\u0001": torch.zeros(0, 4),
    "scalar": torch.tensor(2.5),
}
here = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(here, "safetensors_golden.txt"), "w") as out:
    for metadata in [{"format": "pt"}, None]:
        out.write(save(tensors, metadata=metadata).hex() + "\n")
    out.write(save({}).hex() + "\n")

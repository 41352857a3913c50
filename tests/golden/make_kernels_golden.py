#!/usr/bin/env python3
"""Writes kernels_torch.txt: outputs and gradients of the ops of kernels/kernels.h, computed by PyTorch in float64.

Inputs are the formula value(seed, i) below, which test_kernels_torch.c repeats; only results are stored, one line each:
name, number of values, values. Run with a Python that has torch: make_kernels_golden.py > kernels_torch.txt
"""
import math
import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)


def value(seed, *shape):
    n = math.prod(shape)
    x = torch.tensor([((i * i * 7919 + i * 31 + seed * 104729) % 1009) / 256 - 2 for i in range(n)])
    return x.reshape(shape).requires_grad_()


def show(name, x):
    flat = x.detach().reshape(-1).tolist()
    print(name, len(flat), *(f"{v:.9g}" for v in flat))


def rmsnorm():
    x, w, d = value(1, 3, 10), value(2, 10), value(3, 3, 10)
    out = F.rms_norm(x, (10,), w, 1e-5)
    out.backward(d)
    show("rmsnorm_out", out)
    show("rmsnorm_dx", x.grad)


def rotate(x, cos, sin):
    # the rotary embedding of Hugging Face's Llama code
    half = x.shape[-1] // 2
    turned = torch.cat((-x[..., half:], x[..., :half]), -1)
    return x * cos + turned * sin


def rope():
    x, d = value(1, 4, 3, 6), value(2, 4, 3, 6)  # T, heads, D
    pos = torch.tensor([5.0, 0.0, 1.0, 7.0])
    angle = pos[:, None] * 10000.0 ** (-torch.arange(0, 6, 2) / 6)
    angle = torch.cat((angle, angle), -1)[:, None, :]
    out = rotate(x, angle.cos(), angle.sin())
    out.backward(d)
    show("rope_out", out)
    show("rope_dx", x.grad)


def glu(name, act):
    gate, up, d = value(1, 2, 9), value(2, 2, 9), value(3, 2, 9)
    out = act(gate) * up
    out.backward(d)
    show(name + "_out", out)
    show(name + "_dgate", gate.grad)
    show(name + "_dup", up.grad)


def attention():
    # two packed samples of 3 and 5 tokens, causal, 4 heads over 2 key/value heads of 6
    q, k, v, d = value(1, 8, 4, 6), value(2, 8, 2, 6), value(3, 8, 2, 6), value(4, 8, 4, 6)
    mask = torch.zeros(8, 8, dtype=torch.bool)
    for start, end in ((0, 3), (3, 8)):
        for i in range(start, end):
            mask[i, start:i + 1] = True
    wide = [t.repeat_interleave(2, 1).transpose(0, 1) for t in (k, v)]
    out = F.scaled_dot_product_attention(q.transpose(0, 1), *wide, attn_mask=mask).transpose(0, 1)
    out.backward(d)
    for name, x in (("out", out), ("dq", q.grad), ("dk", k.grad), ("dv", v.grad)):
        show("attention_" + name, x)


def lora():
    x, a, b, y, d = value(1, 5, 12), value(2, 3, 12), value(3, 7, 3), value(4, 5, 7), value(5, 5, 7)
    out = y + 2.0 * (x @ a.T @ b.T)
    out.backward(d)
    for name, t in (("out", out), ("dx", x.grad), ("da", a.grad), ("db", b.grad)):
        show("lora_" + name, t)


def head_loss(name, smoothing):
    x, w = value(1, 4, 8), value(2, 11, 8)
    targets = torch.tensor([0, 10, 3, 3])
    loss = F.cross_entropy(x @ w.T, targets, reduction="sum", label_smoothing=smoothing)
    (0.25 * loss).backward()
    show(name + "_loss", loss)
    show(name + "_dx", x.grad)


def adamw():
    p = value(1, 20)
    optimizer = torch.optim.AdamW([p], lr=1e-2, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.1)
    for step in range(3):
        p.grad = value(10 + step, 20).detach()
        optimizer.step()
    show("adamw_p", p)
    state = optimizer.state[p]
    show("adamw_m", state["exp_avg"])
    show("adamw_v", state["exp_avg_sq"])


print(f"# PyTorch {torch.__version__.split('+')[0]}")
rmsnorm()
rope()
glu("silu", F.silu)
glu("gelu", lambda x: F.gelu(x, approximate="tanh"))
attention()
lora()
head_loss("head", 0.0)
head_loss("smooth", 0.1)
adamw()

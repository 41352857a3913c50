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


def layernorm():
    x, w, bias, d = value(1, 3, 10), value(2, 10), value(4, 10), value(3, 3, 10)
    out = F.layer_norm(x, (10,), w, bias, 1e-5)
    out.backward(d)
    show("layernorm_out", out)
    show("layernorm_dx", x.grad)


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


def partial_rope():
    # the first 4 of 6 dims turn, cos and sin scaled by an attention factor
    x, d = value(1, 4, 3, 6), value(2, 4, 3, 6)
    pos = torch.tensor([5.0, 0.0, 1.0, 7.0])
    angle = pos[:, None] * 10000.0 ** (-torch.arange(0, 4, 2) / 4)
    angle = torch.cat((angle, angle), -1)[:, None, :]
    turned = rotate(x[..., :4], 1.25 * angle.cos(), 1.25 * angle.sin())
    out = torch.cat((turned, x[..., 4:]), -1)
    out.backward(d)
    show("partial_rope_out", out)
    show("partial_rope_dx", x.grad)


def glu(name, act):
    gate, up, d = value(1, 2, 9), value(2, 2, 9), value(3, 2, 9)
    out = act(gate) * up
    out.backward(d)
    show(name + "_out", out)
    show(name + "_dgate", gate.grad)
    show(name + "_dup", up.grad)


def activation(name, act):
    x, d = value(1, 2, 9), value(3, 2, 9)
    out = act(x)
    out.backward(d)
    show("act_" + name + "_out", out)
    show("act_" + name + "_dx", x.grad)


def capped_attention(name, cap, bidirectional):
    # as attention() below; scores as in the eager attention of Hugging Face's Gemma 2
    q, k, v, d = value(1, 8, 4, 6), value(2, 8, 2, 6), value(3, 8, 2, 6), value(4, 8, 4, 6)
    mask = torch.full((8, 8), -torch.inf)
    for start, end in ((0, 3), (3, 8)):
        for i in range(start, end):
            mask[i, start:end if bidirectional else i + 1] = 0
    wide = [t.repeat_interleave(2, 1).transpose(0, 1) for t in (k, v)]
    scores = q.transpose(0, 1) @ wide[0].transpose(1, 2) / math.sqrt(6)
    if cap:
        scores = cap * torch.tanh(scores / cap)
    out = (torch.softmax(scores + mask, -1) @ wide[1]).transpose(0, 1)
    out.backward(d)
    for kind, x in (("out", out), ("dq", q.grad), ("dk", k.grad), ("dv", v.grad)):
        show(f"{name}_{kind}", x)


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


def head_loss(name, smoothing, cap=0):
    x, w = value(1, 4, 8), value(2, 11, 8)
    targets = torch.tensor([0, 10, 3, 3])
    logits = x @ w.T
    if cap:
        logits = cap * torch.tanh(logits / cap)
    loss = F.cross_entropy(logits, targets, reduction="sum", label_smoothing=smoothing)
    (0.25 * loss).backward()
    show(name + "_loss", loss)
    show(name + "_dx", x.grad)


def softmax(logits):
    return F.cross_entropy(logits, torch.tensor([0, 4, 3, 3]), reduction="sum", label_smoothing=0.1)


def sigmoid(logits):
    y = torch.arange(20.0).reshape(4, 5) % 3 == 0
    return F.binary_cross_entropy_with_logits(logits, y.double(), reduction="sum") / 5


def squares(logits):
    return F.mse_loss(logits, torch.arange(20.0).reshape(4, 5) / 4 - 2, reduction="sum") / 5


def class_loss(kind, head_loss):
    x, w, bias = value(1, 4, 8), value(2, 5, 8), value(3, 5)
    loss = head_loss(F.linear(x, w, bias))
    (0.25 * loss).backward()
    for name, t in (("loss", loss), ("dx", x.grad), ("dw", w.grad), ("dbias", bias.grad)):
        show(kind + "_" + name, t)


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
layernorm()
rope()
partial_rope()
glu("silu", F.silu)
glu("gelu", lambda x: F.gelu(x, approximate="tanh"))
glu("gelu_erf", F.gelu)
activation("gelu_tanh", lambda x: F.gelu(x, approximate="tanh"))
activation("gelu", F.gelu)
activation("silu", F.silu)
activation("relu", F.relu)
activation("tanh", torch.tanh)
attention()
capped_attention("capped", 2.0, False)
capped_attention("bidirectional", 0, True)
lora()
head_loss("head", 0.0)
head_loss("smooth", 0.1)
head_loss("capped_head", 0.0, 5.0)
head_loss("capped_smooth", 0.1, 5.0)
class_loss("class", softmax)
class_loss("sigmoid", sigmoid)
class_loss("squares", squares)
adamw()

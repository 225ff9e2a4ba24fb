"""Small programs on the tape, with writes in between, and what PyTorch makes of them: gradients, or a refusal.

    python make.py > programs.json        (torch 2.15 on the CPU; no test needs it)

A program has three leaves [4,4], of which some want a gradient, and steps: an op on earlier tensors, or a write of
one value over a tensor without recording it. Leaf k holds 0.2 + ((7 i + 3 k + n) mod 9) / 10 at i in program n.
"""
import json
import random

import torch
import torch.nn.functional as F

random.seed(5)
UNARY = {
    "square": torch.square, "exp": torch.exp, "sqrt": torch.sqrt, "relu": torch.relu, "sigmoid": torch.sigmoid,
    "tanh": torch.tanh, "neg": torch.neg, "abs": torch.abs, "reciprocal": torch.reciprocal, "log": torch.log,
    "gelu": F.gelu, "softmax": lambda x: F.softmax(x, -1), "logSoftmax": lambda x: F.log_softmax(x, -1),
    "reshape": lambda x: x.reshape(4, 4), "scale": lambda x: x * 0.5, "detach": lambda x: x.detach(),
}
BINARY = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div, "maximum": torch.maximum,
    "matmul": torch.matmul, "linear": F.linear,
}


def program(n):
    wants = [random.random() < 0.7 for _ in range(3)]
    values = [[0.2 + ((7 * i + 3 * k + n) % 9) / 10 for i in range(16)] for k in range(3)]
    tensors = [torch.tensor(v).reshape(4, 4).requires_grad_(w) for v, w in zip(values, wants)]
    steps = []
    for _ in range(random.randint(2, 7)):
        kind = random.random()
        at = random.randrange(len(tensors))
        if kind < 0.25:
            value = random.randint(1, 12) / 8
            with torch.no_grad():
                tensors[at].fill_(value)
            steps.append(["write", at, value])
        elif kind < 0.6:
            op = random.choice(list(UNARY))
            tensors.append(UNARY[op](tensors[at]))
            steps.append([op, at])
        else:
            op, other = random.choice(list(BINARY)), random.randrange(len(tensors))
            tensors.append(BINARY[op](tensors[at], tensors[other]))
            steps.append([op, at, other])
    out = tensors[-1]
    if out.grad_fn is None or not torch.isfinite(out).all() or not any(step[0] == "write" for step in steps):
        return None
    try:
        out.sum().backward()
    except RuntimeError as error:
        assert "modified by an inplace operation" in str(error), error
        return {"n": n, "wants": wants, "steps": steps, "refused": True}
    gradients = [None if x.grad is None else x.grad.flatten().tolist() for x in tensors[:3]]
    if any(abs(g) > 1e3 for gradient in gradients if gradient for g in gradient):
        return None
    rounded = [g and [float(f"{v:.6g}") for v in g] for g in gradients]
    return {"n": n, "wants": wants, "steps": steps, "gradients": rounded}


programs = [made for made in map(program, range(1500)) if made]
refused = [made for made in programs if "refused" in made][:60]
computed = [made for made in programs if "gradients" in made][:60]
print("[\n" + ",\n".join(json.dumps(made) for made in refused + computed) + "\n]")

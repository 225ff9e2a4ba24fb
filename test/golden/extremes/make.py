"""
PyTorch's values at the extremes: pytorch.json for test/extremes.test.ts.

For each op the result and the gradients in f32 (and f16), element by element, and the same in float64 of the same
inputs. Non-finite numbers are written as strings. Run with torch 2.x:

    python test/golden/extremes/make.py
"""
import json
import math
import pathlib

import torch
import torch.nn.functional as F

torch.set_num_threads(1)
INF, NAN, MAX = math.inf, math.nan, 3.4028234663852886e38


def both(*magnitudes):
    return [s * m for m in magnitudes for s in (1, -1)]


VALUES = {
    "float32": [*both(0.0, 1e-40, 1.1754943508222875e-38, 1e-30, 1e-20, 1e-12, 1e-8, 1e-5, 1e-3, 0.01, 0.1, 0.3, 0.5,
                      0.62, 0.63, 0.7071, 0.9, 0.99, 0.9999, 0.99999994, 1, 1.0000001, 1.0001, 1.01, 1.4143, 2, 2.5, 3, 4, 5,
                      5.5, 6, 8, 9, 10, 15, 20, 50, 80, 87, 88, 88.7, 88.73, 90, 100, 103, 104, 1000, 65504, 1e6, 1e10,
                      1.8e19, 1.9e19, 1e20, 1e30, MAX, INF), NAN],
    "float16": [*both(0.0, 6e-8, 6e-5, 1e-4, 1e-3, 0.01, 0.1, 0.5, 0.9, 0.999, 1, 1.001, 1.1, 2, 3, 5, 8, 11, 12, 20, 50,
                      88, 100, 200, 255, 300, 1000, 10000, 65504, INF), NAN],
}
PAIRS = {
    "float32": [*both(0.0, 1e-40, 1e-30, 1e-20, 0.5, 1, 3, 1e10, 1e20, 1e30, MAX, INF), NAN],
    "float16": [*both(0.0, 6e-5, 0.5, 1, 3, 300, 65504, INF), NAN],
}
# Of the gradient that arrives.
OUTER = [1.0, 0.0, -2.5]

UNARY = {
    "neg": torch.neg, "scale": lambda x: x * 1.7, "shift": lambda x: x + 1.7, "exp": torch.exp, "log": torch.log,
    "sqrt": torch.sqrt, "square": torch.square, "reciprocal": torch.reciprocal, "tanh": torch.tanh,
    "sigmoid": torch.sigmoid, "relu": torch.relu, "abs": torch.abs, "gelu": F.gelu,
    "geluTanh": lambda x: F.gelu(x, approximate="tanh"),
}
BINARY = {"add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div, "maximum": torch.maximum}


def plain(x):
    if isinstance(x, torch.Tensor):
        x = x.detach().double().tolist()
    if isinstance(x, list):
        return [plain(v) for v in x]
    if isinstance(x, float) and not math.isfinite(x):
        return "NaN" if math.isnan(x) else "Infinity" if x > 0 else "-Infinity"
    return float("%.9g" % x) if isinstance(x, float) else x


def run(f, inputs, outer):
    """Result and gradients of inputs that are tensors of floats."""
    inputs = [x.clone().requires_grad_() for x in inputs]
    y = f(*inputs)
    grads = torch.autograd.grad(y, inputs, outer.to(y.dtype).expand_as(y).contiguous())
    return y.detach(), grads


def pointwise(f, columns, dtype):
    """Element by element (0-d tensors): vectorised forms differ at infinity from one processor to the next."""
    columns = [torch.tensor(c, dtype=torch.float64).to(dtype) for c in columns]
    y, grads = [], [[[] for _ in columns] for _ in OUTER]
    for elements in zip(*columns):
        for n, outer in enumerate(OUTER):
            value, gradient = run(f, elements, torch.tensor(outer))
            for k, g in enumerate(gradient):
                grads[n][k].append(float(g))
        y.append(float(value))
    return {"y": plain(y), "grads": plain(grads)}


def rows(f, inputs, dtype=torch.float32, outer=None):
    """One result of whole tensors; the gradient that arrives is 1, 2, 3, 4, 1, 2, … unless given."""
    inputs = [torch.tensor(x, dtype=dtype) for x in inputs]
    y = f(*inputs)
    outer = torch.tensor([1.0 + i % 4 for i in range(y.numel())]).reshape(y.shape)
    y, grads = run(f, inputs, outer)
    return {"y": plain(y.reshape(-1)), "grads": [plain(g.reshape(-1)) for g in grads]}


ROWS = {
    "ordinary": [0.5, -1, 2, 0.25], "minus infinity": [-INF] * 4, "one minus infinity": [-INF, 0, 1, -1],
    "plus infinity": [INF, 1, 1, 1], "two infinities": [INF, -INF, INF, 0], "NaN first": [NAN, 1, 2, 3],
    "NaN last": [1, 2, 3, NAN], "NaN and infinity": [INF, 1, NAN, -INF], "lowest": [-MAX] * 4,
    "lowest but one": [-MAX, -MAX, 3, -MAX], "highest": [MAX] * 4, "highest and lowest": [3e38, -3e38, 0, 0],
    "zeros": [0.0, -0.0, -0.0, 0.0], "far apart": [0, -20, -50, -80], "very far apart": [0, -200, -1e4, -1e30],
    "below -1e30": [-2e30, -2e30, -1e35, -2e30], "large and equal": [12345.678] * 4, "large": [1e4, 1e4, 1e4, 1.0001e4],
    "tiny": [1e-25, -1e-25, 1e-30, 0], "squares overflow": [1e20, -1e20, 1e20, 3e20], "huge and equal": [3e38] * 4,
    "near the floor of norms": [1e-13, 1e-13, 0, 0],
}


def cross_entropy(x):
    return F.cross_entropy(x, torch.tensor([2]), reduction="none")


def soft_cross_entropy(x):
    return -(torch.tensor([[0.5, 0.25, 0.125, 0.125]], dtype=x.dtype) * F.log_softmax(x, -1)).sum(-1)


ROW_OPS = {
    "softmax": lambda x: F.softmax(x, -1), "logSoftmax": lambda x: F.log_softmax(x, -1), "crossEntropy": cross_entropy,
    "softCrossEntropy": soft_cross_entropy, "max": lambda x: torch.max(x, -1).values, "sum": lambda x: x.sum(-1),
    "mean": lambda x: x.mean(-1), "normalizeRows": lambda x: F.normalize(x, dim=-1),
    "layerNorm": lambda x: F.layer_norm(x, (4,), eps=1e-5),
}

out = {"outer": OUTER, "torch": torch.__version__, "unary": {}, "binary": {}, "rows": {}, "rowOps": {}, "dropout": {}}
for dtype in ("float32", "float16"):
    kind = getattr(torch, dtype)
    values = torch.tensor(VALUES[dtype], dtype=torch.float64).to(kind)
    a, b = (t.reshape(-1) for t in torch.meshgrid(*[torch.tensor(PAIRS[dtype], dtype=torch.float64).to(kind)] * 2, indexing="ij"))
    out["unary"][dtype] = {
        "x": plain(values),
        "ops": {n: {"torch": pointwise(f, [values.tolist()], kind), "exact": pointwise(f, [values.tolist()], torch.float64)} for n, f in UNARY.items()},
    }
    out["binary"][dtype] = {
        "values": plain(torch.tensor(PAIRS[dtype], dtype=torch.float64).to(kind)),
        "ops": {n: {"torch": pointwise(f, [a.tolist(), b.tolist()], kind), **({"exact": pointwise(f, [a.tolist(), b.tolist()], torch.float64)} if dtype == "float16" else {})}
                for n, f in BINARY.items()},
    }
out["rows"] = {name: plain(torch.tensor(x, dtype=torch.float32)) for name, x in ROWS.items()}
for op, f in ROW_OPS.items():
    out["rowOps"][op] = {name: {"torch": rows(f, [[x]]), "exact": rows(f, [[plain_x]], torch.float64)}
                         for name, x in ROWS.items() for plain_x in [torch.tensor(x, dtype=torch.float32).tolist()]}
x = torch.tensor([1, -1, 0.0, -0.0, INF, -INF, NAN, 1e-40])
out["dropout"] = {"x": plain(x), "all": plain(F.dropout(x, 1.0, True))}
text = json.dumps(out, separators=(",", ":"))
pathlib.Path(__file__).with_name("pytorch.json").write_text(text.replace("]},", "]},\n") + "\n")
print(len(text))

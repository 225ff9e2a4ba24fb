"""
PyTorch's values at kinks and extremes of elementwise operations that came after make.py's: elementwise.json for
test/elementwise-extremes.test.ts. For each op the result and the gradients of ones in f32, element by element, and the same
in float64 of the same inputs. Run with torch 2.x:

    python test/golden/extremes/make-elementwise.py
"""
import json
import math
import pathlib

import torch
import torch.nn.functional as F

torch.set_num_threads(1)
INF, NAN, MAX = math.inf, math.nan, 3.4028234663852886e38
VALUES = [s * m for m in (0.0, 1e-30, 1e-8, 1e-3, 0.25, 0.5, 1, 1.5, 2, 2.5, 3, 11, 20, 89, 1e4, 1e10, MAX, INF) for s in (1, -1)] + [NAN]
PAIRS = [s * m for m in (0.0, 1e-30, 0.5, 1, 2, 3, 1e10, INF) for s in (1, -1)] + [NAN]

UNARY = {
    "expm1": torch.expm1, "log2": torch.log2, "log10": torch.log10, "log1p": torch.log1p, "rsqrt": torch.rsqrt,
    "sin": torch.sin, "cos": torch.cos, "tan": torch.tan, "softplus": F.softplus, "erf": torch.erf, "silu": F.silu,
    "leakyRelu": lambda x: F.leaky_relu(x, 0.25), "elu": lambda x: F.elu(x, 1.5), "sign": torch.sign, "floor": torch.floor,
    "ceil": torch.ceil, "round": torch.round, "trunc": torch.trunc, "clamp": lambda x: torch.clamp(x, -1.5, 2),
    "clampMin": lambda x: torch.clamp(x, min=0.5), "clampMax": lambda x: torch.clamp(x, max=0.5),
    "exp2": torch.exp2, "asin": torch.asin, "acos": torch.acos, "atan": torch.atan, "sinh": torch.sinh, "cosh": torch.cosh,
    "asinh": torch.asinh, "acosh": torch.acosh, "atanh": torch.atanh, "logSigmoid": F.logsigmoid,
    "hardsigmoid": F.hardsigmoid, "hardswish": F.hardswish, "mish": F.mish, "frac": torch.frac,
    "nanToNum": lambda x: torch.nan_to_num(x, 0.5, 7), "selu": F.selu, "relu6": F.relu6, "hardtanh": F.hardtanh,
    "clampCrossed": lambda x: torch.clamp(x, 2, -1), "powTwo": lambda x: x**2, "powZero": lambda x: x**0, "twoPow": lambda x: 2**x, "maximumOne": lambda x: torch.maximum(x, torch.ones_like(x)),
}
BINARY = {"pow": torch.pow, "remainder": torch.remainder, "minimum": torch.minimum, "atan2": torch.atan2, "hypot": torch.hypot,
    "logAddExp": torch.logaddexp, "fmod": torch.fmod, "floorDivide": lambda a, b: torch.div(a, b, rounding_mode="floor")}


def plain(x):
    if isinstance(x, list):
        return [plain(v) for v in x]
    if not math.isfinite(x):
        return "NaN" if math.isnan(x) else "Infinity" if x > 0 else "-Infinity"
    return float("%.9g" % x)


def results(f, columns, dtype):
    y, grads = [], [[] for _ in columns]
    for elements in zip(*columns):
        inputs = [torch.tensor(v, dtype=torch.float32).to(dtype).requires_grad_() for v in elements]
        out = f(*inputs)
        y.append(float(out.detach()))
        for k, gradient in enumerate(torch.autograd.grad(out, inputs)):
            grads[k].append(float(gradient))
    return {"y": plain(y), "grads": plain(grads)}


def both(f, *columns):
    return {"torch": results(f, columns, torch.float32), "exact": results(f, columns, torch.float64)}


left, right = [a for a in PAIRS for _ in PAIRS], [b for _ in PAIRS for b in PAIRS]
out = {
    "x": plain([float(torch.tensor(v, dtype=torch.float32)) for v in VALUES]),
    "pairs": plain([float(torch.tensor(v, dtype=torch.float32)) for v in PAIRS]),
    "unary": {name: both(f, VALUES) for name, f in UNARY.items()},
    "binary": {name: both(f, left, right) for name, f in BINARY.items()},
}
text = json.dumps(out, separators=(",", ":"))
pathlib.Path(__file__).with_name("elementwise.json").write_text(text.replace("]},", "]},\n") + "\n")
print(len(text))

"""Steps of torch.optim from the same gradients, for test/optim.test.ts.

  python test/interop/optimizers.py test/golden/torch/optimizers.json

Weights and gradients are functions of their place that both sides compute; what is written are the weights after
some steps. Needs torch.
"""
import json
import sys

import torch

SHAPES = [[3, 5], [7], [4, 2]]
STEPS = 5


def values(shape, phase):
    n = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    return torch.sin(1.7 * n + phase).to(torch.float32).reshape(shape)


def run(make, clip=None, skip=None):
    weights = [torch.nn.Parameter(values(shape, n)) for n, shape in enumerate(SHAPES)]
    optimizer = make(weights)
    norms = []
    for step in range(STEPS):
        for n, weight in enumerate(weights):
            weight.grad = None if skip == (step, n) else values(weight.shape, 10 * step + n + 0.5) * (1 + step)
        if clip:
            norms.append(float(torch.nn.utils.clip_grad_norm_(weights, clip)))
        optimizer.step()
    return {
        "weights": [[float(f"{v:.9g}") for v in weight.detach().flatten().tolist()] for weight in weights],
        "norms": norms,
    }


def groups(cls, **settings):
    return lambda w: cls([{"params": w[:2], "lr": 0.02}, {"params": w[2:], "weight_decay": 0.3}], **settings)


plain = lambda cls, **settings: lambda w: cls(w, **settings)
adamw, adam, sgd = torch.optim.AdamW, torch.optim.Adam, torch.optim.SGD
cases = {
    "AdamW": run(plain(adamw)),
    "AdamW, other settings": run(plain(adamw, lr=0.05, betas=(0.8, 0.95), eps=1e-4, weight_decay=0.2)),
    "AdamW, groups": run(groups(adamw)),
    "AdamW, clipped": run(plain(adamw, lr=0.01), clip=1.5),
    "AdamW, one without a gradient": run(plain(adamw, lr=0.01), skip=(1, 1)),
    "Adam": run(plain(adam, lr=0.01)),
    "Adam, decay": run(plain(adam, lr=0.01, weight_decay=0.1)),
    "Adam, groups": run(groups(adam)),
    "SGD": run(plain(sgd, lr=0.1)),
    "SGD, decay": run(plain(sgd, lr=0.1, weight_decay=0.2)),
    "SGD, momentum": run(plain(sgd, lr=0.05, momentum=0.9)),
    "SGD, dampening": run(plain(sgd, lr=0.05, momentum=0.9, dampening=0.4, weight_decay=0.1)),
    "SGD, Nesterov": run(plain(sgd, lr=0.05, momentum=0.8, nesterov=True, weight_decay=0.1)),
    "SGD, groups": run(groups(sgd, momentum=0.5)),
}
with open(sys.argv[1], "w") as file:
    json.dump({"torch": torch.__version__.split("+")[0], "shapes": SHAPES, "steps": STEPS, "cases": cases}, file)
    file.write("\n")

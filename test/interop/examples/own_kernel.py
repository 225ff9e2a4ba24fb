"""An operation of one's own with its gradient: the activation x * tanh(softplus(x)), Mish, in a network that learns a curve."""
import math
import sys

import torch
from torch import nn
from torch.nn.functional import softplus

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 300


class MishFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * torch.tanh(softplus(x))

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        t = torch.tanh(softplus(x))
        return dy * (t + x * torch.sigmoid(x) * (1 - t * t))


class Mish(nn.Module):
    def forward(self, x):
        return MishFunction.apply(x)


places = [i / 32 - 2 for i in range(128)]
x = torch.tensor([[place] for place in places])
y = torch.tensor([[math.sin(2 * place)] for place in places])
model = nn.Sequential(nn.Linear(1, 32), Mish(), nn.Linear(32, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
for step in range(1, steps + 1):
    loss = (model(x) - y).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 100 == 0 or step == steps:
        print(f"step {step} loss {loss.item():.5f}")

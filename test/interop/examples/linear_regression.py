"""Linear regression: the weights of y = 3a - 2b + 0.5 from noisy samples, by gradient descent."""
import sys

import torch
from torch import nn
from data import noise

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 200
points = [[noise(3 * i), noise(3 * i + 1)] for i in range(256)]
x = torch.tensor(points)
y = torch.tensor([[3 * a - 2 * b + 0.5 + 0.1 * noise(3 * i + 2)] for i, (a, b) in enumerate(points)])

model = nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
for step in range(1, steps + 1):
    loss = (model(x) - y).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 50 == 0 or step == steps:
        print(f"step {step} loss {loss.item():.5f}")
print("weights", model.weight.detach(), "bias", model.bias.detach())

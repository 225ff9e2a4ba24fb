"""Three arms of a spiral, told apart by a small network: cross-entropy and Adam."""
import math
import sys

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from data import noise

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 400
points = []
labels = []
for arm in range(3):
    for i in range(100):
        radius = i / 100
        angle = 4 * arm + 4 * radius + 0.4 * noise(100 * arm + i)
        points.append([radius * math.sin(angle), radius * math.cos(angle)])
        labels.append(arm)
x = torch.tensor(points)
y = torch.tensor(labels)

model = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 3))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for step in range(1, steps + 1):
    loss = cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 100 == 0 or step == steps:
        print(f"step {step} loss {loss.item():.5f}")
right = (model(x).argmax(-1) == y).float().mean().item()
print(f"accuracy {right:.3f}")

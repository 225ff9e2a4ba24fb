"""Digits that are drawn in code, shifted and covered with noise, told apart by a network of two layers."""
import math
import sys

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from data import noise

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 200
segments = "1110111 0010010 1011101 1011011 0111010 1101011 1101111 1010010 1111111 1111011".split(" ")
bars = [[2, 1, 4, 0], [2, 1, 0, 3], [5, 1, 0, 3], [2, 4, 4, 0], [2, 4, 0, 3], [5, 4, 0, 3], [2, 7, 4, 0]]


def draw(digit, seed):
    image = [0.5 * noise(144 * seed + i) for i in range(144)]
    dx, dy = [math.floor(2 * noise(2 * seed + k) + 0.5) + 1 for k in range(2)]
    for s, (x, y, width, height) in enumerate(bars):
        if segments[digit][s] == "1":
            for i in range(4):
                image[12 * (y + dy + min(i, height)) + x + dx + min(i, width)] += 1
    return image


def schedule(step):
    if step < 10:
        return step / 10
    return 0.5 * (1 + math.cos(math.pi * (step - 10) / max(1, steps - 10)))


labels = [i % 10 for i in range(600)]
images = [draw(digit, i) for i, digit in enumerate(labels)]
train, test = torch.tensor(images[:500]), torch.tensor(images[500:])
train_labels, test_labels = torch.tensor(labels[:500]), torch.tensor(labels[500:])
model = nn.Sequential(nn.Linear(144, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
for step in range(1, steps + 1):
    loss = cross_entropy(model(train), train_labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    scheduler.step()
    if step % 50 == 0 or step == steps:
        print(f"step {step} loss {loss.item():.5f}")
found = (model(test).argmax(-1) == test_labels).float().mean().item()
print(f"accuracy {found:.3f}")

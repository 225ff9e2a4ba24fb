"""A character model: a causal transformer of two layers learns a text by heart, and goes on from its beginning."""
import sys

import torch
from torch import nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 150
width, heads, layers, context = 64, 4, 2, 32
text = "the quick brown fox jumps over the lazy dog. pack my box with five dozen liquor jugs. how vexingly quick daft zebras jump. "
alphabet = sorted(set(text))
ids = [alphabet.index(character) for character in text]


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        batch, length, _ = x.shape
        parts = self.qkv(self.norm1(x)).chunk(3, -1)
        q, k, v = [part.reshape(batch, length, heads, width // heads).transpose(1, 2) for part in parts]
        mixed = scaled_dot_product_attention(q, k, v, is_causal=True)
        attended = x + self.out(mixed.transpose(1, 2).reshape(x.shape))
        return attended + self.mlp(self.norm2(attended))


class CharacterModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(len(alphabet), width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block() for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, len(alphabet))

    def forward(self, rows):
        places = torch.arange(rows.shape[1])
        x = self.tokens(rows) + self.positions(places)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)).reshape(-1, len(alphabet))


starts = [i * 5 for i in range(16)]
rows = torch.tensor([ids[start : start + context] for start in starts])
targets = torch.tensor([ids[start + 1 : start + context + 1] for start in starts]).flatten()
model = CharacterModel()
optimizer = torch.optim.AdamW(model.parameters(), lr=0.003)
for step in range(1, steps + 1):
    loss = cross_entropy(model(rows), targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 50 == 0 or step == steps:
        print(f"step {step} loss {loss.item():.5f}")

written = ids[:8]
while len(written) < context:
    with torch.no_grad():
        following = model(torch.tensor([written])).argmax(-1)
    written.append(following[-1].item())
print("".join(alphabet[i] for i in written))

"""A bi-encoder from nothing: questions find their answers by the cosine of two vectors, with all other answers as negatives."""
import sys

import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 100
pairs = [
    ("what do cows eat", "grass and hay feed cattle on a farm"),
    ("how fast is light", "nothing travels more quickly than a photon"),
    ("who wrote hamlet", "the tragedy of a danish prince is by shakespeare"),
    ("where is the louvre", "a museum with the mona lisa stands in paris"),
    ("why is the sky blue", "air scatters short waves of the sun most"),
    ("when did the wall fall", "berlin was one city again after november 1989"),
    ("what is the boiling point of water", "at sea level it turns to steam at 100 degrees"),
    ("how many legs has a spider", "arachnids walk on eight of them"),
]
words = ["", *dict.fromkeys(word for pair in pairs for text in pair for word in text.split(" "))]
length = 10


def ids_of(text):
    ids = [words.index(word) for word in text.split(" ")]
    return ids + [0] * (length - len(ids))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(len(words), 64, padding_idx=0)
        self.norm = nn.LayerNorm(64)
        self.project = nn.Linear(64, 32)

    def forward(self, texts):
        pooled = self.words(torch.tensor([ids_of(text) for text in texts])).sum(1)
        return normalize(self.project(self.norm(pooled)), dim=-1)


def cosines():
    return model(questions) @ model(answers).T


model = Encoder()
questions, answers = zip(*pairs)
own = torch.arange(len(pairs))
optimizer = torch.optim.AdamW(model.parameters(), lr=0.003)
for step in range(1, steps + 1):
    loss = cross_entropy(cosines() / 0.05, own)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 20 == 0 or step == steps:
        print(f"step {step} loss {loss.item():.5f}")
with torch.no_grad():
    found = cosines().argmax(-1)
print(f"{(found == own).sum().item()} of {len(pairs)} questions find their answer")

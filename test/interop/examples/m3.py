"""BGE-M3 from code: a model trains on questions and passages, scores by its three heads and is saved.
`python m3.py STEPS MODEL [OUTPUT]`, of which MODEL and OUTPUT are folders; `node examples/m3.js 0 '' MODEL` writes the first.
"""
import sys

import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize, relu
from transformers import AutoTokenizer, XLMRobertaModel

steps, folder, *output = sys.argv[1:]
steps = int(steps)
tokenizer = AutoTokenizer.from_pretrained(folder)


class M3(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = XLMRobertaModel.from_pretrained(folder, add_pooling_layer=False)
        size = self.encoder.config.hidden_size
        self.colbert_linear, self.sparse_linear = nn.Linear(size, size), nn.Linear(size, 1)
        for name in ["colbert_linear", "sparse_linear"]:
            getattr(self, name).load_state_dict(torch.load(f"{folder}/{name}.pt"))

    def forward(self, texts, max_length):
        tokens = tokenizer(texts, padding=True, truncation=True, max_length=max_length, return_tensors="pt")
        hidden = self.encoder(**tokens).last_hidden_state
        dense = normalize(hidden[:, 0], dim=-1)
        weights = relu(self.sparse_linear(hidden)).squeeze(-1)
        lexical = torch.zeros(len(texts), len(tokenizer)).scatter_reduce(1, tokens.input_ids, weights, "amax")
        lexical = lexical.index_fill(1, torch.tensor(tokenizer.all_special_ids), 0)
        colbert = normalize(self.colbert_linear(hidden[:, 1:]), dim=-1)
        return dense, lexical, colbert, tokens.attention_mask[:, 1:]

    def save(self, folder):
        self.encoder.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        for name in ["colbert_linear", "sparse_linear"]:
            torch.save(getattr(self, name).state_dict(), f"{folder}/{name}.pt")


def scores(queries, passages):
    dense = queries[0] @ passages[0].T
    sparse = queries[1] @ passages[1].T
    tokens = torch.einsum("qic,pjc->qpij", queries[2], passages[2])
    best = tokens.masked_fill(passages[3][None, :, None] == 0, -torch.inf).amax(-1)
    of_query = queries[3][:, None]
    colbert = (best * of_query).sum(-1) / of_query.sum(-1)
    return dense, sparse, colbert


model = M3()
queries = ["Which river flows through Paris?", "Who wrote Faust?"]
passages = ["Paris lies on the Seine.", "The Spree flows through Berlin.", "Goethe wrote Faust.", "Kafka wrote The Trial."]
positives = torch.tensor([0, 2])
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0)
for step in range(1, steps + 1):
    optimizer.zero_grad()
    dense, sparse, colbert = (matrix / 0.02 for matrix in scores(model(queries, 64), model(passages, 128)))
    matrices = [(dense, 1), (dense + 0.3 * sparse + colbert, 1), (sparse, 0.1), (colbert, 1)]
    loss = sum(weight * cross_entropy(matrix, positives) for matrix, weight in matrices) / 4
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1)
    optimizer.step()
    if step % 5 == 0 or step == steps:
        print(f"step {step} loss {loss.item():.5f}")

with torch.no_grad():
    found = scores(model(queries[:1], 128), model(passages, 128))
for passage, *values in zip(passages, *(matrix[0].tolist() for matrix in found)):
    print(passage, dict(zip(["dense", "sparse", "colbert"], values)))
if output:
    model.save(output[0])

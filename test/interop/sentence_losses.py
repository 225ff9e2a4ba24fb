"""Losses of a few steps in sentence-transformers, for sentence-losses.ts, which runs it.

    python sentence_losses.py REQUEST.json ANSWER.json

The request has a model folder without dropout, rows, and by name what is trained: the loss, and how many negatives of a
row take part. All rows are one batch; AdamW as `finetune` has it: clipped to a norm of 1, no decay, a constant rate.
"""
import json, os, sys

os.environ.update(HF_HUB_OFFLINE="1", CUDA_VISIBLE_DEVICES="", TOKENIZERS_PARALLELISM="false")
import torch
from sentence_transformers import SentenceTransformer, losses, util
from sentence_transformers.models import Pooling, Transformer

request, answer = sys.argv[1:]
with open(request, encoding="utf8") as file:
    asked = json.load(file)
rows, scale = asked["rows"], 1 / asked["temperature"]


def loaded():
    encoder = Transformer(asked["folder"], max_seq_length=asked["max_length"])
    return SentenceTransformer(modules=[encoder, Pooling(encoder.get_word_embedding_dimension(), "mean")], device="cpu")


def distilled(model, features, labels):
    """Its loss of distillation, its contrastive loss, and the teacher's entropy, which training here does not subtract."""
    teacher = torch.tensor([row["pos_scores"] + row["neg_scores"] for row in rows])
    cosine = lambda a, b: util.pairwise_cos_sim(a, b)
    loss = losses.DistillKLDivLoss(model, similarity_fct=cosine, temperature=1 / scale)
    probabilities = teacher.softmax(1)
    entropy = -(probabilities * probabilities.log()).sum(1).mean()
    return loss(features, teacher / scale) * scale**2 + entropy + contrastive(model)(features, labels)


contrastive = lambda model: losses.MultipleNegativesRankingLoss(model, scale=scale)
kinds = {
    "mnrl": contrastive,
    "cached": lambda model: losses.CachedMultipleNegativesRankingLoss(model, scale=scale, mini_batch_size=4),
    "distilled": lambda model: lambda features, labels: distilled(model, features, labels),
}
answers = {}
for name, case in asked["cases"].items():
    model = loaded().train()
    loss = kinds[case["loss"]](model)
    columns = [[row["query"] for row in rows], [row["pos"][0] for row in rows]]
    columns += [[row["neg"][i] for row in rows] for i in range(case["negatives"])]
    optimizer = torch.optim.AdamW(model.parameters(), lr=asked["learning_rate"], weight_decay=0)
    answers[name] = []
    for _ in range(asked["steps"]):
        features = [model.tokenize(texts) for texts in columns]
        value = loss(features, torch.arange(len(rows)))
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        answers[name].append(value.item())
with open(answer, "w", encoding="utf8") as file:
    json.dump(answers, file)

"""What FlagEmbedding's reranker and its BGEM3FlagModel score pairs with, for scores.ts, which runs it.

    python scores.py REQUEST.json ANSWER.json

The request has `pairs`, and of `reranker` and `model` those that are there: a path and lengths. The model scores every
pair alone, and all of them in one batch, where passages that are shorter than the longest are padded: upstream takes the
padding's similarity of 0 for the greatest where all others are below it.
"""
import json, os, sys

os.environ.update(HF_HUB_OFFLINE="1", CUDA_VISIBLE_DEVICES="", TOKENIZERS_PARALLELISM="false")


def reranked(pairs, path, max_length, query_max_length):
    from FlagEmbedding import FlagReranker

    reranker = FlagReranker(path, use_fp16=False, devices="cpu", max_length=max_length, query_max_length=query_max_length)
    return {"logits": reranker.compute_score(pairs), "normalized": reranker.compute_score(pairs, normalize=True)}


def scored(pairs, path, pooling, query_max_length, passage_max_length):
    from FlagEmbedding import BGEM3FlagModel

    model = BGEM3FlagModel(path, use_fp16=False, devices="cpu", pooling_method=pooling)
    lengths = dict(max_query_length=query_max_length, max_passage_length=passage_max_length)
    return {name: model.compute_score(pairs, batch_size=size, weights_for_different_modes=[1, 0.5, 2], **lengths)
            for name, size in [("alone", 1), ("together", len(pairs))]}


request, answer = sys.argv[1:]
with open(request, encoding="utf8") as file:
    asked = json.load(file)
pairs = [tuple(pair) for pair in asked["pairs"]]
answers = {}
if asked.get("reranker"):
    answers["reranker"] = reranked(pairs, **asked["reranker"])
if asked.get("model"):
    answers["model"] = scored(pairs, **asked["model"])
with open(answer, "w", encoding="utf8") as file:
    json.dump(answers, file)

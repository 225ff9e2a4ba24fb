"""Makes test/golden/trec_eval.json: small rankings that are hard to get right, and what trec_eval says of each query.

By hand, with trec_eval's own code: pip install pytrec-eval-terrier (0.5.11), then
python test/interop/trec_eval.py > test/golden/trec_eval.json
"""

import json
import random

import pytrec_eval

random.seed(20261127)
K = [1, 2, 3, 5, 10, 100]
NAMES = ["a", "b", "B", "aa", "a1", "a10", "a2", "é", "z", "\uffff", "\U00010000", "Ω", "10", "9", "doc-1", "doc_1"]
NAMES += [f"d{i}" for i in range(40)]
# Equal in float32, different in float64, and the other way round; signs, zeros, very large and very small.
SCORES = [1.0, 1.00000001, 1.0000001, 0.1, 0.1 + 1e-9, -0.5, 0.0, -0.0, 1e30, -1e30, 1e-40, 1e-50, 3.0, 2.9999999, 16777216.0, 16777217.0]
RELEVANCE = [0, 0, 0, 1, 1, 2, 3, 7, -1, -2]

qrels, run = {}, {}
for q in range(60):
    judged = random.sample(NAMES, random.randint(1, 25))
    found = random.sample(NAMES, random.randint(1, 45))
    qrels[f"q{q}"] = {doc: random.choice(RELEVANCE) for doc in judged}
    scores = SCORES if q % 3 else [0.5]
    run[f"q{q}"] = {doc: random.choice(scores) for doc in found}
qrels["nothing relevant"] = {"a": 0, "b": -1}
run["nothing relevant"] = {"a": 1.0, "c": 0.5}
qrels["nothing found"] = {"a": 1}
run["nothing found"] = {}
qrels["not in the run"] = {"a": 1}
run["not judged"] = {"a": 1.0}

cuts = ",".join(map(str, K))
measures = {f"{name}.{cuts}" for name in ("ndcg_cut", "map_cut", "recall", "P")} | {"recip_rank", "ndcg", "map"}
values = pytrec_eval.RelevanceEvaluator(qrels, measures).evaluate(run)
names = sorted(next(iter(values.values())))
print(
    json.dumps(
        {
            "k": K,
            "qrels": qrels,
            "run": run,
            "measures": names,
            "values": {query: [round(of[name], 12) for name in names] for query, of in values.items()},
        },
        ensure_ascii=False,
    )
)

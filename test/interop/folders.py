"""What transformers, sentence-transformers and FlagEmbedding make of model folders, for folders.ts, which runs it.

    python folders.py REQUEST.json ANSWER.json

The request has `texts` and `folders`: each with its path and what two of the three have to be told (pooling, whether
vectors are normalised, tokens, width of the ColBERT head). sentence-transformers is told nothing. The answer has vectors
and token weights by loader, or the error that it ended with, and what the card's own code did.
"""
import json, os, re, subprocess, sys

os.environ.update(HF_HUB_OFFLINE="1", CUDA_VISIBLE_DEVICES="", TOKENIZERS_PARALLELISM="false")
import torch


def by_transformers(folder, texts):
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder["path"]), AutoModel.from_pretrained(folder["path"], dtype=torch.float32).eval()
    rows = []
    for text in texts:
        inputs = tokenizer(text, truncation=True, max_length=folder["maxLength"], return_tensors="pt")
        with torch.no_grad():
            hidden = model(**inputs).last_hidden_state[0]
        row = {"cls": hidden[0], "mean": hidden.mean(0), "last_token": hidden[-1]}[folder["pooling"]]
        rows.append((torch.nn.functional.normalize(row, dim=0) if folder["normalize"] else row).tolist())
    return {"dense": rows}


def by_sentence_transformers(folder, texts):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(folder["path"], device="cpu", model_kwargs={"dtype": torch.float32})
    return {"dense": model.encode(texts).tolist(), "queries": model.encode_query(texts).tolist(),
            "documents": model.encode_document(texts).tolist()}


def by_flag_embedding(folder, texts):
    from FlagEmbedding import BGEM3FlagModel

    model = BGEM3FlagModel(folder["path"], use_fp16=False, devices="cpu", pooling_method=folder["pooling"],
                           normalize_embeddings=folder["normalize"], colbert_dim=folder["colbertDim"])
    output = model.encode(texts, max_length=folder["maxLength"], return_dense=True, return_sparse=True, return_colbert_vecs=True)
    special = {str(id) for id in model.tokenizer.all_special_ids}
    return {"dense": output["dense_vecs"].tolist(),
            "lexical": [{id: float(weight) for id, weight in each.items() if id not in special} for each in output["lexical_weights"]],
            "colbert": [vectors.tolist() for vectors in output["colbert_vecs"]]}


def by_card(folder, texts):
    """The card's Python code, run in the folder."""
    with open(os.path.join(folder["path"], "README.md"), encoding="utf8") as file:
        blocks = re.findall(r"```python\n(.*?)```", file.read(), re.S)
    for code in blocks:
        subprocess.run([sys.executable, "-c", code], cwd=folder["path"], check=True, capture_output=True)
    return {"blocks": len(blocks)}


LOADERS = {"transformers": by_transformers, "sentence-transformers": by_sentence_transformers, "FlagEmbedding": by_flag_embedding, "card": by_card}

request, answer = sys.argv[1:]
with open(request, encoding="utf8") as file:
    asked = json.load(file)
answers = []
for folder in asked["folders"]:
    results = {}
    for name, load in LOADERS.items():
        try:
            results[name] = load(folder, asked["texts"])
        except Exception as error:
            text = error.stderr.decode() if isinstance(error, subprocess.CalledProcessError) else str(error)
            results[name] = {"error": f"{type(error).__name__}: {text.strip().splitlines()[-1] if text.strip() else ''}"}
    answers.append(results)
with open(answer, "w", encoding="utf8") as file:
    json.dump(answers, file)

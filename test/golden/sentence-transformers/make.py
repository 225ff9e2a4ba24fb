"""What sentence-transformers makes of the folders of variants.json: verdicts.json, by the tiny model of the goldens.

    python make.py

Each variant is the golden model's folder with `files` written over it (null: taken away; tokenizer_config.json: keys
added); `encoder`: the folder that its encoder moves into; `dense`, `layer_norm`: the folder of a module with seeded
weights. A verdict is the error's class or the vectors (every fourth value) of `texts` by encode, encode_query and
encode_document, where the last two differ from the first. Needs sentence-transformers 5.7 (transformers 4.57); tests read only the JSON.
"""
import json, os, pathlib, shutil, tempfile

os.environ.update(HF_HUB_OFFLINE="1", CUDA_VISIBLE_DEVICES="")
import torch
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer

here = pathlib.Path(__file__).parent
TEXTS = ["Hello World", "  spaces around  ", "was ist die hauptstadt von Frankreich?", "Ünïcode ÄÖÜ ΣΑΣ", "a much longer text, which has more tokens than some of these folders would let a text have, and goes on"]
ENCODER = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "sentencepiece.bpe.model"]


def build(folder, variant):
    encoder = folder / variant.get("encoder", "")
    encoder.mkdir(exist_ok=True)
    for name in ENCODER:
        shutil.copy(here.parent / "model" / name, encoder / name)
    for name, content in variant["files"].items():
        if content is None:
            continue
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if name == "tokenizer_config.json":
            content = {**json.loads(file.read_text()), **content}
        file.write_text(json.dumps(content))
    generator = torch.Generator().manual_seed(1)
    draw = lambda *shape: torch.randn(shape, generator=generator) / 8
    if "dense" in variant:
        save_file({"linear.weight": draw(64, 64), "linear.bias": draw(64)}, folder / variant["dense"] / "model.safetensors")
    if "layer_norm" in variant:
        save_file({"norm.weight": draw(64), "norm.bias": draw(64)}, folder / variant["layer_norm"] / "model.safetensors")


def rows(vectors):
    """Every fourth value."""
    return [[float(f"{value:.6g}") for value in row[::4]] for row in vectors.tolist()]


def verdict(variant):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        build(folder, variant)
        try:
            model = SentenceTransformer(str(folder), device="cpu")
            text, query, document = (rows(encode(TEXTS, batch_size=1)) for encode in (model.encode, model.encode_query, model.encode_document))
        except Exception as error:
            return {"error": type(error).__name__}
        result = {"text": text, "similarity": model.similarity_fn_name}
        if query != text:
            result["query"] = query
        if document != text:
            result["document"] = document
        return result


variants = json.loads((here / "variants.json").read_text())
verdicts = {variant["name"]: verdict(variant) for variant in variants}
# Vectors are many and mostly equal: each list of them once.
lists = []
for each in verdicts.values():
    for key in ("text", "query", "document"):
        if key in each:
            if each[key] not in lists:
                lists.append(each[key])
            each[key] = lists.index(each[key])
lines = [f"  {json.dumps(name)}: {json.dumps(each)}" for name, each in verdicts.items()]
(here / "verdicts.json").write_text(
    '{"texts": ' + json.dumps(TEXTS) + ',\n"verdicts": {\n' + ",\n".join(lines) + '\n},\n"vectors": [\n' + ",\n".join(json.dumps(each) for each in lists) + "\n]}\n")
for name, each in verdicts.items():
    print(name, {key: value for key, value in each.items()})

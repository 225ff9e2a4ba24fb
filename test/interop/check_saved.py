"""Whether folders that dawntune saved hold the weights of a folder that torch.save wrote, for torch, transformers and FlagEmbedding.

    python check_saved.py ORIGINAL PREFIX SAVED…

Each SAVED folder is loaded by transformers in the format that its config.json names; every weight must be the original's,
rounded by torch. FlagEmbedding encodes two texts with it. Prints one JSON object a folder; ends with 1 when one differs.
"""
import json, os, sys
import torch
from transformers import AutoModel
from FlagEmbedding import BGEM3FlagModel

original, prefix, *folders = sys.argv[1:]
TEXTS = ["Which river flows through Paris?", "Paris lies on the Seine."]

def load(file):
    return torch.load(file, map_location="cpu", weights_only=True)

def vectors(folder):
    model = BGEM3FlagModel(folder, use_fp16=False, devices="cpu")
    found = model.encode(TEXTS, return_dense=True, return_sparse=True, return_colbert_vecs=True)
    return torch.tensor(found["dense_vecs"]), [torch.tensor(vecs) for vecs in found["colbert_vecs"]]

weights = {name[len(prefix):]: tensor for name, tensor in load(os.path.join(original, "pytorch_model.bin")).items()}
expected = None
failed = False
for folder in folders:
    with open(os.path.join(folder, "config.json")) as file:
        dtype = getattr(torch, json.load(file)["torch_dtype"])
    model, info = AutoModel.from_pretrained(folder, torch_dtype="auto", output_loading_info=True)
    state = model.state_dict()
    problems = [f"{kind}: {names}" for kind, names in info.items() if names]
    for name, tensor in weights.items():
        if name.endswith("position_ids"):
            continue
        if name not in state:
            problems.append(f"{name} is missing")
        elif state[name].dtype != dtype or not torch.equal(state[name], tensor.to(dtype)):
            problems.append(f"{name} differs")
    for head in ("colbert_linear.pt", "sparse_linear.pt"):
        before, after = load(os.path.join(original, head)), load(os.path.join(folder, head))
        for name, tensor in before.items():
            if after[name].dtype != dtype or not torch.equal(after[name], tensor.to(dtype)):
                problems.append(f"{head}: {name} differs")
    del model, state
    dense, colbert = vectors(folder)
    # Of the first folder, which is float32.
    expected = expected or (dense, colbert)
    difference = max((a - b).abs().max().item() for a, b in zip([expected[0], *expected[1]], [dense, *colbert]))
    print(json.dumps({"folder": os.path.basename(folder), "dtype": str(dtype), "weights": len(weights), "vectors": difference, "problems": problems[:5]}), flush=True)
    failed |= bool(problems) or not difference <= (1e-6 if dtype == torch.float32 else 0.1)
sys.exit(1 if failed else 0)

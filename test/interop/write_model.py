"""Writes a model folder as torch.save does: XLM-RoBERTa with random weights in pytorch_model.bin, and the two heads.

    python write_model.py FOLDER TOKENIZER_FOLDER [--small] [--legacy] [--dtype float32|float16|bfloat16] [--prefix P]

Without --small the shapes are those of bge-m3 (2.27 GB in float32). Prints the shapes' bytes as JSON.
"""
import argparse, json, os, shutil
import torch
from transformers import XLMRobertaConfig, XLMRobertaModel

parser = argparse.ArgumentParser()
parser.add_argument("folder")
parser.add_argument("tokenizer")
parser.add_argument("--small", action="store_true")
parser.add_argument("--legacy", action="store_true")
parser.add_argument("--dtype", default="float32")
parser.add_argument("--prefix", default="")
args = parser.parse_args()

dtype = getattr(torch, args.dtype)
sizes = (
    dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128, vocab_size=4000, max_position_embeddings=514)
    if args.small
    else dict(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096, vocab_size=250002, max_position_embeddings=8194)
)
config = XLMRobertaConfig(**sizes, type_vocab_size=1, layer_norm_eps=1e-5)
config.architectures = ["XLMRobertaModel"]
torch.manual_seed(1)
model = XLMRobertaModel(config).to(dtype)
state = {args.prefix + name: tensor for name, tensor in model.state_dict().items()}
# As versions of transformers before 4.31 wrote it.
state[args.prefix + "embeddings.position_ids"] = torch.arange(config.max_position_embeddings).expand((1, -1))
os.makedirs(args.folder, exist_ok=True)
save = dict(_use_new_zipfile_serialization=not args.legacy)
torch.save(state, os.path.join(args.folder, "pytorch_model.bin"), **save)
H = config.hidden_size
for name, out in (("colbert_linear", H), ("sparse_linear", 1)):
    torch.save(torch.nn.Linear(H, out).to(dtype).state_dict(), os.path.join(args.folder, f"{name}.pt"), **save)
with open(os.path.join(args.folder, "config.json"), "w") as file:
    json.dump({**config.to_dict(), "torch_dtype": args.dtype}, file, indent=2)
for name in ("tokenizer.json", "tokenizer_config.json"):
    shutil.copy(os.path.join(args.tokenizer, name), args.folder)
weights = [tensor for name, tensor in state.items() if "position_ids" not in name]
print(json.dumps({"bytes": sum(tensor.numel() * tensor.element_size() for tensor in weights)}))

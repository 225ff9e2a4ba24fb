"""Run by hand, in this folder: writes shards.json (how huggingface_hub cuts tensors of float32 into shards) and folders
with one tiny masked language model as torch and transformers save it: zip/, legacy/, sharded/ (pytorch_model.bin) and
expected/ (the encoder alone, as safetensors).
"""
import json, os, random
import torch
from huggingface_hub.serialization._base import split_state_dict_into_shards_factory
from safetensors.torch import save_file
from transformers import XLMRobertaConfig, XLMRobertaForMaskedLM, XLMRobertaModel

random.seed(3)
cases = []
def case(sizes, most):
    state = {f"t{i}": n for i, n in enumerate(sizes)}
    split = split_state_dict_into_shards_factory(
        state, get_storage_size=lambda n: 4 * n, filename_pattern="model{suffix}.safetensors", max_shard_size=most)
    cases.append(dict(elements=sizes, max_shard_size=most, files=split.filename_to_tensors, total_size=split.metadata["total_size"]))
for sizes, most in [([2, 2], 8), ([2, 2], 16), ([2, 2], 15), ([5, 1, 1], 8), ([1, 5, 1], 8), ([1, 1, 5], 8), ([1], 1),
                    ([1, 2, 3], 1), ([0, 1, 0], 4), ([6, 6, 2, 6, 2, 2], 40), ([10] * 11, 80)]:
    case(sizes, most)
for _ in range(20):
    case([random.randint(0, 9) for _ in range(random.randint(1, 12))], random.randint(4, 60))
with open("shards.json", "w") as file:
    file.write("[\n" + ",\n".join(json.dumps(each) for each in cases) + "\n]\n")

torch.manual_seed(4)
config = XLMRobertaConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=20,
                          max_position_embeddings=12, type_vocab_size=1, layer_norm_eps=1e-5)
lm = XLMRobertaForMaskedLM(config)
# Weights that bfloat16 has exactly, so that every format below holds the same numbers.
with torch.no_grad():
    for parameter in lm.parameters():
        parameter.copy_(torch.randn_like(parameter).bfloat16().float())
heads = {"colbert_linear": torch.nn.Linear(8, 8), "sparse_linear": torch.nn.Linear(8, 1)}

def folder(name, **save):
    os.makedirs(name, exist_ok=True)
    for head, module in heads.items():
        torch.save(module.state_dict(), os.path.join(name, f"{head}.pt"), **save)
    with open(os.path.join(name, "config.json"), "w") as file:
        json.dump(config.to_dict(), file, indent=2)
        file.write("\n")

# lm_head.decoder.weight is the word embeddings, in the same storage; position_ids as transformers kept it before 4.31.
def state(dtype):
    tensors = {name: tensor.to(dtype) for name, tensor in lm.state_dict().items()}
    for name, other in (("lm_head.decoder.weight", "roberta.embeddings.word_embeddings.weight"), ("lm_head.decoder.bias", "lm_head.bias")):
        tensors[name] = tensors[other]
    # Dense layers were once saved transposed in memory.
    name = "roberta.encoder.layer.0.intermediate.dense.weight"
    tensors[name] = tensors[name].t().contiguous().t()
    tensors["roberta.embeddings.position_ids"] = torch.arange(12).expand((1, -1))
    tensors["lm_head.seen"] = torch.tensor([True, False])
    return tensors

for name, dtype, legacy in (("zip", torch.bfloat16, False), ("legacy", torch.float32, True)):
    save = dict(_use_new_zipfile_serialization=not legacy)
    folder(name, **save)
    torch.save(state(dtype), os.path.join(name, "pytorch_model.bin"), **save)

folder("sharded")
lm.save_pretrained("sharded", safe_serialization=False, max_shard_size="3KB")
for name in os.listdir("sharded"):
    if name == "generation_config.json":
        os.remove(os.path.join("sharded", name))

folder("expected")
encoder = XLMRobertaModel(config, add_pooling_layer=False)
encoder.load_state_dict(lm.roberta.state_dict())
save_file(encoder.state_dict(), "expected/model.safetensors", metadata={"format": "pt"})

"""Writes shards.json: how huggingface_hub cuts tensors (elements of float32) into shards. Run by hand."""
import json, random
from huggingface_hub.serialization._base import split_state_dict_into_shards_factory
random.seed(3)
cases=[]
def case(sizes, most):
    state={f"t{i}": n for i,n in enumerate(sizes)}
    split=split_state_dict_into_shards_factory(state, get_storage_size=lambda n: 4*n, filename_pattern="model{suffix}.safetensors", max_shard_size=most)
    cases.append(dict(elements=sizes, max_shard_size=most, files=split.filename_to_tensors, total_size=split.metadata["total_size"]))
for s,m in [([2,2],8),([2,2],16),([2,2],15),([5,1,1],8),([1,5,1],8),([1,1,5],8),([1],1),([1,2,3],1),([0,1,0],4),([6,6,2,6,2,2],40),([10]*11,80)]: case(s,m)
for _ in range(20): case([random.randint(0,9) for _ in range(random.randint(1,12))], random.randint(4,60))
print("[\n"+",\n".join(json.dumps(c) for c in cases)+"\n]")

"""What halves cost PyTorch: the losses of ../loss_cases.json in float32 and with the encoder under autocast to float16,
on a plain restatement of the M3 objective (no padding floor, no-in-batch as intended). Run by hand with torch,
transformers and tokenizers installed: python make.py. Prints the errors and writes pytorch.json."""
import json, os
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from transformers import XLMRobertaModel

HERE = os.path.dirname(os.path.abspath(__file__))
MODEL = os.path.join(HERE, "..", "model")
TOKENIZER = Tokenizer.from_file(os.path.join(MODEL, "tokenizer.json"))
CASES = json.load(open(os.path.join(HERE, "..", "loss_cases.json")))
model = XLMRobertaModel.from_pretrained(MODEL, attn_implementation="eager").eval()
VOCAB = model.config.vocab_size
heads = {name: torch.load(os.path.join(MODEL, f"{name}_linear.pt")) for name in ("colbert", "sparse")}


def tokenize(texts, limit):
    rows = [[0] + TOKENIZER.encode(t, add_special_tokens=False).ids[: limit - 2] + [2] for t in texts]
    width = max(map(len, rows))
    ids, mask = torch.ones(len(rows), width, dtype=torch.long), torch.zeros(len(rows), width, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row)], mask[i, : len(row)] = torch.tensor(row), 1
    return ids, mask


def side(texts, limit, half):
    ids, mask = tokenize(texts, limit)
    with torch.autocast("cpu", dtype=torch.float16, enabled=half):
        h = model(ids, attention_mask=mask).last_hidden_state
    h = h.float()
    v = F.normalize(h[:, 0], dim=-1)
    c = F.normalize(F.linear(h[:, 1:], **heads["colbert"]), dim=-1)
    w = torch.relu(F.linear(h, **heads["sparse"])).squeeze(-1)
    s = torch.zeros(len(ids), VOCAB).scatter_reduce(1, ids, w, "amax", include_self=True)
    s[:, :4] = 0
    return v, s, c, mask


def loss(case, half):
    B, G, tau = case["B"], case["G"], case["temperature"]
    qd, qs, qc, qm = side(case["queries"], case["query_max_len"], half)
    pd, ps, pc, pm = side(case["passages"], case["passage_max_len"], half)
    sim = torch.einsum("qin,pjn->qipj", qc, pc).masked_fill(pm[:, 1:][None, None] == 0, -1e30)
    late = (sim.max(-1).values * qm[:, 1:, None]).sum(1) / qm[:, 1:].sum(1, keepdim=True) / tau
    own = lambda x: torch.stack([x[b, b * G : (b + 1) * G] for b in range(B)])
    scores = [qd @ pd.T / tau, qs @ ps.T / tau, late]
    if case["no_in_batch_neg"]: scores = [own(x) for x in scores]
    dense, lexical, late = scores
    ensemble = dense + 0.3 * lexical + late
    step = 0 if case["no_in_batch_neg"] else G
    target = torch.arange(B) * step
    teacher = case["teacher_scores"] and torch.softmax(torch.tensor(case["teacher_scores"]).view(B, G), -1)

    def loss_of(x):
        if teacher is None: return F.cross_entropy(x, target)
        if case["kd_loss_type"] == "kl_div":
            block = x if step == 0 else own(x)
            return -(teacher * F.log_softmax(block, -1)).sum(-1).mean() + F.cross_entropy(x, target)
        total = 0
        for i in range(G):
            left = x.clone()
            for b in range(B): left[b, b * step : b * step + i] = -1e30
            total = total + (teacher[:, i] * F.cross_entropy(left, target + i, reduction="none")).mean()
        return total

    if not case.get("unified_finetuning", True): return loss_of(dense).item()
    base = (loss_of(dense) + loss_of(ensemble) + 0.1 * loss_of(lexical) + loss_of(late)) / 4
    if not case["use_self_distill"]: return base.item()
    soft = torch.softmax(ensemble, -1)
    distil = lambda x: -(soft * F.log_softmax(x, -1)).sum(-1).mean()
    return ((base + (distil(dense) + 0.1 * distil(lexical) + distil(late)) / 3) / 2).item()


with torch.no_grad():
    rows = {c["id"]: {"float32": loss(c, False), "autocast": loss(c, True)} for c in CASES if c["B"] * c["G"] > 1}
errors = {k: abs(r["autocast"] - r["float32"]) / r["float32"] for k, r in rows.items()}
rms = (sum(e * e for e in errors.values()) / len(errors)) ** 0.5
for k, e in sorted(errors.items(), key=lambda item: -item[1]): print(f"{e:.1e} {k}")
print(f"{rms:.1e} root mean square of {len(errors)}, torch {torch.__version__}")
json.dump({"torch": torch.__version__, "losses": rows}, open(os.path.join(HERE, "pytorch.json"), "w"), indent=1)

"""Makes the goldens of this folder: random XLM-R models of odd sizes, other poolings and head widths, with loss and
gradients from PyTorch autograd on a plain restatement of the M3 objective (no padding floor). Run by hand with torch,
transformers and tokenizers installed: python make.py. Weights are rounded to half precision to be small on disk."""
import json, os, shutil
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import XLMRobertaConfig, XLMRobertaModel

HERE = os.path.dirname(os.path.abspath(__file__))
MODEL = os.path.join(HERE, "..", "model")
TOKENIZER = Tokenizer.from_file(os.path.join(MODEL, "tokenizer.json"))
CASES = json.load(open(os.path.join(HERE, "..", "loss_cases.json")))
CASE = next(c for c in CASES if c["id"] == "B4G3-m3_kd_loss-teacher-selfdistill")
B, G, QUERY_LEN, PASSAGE_LEN, TAU, VOCAB = 4, 3, 24, 48, 0.05, 4000


def tokenize(texts, limit):
    rows = [[0] + TOKENIZER.encode(t, add_special_tokens=False).ids[: limit - 2] + [2] for t in texts]
    width = max(map(len, rows))
    ids, mask = torch.ones(len(rows), width, dtype=torch.long), torch.zeros(len(rows), width, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row)], mask[i, : len(row)] = torch.tensor(row), 1
    return ids, mask


def golden(name, hidden, heads, layers, inner, width, pooling, normalize, kind):
    torch.manual_seed(3)
    folder = os.path.join(HERE, name)
    os.makedirs(folder, exist_ok=True)
    config = XLMRobertaConfig(
        hidden_size=hidden, num_attention_heads=heads, num_hidden_layers=layers, intermediate_size=inner,
        vocab_size=VOCAB, max_position_embeddings=80, type_vocab_size=1, layer_norm_eps=1e-5,
        hidden_dropout_prob=0, attention_probs_dropout_prob=0, pad_token_id=1)
    model = XLMRobertaModel(config, add_pooling_layer=False)
    colbert, sparse = torch.nn.Linear(hidden, width), torch.nn.Linear(hidden, 1)
    for module in (model, colbert, sparse):
        for p in module.parameters():
            p.data = (p.data + 0.05 * torch.randn_like(p)).half().float()
    save_file({k: v.half() for k, v in model.state_dict().items() if "position_ids" not in k}, os.path.join(folder, "model.safetensors"), {"format": "pt"})
    config.save_pretrained(folder)
    torch.save(colbert.state_dict(), os.path.join(folder, "colbert_linear.pt"))
    torch.save(sparse.state_dict(), os.path.join(folder, "sparse_linear.pt"))

    def side(texts, limit):
        ids, mask = tokenize(texts, limit)
        h = model(ids, attention_mask=mask).last_hidden_state
        if pooling == "cls": v = h[:, 0]
        elif pooling == "mean": v = (h * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        else: v = h[torch.arange(len(ids)), mask.sum(1) - 1]
        c = colbert(h[:, 1:])
        if normalize: v, c = F.normalize(v, dim=-1), F.normalize(c, dim=-1)
        w = torch.relu(sparse(h)).squeeze(-1)
        s = torch.zeros(len(ids), VOCAB).scatter_reduce(1, ids, w, "amax", include_self=True)
        keep = torch.ones(VOCAB); keep[:4] = 0
        return v, s * keep, c, mask

    qd, qs, qc, qm = side(CASE["queries"], QUERY_LEN)
    pd, ps, pc, pm = side(CASE["passages"], PASSAGE_LEN)
    dense, lexical = qd @ pd.T / TAU, qs @ ps.T / TAU
    sim = torch.einsum("qin,pjn->qipj", qc, pc).masked_fill(pm[:, 1:][None, None] == 0, -1e30)
    late = (sim.max(-1).values * qm[:, 1:, None]).sum(1) / qm[:, 1:].sum(1, keepdim=True) / TAU
    ensemble = dense + 0.3 * lexical + late
    target = torch.arange(B) * G
    teacher = torch.softmax(torch.tensor(CASE["teacher_scores"]).view(B, G), -1)

    def loss_of(x):
        if kind == "none": return F.cross_entropy(x, target)
        own = torch.stack([x[b, b * G : (b + 1) * G] for b in range(B)])
        if kind == "kl_div": return -(teacher * F.log_softmax(own, -1)).sum(-1).mean() + F.cross_entropy(x, target)
        total = 0
        for i in range(G):
            left = x.clone()
            for b in range(B): left[b, b * G : b * G + i] = -1e30
            total = total + (teacher[:, i] * F.cross_entropy(left, target + i, reduction="none")).mean()
        return total

    soft = torch.softmax(ensemble.detach(), -1)
    distil = lambda x: -(soft * F.log_softmax(x, -1)).sum(-1).mean()
    base = (loss_of(dense) + loss_of(ensemble) + 0.1 * loss_of(lexical) + loss_of(late)) / 4
    loss = (base + (distil(dense) + 0.1 * distil(lexical) + distil(late)) / 3) / 2
    loss.backward()
    gradients = {"model." + n: p.grad for n, p in model.named_parameters()}
    gradients |= {"colbert_linear." + n: p.grad for n, p in colbert.named_parameters()}
    gradients |= {"sparse_linear." + n: p.grad for n, p in sparse.named_parameters()}
    words = gradients.pop("model.embeddings.word_embeddings.weight")
    save_file({n: g.contiguous() for n, g in gradients.items()}, os.path.join(folder, "gradients.safetensors"))
    json.dump(
        {"loss": loss.item(), "word_gradient_norm": words.norm().item(), "pooling": pooling, "normalize": normalize,
         "colbert_dim": width, "kind": kind, "temperature": TAU, "query_max_len": QUERY_LEN,
         "passage_max_len": PASSAGE_LEN, "source_case": CASE["id"]},
        open(os.path.join(folder, "case.json"), "w"), indent=1)


golden("mean-48", 48, 3, 3, 100, 24, "mean", True, "m3_kd_loss")
golden("last-96", 96, 4, 1, 70, 32, "last_token", True, "kl_div")
golden("cls-60-unnormalized", 60, 5, 2, 90, 10, "cls", False, "none")

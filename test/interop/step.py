"""Training steps by FlagEmbedding's own classes on PyTorch's processor kernels: what `dawntune bench step` times, with the same
rows, ids, sizes and flags. Prints the same JSON. Needs torch, transformers<5 and FlagEmbedding; compare.ts runs it.

    python step.py --model minilm --data ../golden/example_data/retrieval/nq.jsonl --steps 3
"""
import argparse, json, os, resource, statistics, sys, time, zlib
from types import SimpleNamespace

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import torch
from FlagEmbedding.finetune.embedder.encoder_only.m3.modeling import EncoderOnlyEmbedderM3Model
from transformers import XLMRobertaConfig, XLMRobertaModel

# bench/presets.ts: hidden, layers, heads, feed-forward.
PRESETS = {"tiny": (128, 4, 4, 512), "minilm": (384, 6, 12, 1536), "bge-m3": (1024, 24, 16, 4096)}
VOCAB = 250002
LEARNING_RATE = 1e-5


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", choices=PRESETS, default="minilm")
    parser.add_argument("--layers", type=int)
    parser.add_argument("--data", required=True)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--query_max_len", type=int, default=64)
    parser.add_argument("--passage_max_len", type=int, default=256)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--gradient_checkpointing", action="store_true")
    return parser.parse_args()


def hashed_ids(text, limit):
    """As `hashedIds` in bench/presets.ts."""
    return [0, *(4 + zlib.crc32(word.encode()) % (VOCAB - 5) for word in text.split()[: limit - 2]), 2]


def batch_of(rows, index, args):
    """As `fileBatch` in bench/presets.ts, padded to the longest text of each side."""
    queries, passages, scores = [], [], []
    for i in range(args.batch):
        row = rows[(index * args.batch + i) % len(rows)]
        queries.append(hashed_ids(row["query"], args.query_max_len))
        texts = [row["pos"][0], *(row["neg"][n % len(row["neg"])] for n in range(args.group - 1))]
        passages += [hashed_ids(text, args.passage_max_len) for text in texts]
        negatives = row.get("neg_scores") or [0.0] * len(row["neg"])
        scores += [(row.get("pos_scores") or [1.0])[0], *(negatives[n % len(row["neg"])] for n in range(args.group - 1))]
    return queries, passages, scores


def padded(rows):
    width = max(map(len, rows))
    ids, mask = torch.ones(len(rows), width, dtype=torch.long), torch.zeros(len(rows), width, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row)], mask[i, : len(row)] = torch.tensor(row), 1
    return {"input_ids": ids, "attention_mask": mask}


def make_model(args):
    hidden, layers, heads, feed_forward = PRESETS[args.model]
    config = XLMRobertaConfig(
        hidden_size=hidden, num_hidden_layers=args.layers or layers, num_attention_heads=heads,
        intermediate_size=feed_forward, vocab_size=VOCAB, max_position_embeddings=8194, type_vocab_size=1,
        layer_norm_eps=1e-5, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1,
        bos_token_id=0, pad_token_id=1, eos_token_id=2)
    torch.manual_seed(1)
    tokenizer = SimpleNamespace(cls_token_id=0, pad_token_id=1, eos_token_id=2, unk_token_id=3, padding_side="right")
    model = EncoderOnlyEmbedderM3Model(
        {"model": XLMRobertaModel(config), "colbert_linear": torch.nn.Linear(hidden, hidden),
         "sparse_linear": torch.nn.Linear(hidden, 1)},
        tokenizer=tokenizer, temperature=0.02, kd_loss_type="m3_kd_loss", sentence_pooling_method="cls",
        normalize_embeddings=True, unified_finetuning=True, use_self_distill=True, self_distill_start_step=-1)
    if args.gradient_checkpointing:
        # What FlagEmbedding's runner and Hugging Face's trainer do for the flag.
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable()
    return model.train()


def used():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main():
    args = arguments()
    rows = [json.loads(line) for line in open(args.data, encoding="utf8") if line.strip()]
    model = make_model(args)
    # Hugging Face's trainer takes the fused kernel and clips to 1, as FlagEmbedding's defaults have it.
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0,
                                  fused=True)
    count = args.steps if args.steps == 1 else args.steps + 1
    steps = []
    for index in range(count):
        queries, passages, scores = batch_of(rows, index, args)
        start, cpu = time.perf_counter(), used()
        loss = model(padded(queries), padded(passages), teacher_scores=scores).loss
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        tokens = sum(map(len, queries + passages))
        steps.append({"seconds": time.perf_counter() - start, "cpuSeconds": used() - cpu, "tokens": tokens,
                      "loss": loss.item(), "norm": norm.item()})
        print(f"step {index + 1}: {steps[-1]['seconds']:.2f} s, {tokens} tokens, loss {loss.item():.4f}, "
              f"gradient norm {norm.item():.3f}", file=sys.stderr)
        if not (torch.isfinite(loss) and torch.isfinite(norm) and norm > 0):
            sys.exit("no timing: loss or gradient is not finite")
    timed = steps[0 if count == 1 else 1:]
    row = {key: statistics.median(step[key] for step in timed) for key in ("seconds", "cpuSeconds", "tokens")}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    row = {"model": args.model, "batch": args.batch, "group": args.group, "precision": "f32",
           "recompute": args.gradient_checkpointing, **row, "tokensPerSecond": row["tokens"] / row["seconds"],
           "peakRssBytes": peak, "firstLoss": steps[0]["loss"], "lastLoss": steps[-1]["loss"],
           "tensors": sum(1 for _ in model.parameters())}
    print(json.dumps({"suite": "step", "adapter": f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads",
                      "rows": [row]}))


main()

"""Makes the goldens of this folder: a random XLMRobertaForSequenceClassification and a BertForSequenceClassification with
one label, and the logits that transformers gives for pairs of texts, each pair encoded as FlagEmbedding's reranker
encodes it. The tokenizers' files stay where they are. Run by hand with torch and transformers 4.57 installed: python make.py. Weights are float16 to be small."""
import json, os, shutil, tempfile
import torch
from safetensors.torch import save_file
from transformers import (AutoTokenizer, BertConfig, BertForSequenceClassification, XLMRobertaConfig,
                          XLMRobertaForSequenceClassification)

HERE = os.path.dirname(os.path.abspath(__file__))
CASES = json.load(open(os.path.join(HERE, "..", "loss_cases.json")))
TEXTS = next(c for c in CASES if c["id"] == "B4G3-m3_kd_loss-teacher-selfdistill")
LONG = " ".join(TEXTS["passages"])
PAIRS = [(q, p) for i, q in enumerate(TEXTS["queries"]) for p in TEXTS["passages"][3 * i:3 * i + 3]]
PAIRS += [("", TEXTS["passages"][0]), (TEXTS["queries"][0], ""), ("", ""), (LONG, LONG), (TEXTS["queries"][1], LONG),
          (LONG, "short"), ("a [SEP] b </s> c", "x [CLS] y <s> z"), ("the same", "the same")]
LIMITS = [{"max_length": 48, "query_max_length": None}, {"max_length": 40, "query_max_length": 8},
          {"max_length": 512, "query_max_length": None}]


def encode(tokenizer, query, passage, max_length, query_max_length):
    limit = query_max_length or max_length * 3 // 4
    ids = lambda text, most: tokenizer(text, add_special_tokens=False, max_length=most, truncation=True)["input_ids"]
    return tokenizer.prepare_for_model(ids(query, limit), ids(passage, max_length), truncation="only_second",
                                       max_length=max_length, padding=False)


def golden(name, kind, config, tokenizer_files):
    torch.manual_seed(11)
    folder = os.path.join(HERE, name)
    os.makedirs(folder, exist_ok=True)
    model = kind(config).eval()
    for p in model.parameters():
        p.data = (p.data * 5 + 0.1 * torch.randn_like(p)).half().float()
    save_file({k: v.half().contiguous() for k, v in model.state_dict().items() if "position_ids" not in k},
              os.path.join(folder, "model.safetensors"), {"format": "pt"})
    config.architectures = [kind.__name__]
    config.save_pretrained(folder)
    with tempfile.TemporaryDirectory() as whole:
        shutil.copytree(folder, whole, dirs_exist_ok=True)
        for file in ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]:
            if os.path.exists(source := os.path.join(HERE, "..", tokenizer_files, file)):
                shutil.copy(source, whole)
        tokenizer = AutoTokenizer.from_pretrained(whole)
    cases = []
    for limits in LIMITS:
        rows = [encode(tokenizer, q, p, **limits) for q, p in PAIRS]
        with torch.no_grad():
            logits = [model(**{k: torch.tensor([v]) for k, v in row.items()}).logits.item() for row in rows]
        cases.append({**limits, "ids": [row["input_ids"] for row in rows],
                      "types": [row.get("token_type_ids") for row in rows], "logits": logits})
    return cases


SHAPE = dict(hidden_size=48, num_attention_heads=4, num_hidden_layers=2, intermediate_size=96, hidden_dropout_prob=0,
             attention_probs_dropout_prob=0, num_labels=1, max_position_embeddings=514, torch_dtype="float32")
json.dump({"pairs": PAIRS, "models": {
    "xlm-roberta": golden("xlm-roberta", XLMRobertaForSequenceClassification,
                          XLMRobertaConfig(vocab_size=4000, type_vocab_size=1, pad_token_id=1, layer_norm_eps=1e-5, **SHAPE),
                          "model"),
    "bert": golden("bert", BertForSequenceClassification, BertConfig(vocab_size=300, type_vocab_size=2, **SHAPE),
                   "tokenizers/wordpiece"),
}}, open(os.path.join(HERE, "pairs.json"), "w"), ensure_ascii=False)

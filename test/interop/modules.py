"""Small models of torch.nn with their outputs and gradients, for test/nn.test.ts.

  python test/interop/modules.py test/golden/torch

Writes a state dict by torch.save for each model, and a safetensors file with the input, the output, the loss and every
gradient. Needs torch, safetensors and transformers.
"""
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

folder = Path(sys.argv[1])
DIM, HEADS, WIDTH, LAYERS, VOCABULARY, LENGTH = 8, 2, 8, 2, 11, 6


def randomize(model):
    """Biases and norms too: PyTorch begins some of them at 0 or 1, where mistakes are not seen."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(noise * 0.4 + (1 if parameter.dim() == 1 and "norm" in name and "weight" in name else 0))


def write(name, model, inputs, output, loss):
    loss.backward()
    tensors = {"output": output, "loss": loss, **inputs}
    for parameter, value in model.named_parameters():
        tensors[f"grad.{parameter}"] = value.grad
    save_file({key: value.detach().contiguous() for key, value in tensors.items()}, folder / f"{name}.safetensors")


def layer(**options):
    return nn.TransformerEncoderLayer(DIM, HEADS, WIDTH, dropout=0.0, batch_first=True, **options)


def encoder(name, norm, **options):
    model = nn.TransformerEncoder(layer(**options), LAYERS, norm=nn.LayerNorm(DIM) if norm else None,
                                  enable_nested_tensor=False)
    randomize(model)
    torch.save(model.state_dict(), folder / f"{name}.pt")
    n = torch.arange(2 * 5 * DIM, dtype=torch.float32).reshape(2, 5, DIM)
    x = torch.sin(1.3 * n).requires_grad_()
    output = model(x)
    loss = (output * torch.cos(0.7 * n)).sum()
    loss.backward(retain_graph=True)
    dx = x.grad.clone()
    for parameter in model.parameters():
        parameter.grad = None
    write(name, model, {"x": x, "dx": dx}, output, loss)


class Decoder(nn.Module):
    """Token and position embeddings, causal layers, a norm, and the tokens' table again as the head."""

    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, DIM)
        self.positions = nn.Embedding(LENGTH, DIM)
        self.layers = nn.ModuleList(layer(activation="gelu", norm_first=True) for _ in range(LAYERS))
        self.norm = nn.LayerNorm(DIM)
        self.head = nn.Linear(DIM, VOCABULARY, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, ids):
        length = ids.shape[1]
        x = self.tokens(ids) + self.positions(torch.arange(length))
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        for each in self.layers:
            x = each(x, src_mask=mask, is_causal=True)
        return self.head(self.norm(x))


encoder("encoder", norm=False)
encoder("encoder-norm-first", norm=True, activation="gelu", norm_first=True)
model = Decoder()
randomize(model)
torch.save(model.state_dict(), folder / "decoder.pt")
ids = torch.tensor([[1, 4, 2, 9, 9, 3], [0, 10, 5, 5, 1, 7]])
logits = model(ids)
loss = nn.functional.cross_entropy(logits[:, :-1].reshape(-1, VOCABULARY), ids[:, 1:].reshape(-1))
write("decoder", model, {"ids": ids.to(torch.int32)}, logits, loss)


def llama():
    """Root-mean-square norms, rotary positions, two heads of queries to one of keys, SwiGLU; names as transformers has them."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(vocab_size=VOCABULARY, hidden_size=DIM, intermediate_size=12, num_hidden_layers=LAYERS,
                         num_attention_heads=HEADS, num_key_value_heads=1, max_position_embeddings=16,
                         rms_norm_eps=1e-6, tie_word_embeddings=False, attn_implementation="eager")
    model = LlamaForCausalLM(config)
    randomize(model)
    torch.save(model.state_dict(), folder / "llama.pt")
    ids = torch.tensor([[1, 4, 2, 9, 9, 3], [0, 10, 5, 5, 1, 7]])
    logits = model(ids).logits
    loss = nn.functional.cross_entropy(logits[:, :-1].reshape(-1, VOCABULARY), ids[:, 1:].reshape(-1))
    write("llama", model, {"ids": ids.to(torch.int32)}, logits, loss)


llama()

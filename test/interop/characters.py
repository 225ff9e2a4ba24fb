"""The losses of bench/peers/characters.ts in float64, by PyTorch: python test/interop/characters.py [steps]"""
import math
import sys

import numpy as np
import torch
import torch.nn.functional as F

LAYERS, WIDTH, HEADS, HIDDEN, CONTEXT, BATCH, VOCABULARY, EPS = 4, 128, 4, 512, 128, 32, 65, 1e-5
LENGTH = 65536
torch.set_default_dtype(torch.float64)


def operand(seed, shape, scale):
    count = math.prod(shape)
    with np.errstate(over='ignore'):
        h = (np.arange(count, dtype=np.uint32) + np.uint32(seed * 0x1000193)) * np.uint32(0x9E3779B1)
        h = (h ^ (h >> np.uint32(15))) * np.uint32(0x85EBCA77)
    h = h ^ (h >> np.uint32(13))
    values = (scale * (h.astype(np.float64) / 2**31 - 1)).astype(np.float32)
    return torch.from_numpy(values.astype(np.float64).reshape(shape))


parameters = {}


def add(name, shape, scale):
    value = (torch.ones(shape) if scale == 'ones' else torch.zeros(shape)) if isinstance(scale, str) else operand(
        100 + len(parameters), shape, scale)
    parameters[name] = value.requires_grad_()


def layer(name, to, from_):
    add(f'{name}.weight', [to, from_], 1 / math.sqrt(from_))
    add(f'{name}.bias', [to], 'zeros')


def norm(name):
    add(f'{name}.weight', [WIDTH], 'ones')
    add(f'{name}.bias', [WIDTH], 'zeros')


add('tokens', [VOCABULARY, WIDTH], 0.1)
add('positions', [CONTEXT, WIDTH], 0.1)
for l in range(LAYERS):
    norm(f'{l}.norm1')
    layer(f'{l}.qkv', 3 * WIDTH, WIDTH)
    layer(f'{l}.projection', WIDTH, WIDTH)
    norm(f'{l}.norm2')
    layer(f'{l}.widen', HIDDEN, WIDTH)
    layer(f'{l}.narrow', WIDTH, HIDDEN)
norm('norm')
add('head', [VOCABULARY, WIDTH], 1 / math.sqrt(WIDTH))

text, state, character = [], 12345, 0
for i in range(LENGTH):
    state = (state * 1664525 + 1013904223) % 2**32
    character = (7 * character + 3 + (state >> 24) % 3) % VOCABULARY
    text.append(character)
text = torch.tensor(text)


def batch(step):
    starts = [((step * BATCH + b) * 977) % (LENGTH - CONTEXT - 1) for b in range(BATCH)]
    return torch.stack([text[s:s + CONTEXT] for s in starts]), torch.stack([text[s + 1:s + CONTEXT + 1] for s in starts])


def loss_of(inputs, targets):
    p = parameters
    x = p['tokens'][inputs] + p['positions']
    for l in range(LAYERS):
        h = F.layer_norm(x, [WIDTH], p[f'{l}.norm1.weight'], p[f'{l}.norm1.bias'], EPS)
        q, k, v = F.linear(h, p[f'{l}.qkv.weight'], p[f'{l}.qkv.bias']).view(BATCH, CONTEXT, 3, HEADS, -1).permute(
            2, 0, 3, 1, 4)
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(BATCH, CONTEXT, WIDTH)
        x = x + F.linear(a, p[f'{l}.projection.weight'], p[f'{l}.projection.bias'])
        h = F.layer_norm(x, [WIDTH], p[f'{l}.norm2.weight'], p[f'{l}.norm2.bias'], EPS)
        h = F.gelu(F.linear(h, p[f'{l}.widen.weight'], p[f'{l}.widen.bias']))
        x = x + F.linear(h, p[f'{l}.narrow.weight'], p[f'{l}.narrow.bias'])
    x = F.layer_norm(x, [WIDTH], p['norm.weight'], p['norm.bias'], EPS)
    return F.cross_entropy(F.linear(x, p['head']).flatten(0, 1), targets.flatten())


optimizer = torch.optim.Adam(parameters.values(), lr=1e-3, betas=(0.9, 0.999), eps=1e-8)
for step in range(int(sys.argv[1]) if len(sys.argv) > 1 else 5):
    loss = loss_of(*batch(step))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(f'{loss.item():.9f}')

"""Values and gradients of random graphs by PyTorch: JSON lines in, JSON lines out (test/interop/graphs.ts)."""
import json
import sys

import torch
import torch.nn.functional as F


def gaps(x):
    """Between neighbours of the values in order, along the last axis."""
    return x.sort(-1).values.diff(dim=-1)


def prod(x, axes, keep):
    """Over several axes, which PyTorch does over one alone."""
    axes = sorted((axis % x.dim() for axis in axes), reverse=True)
    for axis in axes:
        x = x.prod(axis, keepdim=keep)
    return x


def evaluate(graph, dtype):
    """Of a graph in a format: values of all tensors, gradients of the leaves, and how near an operand is to a jump."""
    tensors, leaves, nearest = [], [], float('inf')
    for each in graph['tensors']:
        if each.get('ids'):
            tensors.append(torch.tensor(each['values'], dtype=torch.int64).reshape(each['shape']))
            continue
        if 'values' in each:
            leaf = torch.tensor(each['values'], dtype=torch.float64).to(dtype).reshape(each['shape']).requires_grad_()
            leaves.append(leaf)
            tensors.append(leaf)
            continue
        scope = {'torch': torch, 'F': F, 'gaps': gaps, 'prod': prod, 'dtype': dtype, 'x': [tensors[i] for i in each['inputs']], 'a': each['attributes']}
        if each.get('apart'):
            distances = eval(each['apart'], scope).detach()
            if distances.numel() > 0:
                nearest = min(nearest, distances.min().item())
        tensors.append(eval(each['torch'], scope))
    total = torch.zeros([], dtype=dtype)
    for i, weights in graph['seeds']:
        total = total + (tensors[i] * torch.tensor(weights, dtype=torch.float64).to(dtype).reshape(tensors[i].shape)).sum()
    gradients = torch.autograd.grad(total, leaves, allow_unused=True) if total.requires_grad else [None] * len(leaves)
    gradients = [torch.zeros_like(leaf) if g is None else g for leaf, g in zip(leaves, gradients)]
    return tensors, gradients, nearest


def scaled_difference(a, b):
    top = b.abs().max().item() if b.numel() > 0 else 0
    return ((a.to(b.dtype) - b).abs().max().item() / max(top, 1e-3)) if b.numel() > 0 else 0


for line in sys.stdin:
    graph = json.loads(line)
    try:
        values, gradients, nearest = evaluate(graph, torch.float64)
        floats = [v for v in values if v.is_floating_point()] + list(gradients)
        reason = None
        if nearest < 1e-3:
            reason = 'a tie'
        elif not all(torch.isfinite(v).all() for v in floats):
            reason = 'not finite'
        elif max([v.abs().max().item() for v in floats if v.numel() > 0], default=0) > 1e4:
            reason = 'large'
        else:
            own, slopes, _ = evaluate(graph, torch.float32)
            pairs = [(a, b) for a, b in zip(own, values) if b.is_floating_point()] + list(zip(slopes, gradients))
            if max((scaled_difference(a, b) for a, b in pairs), default=0) > 2e-5:
                reason = 'ill-conditioned'
        answer = {'rejected': reason} if reason else {
            'values': [v.detach().to(torch.float64).flatten().tolist() for v in values],
            'shapes': [list(v.shape) for v in values],
            'gradients': [g.flatten().tolist() for g in gradients],
        }
    except Exception as error:
        answer = {'error': f'{type(error).__name__}: {error}'.split('\n')[0]}
    print(json.dumps(answer), flush=True)

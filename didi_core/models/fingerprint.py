"""A short name for the values of a network's weights, to tell whether a model has changed."""

import hashlib

import torch
from torch import nn

SAMPLED_VALUES = 64
"""Values looked at in each tensor: any training step changes some of them."""


def weights_digest(network: nn.Module) -> str:
    """Digest the names, shapes, types and a sample of all weights to sixteen hexadecimal digits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        flat = tensor.detach().reshape(-1)
        stride = max(1, flat.numel() // SAMPLED_VALUES)
        digest.update(flat[::stride].to("cpu", torch.float64).numpy().tobytes())
    return digest.hexdigest()[:16]
